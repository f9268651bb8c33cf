"""Activations, attention maps and contextual vectors show what the model computes."""
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import parity_cases as cases
import pytest
import torch
from reading_models import model_for, saved

from minibert.analysis import attention_maps as maps
from minibert.analysis import contextual_vectors as contexts
from minibert.analysis import plots
from minibert.analysis.activations import Activations, hidden_activations
from minibert.analysis.attention_maps import attention_maps, head_statistics
from minibert.analysis.contextual_vectors import (
    mean_cosine_of_others,
    token_indices,
    word_in_contexts,
)
from minibert.analysis.page import facts as page
from minibert.attention import Attention, attention_biases, attention_fused
from minibert.config import BertConfig
from minibert.finetuning.adapters import add_prefix
from minibert.formats.huggingface import save_pretrained
from tokenizer.encoding import Encoding

TEXTS = ("He broke the record.", "She played the record.")


# Attention weights


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_the_weights_are_those_of_fused_attention(family):
    """weights @ values is the output of the fused kernel, with padding and windows too."""
    torch.manual_seed(0)
    config = BertConfig(family=family, hidden_size=16, num_attention_heads=4, intermediate_size=8,
                        vocab_size=9, local_attention=4, attention_probs_dropout_prob=0.0,
                        hidden_dropout_prob=0.0)
    attention = Attention(config)
    x = torch.randn(3, 11, 16)
    padding_mask = torch.ones(3, 11)
    padding_mask[1, 7:] = 0
    rope = None
    if config.rotary:
        angle = torch.rand(11, 2)
        rope = torch.stack((angle.cos(), angle.sin()))
    biases = attention_biases(config, padding_mask, 11, x.dtype, x.device)
    num_kinds = 2 if family == "modernbert" else 1  # BERT has no local layers
    for mask in biases[:num_kinds]:
        weights = attention.attention_weights(x, mask, rope)
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(3, 4, 11))
        assert not weights[1, :, :7, 7:].any()
        q, k, v, mask = attention.project_qkv(x, mask, rope)
        y = weights @ v  # (B, nh, T, hs)
        torch.testing.assert_close(y, attention_fused(q, k, v, mask))
        projected = attention.out_proj(y.transpose(1, 2).reshape(x.shape))
        torch.testing.assert_close(projected, attention(x, mask, rope))


# hidden_activations


@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert"])
def test_the_vectors_and_weights_of_each_layer_are_recorded(bpe, family):
    model = model_for(bpe, family, layers=3).train()
    activations = hidden_activations(model, bpe, TEXTS[0])
    assert activations.texts == ["<s>", "He", "·broke", "·the", "·record", ".", "</s>"]
    assert activations.vectors.shape == (4, 7, 16)
    assert activations.attention.shape == (3, 2, 7, 7)
    torch.testing.assert_close(activations.attention.sum(dim=-1), torch.ones(3, 2, 7))
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    ids = torch.tensor([bpe.encode(TEXTS[0]).ids])
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(activations.vectors[0], model.bert.embeddings(ids)[0])
        torch.testing.assert_close(activations.vectors[-1], model.bert(ids)[0])


def test_local_attention_is_visible_in_the_weights(bpe):
    """With a window of 4 tokens, the second layer looks two tokens to each side."""
    activations = hidden_activations(model_for(bpe, local_attention=4), bpe, TEXTS[0])
    positions = torch.arange(7)
    is_far = (positions[:, None] - positions).abs() > 2
    assert (activations.attention[0] > 0).all()
    assert not activations.attention[1][:, is_far].any()


def test_the_share_of_a_trained_prefix_is_left_out(bpe):
    model = model_for(bpe).eval()
    add_prefix(model, 3)
    activations = hidden_activations(model, bpe, TEXTS[0])
    assert activations.attention.shape == (2, 2, 7, 7)
    with torch.no_grad():
        x = model.bert.embeddings(torch.tensor([activations.encoding.ids]))
        rope = model.bert.rope_cos_sin(7, x.dtype)[0]
        # (nh, 7, 3 + 7)
        weights = model.bert.blocks[0].attention.attention_weights(x, None, rope)[0]
    torch.testing.assert_close(activations.attention[0], weights[:, :, 3:])


