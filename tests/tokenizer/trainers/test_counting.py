"""Counting words: by hand, against a plain twin, with any number of workers, and with a cap."""
import random
from collections import Counter
from itertools import permutations

import pytest
from tokenizer_samples import STORY, random_texts

from tokenizer import ByteLevelBPE, WordPiece
from tokenizer.fast.word_boundaries import gpt2_boundaries
from tokenizer.pretokenize import GPT2_PATTERN, gpt2_words
from tokenizer.trainers import counting
from tokenizer.trainers.counting import WordCounts, portions


def count_slowly(texts):
    return Counter(word for text in texts for word in GPT2_PATTERN.findall(text))


def count_files(files, **options):
    return counting.count_files(files, gpt2_boundaries, gpt2_words, show_progress=False, **options)


def count_texts(texts, **options):
    return counting.count_texts(texts, gpt2_boundaries, gpt2_words, show_progress=False, **options)


@pytest.mark.parametrize("content, expected", [
    (b"a b\na  b \n\n  a", {"a": 2, " b": 2, "\n": 2, " ": 2, " \n": 1, " a": 1}),
    (b"a b\r\n\r\nb", {"a": 1, " b": 1, "\r\n": 2, "b": 1}),
    (b"a\r\nb\nc\rd\n", {"a": 1, "\r\n": 1, "b": 1, "\n": 2, "c": 1, "\r": 1, "d": 1}),
])
def test_files_are_counted_line_by_line(tmp_path, content, expected):
    (tmp_path / "a.txt").write_bytes(content)
    assert count_files(tmp_path / "a.txt") == expected


def test_texts_are_counted_as_a_whole():
    assert count_texts(["a\n\n\nb", "a "]) == {"a": 2, "\n\n": 1, "\n": 1, "b": 1, " ": 1}


@pytest.mark.parametrize("size, end", [(7, "\r\n"), (100, "\n"), (3000, "\r\n")])
def test_portions_and_workers_do_not_change_the_counts(tmp_path, monkeypatch, size, end):
    rng = random.Random(size)
    lines = [text.replace("\n", " ").replace("\r", "") for text in random_texts(8, seed=size)]
    lines += STORY.splitlines()
    files = []
    expected = Counter()
    for last_end in ("", end, ""):
        rng.shuffle(lines)
        files.append(tmp_path / f"{len(files)}.txt")
        files[-1].write_bytes((end.join(lines) + last_end).encode())
        expected += count_slowly([line + end for line in lines[:-1]] + [lines[-1] + last_end])
    monkeypatch.setattr(counting, "PORTION", size)
    for workers in (1, 2):
        assert count_files(files, workers=workers) == expected
    monkeypatch.setattr(counting, "CHUNK", 5)
    assert count_files(files, workers=2) == expected
    assert count_texts(lines, workers=2) == count_slowly(lines)


@pytest.mark.parametrize("text, longest", [
    ("some words, all on one line " * 2000, 110),
    ("许多字，没有空格。" * 3000, 150),
    ("x" * 20_000, 20_000),  # no position is a safe cut, so the file is read at once
])
def test_a_file_without_line_ends_is_read_in_chunks(tmp_path, monkeypatch, text, longest):
    file = tmp_path / "a.txt"
    file.write_text(text, encoding="utf-8")
    monkeypatch.setattr(counting, "CHUNK", 100)
    chunks = []
    for portion in portions([file], 5000):
        for _, start, end in portion:
            chunks += counting._read_chunks(file, start, end)
    assert b"".join(chunks).decode() == text
    assert max(map(len, chunks)) <= longest
    assert count_files(file) == count_texts([text]) == count_slowly([text])


def test_portions_cover_every_byte_once(tmp_path):
    files = [tmp_path / str(i) for i in range(5)]
    for file, length in zip(files, [10, 0, 3, 2, 25]):
        file.write_bytes(b"x" * length)
    a, _, c, d, e = files
    assert list(portions(files, size=6)) == [
        [(a, 0, 6)], [(a, 6, 10)], [(c, 0, 3), (d, 0, 2)],
        [(e, 0, 6)], [(e, 6, 12)], [(e, 12, 18)], [(e, 18, 24)], [(e, 24, 25)]]


