"""Quality filters: which documents to drop from a corpus, and a report of what was dropped.

    short             fewer than 5 words                        short=50: fewer than 50
    repetitive        lines or runs of words are repeated often
    script            most letters are not Latin                script=greek, script=cjk+hiragana
    markup            over a tenth of the text is markup        markup=0.2
    duplicates        an earlier document has the same text
    near-duplicates   ... or nearly the same                    near-duplicates=0.9

A filter is a function of a text that returns True if the text should be dropped. A list of
filters is written as in "short,script=greek"; "all" is all of them, and "all,short=50" changes
one. They run in the order above: a document that one filter drops is not the original of a
duplicate for the filters after it.
"""
from functools import partial

from data.corpora import take_characters
from data.quality.document_filters import (
    MAX_MARKUP,
    MIN_WORDS,
    Duplicates,
    is_foreign,
    is_markup,
    is_repetitive,
    is_short,
    known_scripts,
)
from data.quality.near_duplicates import SIMILARITY, NearDuplicates
from tokenizer.utils.cli import suggestion
from tokenizer.utils.terminal import plural

EXAMPLE_LENGTH = 60  # characters of a dropped document in the report


def _parse_words(text):
    value = int(text)
    if not 1 <= value <= 10**9:
        raise ValueError
    return value


def _parse_share(text):
    value = float(text)
    if not 0 < value <= 1:
        raise ValueError
    return value


def _parse_scripts(text):
    """``"cjk+hiragana" -> ("CJK", "HIRAGANA")``"""
    scripts = tuple(text.upper().split("+"))
    if not text or not known_scripts().issuperset(scripts):
        raise ValueError
    return scripts


# name -> what makes the filter, called with the value after "=" if there is one
FILTERS = {
    "short": lambda value=MIN_WORDS: partial(is_short, min_words=value),
    "repetitive": lambda: is_repetitive,
    "script": lambda value=("LATIN",): partial(is_foreign, scripts=value),
    "markup": lambda value=MAX_MARKUP: partial(is_markup, max_share=value),
    "duplicates": Duplicates,
    "near-duplicates": lambda value=SIMILARITY: NearDuplicates(value),
}
# name -> how to parse its value, and what that is; the other filters have none
VALUES = {
    "short": (_parse_words, "a number of words, such as 50"),
    "script": (_parse_scripts, "scripts, such as latin or cjk+hiragana+katakana"),
    "markup": (_parse_share, "a share of the characters between 0 and 1, such as 0.2"),
    "near-duplicates": (_parse_share, "a similarity between 0 and 1, such as 0.9"),
}


def parse_filters(spec):
    """Parse a list of filters: ``"markup,short=50" -> {"short": 50, "markup": None}``.

    The result is in the order of FILTERS. "all" adds those that are not named themselves.

    Raises ValueError for an unknown name, a repeated name, an invalid value or an empty list.
    """
    values = {}
    for item in spec.split(","):
        item = item.strip()
        if not item:
            continue
        name, equals, value = item.partition("=")
        if name != "all" and name not in FILTERS:
            hint = suggestion(name, [*FILTERS, "all"])
            raise ValueError(f"no filter is named {name!r}{hint} "
                             f"(filters: {', '.join(FILTERS)}; or all)")
        if name in values:
            raise ValueError(f"the filter {name} is named twice in {spec!r}")
        values[name] = _parse_value(name, value) if equals else None
    if not values:
        raise ValueError(f"no filter is named in {spec!r} (filters: {', '.join(FILTERS)}; or all)")
    return {name: values.get(name) for name in FILTERS if name in values or "all" in values}


def _parse_value(name, text):
    if name not in VALUES:
        raise ValueError(f"the filter {name} takes no value: write {name} instead of {name}={text}")
    parse, description = VALUES[name]
    try:
        return parse(text)
    except ValueError:
        raise ValueError(f"the filter {name} takes {description}, not {text!r}") from None


