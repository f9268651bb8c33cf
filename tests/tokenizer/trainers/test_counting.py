"""Counting words: by hand, against a plain twin, over any number of workers, and under a cap."""
import random
from collections import Counter
from itertools import permutations

import pytest
from tokenizer_samples import STORY, random_texts

from tokenizer import ByteLevelBPE, WordPiece
from tokenizer.fast.word_boundaries import gpt2_boundaries
from tokenizer.pretokenize import GPT2_PATTERN, gpt2_words
from tokenizer.trainers.counting import WordCounts, _read, count_files, count_texts, portions
from tokenizer.utils.workers import batch_texts


def twin(texts):
    return Counter(word for text in texts for word in GPT2_PATTERN.findall(text))


def count(files, **options):
    return dict(count_files(files, gpt2_boundaries, gpt2_words, show_progress=False, **options))


def test_files_are_counted_line_by_line_by_hand(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"a b\na  b \n\n  a")
    assert count(tmp_path / "a.txt") == {"a": 2, " b": 2, "\n": 2, " ": 2, " \n": 1, " a": 1}
    (tmp_path / "dos.txt").write_bytes(b"a b\r\n\r\nb")
    assert count(tmp_path / "dos.txt") == {"a": 1, " b": 1, "\r\n": 2, "b": 1}
    (tmp_path / "mixed.txt").write_bytes(b"a\r\nb\nc\rd\n")
    assert count(tmp_path / "mixed.txt") == {"a": 1, "\r\n": 1, "b": 1, "\n": 2, "c": 1, "\r": 1, "d": 1}
    (tmp_path / "empty.txt").write_bytes(b"")
    assert count(tmp_path / "empty.txt") == {}


def test_texts_are_counted_whole_by_hand():
    assert dict(count_texts(["a\n\n\nb", "a "], gpt2_boundaries, gpt2_words, show_progress=False)) == {"a": 2, "\n\n": 1, "\n": 1, "b": 1, " ": 1}


@pytest.mark.parametrize("size", [7, 100, 3000])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_any_portions_and_workers_count_what_the_twin_counts(tmp_path, monkeypatch, size, end):
    rng = random.Random(size)
    lines = [text.replace("\n", " ").replace("\r", "") for text in random_texts(60, seed=size)] + STORY.splitlines()
    files, expected = [], Counter()
    for number in range(3):
        rng.shuffle(lines)
        files.append(tmp_path / f"{number}.txt")
        files[-1].write_bytes((end.join(lines) + end * (number % 2)).encode())
        expected += twin([line + end for line in lines[:-1]] + [lines[-1] + end * (number % 2)])
    monkeypatch.setattr(portions, "__defaults__", (size,))
    for workers in (1, 2):
        assert count(files, workers=workers) == expected
    monkeypatch.setattr("tokenizer.trainers.counting.PORTION", size)
    monkeypatch.setattr("tokenizer.trainers.counting.AT_ONCE", 5)
    assert count(files, workers=2) == expected
    assert dict(count_texts(lines, gpt2_boundaries, gpt2_words, workers=2, show_progress=False)) == twin(lines)


@pytest.mark.parametrize("text, longest", [("some words, all on one line " * 2000, 110), ("许多字，没有空格。" * 3000, 150), ("x" * 20_000, 20_000)])
def test_a_file_without_line_ends_is_read_in_parts(tmp_path, monkeypatch, text, longest):
    """Only where no border is sure, as in a row of x, is it read whole."""
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    monkeypatch.setattr("tokenizer.trainers.counting.AT_ONCE", 100)
    read = [data for _, start, end in sum(portions([tmp_path / "a.txt"], 5000), []) for data in _read(tmp_path / "a.txt", start, end)]
    assert b"".join(read).decode() == text and max(map(len, read)) <= longest
    assert count(tmp_path / "a.txt") == twin([text])
    assert dict(count_texts([text], gpt2_boundaries, gpt2_words, show_progress=False)) == twin([text])


def test_portions_cover_every_byte_once(tmp_path):
    files = []
    for number, length in enumerate([10, 0, 3, 2, 25]):
        files.append(tmp_path / str(number))
        files[-1].write_bytes(b"x" * length)
    shared = list(portions(files, size=6))
    a, _, c, d, e = files
    assert shared == [[(a, 0, 6)], [(a, 6, 10)], [(c, 0, 3), (d, 0, 2)], [(e, 0, 6)], [(e, 6, 12)], [(e, 12, 18)], [(e, 18, 24)], [(e, 24, 25)]]
    assert list(batch_texts([], 3)) == []