@pytest.mark.parametrize("cls", [ByteLevelBPE, WordPiece])
def test_any_number_of_workers_learns_the_same_vocabulary(tmp_path, monkeypatch, cls):
    (tmp_path / "story.txt").write_text(STORY * 3, encoding="utf-8")
    monkeypatch.setattr(counting, "PORTION", 300)

    def fingerprints(train, source):
        return {train(source, 320, workers=workers, show_progress=False).fingerprint
                for workers in (1, 3)}
    assert len(fingerprints(cls.train, [tmp_path / "story.txt"])) == 1
    assert len(fingerprints(cls.train_from_iterator, STORY.splitlines())) == 1


def test_the_cap_drops_the_rarest_words():
    counts = WordCounts(4)
    counts.add({"a": 9, "b": 1, "c": 7, "d": 2})
    assert len(counts) == 4 and counts.cap_summary() == ""
    counts.add({"e": 3, "a": 1})  # five words, so keep two
    assert dict(counts) == {"a": 10, "c": 7}
    assert counts.max_error == 3  # e, the most frequent of those dropped
    assert counts.num_dropped == 6
    assert "dropped 6 occurrences of rare words (26.09%)" in counts.cap_summary()


def test_which_of_equally_rare_words_are_dropped_does_not_depend_on_their_order():
    for words in permutations("abcd"):
        counts = WordCounts(3)
        counts.add(dict.fromkeys(words, 1))
        assert dict(counts) == {"d": 1}  # four words, one too many: keep 3 // 2


def test_workers_do_not_change_capped_counts(monkeypatch):
    monkeypatch.setattr(counting, "PORTION", 100)
    rng = random.Random(8)
    texts = ["".join(rng.choices("abcdef", k=rng.randint(1, 3))) for _ in range(3000)]
    one = count_texts(texts, workers=1, max_words=60)
    two = count_texts(texts, workers=2, max_words=60)
    assert one == two
    assert one.num_dropped == two.num_dropped > 0


def test_capped_counts_are_too_low_by_at_most_max_error(monkeypatch):
    monkeypatch.setattr(counting, "PORTION", 200)
    rng = random.Random(3)
    texts = [f"w{min(int(rng.expovariate(0.02)), 300)}" for _ in range(5000)]
    capped = count_texts(texts, max_words=60)
    exact = count_slowly(texts)
    assert len(capped) <= 60
    assert capped.num_dropped == sum(exact.values()) - sum(capped.values()) > 0
    assert all(0 <= exact[word] - capped[word] <= capped.max_error for word in exact)


def test_the_training_summary_reports_the_cap():
    tok = ByteLevelBPE.train_from_iterator([STORY], 400, max_words=50, show_progress=False)
    assert "max_words=50 dropped" in tok.training_summary
    assert tok.decode(tok.encode_ids(STORY)) == STORY


@pytest.mark.parametrize("size", [9, 1000])
def test_an_error_names_the_line_that_is_not_utf8(tmp_path, monkeypatch, size):
    (tmp_path / "bad.txt").write_bytes(b"good\n" * 40 + b"ok \xff no\n")
    monkeypatch.setattr(counting, "PORTION", size)
    with pytest.raises(ValueError, match="bad.txt: line 41 is not UTF-8"):
        count_files(tmp_path / "bad.txt")


def test_missing_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        count_files(tmp_path / "none.txt")
    with pytest.raises(FileNotFoundError, match="is not a file"):
        count_files(tmp_path)


def test_line_ends_are_words_for_byte_level_bpe_but_not_for_wordpiece(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"ab c\nab c\n")
    vocabulary = WordPiece.train(tmp_path / "a.txt", 20, show_progress=False).get_vocab()
    assert {"\n", "##\n", ""}.isdisjoint(vocabulary)
    assert count_files(tmp_path / "a.txt")["\n"] == 2
