"""Sentence vectors and neighbours: cosines worked by hand, twins without batches, and the command."""
import json

import pytest
import torch
from reading_models import LINES, model_for, saved, tokenizer_of

from minibert import sentence_vectors
from minibert.analysis import sentence_vectors as module
from minibert.analysis.activations import cosine
from minibert.analysis.sentence_vectors import main, nearest, read_texts
from minibert.model import BertModel

TEXTS = ["A small dog sees the old tree.", "He broke the record.", "fish", "The cat eats fish.", "She played the record."]


@pytest.fixture(scope="module")
def bpe():
    return tokenizer_of()


@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert"])
def test_a_vector_does_not_depend_on_what_else_is_in_the_batch(bpe, family):
    """The twin: one text, no padding, the mean of all final vectors, or the first one."""
    model = model_for(bpe, family).train()
    mean, first = (sentence_vectors(model, bpe, TEXTS, pooling) for pooling in ("mean", "cls"))
    assert model.training and mean.shape == (5, 16)
    model.eval()
    for text, a, b in zip(TEXTS, mean, first):
        with torch.no_grad():
            hidden = model.bert(torch.tensor([bpe.encode(text).ids]))[0]  # (T, H)
        torch.testing.assert_close(a, hidden.mean(0), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(b, hidden[0], atol=1e-5, rtol=1e-4)


def test_any_model_with_an_encoder_has_vectors(bpe):
    encoder = BertModel(model_for(bpe, "bert").config, pooler=True)
    assert sentence_vectors(encoder, bpe, TEXTS).shape == (5, 16)
    with pytest.raises(ValueError, match="pooling is 'max': choose from mean, cls"):
        sentence_vectors(encoder, bpe, TEXTS, "max")


def by_hand(monkeypatch):
    """Texts are their own vectors: "3 4" is (3, 4)."""
    def vectors(model, tokenizer, texts, pooling="mean", bar=None):
        return torch.tensor([[float(number) for number in text.split()] for text in texts])
    monkeypatch.setattr(module, "sentence_vectors", vectors)


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_neighbours_are_sorted_by_cosine_and_the_earlier_of_equals_comes_first(monkeypatch, chunk):
    by_hand(monkeypatch)
    monkeypatch.setattr(module, "CHUNK", chunk)
    first, second = nearest(None, None, ["0 1", "3 4", "-2 0", "6 8", "5 0"], ["1 0", "0 7"], top_k=3)
    assert [(one["text"], one["score"], one["number"]) for one in first["nearest"]] == [("5 0", 1.0, 4), ("3 4", 0.6, 1), ("6 8", 0.6, 3)]
    assert [one["text"] for one in second["nearest"]] == ["0 1", "3 4", "6 8"]
    assert first["mean"] == pytest.approx((0 + 0.6 - 1 + 0.6 + 1) / 5) and second["mean"] == pytest.approx((1 + 0.8 + 0 + 0.8 + 0) / 5)
    assert len(nearest(None, None, ["0 1"], ["1 0"], top_k=9)[0]["nearest"]) == 1
    with pytest.raises(ValueError, match="0 texts and 1 queries"):
        nearest(None, None, [], ["1 0"])
    with pytest.raises(ValueError, match="a query is empty"):
        nearest(None, None, ["0 1"], ["1 0", " "])


def test_a_text_is_nearest_to_itself(bpe):
    for result in nearest(model_for(bpe), bpe, TEXTS, TEXTS, top_k=1):
        assert result["nearest"][0]["text"] == result["query"] and result["nearest"][0]["score"] == pytest.approx(1, abs=1e-5)


def test_cosine_is_that_of_the_angle():
    assert cosine(torch.tensor([1.0, 1.0]), torch.tensor([2.0, 0.0])).item() == pytest.approx(2**-0.5)


def test_files_are_read_with_the_lines_on_which_texts_stand(tmp_path):
    (tmp_path / "a.txt").write_text("\ufeffone\r\n\r\n  two \none\nthree", encoding="utf-8")
    assert read_texts(tmp_path / "a.txt", "sentence") == {"one": 1, "two": 3, "three": 5}
    (tmp_path / "a.tsv").write_text("sentence\tlabel\none\t1\ntwo\t0\n")
    assert read_texts(tmp_path / "a.tsv", "sentence") == {"one": 2, "two": 3}
    with pytest.raises(ValueError, match="no column 'text'; there are: sentence, label. Name it with --column$"):
        read_texts(tmp_path / "a.tsv", "text")
    (tmp_path / "b.txt").write_text(" \n\n")
    with pytest.raises(ValueError, match="b.txt has no text"):
        read_texts(tmp_path / "b.txt", "sentence")


def test_the_command(bpe, tmp_path, capsys):
    run = str(saved(tmp_path / "run", model_for(bpe), bpe))
    (tmp_path / "a.txt").write_text("\n".join(["", *LINES]))
    main([run, str(tmp_path / "a.txt"), "He broke the record.", "The cat eats fish.", "--top-k", "2", "--pooling", "cls"])
    blocks = capsys.readouterr().out.rstrip().split("\n\n")
    assert blocks[0].startswith("He broke the record.  (mean cosine of all 4 texts: ") and len(blocks[0].splitlines()) == 3
    assert blocks[1].splitlines()[1].split(maxsplit=2) == ["1.0000", "5", "The cat eats fish."]
    main([run, str(tmp_path / "a.txt"), "--json", "She played the record."])
    result = json.loads(capsys.readouterr().out)
    assert result["query"] == "She played the record." and result["nearest"][0]["line"] == 3 and len(result["nearest"]) == 4
