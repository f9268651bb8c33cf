"""--init: which weights a model takes from a folder, and which folders and flags are refused."""
import copy
from dataclasses import replace

import pytest
import torch

from minibert.config import FAMILIES, BertConfig, TrainConfig
from minibert.formats import safetensors
from minibert.formats.huggingface import load_config, save_pretrained
from minibert.formats.run_folder import load_run
from minibert.heads import BertForPreTraining, BertForSequenceClassification
from minibert.model import BertForMaskedLM, BertModel
from minibert.optim import default_rate
from minibert.training.init_from import (
    VOCABULARY_ROWS,
    init_config,
    load_initial_weights,
    with_mean_rows,
)
from tokenizer import ByteLevelBPE, WordPiece, load_tokenizer
from tokenizer.trainers.extend import extend, split_token


def make_small(family):
    """Return (config, tokenizer)."""
    texts = ["the cat sees a dog and the dog sees a cat"] * 3
    kind = WordPiece if family == "bert" else ByteLevelBPE
    tokenizer = kind.train_from_iterator(texts, 280, show_progress=False)
    config = BertConfig(
        family=family, vocab_size=tokenizer.vocab_size, pad_token_id=tokenizer.pad_token_id,
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=34, initializer_range=0.3)
    return config, tokenizer


@pytest.fixture(scope="module", params=FAMILIES)
def small(request):
    return make_small(request.param)


@pytest.fixture(scope="module")
def small_bert():
    return make_small("bert")


def save(model, tokenizer, folder):
    """Save a model whose biases and norm weights are not those of a fresh one."""
    for p in model.parameters():
        p.data += 0.1 * torch.randn_like(p)
    save_pretrained(model, folder, tokenizer)
    return model


def equal_names(model, source):
    """Return the names of the parameters that are the source's."""
    theirs = source.state_dict()
    return {name for name, value in model.state_dict().items()
            if name in theirs and torch.equal(value, theirs[name])}


@pytest.mark.parametrize("model_class", [BertForMaskedLM, BertForPreTraining])
def test_a_model_with_the_same_heads_is_loaded_completely(small_bert, tmp_path, model_class):
    config, tokenizer = small_bert
    source = save(model_class(config), tokenizer, tmp_path)
    model = model_class(config)
    assert load_initial_weights(tmp_path, model, tokenizer) == str(tmp_path)
    assert equal_names(model, source) == set(model.state_dict())


def test_a_bare_encoder_gets_a_fresh_head(small, tmp_path):
    config, tokenizer = small
    source = save(BertModel(config), tokenizer, tmp_path)
    model = BertForMaskedLM(config)
    fresh_head = copy.deepcopy(model.head)
    assert load_initial_weights(tmp_path, model, tokenizer) == f"{tmp_path}; fresh: the MLM head"
    assert equal_names(model.bert, source) == set(source.state_dict())
    assert equal_names(model.head, fresh_head) == set(fresh_head.state_dict())


def test_the_head_of_a_classifier_is_not_used(small, tmp_path):
    """Except ModernBERT's dense layer and norm, which are those of its MLM head."""
    config, tokenizer = small
    source = BertForSequenceClassification(config, ("bad", "good"))
    save(source, tokenizer, tmp_path)
    model = BertForMaskedLM(config)
    expected = {
        "bert": "fresh: the MLM head; not used: bert.pooler.dense, classifier",
        "roberta": "fresh: the MLM head; not used: classifier.dense, classifier.out_proj",
        "modernbert": "fresh: a part of the MLM head; not used: classifier",
    }
    text = load_initial_weights(tmp_path, model, tokenizer)
    assert text == f"{tmp_path}; {expected[config.family]}"
    assert equal_names(model.bert, source.bert) == set(model.bert.state_dict())
    if config.family == "modernbert":
        assert torch.equal(model.head.dense.weight, source.dense.weight)
        assert not model.head.bias.any()


def test_pairs_start_with_a_fresh_pooler_and_next_sentence_head(small_bert, tmp_path):
    config, tokenizer = small_bert
    source = save(BertForMaskedLM(config), tokenizer, tmp_path)
    model = BertForPreTraining(config)
    text = load_initial_weights(tmp_path, model, tokenizer)
    assert text.endswith("fresh: the pooler, the next-sentence head")
    assert equal_names(model, source) == set(source.state_dict())


