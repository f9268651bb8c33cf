"""Read ``tokenizer.json`` files of other programs.

``tokenizer.formats.tokenizer_json_write`` explains the parts of the file, and writes it.

Supported are byte-level BPE as in RoBERTa, GPT-2 and ModernBERT, and WordPiece as in BERT, with
their templates and added tokens. Any other feature that would change ids is refused by name. What
changes no ids is ignored: the decoder, truncation and padding.

Older files in the same folder (vocab.json and merges.txt, or vocab.txt) must agree.
"""
from tokenizer.added_tokens import AddedToken
from tokenizer.bpe import ByteLevelBPE
from tokenizer.formats.schema import OBJECT, TOKENIZER_JSON, check_types
from tokenizer.formats.tokenizer_json_write import ROLE_NAMES
from tokenizer.formats.vocab_files import (
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
from tokenizer.wordpiece import WordPiece

NO_TEMPLATES = ((("A", 0),), (("A", 0), ("B", 1)))


def load_tokenizer_json(folder, config):
    """Return the tokenizer of ``folder / "tokenizer.json"``.

    config: the contents of tokenizer_config.json

    Raises ValueError for a file that is damaged, not supported, or disagrees with another one.
    """
    path = folder / "tokenizer.json"
    document = read_json(path)
    try:
        model = document["model"]
        check_types(path, document, {"model": OBJECT})
        model_type = model.get("type") or guess_type(model)
        readers = {"BPE": read_bpe, "WordPiece": read_wordpiece}
        if model_type not in readers:
            raise unsupported(path, "model.type", model_type)
        check_types(path, document, TOKENIZER_JSON)
        tokenizer = readers[model_type](path, document, config)
    except KeyError as error:
        raise damaged(path, f"lacks the key {error.args[0]!r}") from None
    except (TypeError, AttributeError) as error:
        raise damaged(path, f"has a value of the wrong type ({error})") from None
    check_config(path, tokenizer, config)
    check_vocab_file(path, tokenizer)
    check_merges_file(path, tokenizer)
    return tokenizer


def guess_type(model):
    """Return the type of a model that does not name it, as in files from before 2020."""
    if "merges" in model:
        return "BPE"
    return "WordPiece" if "continuing_subword_prefix" in model else "Unigram"


def unsupported(path, part, value):
    return ValueError(f"{path}: {part} is {value!r}, which is not supported: only byte-level BPE "
                      "(RoBERTa, GPT-2, ModernBERT) and WordPiece (BERT) are")


def read_bpe(path, document, config):
    """Return the ByteLevelBPE of a tokenizer.json whose model is BPE."""
    model = document["model"]
    pre_tokenizer = document.get("pre_tokenizer")
    normalizer = document.get("normalizer")
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback",
                   "ignore_merges"):
        if model.get(option):
            raise unsupported(path, f"model.{option}", model[option])
    if not pre_tokenizer or pre_tokenizer["type"] != "ByteLevel":
        raise unsupported(path, "pre_tokenizer", pre_tokenizer)
    if not pre_tokenizer.get("use_regex", True):
        raise unsupported(path, "pre_tokenizer.use_regex", False)
    if normalizer and normalizer["type"] != "NFC":
        raise unsupported(path, "normalizer", normalizer["type"])

    tokens, added = all_tokens(path, document, config)
    # Merges are written as ["a", "b"] or, in older files, as "a b".
    merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    templates, roles = templates_and_roles(path, document, config, tokens)
    special_tokens = [token.content for token in added if token.special]
    return ByteLevelBPE(tokens, check_merges(path, merges, tokens), special_tokens,
                        pre_tokenizer["add_prefix_space"], max_length(config), roles, added=added,
                        templates=templates, unicode_form="NFC" if normalizer else None,
                        trim_offsets=trims_offsets(document.get("post_processor")))


