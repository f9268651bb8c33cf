"""Tokenizers of other kinds: recognize them by their class or files, and say what to do.

The same vocab.txt means other ids in another class: BertJapaneseTokenizer first cuts text into
words with MeCab. transformers takes the class from tokenizer_config.json, else from config.json.
"""
from tokenizer.formats.vocab_files import read_config

# Names without "Tokenizer" and "Fast". These add nothing to what their vocabulary files say.
PLAIN = {
    "Bert", "ConvBert", "DistilBert", "DPRContextEncoder", "DPRQuestionEncoder", "DPRReader",
    "Electra", "LayoutLM", "Lxmert", "MobileBert", "RetriBert", "SqueezeBert",  # vocab.txt
    "Bart", "GPT2", "LED", "Longformer", "Roberta",                             # vocab.json
    "PreTrained", "TokenizersBackend",                                          # either
}
SENTENCEPIECE = "a SentencePiece model"
OTHER_KINDS = {
    "BertJapanese": "first cuts text into Japanese words (MeCab) or characters",
    "Bertweet": "rewrites tweets and applies the merges of bpe.codes",
    "Phobert": "needs text in Vietnamese words (VnCoreNLP) and applies the merges of bpe.codes",
    "Smiles": "first cuts molecules into atoms and bonds",
    **dict.fromkeys(("Albert", "BigBird", "Camembert", "DebertaV2", "FNet", "RemBert",
                     "XLMRoberta", "XLNet"), f"reads {SENTENCEPIECE}"),
}
REMEDY = ("only plain WordPiece (BertTokenizer) and byte-level BPE (RobertaTokenizer, "
          "GPT2Tokenizer) are supported: choose a model with one of them, or train a tokenizer "
          "and a model of your own (train.py without --init)")


def describe_other_kind(folder):
    """Return why the tokenizer of a folder is not supported and what to do; "" if it may be."""
    config = read_config(folder / "tokenizer_config.json")
    source, name = _tokenizer_class(folder, config)
    kind = name.removesuffix("Fast").removesuffix("Tokenizer")
    reason = OTHER_KINDS.get(kind)
    if kind not in PLAIN and not reason:
        if "AutoTokenizer" in str(config.get("auto_map")):
            reason = "is Python code of its authors and is not run"
        elif name and not (folder / "tokenizer.json").exists():  # which describes any class
            reason = "may read its files in another way"
    if reason:
        name = name or "AutoTokenizer in auto_map"
        return f"{source}: tokenizer_class is {name!r:.100}, which {reason}; {REMEDY}"
    if name:
        return ""
    if config.get("word_tokenizer_type"):  # in old folders of BertJapaneseTokenizer
        return (f"{source}: word_tokenizer_type is a setting of BertJapaneseTokenizer, which "
                f"{OTHER_KINDS['BertJapanese']}; {REMEDY}")
    return _describe_files(folder)


def _tokenizer_class(folder, config):
    """Return (the file that names the class that transformers loads, the name or "")."""
    if config.get("tokenizer_class"):
        return folder / "tokenizer_config.json", str(config["tokenizer_class"])
    try:
        model_config = read_config(folder / "config.json")
    except (ValueError, OSError):
        model_config = {}  # loading the model reports it
    if model_config.get("tokenizer_class"):
        return folder / "config.json", str(model_config["tokenizer_class"])
    return folder / "tokenizer_config.json", ""


def _describe_files(folder):
    """Return the same for a folder that names no class."""
    if (folder / "tokenizer.json").exists() or (folder / "merges.txt").exists():
        return ""
    if (folder / "bpe.codes").exists():
        return (f"{folder / 'bpe.codes'}: BPE as in BertweetTokenizer and PhobertTokenizer; "
                f"{REMEDY}")
    models = [*folder.glob("*.model"), *folder.glob("*.spm")]
    if models and not (folder / "vocab.txt").exists():
        return f"{models[0]} is {SENTENCEPIECE}; {REMEDY}"
    return ""
