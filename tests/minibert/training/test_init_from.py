"""Going on from a model that is there: which of its weights are taken, what stays fresh, and what is refused before anything is prepared."""
import copy
from dataclasses import replace

import pytest
import torch

from minibert.config import FAMILIES, BertConfig, TrainConfig
from minibert.formats import safetensors
from minibert.formats.huggingface import load_config, save_pretrained
from minibert.heads import BertForPreTraining, BertForSequenceClassification
from minibert.model import BertForMaskedLM, BertModel
from minibert.training.init_from import init_config, load_initial_weights
from tokenizer import ByteLevelBPE, WordPiece

TEXTS = ["the cat sees a dog and the dog sees a cat"] * 3


@pytest.fixture(scope="module", params=FAMILIES)
def parts(request):
    """(a small config, a tokenizer that fits)"""
    train = WordPiece.train_from_iterator if request.param == "bert" else ByteLevelBPE.train_from_iterator
    tokenizer = train(TEXTS, 280, show_progress=False)
    return BertConfig(family=request.param, vocab_size=tokenizer.vocab_size, pad_token_id=tokenizer.pad_token_id, hidden_size=16, num_hidden_layers=2,
                      num_attention_heads=2, intermediate_size=24, max_position_embeddings=34, initializer_range=0.3), tokenizer


def saved(model, tokenizer, folder):
    """A model in ``folder`` in which nothing is zero or one, as biases and norms of fresh ones are."""
    torch.manual_seed(1)
    for p in model.parameters():
        p.data += 0.1 * torch.randn_like(p)
    save_pretrained(model, folder, tokenizer)
    return model


def taken(started, source):
    """The names of the weights that are the source's."""
    there = source.state_dict()
    return {name for name, value in started.state_dict().items() if name in there and torch.equal(value, there[name])}


@pytest.mark.parametrize("cls", [BertForMaskedLM, BertForPreTraining])
def test_of_a_model_that_fills_masks_everything_is_taken(parts, tmp_path, cls):
    config, tokenizer = parts
    if cls is BertForPreTraining and config.family != "bert":
        return
    source, started = saved(cls(config), tokenizer, tmp_path), cls(config)
    assert load_initial_weights(tmp_path, started) == str(tmp_path)
    assert taken(started, source) == set(started.state_dict())


def test_an_encoder_alone_gets_a_fresh_head(parts, tmp_path):
    config, tokenizer = parts
    source, started = saved(BertModel(config, pooler=config.family == "bert"), tokenizer, tmp_path), BertForMaskedLM(config)
    fresh = copy.deepcopy(started.head)
    said = load_initial_weights(tmp_path, started)
    assert said == f"{tmp_path}; fresh: the MLM head" + "; not used: bert.pooler.dense" * (config.family == "bert")
    assert taken(started.bert, source) == set(started.bert.state_dict()) and taken(started.head, fresh) == set(fresh.state_dict())


def test_a_classifier_is_left_behind(parts, tmp_path):
    """ModernBERT's has layers of the head that filled masks: these are taken, its bias over the vocabulary is fresh."""
    config, tokenizer = parts
    source, started = saved(BertForSequenceClassification(config, ("bad", "good")), tokenizer, tmp_path), BertForMaskedLM(config)
    said = load_initial_weights(tmp_path, started)
    unused = {"bert": "bert.pooler.dense, classifier", "roberta": "classifier.dense, classifier.out_proj", "modernbert": "classifier"}
    part = "a part of " * (config.family == "modernbert")
    assert said == f"{tmp_path}; fresh: {part}the MLM head; not used: {unused[config.family]}"
    assert taken(started.bert, source.bert) == set(started.bert.state_dict())
    if config.family == "modernbert":
        assert torch.equal(started.head.dense.weight, source.dense.weight) and not started.head.bias.any()


