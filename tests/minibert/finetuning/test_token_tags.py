"""A tag for each word: first pieces, windows, and the command from files to predictions."""
import json
import random

import pytest
import torch
from finetune_helpers import WORDS, flags, load_parts

from minibert.finetuning import command
from minibert.finetuning.config import TASKS, FinetuneConfig
from minibert.finetuning.labeled_files import LabeledTexts
from minibert.finetuning.token_tags import encode_words, windows
from minibert.formats.huggingface import from_pretrained
from minibert.heads import BertForTokenClassification

TASK = TASKS["tokens"]


TAG_OF = {"film": "B-X", "plot": "B-X", "actor": "I-X", "scene": "B-Y"}


def tagged(count, seed):
    """Return sentences of (word, tag), where each word always has the same tag."""
    rng = random.Random(seed)
    sentences = [rng.choices(WORDS, k=rng.randrange(4, 9)) for _ in range(count)]
    return [[(word, TAG_OF.get(word, "O")) for word in words] for words in sentences]


def conll(sentences):
    return "\n".join("".join(f"{word}\t{tag}\n" for word, tag in words) for words in sentences)


def examples_of(*sentences, labels=None):
    lines = [[1] * len(words) for words in sentences]
    return LabeledTexts("a.tsv", [*map(list, sentences)], labels, lines)


def test_labels_are_at_the_first_piece_of_each_word(any_run):
    model, tokenizer, *_ = load_parts(any_run)
    words = ["the", "filmscene", "(quite)"]  # of several pieces
    examples = examples_of(words, labels=[["A", "B", "A"]])
    encoded = TASK.encode(tokenizer, examples, ("A", "B"), model.config, 34)
    text = tokenizer.encode(" ".join(words))
    assert encoded.ids[0] == text.ids
    expected = [-100] * len(text)
    for start, label in ((0, 0), (4, 1), (14, 0)):  # where each word starts in the text
        covering = [i for i, (first, last) in enumerate(text.offsets) if first <= start < last]
        expected[covering[0]] = label
    assert encoded.labels[0].tolist() == expected
    batch = encoded.batch([0])
    assert batch["labels"].shape == batch["input_ids"].shape
    assert batch["labels"][0, len(text):].eq(-100).all()


def test_a_space_that_is_a_piece_of_its_own_is_no_first_piece(modernbert):
    _, tokenizer, *_ = load_parts(modernbert)
    ids, first_pieces = encode_words(tokenizer, ["a", "\u00b4"])
    tokens = [tokenizer.id_to_token(i) for i in ids]
    assert tokens == ["a", "\u0120", "\u00c2", "\u00b4"] and first_pieces == {0: 0, 1: 2}


def test_a_word_without_a_piece_is_answered_and_not_trained(bert):
    model, tokenizer, *_ = load_parts(bert)
    examples = examples_of(["a", "\u200b", "film"], labels=[["B-X", "B-X", "B-X"]])
    encoded = TASK.encode(tokenizer, examples, ("B-X", "O"), model.config, 34)
    assert (encoded.labels[0] != -100).sum() == 2
    outputs = [torch.tensor([[1.0, 0.0]] * len(encoded.ids[0]))]
    answer, = TASK.answers(outputs, encoded, ("B-X", "O"), None)
    assert answer["tags"] == ["B-X", "O", "B-X"]


@pytest.mark.parametrize("length, size", [(1, 4), (4, 4), (5, 4), (11, 4), (12, 5), (9, 1)])
def test_each_word_belongs_to_the_window_with_the_most_context(length, size):
    parts = [*windows(range(length), {word: word for word in range(length)}, size)]
    assert sorted(word for _, _, words in parts for word in words) == [*range(length)]
    for start, num_ids, words in parts:
        assert start >= 0 and start + num_ids <= length and num_ids <= size
        for word in words:
            context = min(word - start, start + num_ids - 1 - word)
            assert all(context >= min(word - other, other + n - 1 - word) for other, n, _ in parts)


def test_windows_give_the_tags_in_the_order_of_the_words(bert):
    model, tokenizer, *_ = load_parts(bert)
    words = random.Random(0).choices(WORDS, k=50)
    encoded = TASK.encode(tokenizer, examples_of(words), WORDS, model.config, max_length=12)
    assert len(encoded) > 5 and max(encoded.lengths) == 12
    # A model that reads only the token itself: its class is the word that begins with it.
    class_of = {tokenizer.encode_ids(word)[0]: i for i, word in enumerate(WORDS)}
    outputs = [torch.eye(len(WORDS))[[class_of.get(int(i), 0) for i in ids]] for ids in encoded.ids]
    answer, = TASK.answers(outputs, encoded, WORDS, None)
    firsts = [tokenizer.encode_ids(tag)[0] for tag in answer["tags"]]
    assert firsts == [tokenizer.encode_ids(word)[0] for word in words]


@pytest.mark.parametrize("tags, metric", [
    (["O", "B-X", "I-X"], "f1"), (["NOUN", "VERB"], "accuracy"), (["O", "B-X", "X"], "accuracy")])
def test_entities_are_scored_by_f1_and_other_tags_by_accuracy(tags, metric):
    examples = examples_of(tags, labels=[tags])
    config = TASK.complete(FinetuneConfig(task="tokens"), examples)
    assert config.metric_name == metric
    answers = [{"words": tags, "tags": tags}]
    scores = TASK.score(answers, examples, TASK.labels(examples), config)
    assert scores["accuracy"] == 1 and ("f1" in scores) == (metric == "f1")


def test_the_baseline_is_the_most_frequent_tag_of_each_word():
    train = examples_of(["a", "b", "a", "a"], labels=[["X", "Y", "Z", "Z"]])
    answer, = TASK.baseline(train, examples_of(["a", "b", "new"]))
    assert answer["tags"] == ["Z", "Y", "Z"]


