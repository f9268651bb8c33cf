"""Models on disk: they are loaded as saved, in the ecosystem's layout; other files are refused."""
import json

import pytest
import torch

from minibert import config, model
from minibert.config import FAMILIES, BertConfig
from minibert.formats import safetensors
from minibert.formats.huggingface import from_pretrained, hf_names, save_pretrained
from minibert.formats.huggingface_config import HF_ACTIVATIONS, config_from_json
from minibert.heads import BertForPreTraining
from minibert.model import BertForMaskedLM, BertModel


def make(family="bert", cls=BertForMaskedLM, **changes):
    sizes = dict(vocab_size=40, hidden_size=16, num_hidden_layers=3, num_attention_heads=2,
                 intermediate_size=24, max_position_embeddings=12,
                 type_vocab_size={"bert": 2, "roberta": 1, "modernbert": 0}[family])
    return cls(BertConfig(family=family, **sizes | changes)).eval()


def assert_same_model(model, other):
    assert type(model) is type(other) and model.config == other.config
    state, other_state = model.state_dict(), other.state_dict()
    assert list(state) == list(other_state)
    assert all(torch.equal(state[name], other_state[name]) for name in state)


def change_config(folder, **changes):
    values = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(values))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("cls", [BertForMaskedLM, BertModel])
def test_a_model_is_loaded_as_it_was_saved(family, cls, tmp_path):
    model = make(family, cls, hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.3,
                 layer_norm_eps=1e-6, pad_token_id=1)
    save_pretrained(model, tmp_path)
    rng_state = torch.get_rng_state()
    loaded = from_pretrained(tmp_path)
    assert torch.equal(rng_state, torch.get_rng_state())  # loading draws no random numbers
    assert_same_model(loaded, model)
    assert not loaded.training and all(p.requires_grad for p in loaded.parameters())
    ids = torch.tensor([[5, 6, 7]])
    one, other = (m(ids) if cls is BertModel else m(ids).logits for m in (model, loaded))
    assert torch.equal(one, other)


@pytest.mark.parametrize("model", [
    make(cls=BertForPreTraining), BertModel(make().config, pooler=True),
    make("modernbert", global_attn_every_n_layers=1),
    make("modernbert", global_attn_every_n_layers=2, local_attention=8),
    make("modernbert", global_rope_theta=500.0, local_rope_theta=7.0)])
def test_heads_and_attention_patterns_are_saved(model, tmp_path):
    save_pretrained(model, tmp_path)
    assert_same_model(from_pretrained(tmp_path), model)


def test_every_activation_has_a_function_and_a_hugging_face_name():
    assert set(model.ACTIVATIONS) == set(config.ACTIVATIONS) == set(HF_ACTIVATIONS)


@pytest.mark.parametrize("name, activation", [
    ("gelu", "gelu"), ("gelu_new", "gelu_tanh"), ("gelu_pytorch_tanh", "gelu_tanh"),
    ("swish", "silu"), ("silu", "silu"), ("relu", "relu")])
def test_the_names_of_activations(name, activation):
    assert config_from_json(BERT | {"hidden_act": name}).activation == activation
    head = {"hidden_activation": name, "classifier_activation": name}
    assert config_from_json(MODERNBERT | head).activation == activation


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("cls", [BertForMaskedLM, BertModel])
def test_a_model_without_segments_is_saved_with_zeros_for_them(family, cls, tmp_path):
    model = make(family, cls, type_vocab_size=0)
    save_pretrained(model, tmp_path)
    prefix = "" if cls is BertModel else family + "."
    tensors = safetensors.read(tmp_path / "model.safetensors")
    zeros = tensors[prefix + "embeddings.token_type_embeddings.weight"]
    assert zeros.shape == (1, 16) and not zeros.any()
    assert json.loads((tmp_path / "config.json").read_text())["type_vocab_size"] == 1
    assert_same_model(from_pretrained(tmp_path), model)


@pytest.mark.parametrize("name, family, expected", [
    ("bert.blocks.0.attention.qkv.weight", "roberta",
     [f"roberta.encoder.layer.0.attention.self.{part}.weight"
      for part in ("query", "key", "value")]),
    ("bert.blocks.11.attention.qkv.weight", "modernbert", ["model.layers.11.attn.Wqkv.weight"]),
    ("head.bias", "bert", ["cls.predictions.bias"])])