class Filters:
    """Apply a list of filters (see ``parse_filters``) and count what they drop.

    A dropped document is counted for the first filter that drops it.

    >>> filters = Filters("short=2,duplicates")
    >>> list(filters.keep(["one two", "one", "One two", "three four"]))
    ['one two', 'three four']
    >>> filters.summary()
    '63.0% kept; dropped: short 11.1%, duplicates 25.9%'
    """

    def __init__(self, spec):
        self.filters = {}
        for name, value in parse_filters(spec).items():
            make = FILTERS[name]
            self.filters[name] = make() if value is None else make(value)
        self.reset_counts()

    def reset_counts(self):
        """Set all counts to zero. The filters still remember the texts that they have seen."""
        self.num_documents = 0
        self.num_characters = 0
        self.dropped_documents = dict.fromkeys(self.filters, 0)
        self.dropped_characters = dict.fromkeys(self.filters, 0)
        self.examples = dict.fromkeys(self.filters, "")

    def drops(self, text):
        """Return whether a filter drops this text, and count it."""
        self.num_documents += 1
        self.num_characters += len(text)
        for name, should_drop in self.filters.items():
            if should_drop(text):
                if not self.examples[name]:
                    self.examples[name] = " ".join(text[:EXAMPLE_LENGTH].split())
                self.dropped_documents[name] += 1
                self.dropped_characters[name] += len(text)
                return True
        return False

    def keep(self, documents):
        """Yield the documents that no filter drops; ValueError at the end if there are none."""
        num_kept = 0
        for text in documents:
            if not self.drops(text):
                num_kept += 1
                yield text
        if self.num_documents and not num_kept:
            raise ValueError(f"the filters dropped all {plural(self.num_documents, 'document')} of "
                             f"this part of the corpus ({self.summary()}): choose others")

    def report(self):
        """Return a dict with the counts, and for each filter an example of what it dropped."""
        dropped = []
        for name, single_filter in self.filters.items():
            num_documents = self.dropped_documents[name]
            num_characters = self.dropped_characters[name]
            entry = {
                "filter": name,
                "documents": num_documents,
                "characters": num_characters,
                "share_of_documents": num_documents / max(self.num_documents, 1),
                "share_of_characters": num_characters / max(self.num_characters, 1),
                "example": self.examples[name],
            }
            if getattr(single_filter, "not_remembered", 0):  # of NearDuplicates
                entry["not_remembered"] = single_filter.not_remembered
            dropped.append(entry)
        return {
            "documents": self.num_documents,
            "characters": self.num_characters,
            "kept_documents": self.num_documents - sum(self.dropped_documents.values()),
            "kept_characters": self.num_characters - sum(self.dropped_characters.values()),
            "dropped": dropped,
        }

    def summary(self):
        """Return shares of the characters: ``"96.0% kept; dropped: short 3.0%, markup 1.0%"``."""
        report = self.report()
        kept_share = report["kept_characters"] / max(self.num_characters, 1)
        dropped = [f"{entry['filter']} {entry['share_of_characters']:.1%}"
                   for entry in report["dropped"]]
        return f"{kept_share:.1%} kept; dropped: {', '.join(dropped)}"


class FilteredCorpus:
    """A corpus (see ``corpora.open_corpus``) without the documents that the filters drop.

    ``reports[split]`` are the Filters of the latest pass over a split.

    The filters for duplicates see the validation documents before the training documents, so that
    no duplicate of a validation document remains in the training text.

    max_eval_characters   how much of the kept validation text they see; None means all of it
    """

    def __init__(self, corpus, spec, max_eval_characters=None):
        self.corpus = corpus
        self.spec = spec
        self.max_eval_characters = max_eval_characters
        self.reports = {}
        self.name = corpus.name
        self.description = f"{corpus.description}; filters: {', '.join(parse_filters(spec))}"

    @property
    def notes(self):
        return self.corpus.notes

    def documents(self, split):
        """Yield the documents of "train", "eval" or "all" that are kept."""
        filters = Filters(self.spec)
        self.reports[split] = filters
        has_memory = "duplicates" in filters.filters or "near-duplicates" in filters.filters
        if split == "train" and has_memory:
            validation = filters.keep(self.corpus.documents("eval"))
            if self.max_eval_characters is not None:
                validation = take_characters(validation, self.max_eval_characters)
            for _ in validation:
                pass  # the filters remember what they have seen
            filters.reset_counts()
        yield from filters.keep(self.corpus.documents(split))

    def progress(self):
        """Return the progress of the wrapped corpus: (bytes read, bytes in total)."""
        return self.corpus.progress()
