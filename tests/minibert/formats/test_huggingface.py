"""Models on disk: what is saved comes back, files are the ecosystem's, and what does not fit is listed."""
import json

import pytest
import torch

from minibert.config import FAMILIES, BertConfig
from minibert.formats import safetensors
from minibert.formats.huggingface import from_pretrained, hf_names, save_pretrained
from minibert.formats.huggingface_config import config_from_json
from minibert.model import BertForMaskedLM, BertForPreTraining, BertModel


def make(family="bert", cls=BertForMaskedLM, **changes):
    sizes = dict(vocab_size=40, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24, max_position_embeddings=12,
                 type_vocab_size={"bert": 2, "roberta": 1, "modernbert": 0}[family])
    return cls(BertConfig(family=family, **{**sizes, **changes})).eval()


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("cls", [BertForMaskedLM, BertModel])
def test_a_model_comes_back_as_it_was(family, cls, tmp_path):
    model = make(family, cls, hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.3, layer_norm_eps=1e-6, pad_token_id=1)
    save_pretrained(model, tmp_path)
    before = torch.get_rng_state()
    back = from_pretrained(tmp_path)
    assert type(back) is cls and back.config == model.config and same(back, model)
    assert not back.training and all(p.requires_grad for p in back.parameters())
    assert torch.equal(before, torch.get_rng_state())  # loading draws no random numbers
    ids = torch.tensor([[5, 6, 7]])
    a, b = (m(ids) if cls is BertModel else m(ids).logits for m in (model, back))
    assert torch.equal(a, b)


def test_window_rhythm_and_bases_of_modernbert_come_back(tmp_path):
    for changes in (dict(global_attn_every_n_layers=1), dict(global_attn_every_n_layers=2, local_attention=8),
                    dict(global_rope_theta=500.0, local_rope_theta=7.0)):
        model = make("modernbert", **changes)
        save_pretrained(model, tmp_path)
        assert from_pretrained(tmp_path).config == model.config


def test_pre_training_and_pooler_come_back(tmp_path):
    for model in (make(cls=BertForPreTraining), BertModel(make().config, pooler=True)):
        save_pretrained(model, tmp_path)
        back = from_pretrained(tmp_path)
        assert type(back) is type(model) and same(back, model)


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("cls", [BertForMaskedLM, BertModel])
def test_a_model_without_segments_is_written_with_zeros_for_them(family, cls, tmp_path):
    """Theirs have one segment type at least; a row of zeros adds nothing."""
    model = make(family, cls, type_vocab_size=0)
    save_pretrained(model, tmp_path)
    prefix = "" if cls is BertModel else family + "."
    zeros = safetensors.read(tmp_path / "model.safetensors")[prefix + "embeddings.token_type_embeddings.weight"]
    assert zeros.shape == (1, 16) and not zeros.any()
    assert json.loads((tmp_path / "config.json").read_text())["type_vocab_size"] == 1
    back = from_pretrained(tmp_path)
    assert back.config == model.config and same(back, model)


def test_names_and_shapes_are_those_of_the_ecosystem(tmp_path):
    assert hf_names("bert.blocks.11.attention_norm.bias", "bert") == ["bert.encoder.layer.11.attention.output.LayerNorm.bias"]
    assert hf_names("bert.blocks.0.attention.qkv.weight", "roberta") == [
        f"roberta.encoder.layer.0.attention.self.{part}.weight" for part in ("query", "key", "value")]
    assert hf_names("bert.blocks.2.attention.qkv.weight", "modernbert") == ["model.layers.2.attn.Wqkv.weight"]
    assert hf_names("head.bias", "bert") == ["cls.predictions.bias"]
    assert hf_names("head.bias", "roberta") == ["lm_head.bias"]
    assert hf_names("head.bias", "modernbert") == ["decoder.bias"]
    assert hf_names("pooler.weight", "bert", encoder_only=True) == ["pooler.dense.weight"]
    with pytest.raises(ValueError, match="modernbert has no tensor for nsp.weight"):
        hf_names("nsp.weight", "modernbert")
    model = make("bert")
    save_pretrained(model, tmp_path)
    tensors = safetensors.read(tmp_path / "model.safetensors")
    query = tensors["bert.encoder.layer.1.attention.self.query.weight"]
    assert torch.equal(query, model.bert.blocks[1].attention.qkv.weight[:16])
    assert sum(t.numel() for t in tensors.values()) == model.num_parameters()
    values = json.loads((tmp_path / "config.json").read_text())
    assert values["model_type"] == "bert" and values["architectures"] == ["BertForMaskedLM"] and values["hidden_act"] == "gelu"


