"""Sentence vectors and nearest sentences: by hand, without batches, and as a command."""
import json

import pytest
import torch
from reading_models import LINES, model_for, saved

from minibert import sentence_vectors
from minibert.analysis import sentence_vectors as module
from minibert.analysis.sentence_vectors import main, nearest, read_texts
from minibert.model import BertModel

TEXTS = [
    "A small dog sees the old tree.",
    "He broke the record.",
    "fish",
    "The cat eats fish.",
    "She played the record.",
]


@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert"])
def test_batches_equal_one_text_at_a_time(bpe, family):
    model = model_for(bpe, family).train()
    means = sentence_vectors(model, bpe, TEXTS, "mean")
    firsts = sentence_vectors(model, bpe, TEXTS, "cls")
    assert model.training
    model.eval()
    for i, text in enumerate(TEXTS):
        with torch.no_grad():
            hidden = model.bert(torch.tensor([bpe.encode(text).ids]))[0]  # (T, H)
        torch.testing.assert_close(means[i], hidden.mean(0), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(firsts[i], hidden[0], atol=1e-5, rtol=1e-4)


def test_an_encoder_with_a_pooler_has_vectors(bpe):
    encoder = BertModel(model_for(bpe, "bert").config, pooler=True)
    assert sentence_vectors(encoder, bpe, TEXTS).shape == (5, 16)
    with pytest.raises(ValueError, match="pooling is 'max': choose from mean, cls"):
        sentence_vectors(encoder, bpe, TEXTS, "max")


@pytest.fixture
def numbers_are_vectors(monkeypatch):
    """The text "3 4" has the vector (3, 4)."""
    def vectors(model, tokenizer, texts, pooling="mean", bar=None):
        return torch.tensor([[float(word) for word in text.split()] for text in texts])
    monkeypatch.setattr(module, "sentence_vectors", vectors)


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_neighbors_worked_by_hand(numbers_are_vectors, monkeypatch, chunk):
    """The cosines with (1, 0) are 0, 0.6, -1, 0.6, 1; the earlier of the equal texts is first."""
    monkeypatch.setattr(module, "CHUNK", chunk)
    texts = ["0 1", "3 4", "-2 0", "6 8", "5 0"]
    first, second = nearest(None, None, texts, ["1 0", "0 7"], top_k=3)
    assert first["nearest"] == [
        {"score": 1.0, "index": 4, "text": "5 0"},
        {"score": 0.6, "index": 1, "text": "3 4"},
        {"score": 0.6, "index": 3, "text": "6 8"},
    ]
    assert [one["text"] for one in second["nearest"]] == ["0 1", "3 4", "6 8"]
    assert first["mean"] == pytest.approx((0 + 0.6 - 1 + 0.6 + 1) / 5)
    assert second["mean"] == pytest.approx((1 + 0.8 + 0 + 0.8 + 0) / 5)


def test_top_k_may_exceed_the_texts_but_there_must_be_some(numbers_are_vectors):
    assert len(nearest(None, None, ["0 1"], ["1 0"], top_k=9)[0]["nearest"]) == 1
    with pytest.raises(ValueError, match="no texts to search"):
        nearest(None, None, [], ["1 0"])


def test_texts_are_read_with_their_first_lines(tmp_path):
    (tmp_path / "a.txt").write_text("\ufeffone\r\n\r\n  two \none\nthree", encoding="utf-8")
    assert read_texts(tmp_path / "a.txt", "sentence") == {"one": 1, "two": 3, "three": 5}
    (tmp_path / "a.tsv").write_text("sentence\tlabel\none\t1\ntwo\t0\n")
    assert read_texts(tmp_path / "a.tsv", "sentence") == {"one": 2, "two": 3}
    with pytest.raises(ValueError, match="no column 'text'; there are: sentence, label"):
        read_texts(tmp_path / "a.tsv", "text")


@pytest.fixture
def run_and_file(bpe, tmp_path):
    run = saved(tmp_path / "run", model_for(bpe), bpe)
    (tmp_path / "a.txt").write_text("\n".join(["", *LINES]))
    return str(run), str(tmp_path / "a.txt")


def test_the_command_prints_a_block_for_each_query(run_and_file, capsys):
    queries = ["He broke the record.", "The cat eats fish."]
    main([*run_and_file, *queries, "--top-k", "2", "--pooling", "cls"])
    first, second = capsys.readouterr().out.rstrip().split("\n\n")
    assert first.startswith("He broke the record.  (mean cosine of all 4 texts: ")
    assert len(first.splitlines()) == 3
    best = second.splitlines()[1]
    assert best.split(maxsplit=2) == ["1.0000", "5", "The cat eats fish."]


def test_the_command_prints_json(run_and_file, capsys):
    main([*run_and_file, "--json", "She played the record."])
    result = json.loads(capsys.readouterr().out)
    assert result["query"] == "She played the record."
    assert result["nearest"][0]["line"] == 3
    assert len(result["nearest"]) == 4