@pytest.mark.parity
@pytest.mark.parametrize("family", cases.FAMILIES)
def test_activations_equal_those_of_transformers(family, tmp_path):
    transformers = pytest.importorskip("transformers")
    model = cases.model(family)
    ids = cases.batch(family)["input_ids"][:1]  # 18 tokens, no padding
    save_pretrained(model, tmp_path)
    auto_model = transformers.AutoModel
    theirs = auto_model.from_pretrained(tmp_path, attn_implementation="eager").eval()
    with torch.no_grad():
        out = theirs(ids, output_hidden_states=True, output_attentions=True)
    tokenizer = SimpleNamespace(
        vocab_size=61,
        pad_token_id=cases.PAD[family],
        encode=lambda text: Encoding(ids[0].tolist(), ["a"] * 18),
        token_text=lambda token: token,
    )
    ours = hidden_activations(model, tokenizer, "")
    torch.testing.assert_close(ours.attention, torch.cat(out.attentions), atol=1e-5, rtol=0)
    hidden_states = torch.cat((*out.hidden_states[:-1], out.last_hidden_state))
    torch.testing.assert_close(ours.vectors, hidden_states, atol=1e-4, rtol=0)


# Attention maps


def test_head_statistics_worked_by_hand():
    looks_back = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    assert head_statistics(looks_back) == {
        "itself": 0.3333, "previous": 1.0, "next": 0.0, "first": 0.6667, "last": 0.0, "spread": 1.0
    }
    assert head_statistics(torch.full((4, 4), 0.25))["spread"] == 4.0


def test_a_map_is_the_mean_of_a_layer_or_one_of_its_heads(bpe):
    model = model_for(bpe)
    layers = attention_maps(model, bpe, TEXTS[0])["maps"]
    heads = attention_maps(model, bpe, TEXTS[0], layer=2)["maps"]
    assert [one["name"] for one in layers] == ["layer 1", "layer 2"]
    assert [one["name"] for one in heads] == ["head 1", "head 2"]
    mean = torch.tensor([one["weights"] for one in heads]).mean(dim=0)
    torch.testing.assert_close(torch.tensor(layers[1]["weights"]), mean, atol=2e-6, rtol=0)
    with pytest.raises(ValueError, match="layer 3: the model has layers 1 to 2"):
        attention_maps(model, bpe, TEXTS[0], layer=3)


# Contextual vectors


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_a_word_is_found_as_a_whole_word_in_any_case(kind, request):
    text = "Recordings? The Record, the record."
    encoding = request.getfixturevalue(kind).encode(text)
    indices = token_indices("record", text, encoding)
    start = encoding.offsets[indices[0]][0]
    end = encoding.offsets[indices[-1]][1]
    assert text[start:end].strip() == "Record"


@pytest.mark.parametrize("word", ["recor", " "])
def test_a_missing_word_is_rejected(bpe, word):
    with pytest.raises(ValueError, match="is not in the text"):
        token_indices(word, TEXTS[0], bpe.encode(TEXTS[0]))


def test_the_vectors_of_a_word_separate_only_if_the_contexts_differ(bpe):
    result = word_in_contexts(model_for(bpe, "bert"), bpe, "record", *TEXTS)
    assert result["tokens"] == [["·record"]] * 2
    assert [layer["layer"] for layer in result["layers"]] == [0, 1, 2]
    assert result["layers"][0]["cosine"] == 1
    assert result["layers"][2]["cosine"] < 0.999
    same = word_in_contexts(model_for(bpe), bpe, "record", TEXTS[0], TEXTS[0])
    assert [layer["cosine"] for layer in same["layers"]] == [1, 1, 1]


def test_the_vector_of_a_word_of_several_tokens_is_their_mean(bpe):
    model = model_for(bpe, "bert")
    texts = ("He broke records.", "A records tree.")
    means = []
    for text in texts:
        activations = hidden_activations(model, bpe, text)
        indices = token_indices("records", text, activations.encoding)
        assert len(indices) > 1
        means.append(activations.vectors[2, indices].mean(0))
    a, b = means
    result = word_in_contexts(model, bpe, "records", *texts)
    expected = (a @ b / a.norm() / b.norm()).item()
    assert result["layers"][2]["cosine"] == pytest.approx(expected, abs=1e-6)


