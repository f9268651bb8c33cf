"""What is shown of a model's inside is what happens there."""
import json
import math
import sys
from types import SimpleNamespace

import parity_cases as cases
import pytest
import torch
from reading_models import model_for, saved, tokenizer_of

from minibert.analysis import attention_maps
from minibert.analysis import contextual_vectors as contexts
from minibert.analysis.activations import Activations, hidden_activations
from minibert.analysis.attention_maps import head_statistics
from minibert.analysis.contextual_vectors import mean_of_different, places_of, word_in_contexts
from minibert.analysis.plots import drawn, plot_attention, plot_contexts
from minibert.attention import Attention, attention_fused, attention_masks
from minibert.config import BertConfig
from minibert.finetuning.adapters import add_prefix
from minibert.formats.huggingface import save_pretrained
from tokenizer.encoding import Encoding
from tokenizer.utils import cli

TEXTS = ("He broke the record.", "She played the record.")


@pytest.fixture(scope="module")
def bpe():
    return tokenizer_of()


@pytest.fixture(scope="module")
def wordpiece():
    return tokenizer_of("wordpiece")


# The weights of attention


def test_one_head_by_hand():
    """Two tokens, one head of two numbers; queries are the tokens times sqrt(2) ln 3, keys and values the tokens themselves: so token 0 has
    the scores ln 3 and 0 and takes 3/4 of itself, token 1 likewise, and what comes out are these means."""
    attention = Attention(BertConfig(hidden_size=2, num_attention_heads=1, intermediate_size=2, vocab_size=9)).eval()
    one = torch.eye(2)
    with torch.no_grad():
        attention.qkv.weight.copy_(torch.cat((math.sqrt(2) * math.log(3) * one, one, one)))
        attention.qkv.bias.zero_()
        attention.out_proj.weight.copy_(one)
        attention.out_proj.bias.zero_()
    x = one[None]  # (1, 2, 2)
    right = torch.tensor([[0.75, 0.25], [0.25, 0.75]])
    torch.testing.assert_close(attention.weights(x)[0, 0], right)
    torch.testing.assert_close(attention(x)[0], right)
    hidden = torch.tensor([[[[0.0, -1e9]]]])  # nobody may look at token 1
    torch.testing.assert_close(attention.weights(x, hidden)[0, 0], torch.tensor([[1.0, 0.0], [1.0, 0.0]]))


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_the_weights_shown_are_those_that_the_fast_path_uses(family):
    """Weights times values, through the last layer, is what both ways of computing attention give; padding and windows included."""
    torch.manual_seed(0)
    config = BertConfig(family=family, hidden_size=16, num_attention_heads=4, intermediate_size=8, vocab_size=9, local_attention=4,
                        attention_probs_dropout_prob=0.0, hidden_dropout_prob=0.0)
    attention, x = Attention(config), torch.randn(3, 11, 16)
    padding = torch.ones(3, 11)
    padding[1, 7:] = 0
    rotation = None
    if config.rotary:
        angle = torch.rand(11, 2)
        rotation = torch.stack((angle.cos(), angle.sin()))
    for mask in attention_masks(config, padding, 11, x.dtype, x.device):
        weights = attention.weights(x, mask, rotation)
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(3, 4, 11))
        assert not weights[1, :, :7, 7:].any()
        q, k, v, mask = attention.project_qkv(x, mask, rotation)
        torch.testing.assert_close(weights @ v, attention_fused(q, k, v, mask))
        torch.testing.assert_close(attention.out_proj((weights @ v).transpose(1, 2).reshape(x.shape)), attention(x, mask, rotation))


# A look inside


@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert"])
def test_each_layers_vectors_and_weights_are_kept(bpe, family):
    model = model_for(bpe, family, layers=3).train()
    seen = hidden_activations(model, bpe, TEXTS[0])
    size = len(seen.texts)
    assert seen.vectors.shape == (4, size, 16) and seen.attention.shape == (3, 2, size, size)
    assert model.training and not any(module._forward_hooks for module in model.modules())
    assert seen.texts == ["<s>", "He", "·broke", "·the", "·record", ".", "</s>"]
    ids = torch.tensor([bpe.encode(TEXTS[0]).ids])
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(seen.vectors[0], model.bert.embeddings(ids)[0])
        torch.testing.assert_close(seen.vectors[-1], model.bert(ids)[0])
    torch.testing.assert_close(seen.attention.sum(dim=-1), torch.ones(3, 2, size))


