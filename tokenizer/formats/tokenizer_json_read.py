"""Read ``tokenizer.json`` files of other programs.

``tokenizer_json_write.py`` explains the parts of the file, and writes it.

Supported are byte-level BPE as in RoBERTa, GPT-2 and ModernBERT, and WordPiece as in BERT, with
their templates and added tokens. Any other feature that would change ids is refused by name. What
changes no ids is ignored: the decoder, truncation and padding.
"""
import sys

from tokenizer.added_tokens import ROLES, AddedToken
from tokenizer.bpe import ByteLevelBPE
from tokenizer.formats.vocab_files import (
    UNUSED,
    check_merges,
    damaged,
    max_length,
    read_json,
    read_merges,
    read_vocab_json,
    read_vocab_txt,
    token_content,
    tokens_by_id,
)
from tokenizer.utils.terminal import plural
from tokenizer.wordpiece import WordPiece

NO_TEMPLATES = ((("A", 0),), (("A", 0), ("B", 1)))
UNSUPPORTED_IN_BPE = ("dropout", "continuing_subword_prefix", "end_of_word_suffix",
                      "byte_fallback", "ignore_merges")


def load_tokenizer_json(folder, config):
    """Return the tokenizer of ``folder / "tokenizer.json"``.

    config: the contents of tokenizer_config.json

    Raises ValueError for a file that is not supported, or disagrees with another one, and also
    KeyError, TypeError or AttributeError for a file that is damaged.
    """
    path = folder / "tokenizer.json"
    document = read_json(path)
    model = document["model"]
    model_type = model.get("type") or guess_type(model)
    if model_type == "BPE":
        tokenizer = read_bpe(path, document, config)
    elif model_type == "WordPiece":
        tokenizer = read_wordpiece(path, document, config)
    else:
        raise unsupported(path, "model.type", model_type)
    check_config(path, tokenizer, config)
    check_other_files(path, tokenizer)
    added = {token.content for token in tokenizer.added_tokens}
    if num_gaps := tokenizer.vocab_size - len(added.union(model["vocab"])):
        print(f"note: {path} has {plural(num_gaps, 'id')} without a token", file=sys.stderr)
    return tokenizer


def guess_type(model):
    """Return the type of a model that does not name it, as in files from before 2020."""
    if "merges" in model:
        return "BPE"
    return "WordPiece" if "continuing_subword_prefix" in model else "Unigram"


def unsupported(path, part, value):
    return ValueError(f"{path}: {part} is {value!r}, which is not supported: only byte-level BPE "
                      "(RoBERTa, GPT-2, ModernBERT) and WordPiece (BERT) are")


def required_part(path, document, name, expected):
    """Return a part of the document; raise ValueError if it is not of the expected type."""
    part = document.get(name)
    if not part or part["type"] != expected:
        raise unsupported(path, name, part)
    return part


def read_bpe(path, document, config):
    """Return the ByteLevelBPE of a tokenizer.json whose model is BPE."""
    model = document["model"]
    for option in UNSUPPORTED_IN_BPE:
        if model.get(option):
            raise unsupported(path, f"model.{option}", model[option])
    pre_tokenizer = required_part(path, document, "pre_tokenizer", "ByteLevel")
    if not pre_tokenizer.get("use_regex", True):
        raise unsupported(path, "pre_tokenizer.use_regex", False)
    unicode_form = None
    if document.get("normalizer"):
        unicode_form = required_part(path, document, "normalizer", "NFC")["type"]

    # Merges are written as ["a", "b"] or, in older files, as "a b".
    merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    shared = shared_arguments(path, document, config)
    return ByteLevelBPE(merges=check_merges(path, merges, shared["tokens"]),
                        add_prefix_space=pre_tokenizer["add_prefix_space"],
                        unicode_form=unicode_form,
                        trim_offsets=trims_offsets(document.get("post_processor")), **shared)


