"""Opening a corpus, and its training and validation split."""
import gzip

import pytest

from data import open_corpus
from data.quality.filters import FilteredCorpus
from data.sentences import SentenceCorpus
from data.sources import named
from data.splits import eval_lines_per_document, is_eval_document

EVAL_DOCUMENTS = [18, 24, 28, 41, 67, 72]  # the i for which "document i" is for validation


def split(path, **options):
    corpus = open_corpus(path, **options)
    return list(corpus.documents("train")), list(corpus.documents("eval"))


def lines_of(documents):
    return [line for document in documents for line in document.split("\n")]


def test_every_document_is_in_one_split_and_one_in_20_is_for_validation(tmp_path):
    documents = [f"document number {i}" for i in range(2000)]
    (tmp_path / "a.txt").write_text("\n\n".join(documents))
    train, validation = split(tmp_path / "a.txt")
    assert sorted(train + validation) == sorted(documents)
    assert 70 <= len(validation) <= 130  # 100 expected, standard deviation 10
    assert train == [document for document in documents if document in set(train)]  # in order
    assert list(open_corpus(tmp_path / "a.txt").documents("all")) == documents


def test_copies_of_a_document_are_in_the_same_split(tmp_path):
    documents = [f"document number {i % 100}" for i in range(1000)]
    reverse = "\n\n".join(reversed(documents)).encode()
    (tmp_path / "a.txt").write_text("\n\n".join(documents))
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(reverse))
    train, validation = split([tmp_path / "a.txt", tmp_path / "b.txt.gz"])
    assert len(train) + len(validation) == 2000
    assert validation and not set(train) & set(validation)


def test_the_split_never_changes():
    """Another choice, or Python's hash, would put validation documents into training."""
    assert [i for i in range(100) if is_eval_document(f"document {i}")] == EVAL_DOCUMENTS


def test_progress_is_in_bytes_on_disk(tmp_path):
    text = "\n\n".join(f"paragraph {i} of five thousand" for i in range(1000, 6000)) + "\n"
    records = "".join(f'{{"text": "{line}"}}\n' for line in text.split("\n") if line)
    (tmp_path / "a.txt").write_text(text)
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "c.jsonl").write_text(records)
    sizes = [path.stat().st_size for path in sorted(tmp_path.iterdir())]
    total = sum(sizes)
    a_end, b_end = sizes[0], sizes[0] + sizes[1]

    corpus = open_corpus(tmp_path)
    assert corpus.progress() == (0, total)
    read = [corpus.progress()[0] for _ in corpus.documents("all")]
    assert read == sorted(read)
    assert read[4998] <= a_end <= read[5000] <= b_end <= read[10_000]
    assert read[2499] == pytest.approx(a_end / 2, rel=0.01)
    assert read[12_499] == pytest.approx(b_end + sizes[2] / 2, rel=0.01)
    for name in ("eval", "train"):  # each iterator starts from 0 again
        next(documents := corpus.documents(name))
        assert corpus.progress()[0] < a_end / 4
        assert list(documents) and corpus.progress() == (total, total)
    assert FilteredCorpus(SentenceCorpus(corpus), "short").progress() == (total, total)


@pytest.mark.parametrize("text, train, validation", [
    ("one\ntwo", ["one"], ["two"]),
    ("one\n\ntwo", ["one"], ["two"]),
    ("\n".join(map(str, range(40))), ["\n".join(map(str, range(38)))], ["38\n39"]),
    ("a\n\nb\n\na\n\nc", ["a", "b", "a"], ["c"]),
    ("a\n\nb\n\na", ["a", "a"], ["b"]),  # not "a": its copy would be in the training split
    ("a\nb\n\na\nb", ["a", "a"], ["b"]),
])
def test_a_small_corpus_is_split_by_lines(tmp_path, text, train, validation):
    (tmp_path / "a.txt").write_text(text)
    assert split(tmp_path / "a.txt") == (train, validation)