def test_a_window_is_seen_in_the_weights(bpe):
    """ModernBERT's second layer sees two tokens to each side, its first all of them."""
    seen = hidden_activations(model_for(bpe, local_attention=4), bpe, TEXTS[0])
    size = len(seen.texts)
    far = (torch.arange(size)[:, None] - torch.arange(size)).abs() > 2
    assert (seen.attention[0] > 0).all() and not seen.attention[1][:, far].any()


def test_what_a_trained_prefix_takes_is_missing_in_the_rows(bpe):
    model = model_for(bpe).eval()
    add_prefix(model, 3)
    seen = hidden_activations(model, bpe, TEXTS[0])
    assert seen.attention.shape == (2, 2, 7, 7)
    with torch.no_grad():
        x = model.bert.embeddings(torch.tensor([seen.encoding.ids]))
        whole = model.bert.blocks[0].attention.weights(x, None, model.bert.rope_cos_sin(7, x.dtype)[0])[0]  # (nh, 7, 3 + 7)
    torch.testing.assert_close(seen.attention[0], whole[:, :, 3:])
    torch.testing.assert_close(seen.attention[0].sum(-1), 1 - whole[:, :, :3].sum(-1))


def test_what_does_not_fit_is_refused(bpe, wordpiece):
    with pytest.raises(ValueError, match="the model takes max_length 40"):
        hidden_activations(model_for(bpe), bpe, "record " * 60)
    with pytest.raises(ValueError, match="model was built for"):
        hidden_activations(model_for(bpe), wordpiece, "record")


@pytest.mark.parity
@pytest.mark.parametrize("family", cases.FAMILIES)
def test_vectors_and_weights_equal_those_that_transformers_returns(family, tmp_path):
    transformers = pytest.importorskip("transformers")
    model, ids = cases.model(family), cases.batch(family)["input_ids"][:1]  # 18 tokens, none of them padding
    save_pretrained(model, tmp_path)
    theirs = transformers.AutoModel.from_pretrained(tmp_path, attn_implementation="eager").eval()
    with torch.no_grad():
        out = theirs(ids, output_hidden_states=True, output_attentions=True)
    tokenizer = SimpleNamespace(vocab_size=61, pad_token_id=cases.PAD[family], kind="wordpiece", added_tokens=(),
                                encode=lambda text: Encoding(ids[0].tolist(), ["a"] * 18))
    seen = hidden_activations(model, tokenizer, "")
    torch.testing.assert_close(seen.attention, torch.cat(out.attentions), atol=1e-5, rtol=0)
    torch.testing.assert_close(seen.vectors[:-1], torch.cat(out.hidden_states[:-1]), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen.vectors[-1:], out.last_hidden_state, atol=1e-4, rtol=0)


# Maps


def test_habits_by_hand():
    looks_back = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    assert head_statistics(looks_back) == {"itself": 0.3333, "previous": 1.0, "next": 0.0, "first": 0.6667, "last": 0.0, "spread": 1.0}
    assert head_statistics(torch.full((4, 4), 0.25)) == {"itself": 0.25, "previous": 0.25, "next": 0.25, "first": 0.25, "last": 0.25, "spread": 4.0}


def test_maps_are_means_of_layers_or_the_heads_of_one(bpe):
    model = model_for(bpe)
    layers, heads = attention_maps.attention_maps(model, bpe, TEXTS[0])["maps"], attention_maps.attention_maps(model, bpe, TEXTS[0], layer=2)["maps"]
    assert [one["name"] for one in layers] == ["layer 1", "layer 2"] and [one["name"] for one in heads] == ["head 1", "head 2"]
    mean = (torch.tensor(heads[0]["weights"]) + torch.tensor(heads[1]["weights"])) / 2
    torch.testing.assert_close(torch.tensor(layers[1]["weights"]), mean, atol=2e-6, rtol=0)
    with pytest.raises(ValueError, match="layer 3: the model has layers 1 to 2"):
        attention_maps.attention_maps(model, bpe, TEXTS[0], layer=3)
    with pytest.raises(ValueError, match="the text is empty"):
        attention_maps.attention_maps(model, bpe, " ")


# One word in two contexts


def test_a_word_is_found_by_its_place_in_the_text(bpe, wordpiece):
    for tokenizer in (bpe, wordpiece):
        text = "Recordings? The Record, the record."
        encoding = tokenizer.encode(text)
        places = places_of("record", text, encoding)
        assert text[encoding.offsets[places[0]][0] : encoding.offsets[places[-1]][1]].strip() == "Record"
    for word in ("recor", "", " "):
        with pytest.raises(ValueError, match=f'the word "{word}" does not stand in the text "He broke the record."'):
            places_of(word, TEXTS[0], bpe.encode(TEXTS[0]))


