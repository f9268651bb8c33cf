"""Split text into sentences by rules: next-sentence pairs need segments of about that length.

Wikipedia's dump and most reviews have long lines. A sentence ends after . ! ? or … (and closing
quotes or brackets) if white space follows, and then anything but a lowercase letter. But a full
stop does not end a sentence after

    a title or the like                  "Dr. Who", "e.g. Rome", "cf. Kant"
    an abbreviation before a number      "No. 5", "pp. 12", "Jan. 3"
    the number of a list item            "1. First"
    an initial, "Inc.", "etc.", "U.S."   "J. S. Bach", "U.S. Army", but "in the U.S. The army":
                                         unless the next word often starts a sentence

The lists are for English and work well for other languages in Latin script. The marks of Chinese
and Japanese need no white space. When in doubt, do not split: two sentences in a line cost one
pair, but half a sentence makes a false one. Punkt (Kiss and Strunk 2006) learns such lists from
the corpus; fixed lists split a text the same way in every corpus.
"""
import re

# Lowercase, without the last full stop.
NEVER_LAST = frozenset(
    "mr mrs ms dr prof st gen sen rep gov lt col capt sgt maj cmdr adm rev hon fr mt vs v e.g i.e "
    "cf viz al approx ca esp incl resp dept univ assn".split())
BEFORE_NUMBER = frozenset(
    "no nos vol vols p pp fig figs ch sec art op eq "
    "jan feb mar apr jun jul aug sep sept oct nov dec".split())
SOMETIMES_LAST = frozenset(
    "inc ltd co corp bros jr sr etc a.m p.m ph.d b.c a.d mass calif est".split())
SENTENCE_STARTERS = frozenset(
    "the a an he she it they we i you this that these those his her its their our in on at as "
    "after before when while if since during from for by there then but and however although "
    "though also some many most one what why who how according because despite once until today "
    "later".split())

# Marks, closing quotes and brackets, white space. (?<!...) matches a run of marks only once.
BOUNDARY = re.compile(r"""(?<![.!?…])(?P<marks>[.!?…]+)['"”’»)\]]*\s+|[。！？]+[”’」』）]*\s*""")
OPENING = "'\"“‘«([¿¡"
INITIALS = re.compile(r"[^\W\d_](\.[^\W\d_])*")  # J, U.S, e.g
LOOKAHEAD = 40  # characters after a boundary that can hold the next word


def split_sentences(text):
    """Return the sentences of a text as a list of str. A line end also ends a sentence.

    >>> split_sentences('Dr. Who paid $3.50. "Why?" asked J. S. Bach in the U.S. He left.')
    ['Dr. Who paid $3.50.', '"Why?" asked J. S. Bach in the U.S.', 'He left.']
    """
    return [sentence for line in text.split("\n") for sentence in _split_line(line)]


class SentenceCorpus:
    """A corpus (see ``corpora.open_corpus``) with one sentence per line, as in BERT's input.

    ``"A line that was\\nbroken. Another sentence."``
    ``-> "A line that was broken.\\nAnother sentence."``
    """

    def __init__(self, corpus):
        self.corpus = corpus
        self.name = corpus.name
        self.description = f"{corpus.description}; split into sentences"

    @property
    def notes(self):
        return self.corpus.notes | {"split_into": "sentences"}

    def documents(self, split):
        """Yield the documents of "train", "eval" or "all"."""
        for document in self.corpus.documents(split):
            yield "\n".join(split_sentences(document.replace("\n", " ")))

    def progress(self):
        """Return the progress of the underlying corpus."""
        return self.corpus.progress()


def _split_line(line):
    line = " ".join(line.split())
    sentences = []
    start = 0
    for boundary in BOUNDARY.finditer(line):
        if boundary.end() == len(line) or _ends_sentence(line, start, boundary):
            sentences.append(line[start : boundary.end()].rstrip())
            start = boundary.end()
    if start < len(line):
        sentences.append(line[start:])
    return sentences


def _ends_sentence(line, start, boundary):
    """Return whether the sentence from ``start`` ends at ``boundary``, a match of BOUNDARY."""
    if not boundary["marks"]:  # Chinese or Japanese
        return True
    following = line[boundary.end() : boundary.end() + LOOKAHEAD]
    next_word = following.split(" ", 1)[0].lstrip(OPENING)
    if next_word[:1].islower():
        return False
    if boundary["marks"] != ".":
        return True

    # The rest is about abbreviations, which end with a single full stop.
    sentence = line[start : boundary.start()]
    last_word = sentence.rpartition(" ")[2].lstrip(OPENING)
    if last_word == sentence and last_word.isdecimal():  # the number of a list item
        return False
    abbreviation = last_word.lower()
    if abbreviation in NEVER_LAST:
        return False
    if abbreviation in BEFORE_NUMBER and next_word[:1].isdecimal():
        return False
    if abbreviation in SOMETIMES_LAST or INITIALS.fullmatch(last_word):
        next_letters = re.sub(r"\W.*", "", next_word).lower()
        return next_letters in SENTENCE_STARTERS
    return True