def test_the_mean_cosine_of_different_words_worked_by_hand(bpe):
    """Of the four pairs of "The tree" and "The dog", three are of different words."""
    tree = bpe.encode("The tree")
    dog = bpe.encode("The dog")
    special = [0.0, 0.0]
    a = torch.tensor([[special, [1, 0], [3, 4], special]])
    b = torch.tensor([[special, [9, 0], [0, 2], special]])
    # The-dog: right angle; tree-The: 3/5; tree-dog: 4/5
    mean = mean_cosine_of_others(Activations(tree, [], a, None), Activations(dog, [], b, None))
    assert mean == pytest.approx([(0 + 0.6 + 0.8) / 3], abs=1e-6)
    the = Activations(bpe.encode("The"), [], a[:, :3], None)
    assert mean_cosine_of_others(the, the) == [None]


# The commands


@pytest.fixture(scope="module")
def run(bpe, tmp_path_factory):
    return str(saved(tmp_path_factory.mktemp("run"), model_for(bpe), bpe))


def test_the_attention_command_prints_a_table_or_json(run, capsys):
    maps.main([run, TEXTS[0]])
    tokens, _, *table = capsys.readouterr().out.splitlines()
    assert tokens.startswith("7 tokens: ")
    assert [line[:7] for line in table[1:]] == ["layer 1", "layer 2"]
    maps.main([run, TEXTS[0], "--layer", "1", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert result["tokens"][4] == "·record"
    row_sums = [sum(row) for row in result["maps"][1]["weights"]]
    assert row_sums == pytest.approx([1] * 7, abs=1e-5)


def test_the_contexts_command_prints_a_table_or_json(run, capsys):
    contexts.main([run, "record", *TEXTS])
    header, first, *rest = capsys.readouterr().out.splitlines()
    assert header.split() == ["layer", "record", "other", "words"]
    assert first.split()[:2] == ["0", "1.0000"]
    assert len(rest) == 2
    contexts.main([run, "record", *TEXTS, "--json"])
    assert json.loads(capsys.readouterr().out)["contexts"] == list(TEXTS)


def test_maps_are_plotted(run, tmp_path):
    pytest.importorskip("matplotlib")
    maps.main([run, "a $x_$ b", "--out", str(tmp_path / "new folder/a.svg")])
    assert b"</svg>" in (tmp_path / "new folder/a.svg").read_bytes()
    with pytest.raises(ValueError, match="a.foo: not the name of a picture"):
        maps.main([run, TEXTS[0], "--out", "a.foo"])


COMMANDS = [(maps.main, [TEXTS[0]]), (plots.main, [])]


@pytest.mark.parametrize("main, words", [*COMMANDS, (page.main, [])])
def test_what_out_names_is_only_replaced_on_request(run, tmp_path, main, words):
    pytest.importorskip("matplotlib")
    (Path(run) / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1}\n')
    out = tmp_path / "a.svg"
    out.write_text("old")
    with pytest.raises(ValueError, match="a.svg already exists: add --overwrite to replace it"):
        main([run, *words, "--out", str(out)])
    assert out.read_text() == "old"
    main([run, *words, "--out", str(out), "--overwrite"])
    assert "</svg>" in out.read_text()


@pytest.mark.parametrize("main, name", [(plots.main, "loss.png"), (page.main, "page.html")])
def test_what_belongs_to_a_run_is_drawn_again(run, main, name):
    pytest.importorskip("matplotlib")
    (Path(run) / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1}\n')
    for _ in range(2):
        (Path(run) / name).write_text("old")
        main([run])
        assert (Path(run) / name).stat().st_size > 100


@pytest.mark.parametrize("main, words", COMMANDS)
def test_without_matplotlib_the_error_gives_a_remedy(run, monkeypatch, main, words):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ValueError, match="plots need matplotlib: pip install"):
        main([run, *words, "--out", "a.png"])
