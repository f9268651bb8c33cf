"""Docstring -> paragraphs of plain English: what a person would read aloud of it.

Docstrings are hard-wrapped, and mix prose with doctests, code blocks, tables, headings and markup, in three
conventions (reStructuredText fields, Google's "Args:", numpy's "Parameters" with an underline). A language model of this
size should learn the prose. So hard-wrapped lines are joined, one line a paragraph, and the rest is left out.
The rules are rough and look at one line at a time; ``pydocs`` finds the docstrings.
"""
import inspect
import re

MIN_WORDS = 3  # a shorter paragraph is a heading or a name
SHORT = 80  # characters; a shorter paragraph that announces a block of code goes with it
MIN_LETTERS = 0.75  # share of letters and spaces; code and formulas have less

ADMONITIONS = {"note", "warning", "caution", "tip", "hint", "important", "attention", "seealso", "admonition"}

DIRECTIVE = re.compile(r"\.\. ([\w:-]+)::\s*(.*)")
COMMENT = re.compile(r"\.\.(\s|$)")  # also targets and footnotes: ".. _name:", ".. [1] Author, Title"
RULE = re.compile(r"([=\-~^\"'*+#.`_:])\1{2,}$")  # the row under (or over) a heading
TABLE = re.compile(r"(=+ +)+=+$|\+[-=+ ]+\+$|\|.*\|$|\|?[-: ]+\|[-|: ]+$")
PROMPT = re.compile(r">>>|\.\.\. |In \[\d|\$ |%\w")
BULLET = re.compile(r"([-*+•]|\d{1,2}[.)]|\(?[a-zA-Z\d]\)|#\.)\s+")
ITEM = re.compile(r"(\*{0,2}`*\w[\w.*`]*`*(, \*{0,2}\w+)*)\s*(\([^)]*\))?\s*:(\s|$)")  # "x (int): ..." and "x : int"
NUMPY_ITEM = re.compile(r"\*{0,2}\w[\w.]*(, \*{0,2}\w[\w.]*)* : \S")
FIELD = re.compile(r":(\w+)\s*([^:]*):\s*(.*)")  # ":param x: ..."
SECTION = re.compile(r"((Keyword |Other |Default )?(Arg(ument)?|Param(eter)?|Attribute|Method|Propert(y|ie)|Variable|Option|Input|Output)s?"
                     r"|(Usage )?Examples?( usage)?|Raises|Except(ion)?s?|Notes?|Shapes?|Usage|References?|See also|Warnings?):", re.I)
SIGNATURE = re.compile(r"[\w.]+\(.*\)( -+> .*)?:?$")
PLACEHOLDER = re.compile(r"\{\w*\}|%\(\w+\)s|%s")
COMMON = re.compile(r"\b(the|a|an|of|to|is|are|in|and|or|for|if|that|this|be|with|by|on|as|it|not|from|when|which|at)\b", re.I)


def paragraphs(docstring):
    """The paragraphs of a docstring that are English prose, each one line.

    ``"Return x,\\n    or None.\\n\\n    >>> f(1)\\n    2\\n" -> ["Return x, or None."]``
    """
    return [text for text in map(plain, _joined(inspect.cleandoc(docstring).split("\n"))) if is_prose(text)]


def is_prose(text):
    """Whether a paragraph reads as English.

    "Return the sum." -> True; "x = f(y[0])" -> False; "Tensor" -> False
    """
    words = text.split()
    if len(words) < MIN_WORDS or SIGNATURE.match(text):
        return False
    if text.startswith("Copyright") or 2 * sum("_" in word for word in words) >= len(words):
        return False
    letters = sum(map(str.isalpha, text)) + len(words) - 1
    if letters < MIN_LETTERS * len(text) or sum(map(str.isascii, text)) < 0.95 * len(text):
        return False
    return len(words) < 8 or len(COMMON.findall(text)) >= len(words) / 16


def plain(text):
    """Take the markup out of a paragraph.

    "See :func:`~torch.abs` and ``x``." -> "See `abs` and `x`."
    """
    text = re.sub(r":[\w:+-]+:`~(?:[\w.]+\.)?([^`]+)`", r"`\1`", text)  # :class:`~torch.nn.Module`: only the last name is shown
    text = re.sub(r":[\w:+-]+:`([^`<]+?)\s*<[^`]*>`|`([^`<]+?)\s*<[^`>]*>`__?", r"\1\2", text)  # `text <address>`_
    text = re.sub(r":[\w:+-]+:`([^`]*)`", r"`\1`", text)
    text = re.sub(r"\[([^\]]+)\]\((?:https?:|#|\.)[^)]*\)", r"\1", text)  # [text](address)
    text = re.sub(r"``+([^`]+)``+_*", r"`\1`", text)
    text = re.sub(r"\*\*(\w[^*]*)\*\*", r"\1", text)
    text = NUMPY_ITEM.sub(lambda item: item[0].replace(" : ", ": "), text, count=1) if NUMPY_ITEM.match(text) else text
    text = re.sub(r"\s*\[\d+\]_|\|(\w+)\|", r"\1", text)
    return " ".join(text.replace("{{", "{").replace("}}", "}").split())


