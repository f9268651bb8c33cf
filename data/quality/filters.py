"""Quality filters: which documents a corpus is better off without, and what each filter dropped.

    short             fewer than 5 words                              short=50: fewer than 50
    repetitive        lines or runs of words come again and again
    script            most letters are not of the wanted script       script=greek; script=cjk+hiragana+katakana
    markup            a tenth of the text is tags and brackets        markup=0.2
    duplicates        the same text was there before
    near-duplicates   nearly the same text was there before           near-duplicates=0.9 (see near_duplicates.py)

A filter is a function of one text that is True where it is to be dropped. A list of them is written "short,script=greek", all of
them "all", all with another value for one "all,short=50". They run in the order above, so that what is dropped for another reason
is no original of a duplicate.
"""
import re
import sys
import unicodedata
from collections import Counter
from functools import cache

from data.corpora import take_characters
from data.quality.near_duplicates import SIMILARITY, NearDuplicates, folded
from data.splits import stable_hash
from tokenizer.utils.cli import suggestion

SHOWN = 60  # characters of an example
MIN_WORDS = 5
REPEATED_LINES, REPEATED_LINE_CHARACTERS = 0.30, 0.20
TOP_NGRAM = {2: 0.20, 3: 0.18, 4: 0.16}  # words -> share of the characters
REPEATED_NGRAM = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
NGRAM_WORDS = 50  # from so many words on a document is judged by its n-grams
MAX_FOREIGN = 0.5
MAX_MARKUP = 0.1


# --------------------------------------------------------------------------------------------------- one document


def is_short(text, words=MIN_WORDS):
    """Whether a text has fewer than ``words`` words. Raffel et al. 2020 (C4, section 2.2) keep lines of at least 5 words;
    Rae et al. 2021 ask for 50, of web pages: here a document may be a single paragraph.

    >>> is_short("Yes, he said."), is_short("one two three four five")
    (True, False)
    """
    return len(text.split(None, words)) < words


def is_repetitive(text):
    """Whether a text repeats itself more than the limits of Rae et al. 2021 (Gopher, table A1) allow.

    >>> is_repetitive("Read more\\nRead more\\nOne line of its own"), is_repetitive("The cat sat.\\nThe dog sat.")
    (True, False)
    """
    return any(share > limit for _, share, limit in repetition(text))


def repetition(text):
    """Yield (measure, share, limit) for a text: what table A1 of Rae et al. 2021 measures, but for paragraphs.

    "Repeated" is what has stood in the text before: the first time does not count. Characters are those of words, without white space.
    Lines are counted in any text; n-grams (n words in a row) from 50 words on, as in Gopher's data shorter texts do not occur: five
    words have only four 2-grams, and each is more than a fifth of them. A top n-gram that occurs once repeats nothing.

    "a b\\na b\\nc d" -> ("lines", 1/3, 0.3), ("characters of lines", 1/3, 0.2)
    """
    lines = [" ".join(line.split()) for line in text.split("\n")]
    seen, repeated = set(), []
    for line in filter(None, lines):
        repeated += [line] if line in seen else []
        seen.add(line)
    characters = sum(map(len, lines)) or 1
    yield "lines", len(repeated) / (len(repeated) + len(seen) or 1), REPEATED_LINES
    yield "characters of lines", sum(map(len, repeated)) / characters, REPEATED_LINE_CHARACTERS
    words = text.split()
    if len(words) < NGRAM_WORDS:
        return
    characters = sum(map(len, words))
    for n, limit in TOP_NGRAM.items():
        counts = Counter(ngrams(words, n))
        top = max(counts.values())
        length = max(sum(map(len, ngram)) for ngram, count in counts.items() if count == top) if top > 1 else 0
        yield f"top {n}-gram", top * length / characters, limit
    for n, limit in REPEATED_NGRAM.items():
        share = repeated_ngram_characters(words, n) / characters
        yield f"repeated {n}-grams", share, limit
        if not share:  # no 5-gram comes again, so no longer one does
            return


def ngrams(words, n):
    """``["a", "b", "c"], 2 -> ("a", "b"), ("b", "c")``"""
    return zip(*(words[start:] for start in range(n)))


def repeated_ngram_characters(words, n):
    """The characters within n-grams that have stood before, each character counted once.

    ``["a", "b", "a", "b", "a"], 2 -> 3``: "a b" comes again at the third word, "b a" at the fourth
    """
    seen, end, characters = set(), 0, 0
    for start, ngram in enumerate(ngrams(words, n)):
        if ngram in seen:
            characters += sum(map(len, words[max(start, end):start + n]))
            end = start + n
        seen.add(ngram)
    return characters