@pytest.mark.parametrize("options", [{}, {"tune": "prefix", "learning_rate": 2e-2}],
                         ids=["all", "prefix"])
def test_an_easy_tagging_is_learned_saved_and_predicted(modernbert, tmp_path, capsys, options):
    (tmp_path / "train.tsv").write_text(conll(tagged(80, 1)))
    (tmp_path / "dev.tsv").write_text(conll(tagged(40, 2)))
    out = tmp_path / "out"
    command.main([str(modernbert), "--task", "tokens", "--train", str(tmp_path / "train.tsv"),
                  "--dev", str(tmp_path / "dev.tsv"), "--out", str(out), "--json",
                  *flags(epochs=4, **{"learning_rate": 1e-2} | options)])
    results = json.loads(capsys.readouterr().out)
    assert results["metric"] == "f1" and results["labels"] == ["B-X", "B-Y", "I-X", "O"]
    assert results["pretrained"]["mean"] > 0.5 and results["constant"] == 1
    command.main([str(out), "--predict", str(tmp_path / "dev.tsv"), "--out", str(tmp_path / "p")])
    shown = capsys.readouterr()
    assert f"scored       f1 {results['pretrained']['mean']:.4f}, precision" in shown.err
    predicted = (tmp_path / "p" / "predictions.tsv").read_text().splitlines()
    words = conll(tagged(40, 2)).splitlines()
    assert [line.split("\t")[0] for line in predicted] == [line.split("\t")[0] for line in words]
    if not options:
        assert isinstance(from_pretrained(out), BertForTokenClassification)


def test_json_lines_are_predicted_as_json_lines(bert, tmp_path, capsys):
    rows = [dict(zip(("words", "tags"), map(list, zip(*words)))) for words in tagged(30, 1)]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "out"
    command.main([str(bert), "--task", "tokens", "--train", str(path), "--predict", str(path),
                  "--out", str(out), *flags(epochs=1)])
    predicted = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert [row["words"] for row in predicted] == [row["words"] for row in rows]
    capsys.readouterr()
    command.main([str(out), "--predict", str(path), "--json"])
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == predicted


def test_a_tag_that_is_only_in_dev_counts_as_wrong_and_is_named(bert, tmp_path, capsys):
    (tmp_path / "train.tsv").write_text(conll(tagged(20, 1)))
    (tmp_path / "dev.tsv").write_text("film\tB-NEW\n\nplot\tB-NEW\n")
    command.main([str(bert), "--task", "tokens", "--train", str(tmp_path / "train.tsv"), "--dev",
                  str(tmp_path / "dev.tsv"), "--out", str(tmp_path / "o"), *flags(epochs=1)])
    shown = capsys.readouterr().out
    assert shown.count("dev.tsv:1: the tag B-NEW does not occur in training") == 1
    assert "dev.tsv:3" not in shown and "pre-trained  f1 0.0000" in shown


def test_a_file_to_predict_with_unknown_tags_says_which(bert, tmp_path, capsys):
    (tmp_path / "train.tsv").write_text(conll(tagged(20, 1)))
    command.main([str(bert), "--task", "tokens", "--train", str(tmp_path / "train.tsv"), "--out",
                  str(tmp_path / "o"), *flags(epochs=1)])
    (tmp_path / "text.txt").write_text("".join(f"a plain sentence{i}\n" for i in range(12)))
    command.main([str(tmp_path / "o"), "--predict", str(tmp_path / "text.txt")])
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(warnings) == 4
    assert "text.txt:1: the tag sentence0 does not occur in training" in warnings[0]
    assert "text.txt: 9 more tags do not occur in training" in warnings[3]


@pytest.mark.parametrize("tags, expected", [
    (["O", "B-X", "I_X"], ["a.tsv:1: the tag I_X is not O, B-... or I-...: the score is"]),
    (["B-X", "O", "I-X"], []), (["X", "Y", "O"], [])])
def test_a_tag_that_turns_the_score_of_entities_off_is_named(tags, expected):
    examples = examples_of(tags, labels=[tags])
    shown = [line for line in TASK.notes(examples, examples, tuple(tags)) if "the tag" in line]
    assert len(shown) == len(expected) and all(a in b for a, b in zip(expected, shown))


def test_a_training_file_without_blank_lines_is_one_sentence_and_says_so(bert, tmp_path, capsys):
    (tmp_path / "train.tsv").write_text("film\tB-X\nplot\tO\n" * 5)
    command.main([str(bert), "--task", "tokens", "--train", str(tmp_path / "train.tsv"), "--dev",
                  str(tmp_path / "train.tsv"), "--out", str(tmp_path / "o"), *flags(epochs=1)])
    shown = capsys.readouterr().out
    assert "train.tsv is one sentence: a blank line must follow each" in shown
    assert "train        1 example of " in shown


@pytest.mark.parametrize("words, message", [
    ("--metric matthews", "choose from f1, precision, recall, accuracy"),
    ("--metric f1", "--metric f1 needs tags of entities, such as B-PER"),
    ("--pair b", "--pair has no meaning for --task tokens"),
    ("--class-weights balanced", "--class-weights balanced belongs to --task classification")])
def test_flags_that_do_not_fit_raise(bert, tmp_path, words, message):
    path = tmp_path / "train.tsv"
    path.write_text("a\tDET\nfilm\tNOUN\n\n" * 20)
    with pytest.raises(ValueError, match=message):
        command.main([str(bert), "--task", "tokens", "--train", str(path), "--out",
                      str(tmp_path / "out"), *words.split()])