def _joined(lines):
    """Join the lines of each paragraph; leave out what is no prose by its form."""
    done, paragraph = [], _Paragraph()
    lines = iter(lines)
    line = next(lines, None)
    while line is not None:
        text, indent = line.strip(), len(line) - len(line.lstrip())
        rule, table, directive = RULE.match(text), TABLE.match(text), DIRECTIVE.match(text)
        # What follows is left out: to a blank line ("blank"), to a fence, or as far as it is indented deeper than a number.
        skip = ("blank" if table or PROMPT.match(text) else text[:3] if text.startswith(("```", "~~~")) else
                indent if COMMENT.match(text) and not (directive and directive[1] in ADMONITIONS) else None)
        if section := SECTION.fullmatch(text.replace("::", ":")):
            skip = indent if text.endswith("::") else None
        if skip is not None or not text or rule or section or directive:
            done += paragraph.end(heading=rule or table)
            if skip is None and directive and directive[2]:
                paragraph.add(directive[2], indent)
        elif not PLACEHOLDER.fullmatch(text):
            if text.endswith("::"):  # an indented block of code follows
                skip, text = indent, text[:-2] if text.endswith((".::", " ::", "!::", "?::")) else text[:-1]
            text = _item(text)
            if text and not paragraph.takes(text, indent):
                done += paragraph.end()
            if text:
                paragraph.add(text, indent)
        if skip is not None:
            done += paragraph.end()
            if done and done[-1].endswith(":") and len(done[-1]) < SHORT:
                done.pop()  # "For example:", and the example is gone
        line = next(lines, None) if skip is None else _after(lines, skip)
    return done + paragraph.end()


def _after(lines, skip):
    """The first line after a part that is left out; None at the end."""
    for line in lines:
        text = line.strip()
        if skip == "blank":
            if not text:
                return line
        elif isinstance(skip, str):
            if text.startswith(skip):
                return next(lines, None)
        elif text and len(line) - len(line.lstrip()) <= skip:
            return line
    return None


def _item(text):
    """":param x: The input." -> "x: The input."; ":rtype: int" -> "" """
    field = FIELD.match(text)
    if not field or "`" in text[:field.end(1) + 2]:
        return text
    kind, name, rest = field.groups()
    if kind in ("type", "rtype", "vartype", "meta", "copyright", "license"):
        return ""
    return f"{name.split()[-1]}: {rest}" if name.strip() else f"{kind.capitalize()}: {rest}"


class _Paragraph:
    """The lines of one paragraph, as they come in."""

    def __init__(self):
        self.lines, self.first, self.rest = [], 0, None

    def takes(self, text, indent):
        """Whether the line continues the paragraph; else it begins the next one."""
        if not self.lines:
            return True
        if BULLET.match(text) or (ITEM.match(text) and indent <= self.first):
            return False
        if self.rest is None:
            return indent >= self.first
        return indent == self.rest

    def add(self, text, indent):
        """Take one line of the paragraph: ``text`` without its ``indent`` (columns)."""
        if not self.lines:
            self.first = indent
            bullet = BULLET.match(text)
            text = text[bullet.end():] if bullet else text
        elif self.rest is None:
            self.rest = indent
            if indent > self.first:
                self.lines[0] += self._before_description(self.lines[0])
        self.lines.append(text)

    @staticmethod
    def _before_description(head):
        """What ends the first line of "x : int" or "ValueError" with its description indented below."""
        if head.isidentifier():
            return ":"
        return "." if NUMPY_ITEM.match(head) or re.fullmatch(r"\w+: \w+(, \w+)?", head) else ""

    def end(self, heading=False):
        """The finished paragraph in a list; nothing where it is but a name, or the line above a rule."""
        lines, self.lines, self.rest = self.lines, [], None
        if not lines or len(lines) == 1 and (heading or len(lines[0].split()) <= 2):
            return []
        return [" ".join(lines)]