def is_foreign(text, scripts=("LATIN",)):
    """Whether more than half of the letters are of another script (this threshold is ours; no paper is behind it).

    >>> is_foreign("Привет, world"), is_foreign("Hello, мир"), is_foreign("1788")
    (True, False, False)
    """
    letters = {character: count for character, count in Counter(text).items() if character.isalpha()}
    foreign = sum(count for character, count in letters.items() if script_of(character) not in scripts)
    return foreign > MAX_FOREIGN * sum(letters.values())


@cache  # there are no more than 1.1 million characters
def script_of(letter):
    """The script of a letter: the first word of its Unicode name. ``"ж" -> "CYRILLIC"``, ``"中" -> "CJK"``, ``"Ａ" -> "LATIN"``"""
    return unicodedata.name(letter, "").removeprefix("FULLWIDTH ").removeprefix("HALFWIDTH ").split(" ")[0]


@cache
def known_scripts():
    """All first words of the names of letters, -> {"LATIN", "GREEK", ...}; takes a fifth of a second."""
    return {script_of(letter) for letter in map(chr, range(0x110000)) if letter.isalpha()}


MARKUP = re.compile(r"""
    </?[a-zA-Z][^<>]{0,1000}>           # HTML: <a href="..."> </p>
    | <!-- | --> | &\#?\w{2,10};        # comments; entities: &nbsp; &#160;
    | \[\[ | \]\] | '{2,3} | ={2,}      # wiki syntax: [[link]] ''italic'' == Heading ==
    | [{}|]                             # {{templates}}, {| tables, code
""", re.VERBOSE)


def is_markup(text, share=MAX_MARKUP):
    """Whether more than ``share`` of the characters are markup: HTML tags and entities, wiki syntax, braces.

    Raffel et al. 2020 (C4) drop each page with a brace; here they are counted, and the threshold is ours.

    >>> is_markup("<p>See <a href='x'>this</a>.</p>"), is_markup("A set is written {1, 2, 3} in mathematics.")
    (True, False)
    """
    return sum(map(len, MARKUP.findall(text))) > share * len(text)


class Duplicates:
    """Called with one text after the other: was the same there before, but for white space and what ``folded`` leaves out? 64 bits of each are
    kept, about 80 MB in a million texts.

    >>> seen = Duplicates()
    >>> seen("One  text"), seen("one\\ntext"), seen("another")
    (False, True, False)
    """

    def __init__(self):
        self.seen = set()

    def __call__(self, text):
        key = stable_hash(" ".join(folded(text).split()))
        before = key in self.seen
        self.seen.add(key)
        return before


# ------------------------------------------------------------------------------------------------- a list of them

MAKERS = {  # name -> (the filter, from the value that stands behind "=" where there is one; how such a value is read)
    "short": (lambda words=MIN_WORDS: lambda text: is_short(text, words), "a number of words, 50 say"),
    "repetitive": (lambda: is_repetitive, None),
    "script": (lambda scripts=("LATIN",): lambda text: is_foreign(text, scripts), "scripts, latin or cjk+hiragana say"),
    "markup": (lambda share=MAX_MARKUP: lambda text: is_markup(text, share), "a share of the characters between 0 and 1, 0.2 say"),
    "duplicates": (Duplicates, None),
    "near-duplicates": (lambda threshold=SIMILARITY: NearDuplicates(threshold), "a similarity between 0 and 1, 0.9 say"),
}


def parse(spec):
    """``"short=50,markup" -> {"short": 50, "markup": None}`` in the order of MAKERS; "all" adds those that are not named themselves.

    Raises ValueError for an unknown name, one named twice, a value that cannot be read, an empty list.
    """
    values = {}
    for item in filter(None, (item.strip() for item in spec.split(","))):
        name, equals, value = item.partition("=")
        if name not in (*MAKERS, "all"):
            raise ValueError(f"no filter is named {name!r}{suggestion(name, [*MAKERS, 'all'])} (there are: {', '.join(MAKERS)}; or all)")
        if name in values:
            raise ValueError(f"the filter {name} is named twice in {spec!r}")
        values[name] = _value(name, value) if equals else None
    if not values:
        raise ValueError(f"no filter is named in {spec!r}: there are {', '.join(MAKERS)}; or all")
    return {name: values.get(name) for name in MAKERS if name in values or "all" in values}