def test_saving_again_replaces_and_leaves_other_files(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for vocab in (40, 50):
        save_pretrained(make(vocab_size=vocab), tmp_path)
    assert from_pretrained(tmp_path).config.vocab_size == 50 and (tmp_path / "notes.txt").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors", "notes.txt"]


def test_half_precision_weights_are_loaded_as_float32(tmp_path):
    model = make()
    save_pretrained(model, tmp_path)
    tensors = safetensors.read(tmp_path / "model.safetensors")
    safetensors.write({name: t.bfloat16() for name, t in tensors.items()}, tmp_path / "model.safetensors")
    back = from_pretrained(tmp_path)
    assert all(p.dtype == torch.float32 for p in back.parameters())
    assert (back.head.dense.weight - model.head.dense.weight).abs().max() < 1e-3


def test_old_files_with_their_copies_and_spellings_load(tmp_path):
    model = make()
    save_pretrained(model, tmp_path)
    tensors = safetensors.read(tmp_path / "model.safetensors")
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t for name, t in tensors.items()}
    old |= {"bert.embeddings.position_ids": torch.arange(12)[None],
            "cls.predictions.decoder.weight": tensors["bert.embeddings.word_embeddings.weight"],
            "cls.predictions.decoder.bias": tensors["cls.predictions.bias"], "bert.pooler.dense.weight": torch.zeros(16, 16)}
    safetensors.write(old, tmp_path / "model.safetensors")
    assert same(from_pretrained(tmp_path), model)
    old["cls.predictions.decoder.weight"] = torch.ones(40, 16)
    safetensors.write(old, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="decoder.weight differs from the token embeddings"):
        from_pretrained(tmp_path)