def read_wordpiece(path, document, config):
    """Return the WordPiece of a tokenizer.json whose model is WordPiece."""
    model = document["model"]
    pre_tokenizer = document.get("pre_tokenizer")
    normalizer = document.get("normalizer")
    prefix = model["continuing_subword_prefix"]
    if prefix != "##":
        raise unsupported(path, "model.continuing_subword_prefix", prefix)
    if not pre_tokenizer or pre_tokenizer["type"] != "BertPreTokenizer":
        raise unsupported(path, "pre_tokenizer", pre_tokenizer)
    if not normalizer or normalizer["type"] != "BertNormalizer":
        raise unsupported(path, "normalizer", normalizer)
    if not normalizer["clean_text"]:
        raise unsupported(path, "normalizer.clean_text", False)

    tokens, added = all_tokens(path, document, config)
    unk_token = model["unk_token"]
    if unk_token not in model["vocab"]:
        raise damaged(path, f"has the unk_token {unk_token!r}, which is not in the vocabulary")
    templates, roles = templates_and_roles(path, document, config, tokens)
    special_tokens = [token.content for token in added if token.special]
    return WordPiece(tokens, special_tokens, normalizer["lowercase"],
                     normalizer.get("strip_accents"), normalizer["handle_chinese_chars"],
                     model["max_input_chars_per_word"], max_length(config),
                     {**roles, "unk": unk_token}, added=added, templates=templates,
                     not_pieces={token.content for token in added} - set(model["vocab"]))


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
        values += extra.values() if isinstance(extra, dict) else extra
    named = {}
    for value in values:
        token = token_content(value)
        if isinstance(token, str):
            lstrip = isinstance(value, dict) and value.get("lstrip", False)
            named[token] = AddedToken(token, lstrip=lstrip)
    return list(named.values())


# The post-processor

def templates_and_roles(path, document, config, tokens):
    """Return ((template of a text, template of a pair), {role: token}).

    The special token before a text is the cls token, those after a text are the sep token. If the
    configuration names these tokens, they must be the same.
    """
    roles = {}
    for role in ROLE_NAMES:
        token = token_content(config.get(f"{role}_token"))
        if token in tokens:
            roles[role] = token
    token_templates = read_templates(path, document.get("post_processor"), tokens)
    if token_templates is None:
        # A folder that was saved here lacks templates if it lacks the tokens for the default ones.
        return (None if "kind" in config else NO_TEMPLATES), roles

    templates = []
    for token_template in token_templates:
        template = []
        role = "cls"
        for piece, name, type_id in token_template:
            if piece == "Sequence":
                template.append((name, type_id))
                role = "sep"
                continue
            if roles.setdefault(role, name) != name:
                raise ValueError(f"{path}: post_processor uses {name!r} as the {role} token, but "
                                 f"tokenizer_config.json has {roles[role]!r}: make them the same")
            template.append((role, type_id))
        templates.append(tuple(template))
    return tuple(templates), roles


def trims_offsets(post_processor):
    """Return whether a post-processor excludes the space before a word from its offsets.

    Its own ``add_prefix_space`` is assumed to be the pre-tokenizer's, as every program writes it.
    """
    if not post_processor:
        return False
    parts = [post_processor, *post_processor.get("processors", [])]
    return any(part.get("trim_offsets", False) for part in parts)