def _value(name, text):
    """What stands behind "=", as the filter takes it. ``"script", "cjk+hiragana" -> ("CJK", "HIRAGANA")``"""
    kind = MAKERS[name][1] if name in MAKERS else None
    if kind is None:
        raise ValueError(f"the filter {name} takes no value: write {name} in place of {name}={text}")
    if name == "script":
        scripts = tuple(text.upper().split("+"))
        for script in scripts:
            if script not in known_scripts():
                near = suggestion(script, known_scripts()).lower()
                raise ValueError(f"no letter is of the script {script.lower()!r}{near} (latin, cyrillic, greek, ...)")
        return scripts
    try:
        value = int(text) if name == "short" else float(text)
    except ValueError:
        value = 0
    if not 0 < value <= (sys.maxsize if name == "short" else 1):
        raise ValueError(f"the filter {name} takes {kind}, not {text!r}")
    return value


class Filters:
    """A list of filters at work: ``keep`` yields what no filter drops; then ``report`` says what was dropped.

    spec: as for ``parse``. A dropped document is put to the account of the first filter that drops it.

    >>> filters = Filters("short=2,duplicates")
    >>> list(filters.keep(["one two", "one", "One two", "three four"]))
    ['one two', 'three four']
    >>> filters.report()["dropped"][1]
    {'filter': 'duplicates', 'documents': 1, 'characters': 7, 'share_of_documents': 0.25, 'share_of_characters': 0.259..., 'example': 'One two'}
    """

    def __init__(self, spec):
        self.tests = {name: MAKERS[name][0](*([] if value is None else [value])) for name, value in parse(spec).items()}
        self.start_counting()

    def start_counting(self):
        """Set all counts to zero; what the filters for duplicates have seen stays."""
        self.documents = self.characters = 0
        self.dropped = {name: {"filter": name, "documents": 0, "characters": 0, "example": ""} for name in self.tests}

    def drops(self, text):
        """The name of the first filter that drops this text, "" where none does; counted."""
        self.documents += 1
        self.characters += len(text)
        name = next((name for name, test in self.tests.items() if test(text)), "")
        if name:
            account = self.dropped[name]
            account["example"] = account["example"] or " ".join(text[:SHOWN].split())
            account["documents"] += 1
            account["characters"] += len(text)
        return name

    def keep(self, documents):
        """Yield the documents that no filter drops. ValueError, at the end, where that is none of them."""
        kept = False
        for text in documents:
            if not self.drops(text):
                kept = True
                yield text
        if self.documents and not kept:
            raise ValueError(f"the filters dropped all {self.documents:,} documents ({self.summary()}): choose others")

    def report(self):
        """What went in, what came out, and for each filter what it dropped with the beginning of its first text, as a dict."""
        accounts = []
        for name, account in self.dropped.items():
            accounts.append({"filter": name, "documents": account["documents"], "characters": account["characters"],
                             "share_of_documents": account["documents"] / max(self.documents, 1),
                             "share_of_characters": account["characters"] / max(self.characters, 1), "example": account["example"]})
            if getattr(self.tests[name], "not_remembered", 0):
                accounts[-1]["not_remembered"] = self.tests[name].not_remembered
        return {"documents": self.documents, "characters": self.characters,
                "kept_documents": self.documents - sum(account["documents"] for account in accounts),
                "kept_characters": self.characters - sum(account["characters"] for account in accounts), "dropped": accounts}

    def summary(self):
        """In one line, shares being of the characters: ``"96.0% kept; dropped: short 3.0%, duplicates 1.0%"``"""
        report = self.report()
        accounts = ", ".join(f"{account['filter']} {account['share_of_characters']:.1%}" for account in report["dropped"])
        return f"{report['kept_characters'] / max(self.characters, 1):.1%} kept; dropped: {accounts}"


class FilteredCorpus:
    """A corpus (see ``corpora.open_corpus``) that gives only what the filters keep, each part of it filtered anew.

    Where duplicates are dropped, training text that is one of held-out text goes: the filters see the held-out part first:
    all of it, or no more of what is kept than ``held_out`` characters, where nobody measures on more. ``reports[split]`` are the Filters
    of the last pass over a part.
    """

    def __init__(self, corpus, spec, held_out=None):
        self.corpus, self.spec, self.held_out, self.reports = corpus, spec, held_out, {}
        self.name, self.description = corpus.name, f"{corpus.description}; filters: {', '.join(parse(spec))}"

    def documents(self, split):
        """Yield the documents of "train", "eval" or "all" that are kept."""
        filters = self.reports[split] = Filters(self.spec)
        if split == "train" and not {"duplicates", "near-duplicates"}.isdisjoint(filters.tests):
            kept = filters.keep(self.corpus.documents("eval"))
            for _ in kept if self.held_out is None else take_characters(kept, self.held_out):
                pass
            filters.start_counting()
        yield from filters.keep(self.corpus.documents(split))

    def progress(self):
        """That of the corpus inside."""
        return self.corpus.progress()
