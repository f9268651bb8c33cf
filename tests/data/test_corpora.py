import gzip
import os
import subprocess
import sys

import pytest

from data import corpora, open_corpus
from data.quality.filters import FilteredCorpus
from data.sentences import SentenceCorpus
from data.splits import eval_lines_per_document, is_eval_document

HELD_OUT = [18, 24, 28, 41, 67, 72]


def lines_of(texts):
    return [line for text in texts for line in text.split("\n")]


def split(path, **options):
    corpus = open_corpus(path, **options)
    return list(corpus.documents("train")), list(corpus.documents("eval"))


def test_every_document_is_in_one_part_and_one_in_20_is_held_out(tmp_path):
    documents = [f"document number {number}" for number in range(2000)]
    (tmp_path / "a.txt").write_text("\n\n".join(documents))
    train, held = split(tmp_path / "a.txt")
    assert sorted(train + held) == sorted(documents) and not set(train) & set(held)
    assert 70 <= len(held) <= 130  # 100 expected, standard deviation 10
    assert list(open_corpus(tmp_path / "a.txt").documents("all")) == documents
    assert train == [document for document in documents if document in set(train)]  # the order of the file


def test_equal_documents_fall_on_the_same_side_wherever_they_stand(tmp_path):
    documents = [f"document number {number % 100}" for number in range(1000)]
    (tmp_path / "a.txt").write_text("\n\n".join(documents))
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress("\n\n".join(reversed(documents)).encode()))
    train, held = split([tmp_path / "a.txt", tmp_path / "b.txt.gz"])
    assert len(train) + len(held) == 2000 and not set(train) & set(held) and held


def test_which_documents_are_held_out_never_changes():
    """Worked once and written down: another choice would mix training and eval parts of older runs."""
    assert [number for number in range(100) if is_eval_document(f"document {number}")] == HELD_OUT


def test_the_split_is_the_same_in_every_process():
    program = "from data.splits import is_eval_document; print([n for n in range(100) if is_eval_document(f'document {n}')])"
    for seed in ("0", "1"):
        result = subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.getcwd()},
                                capture_output=True, text=True, check=True)
        assert result.stdout.strip() == str(HELD_OUT)


def test_how_far_a_corpus_was_read_is_told_in_bytes_on_disk(tmp_path):
    text = "\n\n".join(f"paragraph {number} of five thousand" for number in range(1000, 6000)) + "\n"
    (tmp_path / "a.txt").write_text(text)
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "c.jsonl").write_text("".join(f'{{"text": "{line}"}}\n' for line in text.split("\n") if line))
    (tmp_path / "d.csv").write_text("text\nlast\n")
    plain, packed, *rest = (path.stat().st_size for path in sorted(tmp_path.iterdir()))
    size = plain + packed + sum(rest)
    corpus = open_corpus(tmp_path)
    assert corpus.progress() == (0, size)
    places = [corpus.progress()[0] for _ in corpus.documents("all")]
    assert places == sorted(places) and places[4998] <= plain <= places[5000] <= plain + packed <= places[10_000]
    assert places[2499] == pytest.approx(plain / 2, rel=0.01) and places[12_499] == pytest.approx(plain + packed + rest[0] / 2, rel=0.01)
    for split in ("eval", "train"):  # each pass begins anew
        next(documents := corpus.documents(split))
        assert corpus.progress()[0] < plain / 4
        assert list(documents) and corpus.progress() == (size, size)
    assert FilteredCorpus(SentenceCorpus(corpus), "short").progress() == (size, size)


def test_documents_can_be_read_again(tmp_path):
    (tmp_path / "a.txt").write_text("\n\n".join(map(str, range(100))))
    corpus = open_corpus(tmp_path / "a.txt")
    first = corpus.documents("train")
    next(first)
    assert list(corpus.documents("train")) == list(corpus.documents("train")) and len(list(first)) > 80


@pytest.mark.parametrize("text, train, held", [
    ("one\ntwo", ["one"], ["two"]),
    ("one\n\ntwo", ["one"], ["two"]),
    ("\n".join(map(str, range(40))), ["\n".join(map(str, range(38)))], ["38\n39"]),
    ("a\n\nb\n\na\n\nc", ["a", "b", "a"], ["c"]),
    ("a\n\nb\n\na", ["a", "a"], ["b"]),  # the last of the distinct ones: "a" on both sides would be seen in training
    ("a\nb\n\na\nb", ["a", "a"], ["b"]),
])
def test_a_small_corpus_is_cut_by_its_lines(tmp_path, text, train, held):
    (tmp_path / "a.txt").write_text(text)
    assert split(tmp_path / "a.txt") == (train, held)


def test_a_corpus_in_which_the_hash_finds_nothing_still_has_an_eval_part(tmp_path):
    documents = [f"d {number}" for number in range(500) if not is_eval_document(f"d {number}")][:60]
    (tmp_path / "a.txt").write_text("\n\n".join(documents))
    assert split(tmp_path / "a.txt") == (documents[:57], documents[57:])


