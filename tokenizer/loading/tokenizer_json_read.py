"""``tokenizer.json`` as others wrote it: reading. ``ecosystem.py`` says what its parts are, and writes it.

What is read are byte-level BPE as RoBERTa, GPT-2 and ModernBERT have it, and WordPiece as BERT has it, with their templates
and added tokens. The file may say many things that are neither; each of them would change ids, so each is refused with
an error that names it. Left aside is what changes none: the decoder, and the lengths of truncation and padding.

Where the folder also has the older files (vocab.json and merges.txt, or vocab.txt), they must say the same.
"""
from tokenizer.added_tokens import AddedToken
from tokenizer.bpe import ByteLevelBPE
from tokenizer.formats.schema import OBJECT, TOKENIZER_JSON, check_shapes
from tokenizer.formats.vocab_files import DAMAGED, content, max_length, place, read_json, read_merges, read_vocab_json, read_vocab_txt, tokens_by_id
from tokenizer.wordpiece import WordPiece

SUPPORTED = ("what is read here is byte-level BPE as in RoBERTa, GPT-2 and ModernBERT, and WordPiece as in BERT; anything else would "
             "give other ids")
NO_TEMPLATES = ((("A", 0),), (("A", 0), ("B", 1)))


def load_tokenizer_json(folder, config):
    """The tokenizer of ``folder / "tokenizer.json"``; config: what tokenizer_config.json beside it says, as a dict.

    Raises ValueError for a file that is damaged, that disagrees with its neighbours, or that is not supported.
    """
    path = folder / "tokenizer.json"
    document = read_json(path)
    try:
        model = document["model"]
        check_shapes(path, document, {"model": OBJECT})
        kind = model.get("type") or guessed_type(model)
        if kind not in ("BPE", "WordPiece"):
            raise refusal(path, "model.type", kind)
        check_shapes(path, document, TOKENIZER_JSON)
        tokenizer = (read_bpe if kind == "BPE" else read_wordpiece)(path, document, config)
    except KeyError as error:
        raise ValueError(f"{path}: there is no {error.args[0]!r} where one belongs: {DAMAGED}") from None
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{path}: a part has a value of the wrong type ({error}): {DAMAGED}") from None
    agree_with_configuration(path, tokenizer, config)
    agree_with_older_files(path, tokenizer)
    return tokenizer


def guessed_type(model):
    """Files of before 2020 do not say it: BPE has merges, WordPiece a prefix, Unigram a list with scores."""
    if "merges" in model:
        return "BPE"
    return "WordPiece" if "continuing_subword_prefix" in model else "Unigram"


def refusal(path, part, value):
    return ValueError(f"{path}: {part} is {value!r}, which is not supported: {SUPPORTED}")


def read_bpe(path, document, config):
    """A tokenizer.json whose model is BPE -> ByteLevelBPE; ValueError for what would give other ids here."""
    model, pre_tokenizer, normalizer = document["model"], document.get("pre_tokenizer"), document.get("normalizer")
    for part in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges"):
        if model.get(part):
            raise refusal(path, f"model.{part}", model[part])
    if not pre_tokenizer or pre_tokenizer["type"] != "ByteLevel" or not pre_tokenizer.get("use_regex", True):
        raise refusal(path, "pre_tokenizer", pre_tokenizer)
    if normalizer and normalizer["type"] != "NFC":
        raise refusal(path, "normalizer", normalizer["type"])
    tokens, added = all_tokens(path, document, config)
    merges = merge_pairs(path, model["merges"], tokens)
    templates, roles = templates_and_roles(path, document, config, tokens)
    specials = [token.content for token in added if token.special]
    return ByteLevelBPE(tokens, merges, specials, pre_tokenizer["add_prefix_space"], max_length(config), roles, added=added,
                        templates=templates, unicode_form="NFC" if normalizer else None,
                        trim_offsets=trims_offsets(document.get("post_processor")))


def read_wordpiece(path, document, config):
    """A tokenizer.json whose model is WordPiece -> WordPiece; ValueError for what would give other ids here."""
    model, pre_tokenizer, normalizer = document["model"], document.get("pre_tokenizer"), document.get("normalizer")
    if model["continuing_subword_prefix"] != "##":
        raise refusal(path, "model.continuing_subword_prefix", model["continuing_subword_prefix"])
    if not pre_tokenizer or pre_tokenizer["type"] != "BertPreTokenizer":
        raise refusal(path, "pre_tokenizer", pre_tokenizer and pre_tokenizer["type"])
    if not normalizer or normalizer["type"] != "BertNormalizer":
        raise refusal(path, "normalizer", normalizer and normalizer["type"])
    if not normalizer["clean_text"]:
        raise refusal(path, "normalizer.clean_text", False)
    tokens, added = all_tokens(path, document, config)
    if model["unk_token"] not in model["vocab"]:
        raise ValueError(f"{path}: model.unk_token is {model['unk_token']!r}, which is not in the vocabulary, and words that cannot be "
                         f"spelled need it: {DAMAGED}")
    templates, roles = templates_and_roles(path, document, config, tokens)
    specials = [token.content for token in added if token.special]
    return WordPiece(tokens, specials, normalizer["lowercase"], normalizer.get("strip_accents"), normalizer["handle_chinese_chars"],
                     model["max_input_chars_per_word"], max_length(config), {**roles, "unk": model["unk_token"]}, added=added,
                     templates=templates, not_pieces={token.content for token in added} - set(model["vocab"]))


