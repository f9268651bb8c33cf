"""Tokenizers of other kinds, recognized by their class.

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
# These cut or rewrite a text first, in a way that tokenizer.json cannot describe.
CHANGE_TEXT = {"BertJapanese", "Bertweet", "Phobert", "Smiles"}
REMEDY = ("only plain WordPiece (BertTokenizer) and byte-level BPE (RobertaTokenizer, "
          "GPT2Tokenizer) are supported: choose a model with one of them, or train a tokenizer "
          "and a model of your own (train.py without --init)")


def describe_other_kind(folder):
    """Return why the tokenizer of a folder is not supported and what to do; "" if it may be."""
    config = read_config(folder / "tokenizer_config.json")
    source, name = _tokenizer_class(folder, config)
    kind = name.removesuffix("Fast").removesuffix("Tokenizer")
    if kind in PLAIN:
        return ""
    if "AutoTokenizer" in str(config.get("auto_map")):
        name = name or "AutoTokenizer in auto_map"
        reason = "is Python code of its authors and is not run"
    elif name and (kind in CHANGE_TEXT or not (folder / "tokenizer.json").exists()):
        reason = "may read its files in another way"
    else:
        return ""
    return f"{source}: tokenizer_class is {name!r:.100}, which {reason}; {REMEDY}"


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