@pytest.mark.parametrize("lines, held", [
    ([1], [1]), ([10, 30], [0, 2]), ([40, 40, 1, 1], [0, 2, 1, 1]), ([60, 20, 20], [0, 0, 5]), ([25, 25, 25, 25], [0, 0, 2, 3]),
    ([1, 1, 1, 1], [0, 0, 1, 1]), ([50, 48, 1, 101], [0, 0, 1, 9])])
def test_of_a_small_corpus_the_last_twentieth_is_held_out_and_of_four_documents_the_ends_of_two(lines, held):
    """Worked by hand: 200 lines give 10; of the last two documents half each, but of one line no more than one."""
    assert eval_lines_per_document(lines) == held


@pytest.mark.parametrize("documents", [4, 7, 19, 20, 25, 40, 60])
@pytest.mark.parametrize("first", range(0, 1000, 200))
def test_both_parts_have_two_documents_where_the_corpus_has_four(tmp_path, documents, first):
    """Pairs take their random sentences from another document."""
    texts = [f"document {number}\nwhose second line\nis not the last of {number}" for number in range(first, first + documents)]
    (tmp_path / "a.txt").write_text("\n\n".join(texts))
    train, held = split(tmp_path / "a.txt")
    assert len(train) >= 2 and len(held) >= 2 and sorted(lines_of(train + held)) == sorted(lines_of(texts))


@pytest.mark.parametrize("text, message", [
    ("", "the corpus is empty.*a.txt"), ("\n \n", "the corpus is empty"), ("one", "a corpus of one line cannot be divided")])
def test_a_corpus_with_too_little_text_is_an_error(tmp_path, text, message):
    (tmp_path / "a.txt").write_text(text)
    for part in ("train", "eval"):
        with pytest.raises(ValueError, match=message):
            list(open_corpus(tmp_path / "a.txt").documents(part))


def test_one_line_is_enough_where_no_part_is_held_out(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    assert list(open_corpus(tmp_path / "a.txt").documents("all")) == ["one"]


@pytest.mark.parametrize("source, error, message", [
    ("knat", ValueError, "named knat: did you mean kant.*kant, pydocs|named knat: did you mean kant.*pydocs, kant"),
    ("none.txt", FileNotFoundError, "no such file or folder: none.txt"),
    ("some/where", FileNotFoundError, "no such file or folder: some/where"),
    ([], ValueError, "no corpus given"),
    (["kant", "a.txt"], ValueError, "kant is a named corpus and stands alone"),
])
def test_what_is_no_corpus_is_an_error_that_helps(source, error, message):
    with pytest.raises(error, match=message):
        open_corpus(source)


def test_an_unknown_part_is_an_error(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo")
    with pytest.raises(ValueError, match="split 'evall' is none of train, eval, all: did you mean eval?"):
        open_corpus(tmp_path / "a.txt").documents("evall")


def test_a_corpus_has_a_name_and_a_description(tmp_path):
    (tmp_path / "news.txt").write_text("x" * 1_200_000)
    (tmp_path / "more.txt").write_text("x")
    assert open_corpus(tmp_path / "news.txt").description == "news: 1 file, 1.2 MB"
    assert open_corpus(str(tmp_path / "news.txt")).name == "news"
    assert open_corpus([tmp_path / "news.txt", tmp_path / "more.txt"]).description == "news+1: 2 files, 1.2 MB"


def test_the_field_of_the_text_is_passed_on(tmp_path):
    (tmp_path / "a.csv").write_text("id,review\n1,good\n2,bad\n")
    assert split(tmp_path / "a.csv", text_field="review") == (["good"], ["bad"])


def test_kant_comes_from_the_folder_that_the_environment_names(tmp_path, monkeypatch):
    (tmp_path / "kant").mkdir()
    (tmp_path / "kant" / "a.txt").write_text("one\n\ntwo")
    monkeypatch.setenv("MINIBERT_CORPORA", str(tmp_path))
    corpus = open_corpus("kant")
    assert corpus.name == "kant" and list(corpus.documents("all")) == ["one", "two"]
    assert corpora.corpus_location("kant") == str(tmp_path / "kant")


@pytest.mark.skipif("MINIBERT_CORPORA" not in os.environ, reason="MINIBERT_CORPORA names no folder with kant/")
def test_the_three_books_have_the_expected_checksums_and_split():
    corpus = open_corpus("kant")
    assert [file.name for file in corpus.files] == list(corpora.KANT)
    for file in corpus.files:
        corpora.check_book(file, corpora.KANT[file.name][1], file.name)
    train, held = list(corpus.documents("train")), list(corpus.documents("eval"))
    assert len(train) > 1900 and 80 < len(held) < 140 and not set(train) & set(held)
