"""Tokenizers of other kinds are refused by name; plain ones load whatever their class is called."""
import json

import pytest
from format_helpers import bpe, only_tokenizer_json, wordpiece

from tokenizer import load_tokenizer

PIECES = "[PAD] [UNK] [CLS] [SEP] [MASK] ta ##b t a b C ( = O ) N l 東 京".split()


def write(path, values):
    path.write_text(json.dumps(values), encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("file", ["tokenizer_config.json", "config.json"])
@pytest.mark.parametrize("name", [
    "BertJapaneseTokenizer", "BertweetTokenizer", "PhobertTokenizer", "SmilesTokenizer",
    "CamembertTokenizer", "XLMRobertaTokenizerFast", "AlbertTokenizer", "EsmTokenizer",
    "CanineTokenizer", "TapasTokenizer", "MyOwnTokenizer"])
def test_another_class_is_refused_by_its_name(folder, file, name):
    write(folder / file, {"tokenizer_class": name, "do_lower_case": False})
    with pytest.raises(ValueError, match=f"{file}: tokenizer_class is '{name}'.*choose a model"):
        load_tokenizer(folder)


@pytest.mark.parametrize("name", [
    "BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", "ElectraTokenizerFast",
    "PreTrainedTokenizerFast", "TokenizersBackend", "DPRReaderTokenizer"])
def test_a_class_that_reads_vocab_txt_as_bert_does_is_loaded(folder, name):
    write(folder / "config.json", {"tokenizer_class": name})
    assert load_tokenizer(folder).encode("tab").tokens == ["[CLS]", "ta", "##b", "[SEP]"]


def test_the_class_of_tokenizer_config_comes_before_that_of_the_model(folder):
    write(folder / "config.json", {"tokenizer_class": "BertJapaneseTokenizer"})
    write(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer"})
    assert load_tokenizer(folder).kind == "wordpiece"


@pytest.mark.parametrize("name", ["RobertaTokenizer", "GPT2Tokenizer", "LongformerTokenizerFast"])
def test_classes_of_byte_level_bpe_are_loaded(tmp_path, name):
    bpe().save(tmp_path)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / file).unlink()
    write(tmp_path / "tokenizer_config.json", {"tokenizer_class": name})
    assert load_tokenizer(tmp_path).kind == "bpe"


def test_merges_of_another_class_are_refused(tmp_path):
    bpe().save(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    write(tmp_path / "tokenizer_config.json", {"tokenizer_class": "CLIPTokenizer"})
    with pytest.raises(ValueError, match="'CLIPTokenizer', which may read its files in another"):
        load_tokenizer(tmp_path)


def test_tokenizer_json_describes_a_class_of_any_name_but_not_python_code(tmp_path):
    only_tokenizer_json(wordpiece(), tmp_path)
    config = {"tokenizer_class": "MPNetTokenizer"}
    for config["auto_map"] in (5, {"AutoModel": "modeling_mpnet.MPNetModel"}):
        write(tmp_path / "tokenizer_config.json", config)
        assert load_tokenizer(tmp_path).kind == "wordpiece"
    config["auto_map"] = {"AutoTokenizer": ["tokenization_mpnet.MPNetTokenizer", None]}
    write(tmp_path / "tokenizer_config.json", config)
    with pytest.raises(ValueError, match="'MPNetTokenizer', which is Python code of its authors"):
        load_tokenizer(tmp_path)
    write(tmp_path / "tokenizer_config.json", {"tokenizer_class": "BertJapaneseTokenizer"})
    with pytest.raises(ValueError, match="'BertJapaneseTokenizer', which may read"):
        load_tokenizer(tmp_path)


def test_a_damaged_config_of_the_model_does_not_matter_to_the_tokenizer(folder):
    (folder / "config.json").write_text("[")
    assert load_tokenizer(folder).kind == "wordpiece"
