"""Docstring -> paragraphs of plain English: the parts that a person would read aloud.

Docstrings are hard-wrapped and mix prose with doctests, code, tables, headings and markup, in three
conventions: reStructuredText fields, Google's "Args:", and numpy's "Parameters" with an underline.
Here the lines of a paragraph are joined, and everything but prose is left out. The rules are rough
and look at one line at a time. ``pydocs`` finds the docstrings.
"""
import inspect
import re

MIN_WORDS = 3  # a shorter paragraph is a heading or a name
SHORT = 80  # characters; a shorter paragraph that introduces a block of code is dropped with it
MIN_LETTERS = 0.75  # share of letters and spaces; code and formulas have fewer

ADMONITIONS = {"note", "warning", "caution", "tip", "hint", "important", "attention", "seealso",
               "admonition"}

DIRECTIVE = re.compile(r"\.\. ([\w:-]+)::\s*(.*)")
COMMENT = re.compile(r"\.\.(\s|$)")  # also link targets and footnotes: ".. _name:", ".. [1] Title"
RULE = re.compile(r"([=\-~^\"'*+#.`_:])\1{2,}$")  # the line below (or above) a heading
TABLE = re.compile(r"(=+ +)+=+$|\+[-=+ ]+\+$|\|.*\|$|\|?[-: ]+\|[-|: ]+$")
PROMPT = re.compile(r">>>|\.\.\. |In \[\d|\$ |%\w")
BULLET = re.compile(r"([-*+•]|\d{1,2}[.)]|\(?[a-zA-Z\d]\)|#\.)\s+")
ITEM = re.compile(r"(\*{0,2}`*\w[\w.*`]*`*(, \*{0,2}\w+)*)\s*(\([^)]*\))?\s*:(\s|$)")  # x (int):
NUMPY_ITEM = re.compile(r"\*{0,2}\w[\w.]*(, \*{0,2}\w[\w.]*)* : \S")  # x : int
FIELD = re.compile(r":(\w+)\s*([^:]*):\s*(.*)")  # :param x: ...
SECTION = re.compile(
    r"((Keyword |Other |Default )?"
    r"(Arg(ument)?|Param(eter)?|Attribute|Method|Propert(y|ie)|Variable|Option|Input|Output)s?"
    r"|(Usage )?Examples?( usage)?|Raises|Except(ion)?s?|Notes?|Shapes?|Usage|References?|See also"
    r"|Warnings?):", re.IGNORECASE)
SIGNATURE = re.compile(r"[\w.]+\(.*\)( -+> .*)?:?$")
PLACEHOLDER = re.compile(r"\{\w*\}|%\(\w+\)s|%s")
COMMON_WORD = re.compile(
    r"\b(the|a|an|of|to|is|are|in|and|or|for|if|that|this|be|with|by|on|as|it|not|from|when|which"
    r"|at)\b", re.IGNORECASE)

MARKUP = [  # (pattern, replacement), in this order
    (re.compile(r":[\w:+-]+:`~(?:[\w.]+\.)?([^`]+)`"), r"`\1`"),  # :class:`~torch.nn.Module`
    (re.compile(r":[\w:+-]+:`([^`<]+?)\s*<[^`]*>`|`([^`<]+?)\s*<[^`>]*>`__?"), r"\1\2"),  # links
    (re.compile(r":[\w:+-]+:`([^`]*)`"), r"`\1`"),
    (re.compile(r"\[([^\]]+)\]\((?:https?:|#|\.)[^)]*\)"), r"\1"),  # [text](address)
    (re.compile(r"``+([^`]+)``+_*"), r"`\1`"),
    (re.compile(r"\*\*(\w[^*]*)\*\*"), r"\1"),
]
REFERENCE = re.compile(r"\s*\[\d+\]_|\|(\w+)\|")  # [1]_ and |substitution|


def paragraphs(docstring):
    """Return the paragraphs of a docstring that are English prose, each as one line.

    ``"Return x,\\n    or None.\\n\\n    >>> f(1)\\n    2\\n" -> ["Return x, or None."]``
    """
    lines = inspect.cleandoc(docstring).split("\n")
    texts = [plain(text) for text in _join_lines(lines)]
    return [text for text in texts if is_prose(text)]


def is_prose(text):
    """Return whether a paragraph reads as English.

    "Return the sum." -> True; "x = f(y[0])" -> False; "Tensor" -> False
    """
    words = text.split()
    if len(words) < MIN_WORDS or SIGNATURE.match(text) or text.startswith("Copyright"):
        return False
    num_names = sum("_" in word for word in words)
    if 2 * num_names >= len(words):
        return False
    num_letters = sum(map(str.isalpha, text)) + len(words) - 1  # a space counts as a letter
    num_ascii = sum(map(str.isascii, text))
    if num_letters < MIN_LETTERS * len(text) or num_ascii < 0.95 * len(text):
        return False
    return len(words) < 8 or len(COMMON_WORD.findall(text)) >= len(words) / 16