def test_before_the_first_layer_a_word_is_the_same_wherever_it_stands(bpe):
    """Without positions added (modernbert), or at the same place; behind the first layer it is not."""
    moved = ("The record.", "She played the record.")
    assert word_in_contexts(model_for(bpe), bpe, "record", *moved)["layers"][0]["cosine"] == 1
    assert word_in_contexts(model_for(bpe, "bert"), bpe, "record", *moved)["layers"][0]["cosine"] < 0.999
    result = word_in_contexts(model_for(bpe, "bert"), bpe, "record", *TEXTS)
    assert [layer["layer"] for layer in result["layers"]] == [0, 1, 2] and result["tokens"] == [["·record"]] * 2
    assert result["layers"][0]["cosine"] == 1 and result["layers"][2]["cosine"] < 0.999
    same = word_in_contexts(model_for(bpe), bpe, "record", TEXTS[0], TEXTS[0])
    assert [layer["cosine"] for layer in same["layers"]] == [1, 1, 1]


def test_the_vector_of_a_word_of_several_tokens_is_their_mean(bpe):
    model, texts = model_for(bpe, "bert"), ("He broke records.", "A records tree.")
    seen = [hidden_activations(model, bpe, text) for text in texts]
    places = [places_of("records", text, one.encoding) for text, one in zip(texts, seen)]
    assert len(places[0]) > 1
    a, b = (one.vectors[2, some].mean(0) for one, some in zip(seen, places))
    result = word_in_contexts(model, bpe, "records", *texts)
    assert result["layers"][2]["cosine"] == pytest.approx((a @ b / a.norm() / b.norm()).item(), abs=1e-6)


def test_the_mean_of_different_words_by_hand(bpe):
    """The tree / The dog: of four pairs three are of different words."""
    one, other = bpe.encode("The tree"), bpe.encode("The dog")
    assert len(one.ids) == len(other.ids) == 4
    frame = [0.0, 0.0]
    a, b = torch.tensor([[frame, [1, 0], [3, 4], frame]]), torch.tensor([[frame, [9, 0], [0, 2], frame]])
    # The-The is one word; The-dog are at right angles; tree-The: 3/5; tree-dog: 4/5
    assert mean_of_different(Activations(one, [], a, None), Activations(other, [], b, None)) == pytest.approx([(0 + 0.6 + 0.8) / 3], abs=1e-6)
    alone = bpe.encode("The")
    assert mean_of_different(Activations(alone, [], a[:, :3], None), Activations(alone, [], b[:, :3], None)) == [None]


# The commands and their pictures


@pytest.fixture(scope="module")
def run(bpe, tmp_path_factory):
    return str(saved(tmp_path_factory.mktemp("run"), model_for(bpe), bpe))


def test_the_commands_print_tables_and_json(run, capsys):
    attention_maps.main([run, TEXTS[0]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("7 tokens: ") and lines[2].split() == ["itself", "previous", "next", "first", "last", "spread"]
    assert [line[:7] for line in lines[3:]] == ["layer 1", "layer 2"]
    attention_maps.main([run, TEXTS[0], "--layer", "1", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert result["tokens"][4] == "·record" and [sum(row) for row in result["maps"][1]["weights"]] == pytest.approx([1] * 7, abs=1e-5)
    contexts.main([run, "record", *TEXTS])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["layer", "record", "other", "words"] and lines[1].split()[:2] == ["0", "1.0000"] and len(lines) == 4
    contexts.main([run, "record", *TEXTS, "--json"])
    assert json.loads(capsys.readouterr().out)["contexts"] == list(TEXTS)


def test_pictures_are_drawn_where_matplotlib_is(bpe, run, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    drawn(plot_attention, [("a", [[1.0, 0.0], [0.5, 0.5]])] * 3, ["$x_$", "b"], "each layer", tmp_path / "maps" / "a.svg")
    drawn(plot_contexts, word_in_contexts(model_for(bpe), bpe, "record", *TEXTS), tmp_path / "b.svg")
    assert all(b"</svg>" in (tmp_path / name).read_bytes() for name in ("maps/a.svg", "b.svg"))


def test_without_matplotlib_one_line_says_what_to_do(run, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for main, words in ((attention_maps.main, [TEXTS[0]]), (contexts.main, ["record", *TEXTS])):
        with pytest.raises(SystemExit) as stopped:
            cli.run(lambda main=main, words=words: main([run, *words, "--out", str(tmp_path / "a.png")]))
        assert stopped.value.code == 'error: pictures need matplotlib: pip install -e ".[plots]"'
