"""Folders of causal models and encoder-decoders: round trips, and files as others publish them."""
import json

import pytest
import torch
from small_models import make
from test_huggingface import assert_same_model, change_config

from minibert.config import FAMILIES
from minibert.formats import safetensors
from minibert.formats.huggingface import from_pretrained, save_pretrained
from minibert.formats.run_folder import load_run
from minibert.generation.causal import BertForCausalLM
from minibert.generation.command import continue_texts
from minibert.generation.seq2seq import EncoderDecoder
from minibert.generation.t5 import T5, T5Config
from tokenizer import ByteLevelBPE

V1_1 = {"activation": "gelu_tanh", "gated": True, "tied_head": False, "scaled_head": False}


def t5(**options):
    torch.manual_seed(0)
    return T5(T5Config(vocab_size=60, hidden_size=16, head_size=9, intermediate_size=24,
                       num_hidden_layers=2, num_decoder_layers=3, num_attention_heads=2,
                       num_buckets=8, max_distance=20, **options)).eval()


def change_tensors(folder, change):
    tensors = safetensors.read(folder / "model.safetensors")
    safetensors.write(change(tensors), folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("model", [
    make("bert", BertForCausalLM, causal=True, local_attention=128),
    make("roberta", BertForCausalLM, causal=True, local_attention=128),
    make("modernbert", BertForCausalLM, causal=True, type_vocab_size=0),
    make("gpt2", BertForCausalLM, causal=True, local_attention=128, type_vocab_size=0),
    *(make(family, EncoderDecoder) for family in FAMILIES),
    t5(), t5(**V1_1), t5(activation="gelu_tanh", gated=True, scaled_head=False),
], ids=lambda model: f"{model.config.family}-{type(model).__name__}")
def test_a_model_is_loaded_as_it_was_saved(model, tmp_path):
    save_pretrained(model, tmp_path)
    assert_same_model(from_pretrained(tmp_path), model)


@pytest.mark.parametrize("model", [
    make("gpt2", BertForCausalLM, causal=True, local_attention=128, type_vocab_size=0), t5(),
], ids=["gpt2", "t5"])
def test_a_prefix_of_all_names_is_stripped(model, tmp_path):
    save_pretrained(model, tmp_path)
    change_tensors(tmp_path, lambda tensors: {f"module.net.{name}": tensor
                                              for name, tensor in tensors.items()})
    assert_same_model(from_pretrained(tmp_path), model)


def test_gpt2_as_published_loads(tmp_path):
    """Names without a prefix, masks as buffers, n_inner null, no padding id."""
    model = make("gpt2", BertForCausalLM, causal=True, intermediate_size=128,
                 activation="gelu_tanh")
    save_pretrained(model, tmp_path)

    def as_published(tensors):
        buffers = {f"h.{i}.attn.bias": torch.ones(1, 1, 24, 24).tril() for i in range(4)}
        return buffers | {name.removeprefix("transformer."): tensor
                          for name, tensor in tensors.items()}

    change_tensors(tmp_path, as_published)
    values = json.loads((tmp_path / "config.json").read_text())
    for name in ("pad_token_id", "activation_function", "layer_norm_epsilon", "attn_pdrop"):
        del values[name]
    (tmp_path / "config.json").write_text(json.dumps(values | {"n_inner": None,
                                                               "eos_token_id": 59}))
    loaded = from_pretrained(tmp_path)
    assert loaded.config.intermediate_size == 4 * 32
    assert loaded.config.pad_token_id == 59
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        assert (loaded(ids).logits - model(ids).logits).abs().max() < 1e-3  # another epsilon


def gpt2_folder(folder):
    """Return a folder with vocab.json and merges.txt, of which one token is special."""
    trained = ByteLevelBPE.train_from_iterator(["the cat sees a dog"] * 3, 270, show_progress=False,
                                               special_tokens=("<|endoftext|>",))
    model = make("gpt2", BertForCausalLM, causal=True, vocab_size=trained.vocab_size)
    save_pretrained(model, folder)
    trained.save(folder)
    for path in folder.glob("*tokenizer*.json"):
        path.unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "GPT2Tokenizer", "eos_token": "<|endoftext|>",
         "bos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}))
    return model


def test_a_gpt2_tokenizer_needs_no_padding_and_adds_no_tokens(tmp_path):
    gpt2_folder(tmp_path)
    model, tokenizer = load_run(tmp_path)
    assert (tokenizer.pad_token_id, tokenizer.special_tokens) == (None, ("<|endoftext|>",))
    ids = tokenizer.encode("the cat").ids
    assert ids == tokenizer.encode_ids("the cat")
    with torch.no_grad():
        best = model(torch.tensor([ids])).logits[0, -1].argsort(descending=True).tolist()
    expected = tokenizer.decode([*ids, best[0]])[len("the cat"):]
    assert continue_texts(model, tokenizer, ["the cat"], 1, temperature=0) == [expected]


@pytest.mark.parametrize("options", [{}, V1_1], ids=["v1.0", "v1.1"])
def test_t5_as_transformers_4_saves_it_loads(tmp_path, options):
    """Copies of the embeddings, a bias that is not used, and no scale_decoder_outputs."""
    model = t5(**options)
    save_pretrained(model, tmp_path)

    def with_copies(tensors):
        name = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
        tensors[name] = torch.zeros(8, 2)
        tensors["encoder.embed_tokens.weight"] = tensors["shared.weight"]
        tensors["decoder.embed_tokens.weight"] = tensors["shared.weight"]
        if not options:
            tensors["lm_head.weight"] = tensors["shared.weight"]
        return tensors

    change_tensors(tmp_path, with_copies)
    values = json.loads((tmp_path / "config.json").read_text())
    del values["scale_decoder_outputs"]
    (tmp_path / "config.json").write_text(json.dumps(values | {"n_positions": 512}))
    assert values["tie_word_embeddings"] == (not options)
    assert_same_model(from_pretrained(tmp_path), model)


@pytest.mark.parametrize("change, message", [
    ({"feed_forward_proj": "gated-silu"}, "feed_forward_proj 'gated-silu' is not supported"),
    ({"decoder_start_token_id": 3}, "decoder_start_token_id must be pad_token_id"),
    ({"d_kv": "64"}, "head_size is '64', a value of the wrong type"),
    ({"d_ff": 25}, "tensors do not fit"),
    ({"num_layers": 0}, "num_hidden_layers is 0: it must be at least 1"),
    ({"relative_attention_num_buckets": 3}, "num_buckets is 3: it must be at least 4"),
    ({"relative_attention_max_distance": 4}, "max_distance is 4: it must be at least 5"),
    ({"dropout_rate": 1.0}, "hidden_dropout_prob is 1.0"),
    ({"layer_norm_epsilon": -1e-6}, "layer_norm_eps is -1e-06: it must be positive"),
    ({"pad_token_id": 60, "decoder_start_token_id": 60}, "pad_token_id 60 is outside"),
])
def test_a_t5_config_that_does_not_fit_is_refused(tmp_path, change, message):
    save_pretrained(t5(), tmp_path)
    change_config(tmp_path, **change)
    with pytest.raises(ValueError, match=message):
        from_pretrained(tmp_path)


@pytest.mark.parametrize("change, message", [
    ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx = True"),
    ({"add_cross_attention": True}, "add_cross_attention = True"),
    ({"n_embd": None}, "n_embd, n_inner missing"),
])
def test_a_variant_of_gpt2_is_refused(tmp_path, change, message):
    save_pretrained(make("gpt2", BertForCausalLM, causal=True), tmp_path)
    change_config(tmp_path, **change | ({"n_inner": None} if "n_embd" in change else {}))
    with pytest.raises(ValueError, match=message):
        from_pretrained(tmp_path)