def test_transformers_4_configs_of_modernbert_load(tmp_path):
    """Before version 5: four plain fields in place of layer_types and rope_parameters."""
    model = make("modernbert", global_attn_every_n_layers=2, global_rope_theta=500.0, local_rope_theta=7.0)
    save_pretrained(model, tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    del values["layer_types"], values["rope_parameters"]
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert from_pretrained(tmp_path).config == model.config


# As published: a BERT of 2020, which leaves much to the defaults; RoBERTa's base; ModernBERT's base. The counts are transformers'.
PUBLISHED = [
    (dict(model_type="bert", hidden_size=768, hidden_act="gelu", initializer_range=0.02, vocab_size=30522, hidden_dropout_prob=0.1,
          num_attention_heads=12, type_vocab_size=2, max_position_embeddings=512, num_hidden_layers=12, intermediate_size=3072,
          attention_probs_dropout_prob=0.1), 109_514_298),
    (dict(model_type="roberta", architectures=["RobertaForMaskedLM"], attention_probs_dropout_prob=0.1, bos_token_id=0, eos_token_id=2,
          hidden_act="gelu", hidden_dropout_prob=0.1, hidden_size=768, initializer_range=0.02, intermediate_size=3072, layer_norm_eps=1e-5,
          max_position_embeddings=514, num_attention_heads=12, num_hidden_layers=12, pad_token_id=1, type_vocab_size=1,
          vocab_size=50265), 124_697_433),
    (dict(model_type="modernbert", architectures=["ModernBertForMaskedLM"], attention_bias=False, attention_dropout=0.0, bos_token_id=50281,
          classifier_activation="gelu", classifier_bias=False, classifier_dropout=0.0, classifier_pooling="mean", cls_token_id=50281,
          decoder_bias=True, deterministic_flash_attn=False, embedding_dropout=0.0, eos_token_id=50282, global_attn_every_n_layers=3,
          global_rope_theta=160000.0, gradient_checkpointing=False, hidden_activation="gelu", hidden_size=768, initializer_cutoff_factor=2.0,
          initializer_range=0.02, intermediate_size=1152, layer_norm_eps=1e-5, local_attention=128, local_rope_theta=10000.0,
          max_position_embeddings=8192, mlp_bias=False, mlp_dropout=0.0, norm_bias=False, norm_eps=1e-5, num_attention_heads=12,
          num_hidden_layers=22, pad_token_id=50283, position_embedding_type="sans_pos", sep_token_id=50282, tie_word_embeddings=True,
          vocab_size=50368), 149_655_232),
]


@pytest.mark.parametrize("values, parameters", PUBLISHED, ids=FAMILIES)
def test_configurations_as_they_are_published_give_models_of_their_size(values, parameters):
    with torch.device("meta"):
        assert BertForMaskedLM(config_from_json(values)).num_parameters() == parameters


# What does not fit


def test_all_tensors_that_do_not_fit_are_listed_together(tmp_path):
    save_pretrained(make(), tmp_path)
    tensors = safetensors.read(tmp_path / "model.safetensors")
    del tensors["bert.encoder.layer.0.attention.self.key.weight"]
    tensors["cls.predictions.bias"] = torch.zeros(41)
    tensors["bert.encoder.layer.9.output.dense.bias"] = torch.zeros(16)
    safetensors.write(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError) as error:
        from_pretrained(tmp_path)
    for part in ("3 tensors", "layer.0.attention.self.key.weight is missing", r"cls.predictions.bias has the shape (41,), config.json says (40,)",
                 "layer.9.output.dense.bias has no place"):
        assert part in str(error.value)


@pytest.mark.parametrize("change, message", [
    ({"model_type": "gpt2"}, "model_type is 'gpt2', but must be one of bert, roberta, modernbert$"),
    ({"model_type": None}, "model_type is None, but must be one of"),
    ({"position_embedding_type": "relative_key"}, "position_embedding_type = 'relative_key' .only 'absolute'"),
    ({"hidden_act": "mish"}, "hidden_act is 'mish', but must be one of gelu, gelu_new, .*, silu$"),
    ({"is_decoder": True}, "is_decoder = True"),
    ({"hidden_size": None}, "hidden_size missing"),
    ({"hidden_size": 17}, "hidden_size 17 is not a multiple of num_attention_heads 2"),
    ({"hidden_size": "16"}, "hidden_size is '16', a value of the wrong type: it must be of type int"),
    ({"hidden_size": 16.0}, "hidden_size is '16.0', a value of the wrong type"),
    ({"hidden_dropout_prob": [0.1]}, "wrong type: it must be of type float"),
    ({"pad_token_id": True}, "pad_token_id is 'True', a value of the wrong type"),
    ({"num_hidden_layers": 10**9}, "num_hidden_layers = 1,000,000,000: larger than any model"),
    ({"hidden_size": 2**60, "vocab_size": 2**40}, "vocab_size = 1,099,511,627,776: larger than any model"),
    ({"num_hidden_layers": float("nan")}, "num_hidden_layers is 'nan', a value of the wrong type"),
    ({"num_hidden_layers": []}, r"num_hidden_layers is '\[\]', a value of the wrong type"),
    ({"layer_norm_eps": -1}, "layer_norm_eps is -1: it must be positive"),
    ({"layer_norm_eps": float("nan")}, "layer_norm_eps is nan: it must be positive"),
    ({"layer_norm_eps": float("inf")}, "layer_norm_eps = inf: larger than any model"),
    ({"layer_norm_eps": 10**400}, "layer_norm_eps = 10,000.*: larger than any model"),
    ({"initializer_range": float("nan")}, "initializer_range is nan: it must be positive"),
    ({"architectures": 5}, "architectures must be a list of names, not 5"),
    ({"architectures": [[1]]}, r"architectures must be a list of names, not \[\[1\]\]"),
    ({"hidden_size": 10**6}, "tensors do not fit"),  # built of shapes alone
    ({"architectures": ["BertForTokenClassification"]}, "BertForTokenClassification"),
    ({"num_hidden_layers": 4}, "layer.3.*is missing"),
])
def test_a_config_that_does_not_fit_is_refused(change, message, tmp_path):
    save_pretrained(make(), tmp_path)
    values = json.loads((tmp_path / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=message):
        from_pretrained(tmp_path)


@pytest.mark.parametrize("change, message", [
    ({"num_hidden_layers": 10**8}, "num_hidden_layers = 100,000,000: larger than any model"),  # at once, not after as many steps
    ({"num_hidden_layers": "x"}, "num_hidden_layers is 'x', a value of the wrong type"),
    ({"num_hidden_layers": 1.5}, "num_hidden_layers is '1.5', a value of the wrong type"),
    ({"num_hidden_layers": 4}, "layer_types must be a list of num_hidden_layers = 4 kinds, not .'full"),
    ({"layer_types": 5}, "layer_types must be a list of num_hidden_layers = 3 kinds, not 5"),
    ({"layer_types": ["full_attention"] * 10**6}, "layer_types must be a list of"),
    ({"local_attention": 10**30}, "local_attention = 1,000,000,.*: larger than any model"),
    ({"rope_parameters": [1]}, "rope_parameters must be an object"),
    ({"rope_parameters": {"full_attention": [1]}}, "rope_parameters must be an object for each kind"),
    ({"rope_parameters": {"full_attention": {"rope_theta": "x"}}}, "global_rope_theta is 'x', a value of the wrong type"),
    ({"rope_parameters": {"full_attention": {"rope_theta": -1.0}}}, "global_rope_theta is -1.0: it must be positive"),
])
def test_a_config_of_modernbert_that_cannot_be_is_one_short_line(change, message):
    values = PUBLISHED[2][0] | {"num_hidden_layers": 3, "layer_types": ["full_attention", "sliding_attention", "sliding_attention"]}
    with pytest.raises(ValueError, match=message) as error:
        config_from_json(values | change)
    assert len(str(error.value)) < 300 and "\n" not in str(error.value)


def test_a_rhythm_of_layers_that_is_not_built_here_is_refused(tmp_path):
    save_pretrained(make("modernbert"), tmp_path)
    path = tmp_path / "config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"layer_types": ["sliding_attention"] * 3}))
    with pytest.raises(ValueError, match="layer_types"):
        from_pretrained(tmp_path)
    values["rope_parameters"]["full_attention"]["rope_type"] = "yarn"
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match="rope_type 'yarn'"):
        from_pretrained(tmp_path)


def test_broken_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="a model is a folder with config.json and model.safetensors"):
        from_pretrained(tmp_path / "nowhere")
    save_pretrained(make(), tmp_path)
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[:-1000])
    with pytest.raises(ValueError, match="model.safetensors.*truncated"):
        from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ValueError, match="config.json: holds a list"):
        from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json: not readable as JSON"):
        from_pretrained(tmp_path)


def test_a_tokenizer_that_does_not_fit_is_refused_before_anything_is_written(tmp_path):
    class Tokenizer:
        vocab_size, pad_token_id = 41, 0

    with pytest.raises(ValueError, match="tokenizer has 41 ids, model was built for 40"):
        save_pretrained(make(), tmp_path / "out", Tokenizer())
    assert not (tmp_path / "out").exists()