def read_templates(path, post_processor, tokens):
    """Return the templates of a text and of a pair, as lists of (piece, name, type id), or None.

    [("SpecialToken", "[CLS]", 0), ("Sequence", "A", 0), ("SpecialToken", "[SEP]", 0)]
    """
    if post_processor and post_processor["type"] == "Sequence":
        # Usually ByteLevel, which only trims offsets, and a template.
        parts = [part for part in post_processor["processors"] if part["type"] != "ByteLevel"]
        if len(parts) > 1:
            raise unsupported(path, "post_processor", [part["type"] for part in parts])
        post_processor = parts[0] if parts else None
    if not post_processor or post_processor["type"] == "ByteLevel":
        return None
    if post_processor["type"] == "TemplateProcessing":
        return [read_template(path, post_processor, "single", ["A"], tokens),
                read_template(path, post_processor, "pair", ["A", "B"], tokens)]
    if post_processor["type"] not in ("BertProcessing", "RobertaProcessing"):
        raise unsupported(path, "post_processor", post_processor["type"])

    sep, sep_id = post_processor["sep"]
    cls, cls_id = post_processor["cls"]
    check_ids(path, sep, [sep_id], tokens)
    check_ids(path, cls, [cls_id], tokens)
    single = [("SpecialToken", cls, 0), ("Sequence", "A", 0), ("SpecialToken", sep, 0)]
    if post_processor["type"] == "BertProcessing":
        second = [("Sequence", "B", 1), ("SpecialToken", sep, 1)]
    else:
        second = [("SpecialToken", sep, 0), ("Sequence", "B", 0), ("SpecialToken", sep, 0)]
    return [single, single + second]


def read_template(path, post_processor, name, sequences, tokens):
    """Return one template of TemplateProcessing, which must have each of ``sequences`` once."""
    special_tokens = post_processor["special_tokens"]
    for token, entry in special_tokens.items():
        check_ids(path, token, entry["ids"], tokens)
    template = []
    for piece in post_processor[name]:
        (kind, entry), = piece.items()
        template.append((kind, entry["id"], entry["type_id"]))
        if kind == "SpecialToken" and entry["id"] not in special_tokens:
            raise damaged(path, f"has {entry['id']!r} in post_processor.{name}, but not in its "
                                "special_tokens")
    if sorted(name for kind, name, _ in template if kind == "Sequence") != sequences:
        raise damaged(path, f"post_processor.{name} must have {' and '.join(sequences)} once")
    return template


def check_ids(path, token, ids, tokens):
    """Raise ValueError unless ``ids`` is the id of the token."""
    if len(ids) != 1 or not 0 <= ids[0] < len(tokens) or tokens[ids[0]] != token:
        raise damaged(path, f"has the ids {ids} for {token!r} in post_processor, which differ from "
                            "the vocabulary")


# Agreement with the other files of the folder: some classes of transformers read one, some another.

def check_config(path, tokenizer, config):
    """Raise ValueError if a setting is different in tokenizer_config.json."""
    for name, value in tokenizer._settings().items():
        if config.get(name, value) != value:
            raise ValueError(f"{path} and tokenizer_config.json disagree: {name} is {value!r} in "
                             f"the first, {config[name]!r} in the second")


def check_vocab_file(path, tokenizer):
    """Raise ValueError if vocab.json or vocab.txt has other ids. It may lack added tokens."""
    if tokenizer.kind == "bpe":
        vocab_path = path.with_name("vocab.json")
        read = read_vocab_json
    else:
        vocab_path = path.with_name("vocab.txt")
        read = read_vocab_txt
    if not vocab_path.exists():
        return
    ids = {token: i for i, token in enumerate(read(vocab_path))}
    added = {token.content for token in tokenizer.added_tokens}
    vocabulary = tokenizer.get_vocab()
    for token in [*ids, *vocabulary]:
        is_missing = token not in ids and token in added
        if ids.get(token) != vocabulary.get(token) and not is_missing:
            raise disagreement(path, vocab_path, f"on the id of {token!r}")


def check_merges_file(path, tokenizer):
    """Raise ValueError if merges.txt has other merges."""
    merges_path = path.with_name("merges.txt")
    if tokenizer.kind != "bpe" or not merges_path.exists():
        return
    merges = read_merges(merges_path, tokenizer.get_vocab())
    if merges != [tuple(merge) for merge in tokenizer.merges]:
        raise disagreement(path, merges_path, "on the merges")


def disagreement(path, other, subject):
    return ValueError(f"{other} and {path.name} disagree {subject}: one of them was changed or cut "
                      "short; copy or save the tokenizer again")
