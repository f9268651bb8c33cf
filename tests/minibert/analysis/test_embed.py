"""Sentence vectors: the contrastive loss by hand, pairs, training, and the command."""
import json
import math
import random
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from reading_models import model_for, saved

from data.corpora import open_corpus
from minibert.analysis import embed
from minibert.analysis.embed import evaluate, main, read_scored_pairs
from minibert.analysis.mask_filling import fill_mask
from minibert.analysis.sentence_vectors import sentence_vectors
from minibert.finetuning import contrastive
from minibert.finetuning.config import FinetuneConfig
from minibert.finetuning.contrastive import (
    PairMatcher,
    contrastive_loss,
    retrieval_accuracy,
    sentence_pairs,
    train_vectors,
)
from minibert.finetuning.loop import EncodedTexts
from minibert.formats.run_folder import load_run
from minibert.generation.causal import BertForCausalLM
from minibert.heads import text_vectors

FIRST = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
SECOND = torch.tensor([[3.0, 4.0], [0.0, 2.0]])  # cosines with FIRST: [[0.6, 0], [0.8, 1]]


def test_the_loss_of_two_pairs_by_hand():
    """At temperature 0.2 the logits are [[3, 0], [4, 5]], and the diagonal is right."""
    losses = math.log(1 + math.exp(0 - 3)), math.log(1 + math.exp(4 - 5))
    loss = contrastive_loss(FIRST, SECOND, temperature=0.2)
    assert loss.item() == pytest.approx(sum(losses) / 2)


def test_autocast_does_not_round_the_loss():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = contrastive_loss(FIRST, SECOND, 0.3)
    assert loss.item() == contrastive_loss(FIRST, SECOND, 0.3).item()


def test_gradients_reach_both_texts_of_a_pair():
    first = FIRST.clone().requires_grad_()
    second = SECOND.clone().requires_grad_()
    contrastive_loss(first, second, 0.2).backward()
    assert first.grad.abs().sum(1).gt(0).all()
    assert second.grad.abs().sum(1).gt(0).all()


def test_retrieval_among_few_candidates():
    """Vectors 0 to 3 find their own, except that 1 finds 0. The fifth is no full chunk."""
    second = torch.eye(5)
    first = second[[0, 0, 2, 3, 0]]
    assert retrieval_accuracy(first, second, candidates=2) == 0.75
    assert retrieval_accuracy(first, second, candidates=5) == 0.6


@pytest.fixture
def corpus(tmp_path):
    """Twenty paragraphs, "One 7. Two\\n7. Three 7.", and at the end one with repeated sentences."""
    paragraphs = [f"One {i}. Two\n{i}. Three {i}." for i in range(20)]
    (tmp_path / "text.txt").write_text("\n\n".join([*paragraphs, "One 3. New. Old. Older."]))
    return open_corpus(tmp_path / "text.txt")


def test_pairs_are_neighbors_in_a_paragraph_and_no_sentence_repeats(corpus):
    neighbors = [(f"One {i}.", f"Two {i}.") for i in range(20)]
    assert sentence_pairs(corpus, "all") == [*neighbors, ("Old.", "Older.")]


def test_twins_are_a_sentence_and_itself(corpus):
    twins = sentence_pairs(corpus, "all", "dropout")
    assert len(twins) == 63
    assert twins[:2] == [("One 0.", "One 0."), ("Two 0.", "Two 0.")]