def plain(text):
    """Return a paragraph without markup.

    "See :func:`~torch.abs` and ``x``." -> "See `abs` and `x`."
    """
    for pattern, replacement in MARKUP:
        text = pattern.sub(replacement, text)
    if match := NUMPY_ITEM.match(text):
        text = match[0].replace(" : ", ": ") + text[match.end():]
    text = REFERENCE.sub(r"\1", text)
    return " ".join(text.replace("{{", "{").replace("}}", "}").split())


def _join_lines(lines):
    """Return the paragraphs of a docstring, each joined, without code, tables and headings."""
    done = []
    paragraph = _Paragraph()
    lines = iter(lines)
    line = next(lines, None)
    while line is not None:
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        rule_or_table = RULE.match(text) or TABLE.match(text)
        directive = DIRECTIVE.match(text)
        section = SECTION.fullmatch(text.replace("::", ":"))
        skip = _what_to_skip(text, indent, directive, section)

        if skip is not None or not text or rule_or_table or section or directive:
            done += paragraph.end(heading=rule_or_table)
            if skip is None and directive and directive[2]:
                paragraph.add(directive[2], indent)
        elif not PLACEHOLDER.fullmatch(text):
            if text.endswith("::"):  # an indented block of code follows
                skip = indent
                text = text[:-2] if text.endswith((".::", " ::", "!::", "?::")) else text[:-1]
            text = _field_text(text)
            if text and not paragraph.continues_with(text, indent):
                done += paragraph.end()
            if text:
                paragraph.add(text, indent)

        if skip is None:
            line = next(lines, None)
        else:
            done += paragraph.end()
            if done and done[-1].endswith(":") and len(done[-1]) < SHORT:
                done.pop()  # "For example:", and the example is skipped
            line = _next_line_after(lines, skip)
    return done + paragraph.end()


def _what_to_skip(text, indent, directive, section):
    """Return which lines after this one are not prose.

    None: no lines. "blank": up to a blank line. "```" or "~~~": up to the closing fence. A number:
    all lines that are indented deeper.
    """
    if section:
        return indent if text.endswith("::") else None
    if TABLE.match(text) or PROMPT.match(text):
        return "blank"
    if text.startswith(("```", "~~~")):
        return text[:3]
    is_admonition = directive and directive[1] in ADMONITIONS
    if COMMENT.match(text) and not is_admonition:
        return indent
    return None


def _next_line_after(lines, skip):
    """Return the first line after a skipped part (see _what_to_skip); None at the end."""
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


def _field_text(text):
    """":param x: The input." -> "x: The input."; ":rtype: int" -> "" """
    field = FIELD.match(text)
    if not field or "`" in text[: field.end(1) + 2]:
        return text
    kind, name, rest = field.groups()
    if kind in ("type", "rtype", "vartype", "meta", "copyright", "license"):
        return ""
    label = name.split()[-1] if name.strip() else kind.capitalize()
    return f"{label}: {rest}"


class _Paragraph:
    """The lines of the current paragraph."""

    def __init__(self):
        self.lines = []
        self.first_indent = 0
        self.indent = None  # of the lines after the first, None until there are any

    def continues_with(self, text, indent):
        """Return whether a line continues the paragraph, or else starts the next one."""
        if not self.lines:
            return True
        if BULLET.match(text) or (ITEM.match(text) and indent <= self.first_indent):
            return False
        return indent >= self.first_indent if self.indent is None else indent == self.indent

    def add(self, text, indent):
        """Add a line: its text without the indent, and the indent in columns."""
        if not self.lines:
            self.first_indent = indent
            if bullet := BULLET.match(text):
                text = text[bullet.end():]
        elif self.indent is None:
            self.indent = indent
            if indent > self.first_indent:
                self.lines[0] += self._mark_before_description(self.lines[0])
        self.lines.append(text)

    @staticmethod
    def _mark_before_description(head):
        """Return what ends a line "ValueError" or "x : int" with an indented description below."""
        if head.isidentifier():
            return ":"
        is_typed = NUMPY_ITEM.match(head) or re.fullmatch(r"\w+: \w+(, \w+)?", head)
        return "." if is_typed else ""

    def end(self, heading=False):
        """Return the finished paragraph in a list, which is empty for a name or a heading."""
        lines = self.lines
        self.lines = []
        self.indent = None
        if len(lines) == 1 and (heading or len(lines[0].split()) <= 2):
            return []
        return [" ".join(lines)] if lines else []