def test_copies_that_old_files_hold_are_no_news(tmp_path):
    tokenizer = WordPiece.train_from_iterator(TEXTS, 280, show_progress=False)
    config = BertConfig(vocab_size=tokenizer.vocab_size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24)
    saved(BertForMaskedLM(config), tokenizer, tmp_path)
    tensors = safetensors.read(tmp_path / "model.safetensors")
    copies = {"bert.embeddings.position_ids": torch.arange(512)[None], "cls.predictions.decoder.bias": tensors["cls.predictions.bias"],
              "cls.predictions.decoder.weight": tensors["bert.embeddings.word_embeddings.weight"]}
    safetensors.write(tensors | copies, tmp_path / "model.safetensors")
    assert load_initial_weights(tmp_path, BertForMaskedLM(config)) == str(tmp_path)


def test_pairs_add_what_the_folder_lacks(tmp_path):
    tokenizer = WordPiece.train_from_iterator(TEXTS, 280, show_progress=False)
    config = BertConfig(vocab_size=tokenizer.vocab_size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24)
    source, started = saved(BertForMaskedLM(config), tokenizer, tmp_path), BertForPreTraining(config)
    assert load_initial_weights(tmp_path, started).endswith("fresh: the pooler, the next-sentence head")
    assert taken(started, source) == set(source.state_dict())


def test_the_configuration_is_the_folders_and_the_training_plain(parts, tmp_path):
    config, tokenizer = parts
    saved(BertForMaskedLM(config), tokenizer, tmp_path)
    model, train = init_config(tmp_path, {"batch_size": 3, "hidden_size": 16, "hidden_dropout_prob": 0.2})
    assert model == load_config(tmp_path) == replace(config, type_vocab_size=model.type_vocab_size)  # of which a modernbert has none
    assert train == TrainConfig(tokenizer=str(tmp_path), tokenizer_kind=tokenizer.kind,
                                max_length=33 - tokenizer.pad_token_id if config.family == "roberta" else 34)


def test_every_flag_that_says_otherwise_is_refused_with_both_values(parts, tmp_path):
    config, tokenizer = parts
    saved(BertForMaskedLM(config), tokenizer, tmp_path)
    other = "wordpiece" if tokenizer.kind == "bpe" else "bpe"
    with pytest.raises(ValueError) as error:
        init_config(tmp_path, {"hidden_size": 32, "num_hidden_layers": 2, "tokenizer": "elsewhere", "tokenizer_kind": other, "min_frequency": 3,
                                 "max_length": 8})
    assert str(error.value) == (f"--init {tmp_path} is another model: hidden_size: 16 in the folder, 32 now; tokenizer: {tmp_path} in the folder, "
                                f"elsewhere now; tokenizer_kind: {tokenizer.kind} in the folder, {other} now; "
                                "min_frequency: as it was trained in the folder, 3 now. Leave these flags out")
    with pytest.raises(ValueError, match=f"another model: max_length: at most {load_config(tmp_path).max_length} in the folder, 35 now. Leave"):
        init_config(tmp_path, {"max_length": 35})


def test_a_folder_whose_files_do_not_fit_each_other_is_refused_at_once(parts, tmp_path):
    config, tokenizer = parts
    saved(BertForMaskedLM(config), tokenizer, tmp_path)
    tensors = safetensors.read(tmp_path / "model.safetensors")
    first, head = (next(name for name in tensors if part in name) for part in ("0.", "head.dense" if config.family != "bert" else "transform.dense"))
    safetensors.write({name: tensor for name, tensor in tensors.items() if name != first} | {head: torch.zeros(2, 2)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="2 tensors do not fit") as error:
        init_config(tmp_path, {})
    assert f"{first} is missing" in str(error.value) and f"{head} has the shape (2, 2)" in str(error.value)
    save_pretrained(BertForMaskedLM(replace(config, vocab_size=config.vocab_size + 1)), tmp_path)
    with pytest.raises(ValueError, match="tokenizer has .* ids, model was built for"):
        init_config(tmp_path, {})
