"""Text in one long line -> sentences, by rules: next-sentence pairs need segments of that size.

Wikipedia's dump and most reviews come without line ends. What is written here is the usual rule and its usual exceptions
for English; other Latin-script languages fare well with it, Chinese and Japanese have marks of their own.

A sentence ends after . ! ? or … (and closing quotes or brackets) where white space follows and then anything but a small
letter. A full stop ends none

    after a title or the like                   "Dr. Who", "e.g. Rome", "cf. Kant"
    after a number's or a month's short form    "No. 5", "pp. 12", "Jan. 3": before a digit
    after a letter, "Inc.", "etc.", "U.S."      unless a word follows that often begins a sentence: "J. S. Bach" and "U.S. Army",
                                                but "in the U.S. The army"
    after the number of a list                  "1. First"

It errs to the side of long sentences: two in one line cost a pair, a sentence cut in two makes a false one. Punkt (Kiss and
Strunk 2006) learns such lists from the corpus; these are written down, so that a text's segments never change.
"""
import re

NEVER = frozenset("mr mrs ms dr prof st gen sen rep gov lt col capt sgt maj cmdr adm rev hon fr mt vs v e.g i.e cf viz al approx ca "
                  "esp incl resp dept univ assn".split())
BEFORE_A_NUMBER = frozenset("no nos vol vols p pp fig figs ch sec art op eq jan feb mar apr jun jul aug sep sept oct nov dec".split())
SHORT = frozenset("inc ltd co corp bros jr sr etc a.m p.m ph.d b.c a.d mass calif est".split())
STARTERS = frozenset("the a an he she it they we i you this that these those his her its their our in on at as after before when while "
                     "if since during from for by there then but and however although though also some many most one what why who how "
                     "according because despite once until today later".split())

# the marks, what closes behind them, and the white space; the marks of Chinese and Japanese need no white space
BORDER = re.compile(r"""(?<![.!?…])(?P<marks>[.!?…]+)['"”’»)\]]*\s+|[。！？]+[”’」』）]*\s*""")
OPENING = "'\"“‘«([¿¡"
DOTTED = re.compile(r"[^\W\d_](\.[^\W\d_])*")  # a letter, or letters with full stops between: J, U.S, e.g


def split_sentences(text):
    """The sentences of a text as a list of str, without white space around them; line ends inside it end a sentence, too.

    >>> split_sentences('Dr. Who paid $3.50. "Why?" asked J. S. Bach in the U.S. He left.')
    ['Dr. Who paid $3.50.', '"Why?" asked J. S. Bach in the U.S.', 'He left.']
    """
    return [sentence for line in text.split("\n") for sentence in _of_line(line)]


class SentenceCorpus:
    """A corpus (see ``corpora.open_corpus``) whose documents have a sentence in each line, as BERT's input has, however their lines were broken.

    ``"A line that was\nbroken. Another sentence." -> "A line that was broken.\nAnother sentence."``
    """

    def __init__(self, corpus):
        self.corpus, self.name, self.description = corpus, corpus.name, f"{corpus.description}; cut into sentences"

    def documents(self, split):
        """Yield the documents of "train", "eval" or "all"."""
        for document in self.corpus.documents(split):
            yield "\n".join(split_sentences(" ".join(document.split("\n"))))

    def progress(self):
        """That of the corpus inside."""
        return self.corpus.progress()


def _of_line(line):
    line = " ".join(line.split())
    sentences, start = [], 0
    for border in BORDER.finditer(line):
        if border.end() == len(line) or _ends(line, start, border):
            sentences.append(line[start : border.end()].rstrip())
            start = border.end()
    if start < len(line):
        sentences.append(line[start:])
    return sentences


def _ends(line, start, border):
    """Whether a sentence that began at ``start`` ends at ``border``, a match of BORDER before the line's end."""
    if not border["marks"]:
        return True
    extend_digest = line[border.end() : border.end() + 40].split(" ", 1)[0].lstrip(OPENING)
    if extend_digest[:1].islower():
        return False
    if border["marks"] != ".":  # abbreviations end with one full stop
        return True
    before = line[start : border.start()]
    word = before.rpartition(" ")[2].lstrip(OPENING)
    if word == before and word.isdecimal():  # the number of a list
        return False
    lower = word.lower()
    if lower in NEVER:
        return False
    if lower in BEFORE_A_NUMBER and extend_digest[:1].isdecimal():
        return False
    if lower in SHORT or DOTTED.fullmatch(word):
        return re.sub(r"\W.*", "", extend_digest).lower() in STARTERS
    return True