def test_redundant_tensors_of_old_files_are_not_reported(small_bert, tmp_path):
    config, tokenizer = small_bert
    save(BertForMaskedLM(config), tokenizer, tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = safetensors.read(path)
    tensors |= {
        "bert.embeddings.position_ids": torch.arange(512)[None],
        "cls.predictions.decoder.bias": tensors["cls.predictions.bias"],
        "cls.predictions.decoder.weight": tensors["bert.embeddings.word_embeddings.weight"],
    }
    safetensors.write(tensors, path)
    assert load_initial_weights(tmp_path, BertForMaskedLM(config), tokenizer) == str(tmp_path)


def test_the_model_is_configured_by_the_folder_and_training_by_plain_defaults(small, tmp_path):
    config, tokenizer = small
    save(BertForMaskedLM(config), tokenizer, tmp_path)
    flags = {"batch_size": 3, "hidden_size": 16, "hidden_dropout_prob": 0.2}
    model, train = init_config(tmp_path, flags)
    assert model == load_config(tmp_path)
    # RoBERTa has no positions 0 to pad_token_id.
    max_length = 33 - tokenizer.pad_token_id if config.family == "roberta" else 34
    assert train == TrainConfig(
        tokenizer=str(tmp_path), tokenizer_kind=tokenizer.kind, max_length=max_length,
        relative_rates=True, learning_rate=default_rate(config))


@pytest.mark.parametrize("flags", [{"optimizer": "muon"}, {"relative_rates": False}])
def test_rates_that_are_not_relative_have_the_plain_default(small_bert, tmp_path, flags):
    config, tokenizer = small_bert
    save(BertForMaskedLM(config), tokenizer, tmp_path)
    _, train = init_config(tmp_path, flags)
    assert (train.relative_rates, train.learning_rate) == (False, TrainConfig.learning_rate)


@pytest.mark.parametrize("flags, message", [
    ({"hidden_size": 32, "min_frequency": 3}, "16 in the folder, 32 now; .*, 3 now"),
    ({"tokenizer_kind": "bpe"}, "wordpiece in the folder, bpe now"),
])
def test_flags_that_contradict_the_folder_are_refused(small_bert, tmp_path, flags, message):
    config, tokenizer = small_bert
    save(BertForMaskedLM(config), tokenizer, tmp_path)
    with pytest.raises(ValueError, match=message):
        init_config(tmp_path, flags)


def test_missing_tensors_and_wrong_shapes_are_refused_at_once(small_bert, tmp_path):
    config, tokenizer = small_bert
    save(BertForMaskedLM(config), tokenizer, tmp_path)
    tensors = safetensors.read(tmp_path / "model.safetensors")
    missing = "bert.encoder.layer.0.output.dense.weight"
    wrong = "cls.predictions.transform.dense.weight"
    del tensors[missing]
    tensors[wrong] = torch.zeros(2, 2)
    safetensors.write(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="2 tensors do not fit") as error:
        init_config(tmp_path, {})
    assert f"{missing} is missing" in str(error.value)
    assert f"{wrong} has the shape (2, 2)" in str(error.value)


def extended(tokenizer, folder):
    new = extend(tokenizer, ["dogs see seen cats"] * 3, 3, show_progress=False, workers=1)
    new.save(folder)
    return load_tokenizer(folder)


@pytest.mark.parametrize("padding", [0, 64])
def test_rows_of_new_tokens_are_the_mean_of_those_of_their_pieces(small, tmp_path, padding):
    """Rows without a token, of a padded vocabulary, are used first; all old rows stay."""
    config, tokenizer = small
    config = replace(config, vocab_size=config.vocab_size + padding)
    source = save(BertForMaskedLM(config), tokenizer, tmp_path)
    new = extended(tokenizer, tmp_path / "extended")
    new_config, _ = init_config(tmp_path, {"tokenizer": str(tmp_path / "extended")})
    num_rows = max(config.vocab_size, new.vocab_size)
    assert new_config == replace(load_config(tmp_path), vocab_size=num_rows)
    model = BertForMaskedLM(new_config)
    text = load_initial_weights(tmp_path, model, new)
    assert text == f"{tmp_path}; 3 new tokens start as the mean of their pieces"

    old_rows, rows = (m.bert.embeddings.token.weight for m in (source, model))
    old_bias, bias = source.head.bias, model.head.bias
    num_old = tokenizer.vocab_size
    assert torch.equal(rows[:num_old], old_rows[:num_old])
    assert torch.equal(bias[:num_old], old_bias[:num_old])
    for new_id in range(num_old, new.vocab_size):
        pieces = split_token(tokenizer, new.id_to_token(new_id))
        assert torch.allclose(rows[new_id], old_rows[pieces].sum(0) / len(pieces), atol=1e-6)
        assert torch.allclose(bias[new_id], old_bias[pieces].sum() / len(pieces), atol=1e-6)
    assert torch.equal(rows[new.vocab_size:], old_rows[new.vocab_size:])
    assert equal_names(model, source) >= {name for name in source.state_dict()
                                          if name not in VOCABULARY_ROWS}

    save_pretrained(model, tmp_path / "copy", new)
    again, tokenizer = load_run(tmp_path / "copy")
    assert tokenizer.fingerprint == new.fingerprint
    assert equal_names(again, model) == set(model.state_dict())


def test_the_mean_of_two_rows_by_hand():
    rows = torch.tensor([[0.0, 8.0], [2.0, 2.0], [4.0, 0.0], [9.0, 9.0]])  # the last is padding
    expected = [[0.0, 8.0], [2.0, 2.0], [4.0, 0.0], [3.0, 1.0], [2.0, 10 / 3]]
    assert torch.allclose(with_mean_rows(rows, {3: [1, 2], 4: [0, 1, 2]}), torch.tensor(expected))


def test_a_tokenizer_that_does_not_extend_the_models_own_is_refused(small_bert, tmp_path):
    config, tokenizer = small_bert
    save(BertForMaskedLM(config), tokenizer, tmp_path)
    WordPiece.train_from_iterator(["other words"], 40, show_progress=False).save(tmp_path / "other")
    for folder, message in (("other", "is not that in .* with more entries"),
                            ("missing", "missing: no such folder")):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            init_config(tmp_path, {"tokenizer": str(tmp_path / folder)})