def test_the_vectors_of_a_padded_batch_equal_those_of_single_texts(bpe):
    model = model_for(bpe, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    texts = ["He broke the record.", "fish", "A small dog sees the old tree.", "The cat eats."]
    batch = EncodedTexts(bpe, texts, model.config, max_length=32).batch(np.arange(4))
    singles = [model.bert(torch.tensor([bpe.encode(text).ids])).mean(dim=1) for text in texts]
    first, second = torch.cat(singles).chunk(2)
    padded = PairMatcher(model.bert, 0.05, dropout=0.0)(**batch).loss
    torch.testing.assert_close(padded, contrastive_loss(first, second, 0.05))


def test_twins_differ_by_dropout_even_if_the_model_was_trained_without(bpe):
    model = model_for(bpe, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    batch = EncodedTexts(bpe, ["fish", "fish"], model.config, 32).batch(np.arange(2))
    for dropout, is_equal in ((0.0, True), (0.1, False)):
        matcher = PairMatcher(model.bert, 0.05, dropout).train()
        first, second = text_vectors(matcher.encoder, batch)
        assert torch.equal(first, second) == is_equal


def made_up_pairs(num_pairs):
    """The second text is the first one in capitals: they have no token in common."""
    rng = random.Random(0)
    texts = {"".join(rng.choices("abcdefgh", k=5)) for _ in range(num_pairs)}
    return [(text, text.upper()) for text in sorted(texts)]


def test_a_tiny_model_learns_to_match_pairs(bpe):
    pairs = made_up_pairs(32)
    model = model_for(bpe)
    assert evaluate(model, bpe, pairs, []) == {"accuracy": 1 / 32}
    config = FinetuneConfig(batch_size=32, learning_rate=4e-3, hidden_dropout_prob=0.0,
                            precision="fp32").resolve_device()
    steps, loss = train_vectors(model, bpe, pairs, config, max_steps=40)
    assert steps == 40
    assert loss < math.log(32)
    assert evaluate(model, bpe, pairs, [])["accuracy"] > 0.8


def test_only_the_pairs_of_the_first_steps_are_encoded(bpe, monkeypatch):
    encoded = []

    class Counting(EncodedTexts):
        def __init__(self, tokenizer, texts, *args):
            encoded.append(len(texts))
            super().__init__(tokenizer, texts, *args)

    monkeypatch.setattr(contrastive, "EncodedTexts", Counting)
    config = FinetuneConfig(batch_size=4, precision="fp32").resolve_device()
    for max_steps in (2, 7, 0):
        train_vectors(model_for(bpe), bpe, made_up_pairs(10), config, max_steps=max_steps)
    assert encoded == [2 * 8, 2 * 10, 2 * 10]


def test_the_same_seed_gives_the_same_vectors(bpe):
    vectors = []
    for seed in (1, 1, 2):
        model = model_for(bpe)
        torch.manual_seed(len(vectors))  # whatever random numbers were drawn before
        config = FinetuneConfig(batch_size=4, precision="fp32").resolve_device()
        assert train_vectors(model, bpe, made_up_pairs(10), config, seed=seed)[0] == 3
        vectors.append(sentence_vectors(model, bpe, ["fish"]))
    assert torch.equal(vectors[0], vectors[1])
    assert not torch.equal(vectors[0], vectors[2])


@pytest.fixture
def run(bpe, tmp_path):
    return str(saved(tmp_path / "run", model_for(bpe), bpe))


def test_a_trained_model_works_with_the_other_commands(run, corpus, tmp_path, capsys):
    scored = tmp_path / "pairs.tsv"
    scored.write_text("sentence1\tsentence2\tscore\na\tb\t1\na\ta\t5\nb\tfish\t2\n")
    words = [run, "--train", corpus.files[0], "--pairs-file", str(scored), "--json",
             "--batch-size", "8", "--max-steps", "2", "--out", str(tmp_path / "out")]
    assert main([str(word) for word in words]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["steps"] == 2
    assert result["before"].keys() == result["after"].keys() == {"accuracy", "spearman"}
    model, tokenizer = load_run(result["out"])
    assert model.config == load_run(run)[0].config
    assert len(fill_mask(model, tokenizer, "fish <mask>")) == 5


def test_ctrl_c_saves_the_model_after_the_step(run, corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(embed, "StopRequest", lambda: nullcontext(SimpleNamespace(requested=True)))
    assert main([run, "--train", str(corpus.files[0]), "--batch-size", "2"]) == 130
    shown = capsys.readouterr().out
    assert "; 1 step of 2 pairs, mean loss" in shown
    assert shown.index(f"model        {run}/vectors") < shown.index("\nafter ")
    load_run(f"{run}/vectors")


def test_vectors_are_written_with_their_texts_and_lines(run, tmp_path, capsys):
    (tmp_path / "a.txt").write_text("fish\n\nThe cat.\nfish\n")
    out = tmp_path / "a.npy"
    assert main([run, str(tmp_path / "a.txt"), "--out", str(out)]) == 0
    assert f"{out}: 3 x 16" in capsys.readouterr().out
    expected = sentence_vectors(*load_run(run), ["fish", "The cat.", "fish"])
    np.testing.assert_array_equal(np.load(out), expected.numpy())
    rows = [json.loads(line) for line in open(f"{out}.jsonl")]
    assert rows == [{"line": 1, "text": "fish"}, {"line": 3, "text": "The cat."},
                    {"line": 4, "text": "fish"}]


def test_old_vectors_and_texts_are_only_replaced_on_request(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("fish\n")
    for name, words in (("vectors.npy", []), ("b.npy.jsonl", ["--out", "b.npy"])):
        (tmp_path / name).write_text("old")
        with pytest.raises(ValueError, match=f"{name} already exists: add --overwrite"):
            main([run, "a.txt", *words])
        main([run, "a.txt", *words, "--overwrite"])
        assert (tmp_path / name).read_bytes() != b"old"


def test_vectors_never_replace_the_texts_that_they_are_of(run, tmp_path):
    path = tmp_path / "a.npy.jsonl"
    path.write_text('{"text": "fish"}\n')
    with pytest.raises(ValueError, match="a.npy.jsonl is read, so it cannot be replaced"):
        main([run, str(path), "--out", str(tmp_path / "a.npy"), "--overwrite"])
    assert path.read_text() == '{"text": "fish"}\n'


def test_the_screen_says_among_how_many_sentences_is_searched(run, tmp_path, capsys):
    path = tmp_path / "a.txt"
    path.write_text("".join(f"Ann{i} sat. Bea{i} ran.\n\n" for i in range(60)))
    main([run, "--train", str(path), "--max-steps", "1", "--json"])
    shown = capsys.readouterr()
    count = json.loads(shown.out)["validation"]
    assert 1 < count < 64 and f"validation, each among {count}\n" in shown.err


def test_one_pair_has_no_accuracy(bpe, monkeypatch):
    monkeypatch.setattr(embed, "sentence_vectors", lambda model, tokenizer, texts: torch.ones(1, 2))
    assert evaluate(None, None, [("a", "b")], []) == {}


def test_a_correlation_with_equal_scores_is_undefined(run, tmp_path, capsys):
    (tmp_path / "a.tsv").write_text("sentence1\tsentence2\tscore\na\tb\t3\na\tcat\t3\n")
    words = [run, "--pairs-file", str(tmp_path / "a.tsv")]
    main(words)
    shown = capsys.readouterr().out
    assert shown == "scores       spearman undefined (all scores are equal) (2 pairs)\n"
    main([*words, "--json"])
    assert json.loads(capsys.readouterr().out)["scores"] == {"spearman": None}


def test_spearman_of_cosines(bpe, monkeypatch):
    """Vectors are the numbers in the texts. Cosines 1, 0.6 and 0; ranks 3 2 1 and 3 1 2."""
    monkeypatch.setattr(embed, "sentence_vectors", lambda model, tokenizer, texts: torch.tensor(
        [[float(word) for word in text.split()] for text in texts]))
    scored = [("1 0", "2 0", 5.0), ("0 1", "4 3", 1.5), ("1 0", "0 1", 3.0)]
    assert evaluate(None, None, [], scored) == {"spearman": pytest.approx(0.5)}


def test_scored_pairs_with_and_without_a_header(tmp_path):
    (tmp_path / "a.tsv").write_text("id\tscore\tsentence1\tsentence2\n7\t2.5\ta\tb\n8\t1\tc\td\n")
    (tmp_path / "b.tsv").write_text("7\t2.5\ta\tb\n8\t1\tc\td\n")
    expected = [("a", "b", 2.5), ("c", "d", 1.0)]
    assert read_scored_pairs(tmp_path / "a.tsv") == expected
    assert read_scored_pairs(tmp_path / "b.tsv", "id,score,sentence1,sentence2") == expected


@pytest.mark.parametrize("rows, message", [
    ("a\tb\t1\n", "1 pair, but a correlation needs two"),
    ("a\tb\t1\na\tb\thigh\n", "pairs.tsv:3: the score 'high' is not a number"),
    ("a\tb\t1\na\tb\tnan\n", "pairs.tsv:3: the score 'nan' is not a number"),
    ("a\tb\t1\n \tb\t2\n", "pairs.tsv:3: no text in 'sentence1'"),
    ("a\tb\n", "pairs.tsv:2: 2 fields in this row, but 3 column names"),
])
def test_bad_scored_pairs_name_the_line(tmp_path, rows, message):
    (tmp_path / "pairs.tsv").write_text("sentence1\tsentence2\tscore\n" + rows)
    with pytest.raises(ValueError, match=message):
        read_scored_pairs(tmp_path / "pairs.tsv")


def test_flags_and_texts_that_cannot_work(run, bpe, corpus, tmp_path):
    text = str(corpus.files[0])
    (tmp_path / "one.jsonl").write_text('{"text": "One."}\n{"text": "Two."}\n')
    (tmp_path / "blank.txt").write_text("\n \n")
    config = replace(model_for(bpe).config, causal=True)
    causal = saved(tmp_path / "causal", BertForCausalLM(config), bpe)
    for words, message in [
        ([run], "nothing to do"),
        ([run, text, "--train", text], "train first, then give the file"),
        ([run, text, "--learning-rate", "1", "--max-steps", "3", "--seed", "1"],
         "--learning-rate, --max-steps, --seed: only for training: add --train TEXT"),
        ([run, "--train", text, "--temperature", "0"], "--temperature 0: it must be above 0"),
        ([run, "--train", text, "--positives", "dropout", "--hidden-dropout-prob", "0"],
         "--hidden-dropout-prob 0: without dropout the two vectors"),
        ([run, "--train", text, "--batch-size", "0"], "--batch-size is 0"),
        ([run, "--train", text, "--batch-size", "1"], "--batch-size 1: a pair is compared with"),
        ([run, "--train", str(tmp_path / "one.jsonl")], "0 pairs of sentences for training"),
        ([run, str(tmp_path / "blank.txt")], "blank.txt: no text"),
        ([str(causal), text], "only an encoder can be fine-tuned"),
    ]:
        with pytest.raises(ValueError, match=message):
            main(words)