def test_names_of_tensors(name, family, expected):
    assert hf_names(name, family) == expected


def test_the_names_of_an_encoder_have_no_prefix():
    assert hf_names("pooler.weight", "bert", encoder_only=True) == ["pooler.dense.weight"]


def test_the_files_of_a_saved_model(tmp_path):
    model = make()
    save_pretrained(model, tmp_path)
    tensors = safetensors.read(tmp_path / "model.safetensors")
    query = tensors["bert.encoder.layer.1.attention.self.query.weight"]
    assert torch.equal(query, model.bert.blocks[1].attention.qkv.weight[:16])
    assert sum(tensor.numel() for tensor in tensors.values()) == model.num_parameters()
    values = json.loads((tmp_path / "config.json").read_text())
    assert values["model_type"] == "bert" and values["hidden_act"] == "gelu"
    assert values["architectures"] == ["BertForMaskedLM"]


def test_half_precision_weights_are_loaded_as_float32(tmp_path):
    model = make()
    save_pretrained(model, tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = safetensors.read(path)
    safetensors.write({name: tensor.bfloat16() for name, tensor in tensors.items()}, path)
    loaded = from_pretrained(tmp_path)
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    assert (loaded.head.dense.weight - model.head.dense.weight).abs().max() < 1e-3


def test_old_files_load_with_their_spellings_and_copies(tmp_path):
    model = make()
    save_pretrained(model, tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = safetensors.read(path)
    old = {name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): tensor
           for name, tensor in tensors.items()}
    old["bert.embeddings.position_ids"] = torch.arange(12)[None]
    old["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"]
    old["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"]
    old["bert.pooler.dense.weight"] = torch.zeros(16, 16)
    safetensors.write(old, path)
    assert_same_model(from_pretrained(tmp_path), model)
    old["cls.predictions.decoder.weight"] = torch.ones(40, 16)
    safetensors.write(old, path)
    with pytest.raises(ValueError, match="decoder.weight differs from the token embeddings"):
        from_pretrained(tmp_path)


def test_a_modernbert_config_of_transformers_4_loads(tmp_path):
    """Version 4 has no layer_types and rope_parameters."""
    model = make("modernbert", global_attn_every_n_layers=2, global_rope_theta=500.0)
    save_pretrained(model, tmp_path)
    change_config(tmp_path, layer_types=None, rope_parameters=None)
    assert from_pretrained(tmp_path).config == model.config


# As published: a BERT of 2020, which relies on defaults, RoBERTa-base and ModernBERT-base.
# The numbers of parameters are those of transformers.
BASE = dict(hidden_size=768, num_attention_heads=12, initializer_range=0.02)
BERT = BASE | dict(
    model_type="bert", hidden_act="gelu", vocab_size=30522, type_vocab_size=2,
    max_position_embeddings=512, num_hidden_layers=12, intermediate_size=3072,
    hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
ROBERTA = BERT | dict(
    model_type="roberta", architectures=["RobertaForMaskedLM"], vocab_size=50265,
    type_vocab_size=1, max_position_embeddings=514, layer_norm_eps=1e-5, pad_token_id=1,
    bos_token_id=0, eos_token_id=2)
MODERNBERT = BASE | dict(
    model_type="modernbert", architectures=["ModernBertForMaskedLM"], attention_bias=False,
    attention_dropout=0.0, bos_token_id=50281, classifier_activation="gelu", classifier_bias=False,
    classifier_dropout=0.0, classifier_pooling="mean", cls_token_id=50281, decoder_bias=True,
    embedding_dropout=0.0, eos_token_id=50282, global_attn_every_n_layers=3,
    global_rope_theta=160000.0, hidden_activation="gelu", intermediate_size=1152,
    layer_norm_eps=1e-5, local_attention=128, local_rope_theta=10000.0,
    max_position_embeddings=8192, mlp_bias=False, mlp_dropout=0.0, norm_bias=False, norm_eps=1e-5,
    num_hidden_layers=22, pad_token_id=50283, position_embedding_type="sans_pos",
    sep_token_id=50282, tie_word_embeddings=True, vocab_size=50368)


@pytest.mark.parametrize("values, num_parameters", [
    (BERT, 109_514_298), (ROBERTA, 124_697_433), (MODERNBERT, 149_655_232)], ids=FAMILIES)
def test_published_configs_give_models_of_their_size(values, num_parameters):
    with torch.device("meta"):
        model = BertForMaskedLM(config_from_json(values))
    assert model.num_parameters() == num_parameters


# Files that do not fit


def test_all_tensors_that_do_not_fit_are_listed(tmp_path):
    save_pretrained(make(), tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = safetensors.read(path)
    del tensors["bert.encoder.layer.0.attention.self.key.weight"]
    tensors["cls.predictions.bias"] = torch.zeros(41)
    tensors["bert.encoder.layer.9.output.dense.bias"] = torch.zeros(16)
    safetensors.write(tensors, path)
    with pytest.raises(ValueError) as error:
        from_pretrained(tmp_path)
    for part in ("3 tensors", "layer.0.attention.self.key.weight is missing",
                 "cls.predictions.bias has the shape (41,), config.json says (40,)",
                 "layer.9.output.dense.bias is not a part"):
        assert part in str(error.value)


@pytest.mark.parametrize("change, message", [
    ({"model_type": "mpnet"}, "model_type is 'mpnet', but must be one of bert, roberta, "),
    ({"position_embedding_type": "relative_key"}, "'relative_key' .only 'absolute'"),
    ({"is_decoder": True}, "'BertForMaskedLM' of a causal model .is_decoder. is not supported"),
    ({"hidden_act": "mish"}, "hidden_act is 'mish', but must be one of gelu, "),
    ({"hidden_size": None}, "hidden_size missing"),
    ({"hidden_size": 17}, "config.json: hidden_size 17 is not a multiple of num_attention_heads 2"),
    ({"hidden_size": "16"}, "hidden_size is '16', a value of the wrong type: .* of type int"),
    ({"layer_norm_eps": -1}, "layer_norm_eps is -1: it must be positive"),
    ({"architectures": ["BertForMultipleChoice"]}, "BertForMultipleChoice"),
    ({"architectures": "BertLMHeadModel"}, "architecture 'BertLMHeadModel' is not supported"),
    ({"architectures": {"a": []}}, "architecture {'a': ..} is not supported"),
    ({"hidden_size": 10**6}, "tensors do not fit"),  # no memory was allocated for it
    ({"num_hidden_layers": 4}, "layer.3.*is missing"),
])
def test_a_config_that_does_not_fit_is_refused(change, message, tmp_path):
    save_pretrained(make(), tmp_path)
    change_config(tmp_path, **change)
    with pytest.raises(ValueError, match=message) as error:
        from_pretrained(tmp_path)
    assert len(str(error.value)) < 800


@pytest.mark.parametrize("change, message", [
    ({"num_hidden_layers": 4}, "layer_types do not have 'full_attention' in every n-th of 4"),
    ({"layer_types": ["sliding_attention"] * 3}, "layer_types do not have 'full_attention'"),
    ({"classifier_activation": "relu"}, "hidden_activation and classifier_activation must be"),
    ({"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}, "rope_type 'yarn'"),
])
def test_a_variant_of_modernbert_is_refused(change, message):
    layer_types = ["full_attention", "sliding_attention", "sliding_attention"]
    values = MODERNBERT | {"num_hidden_layers": 3, "layer_types": layer_types}
    with pytest.raises(ValueError, match=message):
        config_from_json(values | change)


def test_damaged_folders_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: .*no such folder"):
        from_pretrained(tmp_path / "nowhere")
    save_pretrained(make(), tmp_path)
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[:-1000])
    with pytest.raises(ValueError, match="model.safetensors.*truncated"):
        from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ValueError, match="config.json"):
        from_pretrained(tmp_path)


def test_a_tokenizer_that_does_not_fit_is_refused_before_anything_is_written(tmp_path):
    class Tokenizer:
        vocab_size, pad_token_id = 41, 0

    with pytest.raises(ValueError, match="tokenizer has 41 ids, model was built for 40"):
        save_pretrained(make(), tmp_path / "out", Tokenizer())
    assert not (tmp_path / "out").exists()