def read_wordpiece(path, document, config):
    """Return the WordPiece of a tokenizer.json whose model is WordPiece."""
    model = document["model"]
    prefix = model["continuing_subword_prefix"]
    if prefix != "##":
        raise unsupported(path, "model.continuing_subword_prefix", prefix)
    required_part(path, document, "pre_tokenizer", "BertPreTokenizer")
    normalizer = required_part(path, document, "normalizer", "BertNormalizer")
    if not normalizer["clean_text"]:
        raise unsupported(path, "normalizer.clean_text", False)
    unk_token = model["unk_token"]
    if unk_token not in model["vocab"]:
        raise damaged(path, f"has the unk_token {unk_token!r}, which is not in the vocabulary")

    shared = shared_arguments(path, document, config)
    shared["roles"]["unk"] = unk_token
    added = {token.content for token in shared["added"]}
    return WordPiece(lowercase=normalizer["lowercase"],
                     strip_accents=normalizer.get("strip_accents"),
                     tokenize_chinese_chars=normalizer["handle_chinese_chars"],
                     max_input_chars_per_word=model["max_input_chars_per_word"],
                     not_pieces=added - set(model["vocab"]), **shared)


def shared_arguments(path, document, config):
    """Return the arguments that both tokenizer classes take, as a dict."""
    tokens, added = all_tokens(path, document, config)
    templates, roles = templates_and_roles(path, document, config, tokens)
    return {"tokens": tokens, "special_tokens": [token.content for token in added if token.special],
            "model_max_length": max_length(config), "roles": roles, "added": added,
            "templates": templates}


# Special and other added tokens

def all_tokens(path, document, config):
    """Return (all tokens in order of ids, added tokens).

    Added tokens may be in the model's vocabulary as well, or only come after it. A token with a
    role in the configuration, such as "mask_token", is special whether or not it is listed.
    """
    vocabulary = dict(document["model"]["vocab"])
    added = []
    for entry in document.get("added_tokens", []):
        token = entry["content"]
        token_id = entry["id"]
        if vocabulary.setdefault(token, token_id) != token_id:
            raise damaged(path, f"gives {token!r} the id {token_id} in added_tokens, "
                                f"but {vocabulary[token]!r} in model.vocab")
        for flag in ("single_word", "rstrip"):
            if entry.get(flag):
                raise unsupported(path, f"{flag} of the added token {token!r}", True)
        added.append(AddedToken(token, entry["special"], entry["lstrip"], entry["normalized"]))
    tokens = tokens_by_id(path, vocabulary)
    listed = {token.content for token in added}
    for token in named_tokens(config):
        if token.content in vocabulary and token.content not in listed:
            added.append(token)
    return tokens, added


def named_tokens(config):
    """Return the special tokens that a configuration names, as ``AddedToken``s, each once."""
    values = []
    for key, value in config.items():
        if key.endswith("_token") and not key.startswith("add_"):  # "add_bos_token" is a flag
            values.append(value)
    for key in ("additional_special_tokens", "extra_special_tokens"):
        extra = config.get(key) or []
        extra = list(extra.values()) if isinstance(extra, dict) else extra
        if not isinstance(extra, list):
            raise ValueError(f"tokenizer_config.json: {key} is {extra!r}, which is not a list")
        values += extra
    named = {}
    for value in values:
        token = token_content(value)
        if token is not None:
            lstrip = isinstance(value, dict) and value.get("lstrip", False)
            named[token] = AddedToken(token, lstrip=lstrip)
    return list(named.values())


# The post-processor, which adds special tokens

def templates_and_roles(path, document, config, tokens):
    """Return ((template of a text, template of a pair), {role: token}).

    The special token before a text is the cls token, those after a text are the sep token. If the
    configuration names these tokens, they must be the same.
    """
    roles = {}
    for role in ROLES:
        token = token_content(config.get(f"{role}_token"))
        if token in tokens:
            roles[role] = token
    part = template_part(path, document.get("post_processor"))
    if not part:
        # A folder that was saved here lacks templates if it lacks the tokens for the default ones.
        return (None if "kind" in config else NO_TEMPLATES), roles

    templates = []
    for pieces in read_templates(path, part, tokens):
        template = []
        role = "cls"
        for kind, name, type_id in pieces:
            if kind == "Sequence":
                template.append((name, type_id))
                role = "sep"
                continue
            if roles.setdefault(role, name) != name:
                raise ValueError(f"{path}: post_processor uses {name!r} as the {role} token, but "
                                 f"tokenizer_config.json has {roles[role]!r}: make them the same")
            template.append((role, type_id))
        templates.append(tuple(template))
    return tuple(templates), roles


def processors(post_processor):
    """Return the parts of a post-processor: usually ByteLevel, a template, or a list of both."""
    if not post_processor:
        return []
    if post_processor["type"] == "Sequence":
        return post_processor["processors"]
    return [post_processor]