def all_tokens(path, document, config):
    """(All tokens in order of ids, the added ones). Added tokens may stand in the model's vocabulary as well, or only come after it.

    A token that the configuration gives a part, "mask_token" say, is special whether or not it is listed.
    """
    vocabulary, added = dict(document["model"]["vocab"]), []
    for number, entry in enumerate(document.get("added_tokens", [])):
        token, token_id = entry["content"], entry["id"]
        if vocabulary.setdefault(token, token_id) != token_id:
            raise ValueError(f"{path}: added_tokens gives {token!r} the id {token_id!r}, model.vocab {vocabulary[token]}"
                             f"{place(path, token, key=True)}: {DAMAGED}, or put together from two tokenizers")
        for flag in ("single_word", "rstrip"):
            if entry.get(flag):
                raise refusal(path, f"added_tokens[{number}].{flag} (of {token!r})", True)
        added.append(AddedToken(token, entry["special"], entry["lstrip"], entry["normalized"]))
    tokens = tokens_by_id(path, vocabulary)
    known = {token.content for token in added}
    return tokens, added + [token for token in named_tokens(config) if token.content in vocabulary and token.content not in known]


def named_tokens(config):
    """The special tokens that a configuration names, with the flags that it gives them. Each once."""
    values = [value for key, value in config.items() if key.endswith("_token") and not key.startswith("add_")]  # "add_bos_token": false
    for key in ("additional_special_tokens", "extra_special_tokens"):
        more = config.get(key) or []
        values += more.values() if isinstance(more, dict) else more
    named = {content(value): value for value in values if isinstance(content(value), str)}
    return [AddedToken(token, lstrip=isinstance(value, dict) and value.get("lstrip", False)) for token, value in named.items()]


def merge_pairs(path, merges, tokens):
    """[["a", "b"], ...] or, the older spelling, ["a b", ...] -> [("a", "b"), ...], all of whose parts and results are tokens."""
    vocabulary, pairs = set(tokens), {}
    for number, merge in enumerate(merges):
        pair = tuple(merge.split(" ") if isinstance(merge, str) else merge)
        if len(pair) != 2 or not all(pair):
            raise ValueError(f"{path}: model.merges[{number}] must be two tokens, but is {merge!r}{where(path, merge)}: {DAMAGED}")
        unknown = [token for token in (*pair, "".join(pair)) if token not in vocabulary]
        if unknown:
            raise ValueError(f"{path}: model.merges[{number}], {merge!r}, needs {unknown[0]!r}, which is not in model.vocab"
                             f"{where(path, merge)}: {DAMAGED}, or put together from two tokenizers")
        if pair in pairs:
            raise ValueError(f"{path}: model.merges[{number}], {merge!r}, is there already as {pairs[pair]}{where(path, merge)}: {DAMAGED}")
        pairs[pair] = number
    return list(pairs)


def where(path, merge):
    """' (line 70 column 7)' of a merge, for an error; '' where it is nothing that could be searched for."""
    strings = [merge] if isinstance(merge, str) else merge
    return place(path, *strings) if isinstance(strings, list) and strings and all(isinstance(string, str) for string in strings) else ""


# The post-processor

def templates_and_roles(path, document, config, tokens):
    """((template of one text, of a pair), {role: token}). What stands before a text is the cls token, what comes after it sep,
    unless the configuration names others: then they must be those."""
    named = {role: content(config.get(f"{role}_token")) for role in ("cls", "pad", "sep", "unk", "mask")}
    roles = {role: token for role, token in named.items() if token in tokens}
    spelled_out = spell_out(path, document.get("post_processor"), tokens)
    if spelled_out is None:
        return None if "kind" in config else NO_TEMPLATES, roles  # saved here, and without tokens for the usual ones
    templates = []
    for template in spelled_out:
        parts, begun = [], False
        for part, token, type_id in template:
            begun |= part == "Sequence"
            role = "sep" if begun else "cls"
            if part == "SpecialToken" and roles.setdefault(role, token) != token:
                raise ValueError(f"{path}: post_processor puts {token!r} {'after' if begun else 'before'} a text, but the {role} token is "
                                 f"{roles[role]!r}: make {role}_token in tokenizer_config.json the same")
            parts.append((token if part == "Sequence" else role, type_id))
        templates.append(tuple(parts))
    return tuple(templates), roles


def trims_offsets(post):
    """Whether a post-processor, or one of a sequence, leaves the space before a word out of its offsets.

    Its own ``add_prefix_space`` is taken to be the pre-tokenizer's, as every program writes it.
    """
    return bool(post) and any(part.get("trim_offsets", False) for part in (post, *post.get("processors", [])))