def test_a_larger_corpus_is_split_by_lines_if_the_hash_chooses_no_document(tmp_path):
    documents = [f"d {i}" for i in range(500) if not is_eval_document(f"d {i}")][:60]
    (tmp_path / "a.txt").write_text("\n\n".join(documents))
    assert split(tmp_path / "a.txt") == (documents[:57], documents[57:])


@pytest.mark.parametrize("num_lines, num_eval", [
    ([1], [1]), ([10, 30], [0, 2]), ([40, 40, 1, 1], [0, 2, 1, 1]), ([60, 20, 20], [0, 0, 5]),
    ([25, 25, 25, 25], [0, 0, 2, 3]), ([1, 1, 1, 1], [0, 0, 1, 1]),
    ([50, 48, 1, 101], [0, 0, 1, 9]),  # 10 of 200 lines; a document of one line gives one
])
def test_validation_lines_worked_by_hand(num_lines, num_eval):
    assert eval_lines_per_document(num_lines) == num_eval


@pytest.mark.parametrize("num_documents", [4, 7, 19, 20, 25, 40, 60])
@pytest.mark.parametrize("start", [0, 200, 400, 600, 800])
def test_both_splits_have_two_documents_if_the_corpus_has_four(tmp_path, num_documents, start):
    """Sentence pairs take their random sentences from another document."""
    texts = [f"document {i}\nwhose second line\nis not the last of {i}"
             for i in range(start, start + num_documents)]
    (tmp_path / "a.txt").write_text("\n\n".join(texts))
    train, validation = split(tmp_path / "a.txt")
    assert len(train) >= 2 and len(validation) >= 2
    assert sorted(lines_of(train + validation)) == sorted(lines_of(texts))


@pytest.mark.parametrize("text, message", [
    ("", "the corpus is empty.*a.txt"),
    ("\n \n", "the corpus is empty"),
    ("one", "a corpus of one line cannot be split"),
])
@pytest.mark.parametrize("name", ["train", "eval"])
def test_too_little_text_is_an_error(tmp_path, text, message, name):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        list(open_corpus(tmp_path / "a.txt").documents(name))


@pytest.mark.parametrize("source, error, message", [
    ("knat", ValueError, "named knat: did you mean kant.*pydocs, kant"),
    ("none.txt", FileNotFoundError, "no such file or folder: none.txt"),
    ("some/where", FileNotFoundError, "no such file or folder: some/where"),
    ([], ValueError, "no corpus given"),
    (["a.txt", "kant"], ValueError, "kant cannot be combined .* write ./kant"),
])
def test_an_unknown_source_is_an_error(source, error, message):
    with pytest.raises(error, match=message):
        open_corpus(source)


def test_flags_for_the_users_own_files_are_an_error_with_a_named_corpus():
    with pytest.raises(ValueError, match="--encoding-errors replace has no effect on kant"):
        open_corpus("kant", encoding_errors="replace")
    with pytest.raises(ValueError, match="encoding_errors is 'ignore': choose strict or replace"):
        open_corpus(__file__, encoding_errors="ignore")


def test_an_unknown_split_is_an_error(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo")
    with pytest.raises(ValueError, match="unknown split 'evall': choose from train, eval"):
        open_corpus(tmp_path / "a.txt").documents("evall")


@pytest.mark.parametrize("name, folder", [("kant", "kant"), ("wikipedia:en", "wikipedia/en")])
def test_a_named_corpus_is_read_from_the_folder_in_the_environment(
        tmp_path, monkeypatch, name, folder):
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "a.txt").write_text("one\n\ntwo")
    monkeypatch.setenv("MINIBERT_CORPORA", str(tmp_path))
    corpus = open_corpus(name)
    assert corpus.name == name
    assert list(corpus.documents("all")) == ["one", "two"]
    base = name.partition(":")[0]
    assert named.location(base) == str(tmp_path / base)