def trims_offsets(post_processor):
    """Return whether a post-processor excludes the space before a word from its offsets.

    Its own ``add_prefix_space`` is assumed to be the pre-tokenizer's, as every program writes it.
    """
    return any(part.get("trim_offsets", False) for part in processors(post_processor))


def template_part(path, post_processor):
    """Return the part that adds special tokens, or None. ByteLevel only trims offsets."""
    parts = [part for part in processors(post_processor) if part["type"] != "ByteLevel"]
    if len(parts) > 1:
        raise unsupported(path, "post_processor", [part["type"] for part in parts])
    return parts[0] if parts else None


def read_templates(path, part, tokens):
    """Return the templates of a text and of a pair, as lists of (kind, name, type id).

    [("SpecialToken", "[CLS]", 0), ("Sequence", "A", 0), ("SpecialToken", "[SEP]", 0)]
    """
    if part["type"] == "TemplateProcessing":
        ids = {token: entry["ids"] for token, entry in part["special_tokens"].items()}
        single = read_template(part["single"])
        pair = read_template(part["pair"])
    elif part["type"] in ("BertProcessing", "RobertaProcessing"):
        sep, sep_id = part["sep"]
        cls, cls_id = part["cls"]
        ids = {sep: [sep_id], cls: [cls_id]}
        single = [("SpecialToken", cls, 0), ("Sequence", "A", 0), ("SpecialToken", sep, 0)]
        if part["type"] == "BertProcessing":
            pair = [*single, ("Sequence", "B", 1), ("SpecialToken", sep, 1)]
        else:
            pair = [*single, ("SpecialToken", sep, 0), ("Sequence", "B", 0),
                    ("SpecialToken", sep, 0)]
    else:
        raise unsupported(path, "post_processor", part["type"])

    for token, token_ids in ids.items():
        if token not in tokens or token_ids != [tokens.index(token)]:
            raise damaged(path, f"has the ids {token_ids} for {token!r} in post_processor, which "
                                "differ from the vocabulary")
    for template, sequences in ((single, ["A"]), (pair, ["A", "B"])):
        if sorted(name for kind, name, _ in template if kind == "Sequence") != sequences:
            raise damaged(path, f"must have {' and '.join(sequences)} once in post_processor")
        for kind, name, _ in template:
            if kind != "Sequence" and name not in ids:
                raise damaged(path, f"has {name!r} in post_processor, but not in special_tokens")
    return single, pair


def read_template(pieces):
    """Return [("Sequence", "A", 0), ...] for [{"Sequence": {"id": "A", "type_id": 0}}, ...]"""
    template = []
    for piece in pieces:
        for kind, entry in piece.items():
            template.append((kind, entry["id"], entry["type_id"]))
    return template


# Agreement with the other files of the folder: some classes of transformers read one, some another.

def check_config(path, tokenizer, config):
    """Raise ValueError if a setting is different in tokenizer_config.json."""
    for name, value in tokenizer._settings().items():
        if config.get(name, value) != value:
            raise ValueError(f"{path} and tokenizer_config.json disagree: {name} is {value!r} in "
                             f"the first, {config[name]!r} in the second")


def check_other_files(path, tokenizer):
    """Raise ValueError if vocab.json, merges.txt or vocab.txt contradicts tokenizer.json."""
    name = "vocab.json" if tokenizer.kind == "bpe" else "vocab.txt"
    vocabulary = tokenizer.get_vocab()
    if path.with_name(name).exists():
        if tokenizer.kind == "bpe":
            tokens = read_vocab_json(path.with_name(name))
        else:
            tokens, _ = read_vocab_txt(path.with_name(name), exact=vocabulary)
        unused = {i for i, token in enumerate(tokens) if token == UNUSED.format(i)}
        ids = {token: i for i, token in enumerate(tokens) if i not in unused}
        added = {token.content for token in tokenizer.added_tokens}  # may be missing in the other
        expected = {token: i for token, i in vocabulary.items()
                    if (token in ids or token not in added) and i not in unused}
        if ids != expected:
            raise disagreement(path, name)
    merges_path = path.with_name("merges.txt")
    if tokenizer.kind == "bpe" and merges_path.exists():
        if read_merges(merges_path, vocabulary) != [tuple(merge) for merge in tokenizer.merges]:
            raise disagreement(path, merges_path.name)


def disagreement(path, other):
    return ValueError(f"{path} and {other} disagree: one of them was changed or cut short; copy or "
                      "save the tokenizer again")