@pytest.mark.parametrize("kind", [ByteLevelBPE, WordPiece])
def test_any_number_of_workers_learns_the_same_vocabulary(tmp_path, monkeypatch, kind):
    (tmp_path / "story.txt").write_text(STORY * 3, encoding="utf-8")
    monkeypatch.setattr(portions, "__defaults__", (300,))
    monkeypatch.setattr("tokenizer.trainers.counting.PORTION", 300)
    for learn, source in ((kind.train, [tmp_path / "story.txt"]), (kind.train_from_iterator, STORY.splitlines())):
        fingerprints = {learn(source, 320, workers=workers, show_progress=False).fingerprint for workers in (1, 2, 3)}
        assert len(fingerprints) == 1


def test_the_cap_forgets_the_rarest_and_says_so():
    counts = WordCounts(4)
    counts.add({"a": 9, "b": 1, "c": 7, "d": 2})
    assert len(counts) == 4 and counts.loss == ""
    counts.add({"e": 3, "a": 1})  # five: down to two
    assert dict(counts) == {"a": 10, "c": 7} and (counts.missed, counts.forgotten) == (3, 6)
    assert counts.loss == "max_words=4: 6 occurrences of rare words were left out (26.09%), and any word's count is short by at most 3"


def test_of_equally_rare_words_the_same_are_forgotten_in_whatever_order_they_came():
    for words in permutations("abcd"):
        counts = WordCounts(3)
        counts.add(dict.fromkeys(words, 1))
        assert dict(counts) == {"d": 1}  # four, one too many: down to 3 // 2


def test_under_a_cap_too_any_number_of_workers_counts_the_same(monkeypatch):
    monkeypatch.setattr("tokenizer.trainers.counting.PORTION", 100)
    rng = random.Random(8)
    texts = ["".join(rng.choices("abcdef", k=rng.randint(1, 3))) for _ in range(3000)]
    one, two, three = (count_texts(texts, gpt2_boundaries, gpt2_words, workers, max_words=60, show_progress=False) for workers in (1, 2, 3))
    assert one == two == three and one.forgotten == two.forgotten == three.forgotten > 0


def test_no_count_is_short_by_more_than_the_loss_says(monkeypatch):
    rng = random.Random(3)
    texts = [f"w{min(int(rng.expovariate(0.02)), 300)}" for _ in range(5000)]
    monkeypatch.setattr("tokenizer.trainers.counting.PORTION", 200)
    capped = count_texts(texts, gpt2_boundaries, gpt2_words, max_words=60, show_progress=False)
    true = twin(texts)
    assert len(capped) <= 60 and capped.forgotten == sum(true.values()) - sum(capped.values()) > 0
    assert all(0 <= true[word] - capped[word] <= capped.missed for word in true)


def test_a_capped_training_says_what_it_lost(tmp_path):
    (tmp_path / "story.txt").write_text(STORY, encoding="utf-8")
    tok = ByteLevelBPE.train([tmp_path / "story.txt"], 400, max_words=50, show_progress=False)
    assert "max_words=50: " in tok.training_summary and "were left out" in tok.training_summary
    assert tok.decode(tok.encode_ids(STORY)) == STORY
    with pytest.raises(ValueError, match="max_words=0"):
        ByteLevelBPE.train([tmp_path / "story.txt"], 400, max_words=0)


def test_errors_name_file_line_and_byte(tmp_path, monkeypatch):
    (tmp_path / "bad.txt").write_bytes(b"good\n" * 40 + b"ok \xff no\n")
    for size in (9, 1000):
        monkeypatch.setattr(portions, "__defaults__", (size,))
        with pytest.raises(ValueError, match=r"bad.txt: line 41 is not UTF-8 text .*at byte 4"):
            count(tmp_path / "bad.txt")
    with pytest.raises(FileNotFoundError, match="no such file"):
        count(tmp_path / "none.txt")
    with pytest.raises(FileNotFoundError, match="is a folder"):
        count(tmp_path)


def test_line_ends_are_words_of_byte_level_bpe_and_not_of_wordpiece(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"ab c\nab c\n")
    assert {"\n", "##\n", ""}.isdisjoint(WordPiece.train(tmp_path / "a.txt", 20, show_progress=False).get_vocab())
    assert count_files(tmp_path / "a.txt", gpt2_boundaries, gpt2_words, show_progress=False)["\n"] == 2
