"""The word vectors' two uses share one gradient: equal to plain autograd's, in a third of the memory."""
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from minibert import BertConfig, tied
from minibert.config import FAMILIES
from minibert.model import BertForMaskedLM

CONFIG = {"vocab_size": 61, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12, "initializer_range": 0.5,
          "max_position_embeddings": 16, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "pad_token_id": 1}
LINEAR = torch.nn.functional.linear


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(tied, "PART", 7)  # of 61 words: nine parts, the last one of five


def gradients(family, precision, plain, monkeypatch):
    """Of two micro-batches, padding and repeated words among them -> (loss, {name: gradient})"""
    monkeypatch.setattr(tied, "sparing", (lambda tensor: False) if plain else lambda tensor: torch.is_grad_enabled())
    torch.manual_seed(0)
    model, total = BertForMaskedLM(BertConfig(family=family, **CONFIG)), 0.0
    for start in (5, 20):
        ids = torch.arange(start, start + 24).view(3, 8) % 17 + 4
        ids[2, 5:] = 1
        labels = torch.where((torch.arange(8) % 3 == 1) & (ids != 1), ids, -100)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            loss = model(ids, attention_mask=(ids != 1).long(), labels=labels).loss
        loss.backward()
        total += loss.item()
    return total, {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("precision, near", [("fp32", 1e-6), ("bf16", 0.05)])
def test_losses_and_gradients_are_those_of_the_twins(monkeypatch, family, precision, near):
    loss, made = gradients(family, precision, False, monkeypatch)
    twin_loss, twins = gradients(family, precision, True, monkeypatch)
    assert loss == pytest.approx(twin_loss, abs=near)
    for name, twin in twins.items():
        assert (made[name] - twin).abs().max() <= near * twin.abs().max(), name
    assert made["bert.embeddings.word.weight"].dtype == torch.float32


def test_a_score_is_the_product_in_the_type_of_autocast():
    torch.manual_seed(0)
    hidden, vectors, bias = torch.randn(5, 8), torch.randn(61, 8), torch.randn(61)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = tied.score(hidden, vectors, bias)
        assert logits.dtype == torch.bfloat16
        assert torch.allclose(logits.float(), LINEAR(hidden, vectors, bias).float(), atol=0.05)
    assert torch.equal(tied.score(hidden, vectors, bias), LINEAR(hidden, vectors, bias))


def test_words_that_are_looked_up_and_not_scored_have_their_gradient():
    word = torch.nn.Embedding(9, 4, padding_idx=1)
    rows, _ = tied.look_up(torch.tensor([[2, 1, 2, 5]]), word)
    rows.sum().backward()
    assert word.weight.grad.tolist() == [[{2: 2.0, 5: 1.0}.get(n, 0.0)] * 4 for n in range(9)]
    word.requires_grad_(False)
    assert tied.look_up(torch.tensor([[2]]), word)[1] is word.weight


def both_ways(loss, padding=0, bf16=False):
    """What ``loss(rows, vectors)`` gives with ``look_up`` and with its twin, beside the gradient of the vectors: [(extra, gradient), ...]"""
    made, ids = [], torch.tensor([[0, 3, 3, 5]])
    for f in (tied.look_up, lambda ids, word: (word(ids), word.weight)):
        torch.manual_seed(0)
        word = torch.nn.Embedding(20, 4, padding_idx=padding)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            rows, vectors = f(ids, word)
            total, *extra = loss(rows, vectors)
        total.backward()
        made.append(([p.grad for p in extra], word.weight.grad))
    return made


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("use", ["sum", "mean", "offset", "twice", "again", "score", "score and offset", "score and sum", "no words"])
def test_whatever_else_is_made_of_the_vectors_gradients_are_those_of_the_twin(use, bf16):
    delta, hidden = torch.nn.Parameter(torch.zeros(20, 4)), torch.ones(3, 4)

    def loss(rows, vectors):
        delta.grad = None
        scored = tied.score(hidden, vectors, torch.zeros(20)).sum() if "score" in use or use == "no words" else 0
        used = {"sum": vectors.sum(), "mean": vectors.mean(), "offset": (hidden @ (vectors + 2 * delta).T).sum(), "again": (vectors ** 3).sum(),
                "score and offset": (vectors + delta).sum(), "score and sum": vectors.sum(),
                "twice": tied.score(hidden, vectors, torch.zeros(20)).sum() + tied.score(2 * hidden, vectors, torch.zeros(20)).sum()}
        return scored + used.get(use, 0) + (0 if use == "no words" else 10 * rows.pow(2).sum()), *([delta] if "offset" in use else [])

    for padding in (0, None):
        (extra, made), (twin_extra, twin) = both_ways(loss, padding, bf16)
        near = 1e-5 * twin.abs().max() if not bf16 else 0.02 * twin.abs().max()
        assert (made - twin).abs().max() <= near and all(torch.allclose(*pair, atol=0.05) for pair in zip(extra, twin_extra))


def test_a_callers_gradient_stays_as_it_is_and_a_kept_graph_gives_the_same_again():
    word, given = torch.nn.Embedding(9, 4), torch.ones(9, 4)
    rows, vectors = tied.look_up(torch.tensor([[2, 2]]), word)
    torch.autograd.backward([rows, vectors], [torch.ones_like(rows), given])
    assert torch.equal(given, torch.ones(9, 4)) and word.weight.grad[:3].tolist() == [[1.0] * 4, [1.0] * 4, [3.0] * 4]
    word = word.double()
    rows, vectors = tied.look_up(torch.tensor([[2, 2]]), word)
    total = rows.sum() + tied.score(torch.ones(1, 4, dtype=torch.double), vectors, torch.zeros(9, dtype=torch.double)).sum()
    word.zero_grad()
    for times in (1, 2):
        total.backward(retain_graph=True)
        assert word.weight.grad.dtype == torch.double and word.weight.grad[1:3].tolist() == [[times * 1.0] * 4, [times * 3.0] * 4]


class Large(TorchDispatchMode):
    """Counts new tensors with as many numbers as the vectors have."""

    def __init__(self):
        super().__init__()
        self.made = set()

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        out = function(*arguments, **(named or {}))
        self.made |= {t.untyped_storage().data_ptr() for t in tree_leaves(out) if isinstance(t, torch.Tensor) and t.numel() == 61 * 8}
        return out


@pytest.mark.parametrize("bf16", [True, False])
def test_the_backward_pass_makes_one_tensor_as_large_as_the_vectors(monkeypatch, bf16):
    counts = []
    for plain in (False, True):
        monkeypatch.setattr(tied, "sparing", lambda tensor, plain=plain: not plain)
        torch.manual_seed(0)
        model, ids = BertForMaskedLM(BertConfig(family="roberta", **CONFIG)), torch.arange(5, 13).view(1, 8)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = model(ids, labels=torch.where(ids > 9, ids, -100)).loss
        known = {model.bert.embeddings.word.weight.data_ptr()}
        with Large() as large:
            loss.backward()
        counts.append(len(large.made - known))
    assert counts[0] == 1 < counts[1]


def steps(count, keep, precision="bf16", micro_batches=2):
    """``count`` steps without an optimiser -> (model, [gradient of the word vectors, one a step], [where it lay])"""
    torch.manual_seed(0)
    model, made, places = BertForMaskedLM(BertConfig(**CONFIG)), [], []
    for step in range(count):
        for micro in range(micro_batches):
            ids = torch.arange(24).view(3, 8) % 17 + 4 + 5 * step + micro
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
                loss = model(ids, labels=torch.where(torch.arange(8) % 3 == 1, ids, -100)).loss
            loss.backward()
        gradient = model.bert.embeddings.word.weight.grad
        made.append(gradient.clone())
        places.append(gradient.data_ptr())
        del gradient
        model.zero_grad() if not keep else (tied.keep_memory(model.bert.embeddings.word), model.zero_grad())
        assert all(p.grad is None for p in model.parameters())
    return model, made, places


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_gradients_made_in_kept_memory_are_the_same(micro_batches):
    _, plain, _ = steps(4, keep=False, micro_batches=micro_batches)
    model, kept, places = steps(4, keep=True, micro_batches=micro_batches)
    assert all(torch.equal(one, two) for one, two in zip(plain, kept, strict=True)) and not torch.equal(kept[0], kept[1])
    assert len(set(places)) == 1 and model.bert.embeddings.word.spare.memory.data_ptr() == places[0]
    assert "spare" not in "".join(model.state_dict())


def test_nothing_is_kept_that_the_next_step_cannot_use():
    """In float32 autograd makes the gradient itself; a part of a bucket belongs to DDP; a model may have become another type."""
    assert steps(2, keep=True, precision="fp32")[0].bert.embeddings.word.spare.memory is None
    word = steps(1, keep=True)[0].bert.embeddings.word
    memory = word.spare.take(word.weight)
    assert word.spare.memory is None and memory.shape == word.weight.shape
    word.spare.keep(torch.zeros(2, *word.weight.shape)[0])
    assert word.spare.memory is None
    word.spare.keep(memory)
    assert word.spare.take(word.weight.double()).dtype == torch.float64
    untouched = torch.nn.Embedding(4, 2)
    untouched.weight.grad = torch.ones(4, 2)
    tied.keep_memory(untouched)
    assert untouched.weight.grad is None
