"""Check the links and the quoted code of the documentation.

    python docs/book/check.py            # prints wrong links; the exit code is 1 if there are any
    python docs/book/check.py --mend     # first renumbers links to lines of code that have moved,
                                         # and copies changed text into the notebooks

A link to code looks like [`Attention.forward`](../../minibert/attention.py#L49): its text is the
name of the function, class or variable that is defined on that line, with as much of its path as
makes it unique (several classes have a ``forward``). In other files than Python, it is the first
line with the name. Links to files and headings must have a target; links to the web are not
checked.

A block ```python minibert/attention.py shows lines of that file. They must be its lines, without
the indentation that all of them share; a line "..." leaves out any number of lines.
"""
import ast
import re
import runpy
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tokenizer.utils.cli import Parser, run  # noqa: E402
from tokenizer.utils.files import atomic_write  # noqa: E402

LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)#\s]*)(?:#(?P<anchor>[^)\s]*))?\)")
LINE = re.compile(r"L(\d+)$")
QUOTE = re.compile(r"^```python (?P<path>\S+)\n(?P<code>.*?)^```$", re.M | re.S)
FENCE = re.compile(r"^ *```.*?^ *```", re.M | re.S)


def pages():
    """Return all pages whose links are checked."""
    return [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")),
            *sorted(ROOT.glob("docs/book/*.md")), *sorted(ROOT.glob("docs/guide/*.md")),
            *sorted(ROOT.glob("notebooks/*.md"))]


def links(text):
    """Return the links of a page, outside code blocks, as matches of ``LINK``."""
    blanked = FENCE.sub(lambda block: re.sub(r"[^\n]", " ", block[0]), text)
    return LINK.finditer(blanked)


def problems(page):
    """Return [(line, message)] of the wrong links and the outdated quotes of a page."""
    text = page.read_text(encoding="utf-8")
    found = [(link.start(), problem(page, link)) for link in links(text)]
    found += [(quote.start(), quote_problem(quote)) for quote in QUOTE.finditer(text)]
    return [(text.count("\n", 0, start) + 1, message) for start, message in found if message]


def problem(page, link):
    """Return what is wrong with a link, or None."""
    target = link["target"]
    anchor = link["anchor"]
    if re.match(r"\w+:", target):  # https:, mailto:
        return None
    path = page.parent / target if target else page
    if not path.exists():
        return f"there is no file {target}"
    if not anchor:
        return None
    line = LINE.match(anchor)
    if not line:
        return None if anchor in headings(path) else f"{path.name} has no heading #{anchor}"
    try:
        correct = line_of(path, link["text"])
    except ValueError as error:
        return str(error)
    if correct == int(line[1]):
        return None
    return f"{link['text']} is on line {correct} of {path.name}, not {line[1]}: run make links"


def quote_problem(quote):
    """Return what is wrong with a match of ``QUOTE``, or None."""
    path = ROOT / quote["path"]
    if not path.is_file():
        return f"there is no file {quote['path']} to quote"
    if is_quoted_from(path.read_text(encoding="utf-8"), quote["code"]):
        return None
    return f"{path.name} does not contain this code"


def is_quoted_from(source, code):
    r"""Return whether these are lines of the source, in their order.

    >>> is_quoted_from("def f(x):\n    y = 2 * x\n    z = y + 1\n    return z\n",
    ...                "y = 2 * x\n...\nreturn z\n")
    True
    """
    pattern = ""
    for line in code.splitlines():
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            margin = "(?P=margin)" if pattern else "^(?P<margin> *)"
            pattern += (margin + re.escape(line) if line else "") + r"\n"
    return bool(re.search(pattern, source + "\n", re.M))


def renumbered(page):
    """Return (text of a page with correct line numbers, number of changes).

    Links whose names are not found stay as they are.
    """
    text = page.read_text(encoding="utf-8")
    num_changed = 0
    for link in reversed(list(links(text))):  # from the end, so that positions stay valid
        path = page.parent / link["target"]
        is_line = LINE.match(link["anchor"] or "")
        if not (is_line and link["target"] and path.is_file()):
            continue
        try:
            anchor = f"L{line_of(path, link['text'])}"
        except ValueError:
            continue
        if anchor != link["anchor"]:
            text = text[:link.start("anchor")] + anchor + text[link.end("anchor"):]
            num_changed += 1
    return text, num_changed


def line_of(path, text):
    """Return the line on which the name in a link's text is defined. ValueError if not one line.

    line_of(minibert/model.py, "`Embeddings`") -> 32
    """
    match = re.fullmatch(r"`([^`]+?)(\(\))?`", text.strip())
    if not match:
        raise ValueError(f"the text of a link to a line is a name in backticks, not {text!r}")
    name = match[1]
    if path.suffix != ".py":
        pattern = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
        for i, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
            if pattern.search(line):
                return i
        raise ValueError(f"{path.name} has no line with {name}")
    known = definitions(path.resolve(), path.stat().st_mtime_ns)
    if name in known:
        return known[name]
    candidates = {full: line for full, line in known.items() if full.endswith("." + name)}
    if len(candidates) == 1:
        return candidates.popitem()[1]
    if not candidates:
        raise ValueError(f"{path.name} defines no {name}")
    raise ValueError(f"{path.name} defines {name} {len(candidates)} times: "
                     f"write {' or '.join(sorted(candidates)[:3])}")


@cache
def definitions(path, mtime):
    """Return {name with its path: line that first defines it} of a module.

    mtime: part of the cache's key, so that an edited file is parsed again.

    class A with def f(self): self.x = 1 -> {"A": 1, "A.f": 2, "A.f.x": 3}
    """
    found = {}

    def visit(node, prefix):
        for child in ast.iter_child_nodes(node):
            child_prefix = prefix
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                found.setdefault(prefix + child.name, child.lineno)
                child_prefix = f"{prefix}{child.name}."
            elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
                found.setdefault(prefix + child.id, child.lineno)
            elif isinstance(child, ast.Attribute) and isinstance(child.ctx, ast.Store):
                found.setdefault(prefix + child.attr, child.lineno)
            visit(child, child_prefix)

    visit(ast.parse(path.read_text(encoding="utf-8")), "")
    return found


def headings(path):
    """Return {anchor, as on code hosts: title} of a page's headings.

    "## What it does, and why" -> {"what-it-does-and-why": "What it does, and why"}
    """
    anchors = {}
    counts = {}
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    for title in re.findall(r"^#+ +(.*?) *$", text, re.M):
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)  # keep the text of a link
        anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        count = counts.get(anchor, 0)
        anchors[f"{anchor}-{count}" if count else anchor] = title  # a repeated one is numbered
        counts[anchor] = count + 1
    return anchors


def main(args=None):
    """Check all pages. Return the exit code."""
    parser = Parser(prog="python docs/book/check.py",
                    description="Check the links and quoted code of README.md and docs/.")
    parser.add_argument("--mend", action="store_true",
                        help="renumber links to lines of code and update the notebooks first")
    args = parser.parse_args(args)
    num_wrong = 0
    for page in pages():
        name = page.relative_to(ROOT)
        if args.mend:
            text, num_changed = renumbered(page)
            if num_changed:
                atomic_write(page, text)
                print(f"{name}: {num_changed} links renumbered")
        for line, message in problems(page):
            print(f"{name}:{line}: {message}")
            num_wrong += 1
    if args.mend:
        runpy.run_path(str(ROOT / "notebooks" / "make.py"))["main"](["--text"])
    print(f"{num_wrong} links or quotes are wrong" if num_wrong else "all links are correct")
    return 1 if num_wrong else 0


if __name__ == "__main__":
    run(main)