def spell_out(path, post, tokens):
    """A post-processor of any supported kind as [template of one text, of a pair], each a list of (part, name, type id); None for none.

    BertProcessing, RobertaProcessing -> [[("SpecialToken", "[CLS]", 0), ("Sequence", "A", 0), ("SpecialToken", "[SEP]", 0)], [...]]
    """
    if post and post["type"] == "Sequence":  # ByteLevel, which only trims offsets, and a template, as a rule
        parts = [part for part in post["processors"] if part["type"] != "ByteLevel"]
        if len(parts) > 1:
            raise refusal(path, "post_processor", [part["type"] for part in parts])
        post = parts[0] if parts else None
    if not post or post["type"] == "ByteLevel":
        return None
    if post["type"] == "TemplateProcessing":
        check_ids(path, {name: entry["ids"] for name, entry in post["special_tokens"].items()}, tokens)
        templates = [[(part, entry["id"], entry["type_id"]) for piece in post[template] for part, entry in piece.items()]
                     for template in ("single", "pair")]
        for name, template, texts in zip(("single", "pair"), templates, (["A"], ["A", "B"])):
            if sorted(which for part, which, _ in template if part == "Sequence") != texts:
                raise ValueError(f"{path}: post_processor.{name} must hold the sequence{'s' * len(texts[1:])} {' and '.join(texts)} once: {DAMAGED}")
            unknown = [token for part, token, _ in template if part == "SpecialToken" and token not in post["special_tokens"]]
            if unknown:
                raise ValueError(f"{path}: post_processor.{name} has the special token {unknown[0]!r}, which its special_tokens lack: {DAMAGED}")
        return templates
    if post["type"] not in ("BertProcessing", "RobertaProcessing"):
        raise refusal(path, "post_processor", post["type"])
    (sep, sep_id), (cls, cls_id) = post["sep"], post["cls"]
    check_ids(path, {sep: [sep_id], cls: [cls_id]}, tokens)
    roberta = post["type"] == "RobertaProcessing"
    second = 0 if roberta else 1
    single = [("SpecialToken", cls, 0), ("Sequence", "A", 0), ("SpecialToken", sep, 0)]
    return [single, [*single, *([("SpecialToken", sep, 0)] if roberta else []), ("Sequence", "B", second), ("SpecialToken", sep, second)]]


def check_ids(path, as_id_list, tokens):
    for name, ids in as_id_list.items():
        if len(ids) != 1 or not 0 <= ids[0] < len(tokens) or tokens[ids[0]] != name:
            raise ValueError(f"{path}: post_processor says that {name!r} has the ids {ids}, which the vocabulary does not"
                             f": {DAMAGED}, or put together from two tokenizers")


# The neighbours

def agree_with_configuration(path, tokenizer, config):
    """Settings that stand in tokenizer_config.json as well must be the same there: some classes of transformers go by the one
    file, some by the other."""
    for name, value in tokenizer._settings().items():
        if name in config and config[name] != value:
            raise ValueError(f"{path} and tokenizer_config.json disagree: {name} is {value!r} in the first, {config[name]!r} in the "
                             f"second: make them equal, as the model was trained")


def agree_with_older_files(path, tokenizer):
    """vocab.json and merges.txt, or vocab.txt, where they are: the same tokens with the same ids, the same merges.

    They may lack added tokens, of which they know nothing.
    """
    added = {token.content for token in tokenizer.added_tokens}
    older = path.with_name("vocab.json" if tokenizer.kind == "bpe" else "vocab.txt")
    if older.exists():
        vocabulary, tokens = tokenizer.get_vocab(), (read_vocab_json if tokenizer.kind == "bpe" else read_vocab_txt)(older)
        for token_id, token in enumerate(tokens):
            if vocabulary.get(token) != token_id:
                there = f"{token!r} has the id {token_id} there{place(older, token, key=True)}"
                raise disagreement(path, older, there, vocabulary.get(token, "none"))
        missing = next((token for token in vocabulary if token not in added and vocabulary[token] >= len(tokens)), None)
        if missing is not None:
            raise disagreement(path, older, f"{missing!r} is not there", vocabulary[missing])
    older = path.with_name("merges.txt")
    if tokenizer.kind == "bpe" and older.exists():
        merges = read_merges(older, tokenizer.get_vocab())
        for number, (theirs, ours) in enumerate(zip(merges, tokenizer.merges)):
            if theirs != ours:
                line = " ".join(theirs)
                raise disagreement(path, older, f"merge {number} is {line!r} there{place(older, line)}", " ".join(ours))
        if len(merges) != len(tokenizer.merges):
            raise disagreement(path, older, f"there are {len(merges):,} merges there", f"{len(tokenizer.merges):,}")


def disagreement(path, older, there, here):
    return ValueError(f"{older} and {path.name} disagree: {there}, {here} in {path.name}. One of them was cut short, changed, or "
                      f"comes from another tokenizer: copy or save the tokenizer again")
