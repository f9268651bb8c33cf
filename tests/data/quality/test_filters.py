import random

import pytest

from data.corpora import open_corpus
from data.quality.filters import FILTERS, FilteredCorpus, Filters, parse_filters


def test_a_list_is_parsed_in_the_order_of_the_table():
    assert parse_filters("duplicates, short=50 ,script=greek+latin") == {
        "short": 50, "script": ("GREEK", "LATIN"), "duplicates": None}
    assert list(parse_filters("duplicates,short=50")) == ["short", "duplicates"]
    assert parse_filters("all") == parse_filters("all,short") == dict.fromkeys(FILTERS)


def test_all_with_other_values_for_two():
    parsed = parse_filters("short=50,all,markup=0.2")
    assert parsed == dict.fromkeys(FILTERS) | {"short": 50, "markup": 0.2}
    assert list(parsed) == list(FILTERS)


@pytest.mark.parametrize("spec, message", [
    ("shrot", r"no filter is named 'shrot': did you mean short\?"),
    (" , ", "no filter is named"),
    ("short,short=5", "the filter short is named twice"),
    ("short=few", "the filter short takes a number of words, such as 50, not 'few'"),
    ("markup=2", "a share of the characters between 0 and 1"),
    ("near-duplicates=nan", "a similarity between 0 and 1"),
    (f"short={10**23}", "takes a number of words"),
    ("script=", "takes scripts, such as latin"),
    ("script=greke", r"takes scripts, .* not 'greke'"),
    ("repetitive=3", "takes no value"),
])
def test_an_invalid_list_is_an_error(spec, message):
    with pytest.raises(ValueError, match=message):
        parse_filters(spec)


@pytest.mark.parametrize("spec, texts, kept", [
    ("short=3", ["a b c", "a b"], ["a b c"]),
    ("script=latin+cyrillic", ["слово"], ["слово"]),
    ("markup=0.5", ["<b>bold"], ["<b>bold"]),
    ("markup", ["<b>bold"], []),
    # One shingle of the two is in both: 1/3.
    ("near-duplicates=0.9", ["one two three four five seven"], ["one two three four five seven"]),
    ("near-duplicates=0.1", ["one two three four five seven"], []),
])
def test_values_change_what_is_dropped(spec, texts, kept):
    first = "one two three four five six"
    assert list(Filters(spec).keep([first, *texts])) == [first, *kept]


def messy_documents(seed):
    """Documents of all kinds, some of them twice or nearly twice."""
    rng = random.Random(seed)
    texts = []
    for _ in range(200):
        words = rng.choices([f"word{n}" for n in range(500)], k=rng.randint(1, 80))
        texts.append(" ".join(words))
        texts += rng.choice([
            [],
            ["<p>" + " </p> <p> ".join(words[:9])],
            ["слово " * 8],
            ["one line of words\n" * 3],
            [" ".join(words).upper()],
            [" ".join([*words, "more"])],
        ])
    return texts


def test_a_report_adds_up():
    texts = messy_documents(0)
    filters = Filters("all")
    kept = list(filters.keep(texts))
    report = filters.report()
    assert report["documents"] == len(texts)
    assert report["characters"] == sum(map(len, texts))
    assert report["kept_documents"] == len(kept)
    assert report["kept_characters"] == sum(map(len, kept))
    dropped = report["dropped"]
    assert [entry["filter"] for entry in dropped] == list(FILTERS)
    assert all(entry["documents"] for entry in dropped)
    for unit in ("documents", "characters"):
        num_kept = report[f"kept_{unit}"]
        assert sum(entry[unit] for entry in dropped) + num_kept == report[unit]
        dropped_share = sum(entry[f"share_of_{unit}"] for entry in dropped)
        assert dropped_share == pytest.approx(1 - num_kept / report[unit])


def test_filtering_twice_drops_nothing_more():
    kept = list(Filters("all").keep(messy_documents(1)))
    assert list(Filters("all").keep(kept)) == kept


def test_the_example_is_the_beginning_of_the_first_dropped_text():
    filters = Filters("short")
    list(filters.keep(["a b c d e", "first\none", "second"]))
    assert filters.report()["dropped"][0]["example"] == "first one"
    filters = Filters("script")
    list(filters.keep(["a", "я" * 100]))
    assert filters.report()["dropped"][0]["example"] == "я" * 60
    assert filters.summary() == "1.0% kept; dropped: script 99.0%"


@pytest.mark.parametrize("spec", ["markup,near-duplicates=0.5", "near-duplicates=0.5,markup"])
def test_a_dropped_document_is_not_the_original_of_a_duplicate(spec):
    words = " ".join(f"word{n}" for n in range(40))
    markup = words + " <i>" + "x" * 60 + "</i>" * 20
    assert list(Filters(spec).keep([markup, words])) == [words]


def test_dropping_everything_is_an_error():
    message = r"dropped all 2 documents of .* \(0.0% kept; dropped: short 100.0%\)"
    with pytest.raises(ValueError, match=message):
        list(Filters("short").keep(["a", "b"]))
    assert list(Filters("short").keep([])) == []


# ------------------------------------------------------------------------------ FilteredCorpus


@pytest.fixture
def corpus(tmp_path):
    """200 documents, each also in upper case, and a short one."""
    rng = random.Random(4)
    texts = [" ".join(rng.choices([f"word{n}" for n in range(300)], k=30)) for _ in range(200)]
    texts += [text.upper() for text in texts]
    (tmp_path / "a.txt").write_text("\n\n".join([*texts, "too short"]))
    return open_corpus(tmp_path / "a.txt")


def test_each_pass_over_a_split_is_filtered_by_itself(corpus):
    filtered = FilteredCorpus(corpus, "short")
    for split in ("train", "eval", "all", "all"):
        expected = [text for text in corpus.documents(split) if text != "too short"]
        assert list(filtered.documents(split)) == expected
    report = filtered.reports["all"].report()
    assert (report["documents"], report["kept_documents"]) == (401, 400)


@pytest.mark.parametrize("spec", ["duplicates", "near-duplicates"])
def test_no_duplicate_of_a_validation_document_is_trained_on(corpus, spec):
    def leaked(corpus):
        validation = {text.casefold() for text in corpus.documents("eval")}
        return [text for text in corpus.documents("train") if text.casefold() in validation]

    filtered = FilteredCorpus(corpus, spec)
    assert leaked(corpus)
    assert not leaked(filtered)
    # Validation documents are not counted in the report on training documents.
    num_train = sum(1 for _ in corpus.documents("train"))
    assert filtered.reports["train"].report()["documents"] == num_train


class EndlessCorpus:
    """Every tenth document is for validation; the one after it is a copy, for training."""
    name = description = "endless"

    def __init__(self):
        self.num_read = 0

    def documents(self, split):
        for i in range(1000):
            self.num_read += 1
            if (split == "eval") == (i % 10 == 0):
                is_copied = i % 10 < 2
                yield f"validation {i // 10:013}" if is_copied else f"document {i} for training"


@pytest.mark.parametrize("spec", ["duplicates", "near-duplicates"])
def test_no_more_validation_text_is_read_than_the_limit(spec):
    corpus = EndlessCorpus()
    validation = list(EndlessCorpus().documents("eval"))[:10]  # 240 characters
    train = FilteredCorpus(corpus, spec, max_eval_characters=240).documents("train")
    next(train)
    assert corpus.num_read == 91 + 3  # 91 up to the tenth validation document
    assert not set(train) & set(validation)
