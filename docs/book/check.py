"""The links of the documentation: does what they name stand where they lead?

    python docs/book/check.py            # says which do not, and ends with 1
    python docs/book/check.py --mend     # renumbers links to lines of code, after the code has moved

A link to code is written [`Attention.forward`](../../minibert/attention.py#L49): its text is the name that is defined on that line, of a function
or a class, or of what is assigned there. As much of the name's path as makes it plain: `forward` alone would be any of several. In files that are
no Python the line is the first that holds the name. Links to files and to headings must lead somewhere; addresses on the web are not looked up.
"""
import ast
import re
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tokenizer.utils.cli import Parser, run  # noqa: E402
from tokenizer.utils.files import atomic_write  # noqa: E402

LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)#\s]*)(?:#(?P<anchor>[^)\s]*))?\)")
LINE = re.compile(r"L(\d+)$")
FENCE = re.compile(r"^ *```.*?^ *```", re.M | re.S)


def pages():
    """All pages whose links are held: README.md, docs/*.md, docs/book/*.md."""
    return [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("docs/book/*.md"))]


def links(text):
    """The links of a page as matches of ``LINK``, those in blocks of code left out."""
    return LINK.finditer(FENCE.sub(lambda block: re.sub(r"[^\n]", " ", block[0]), text))


def problems(page):
    """What is wrong with the links of a page, each as (line of the page, sentence)."""
    text = page.read_text(encoding="utf-8")
    return [(text.count("\n", 0, link.start()) + 1, wrong) for link in links(text) if (wrong := problem(page, link))]


def problem(page, link):
    """What is wrong with one link, or None."""
    target, anchor = link["target"], link["anchor"]
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
        right = line_of(path, link["text"])
    except ValueError as error:
        return str(error)
    return None if right == int(line[1]) else f"{link['text']} stands on line {right} of {path.name}, not {line[1]}: make links"


def renumbered(page):
    """(the text of a page with its links to lines renumbered, how many changed). Links whose name is not found stay as they are."""
    text, changed = page.read_text(encoding="utf-8"), 0
    for link in reversed(list(links(text))):
        path, line = page.parent / link["target"], LINE.match(link["anchor"] or "")
        if not line or not link["target"] or not path.is_file():
            continue
        try:
            right = f"L{line_of(path, link['text'])}"
        except ValueError:
            continue
        if right != link["anchor"]:
            text = text[:link.start("anchor")] + right + text[link.end("anchor"):]
            changed += 1
    return text, changed


def line_of(path, text):
    """The line on which the name in a link's text is defined. ValueError where there is none, or more than one.

    line_of(minibert/model.py, "`Embeddings`") -> 32
    """
    name = re.fullmatch(r"`([^`]+?)(\(\))?`", text.strip())
    if not name:
        raise ValueError(f"a link to a line has a name in backticks for its text, not {text!r}")
    name = name[1]
    if path.suffix != ".py":
        lines = path.read_text(encoding="utf-8").split("\n")
        found = [number for number, line in enumerate(lines, 1) if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", line)]
        if not found:
            raise ValueError(f"{path.name} has no line with {name}")
        return found[0]
    known = definitions(path.resolve(), path.stat().st_mtime_ns)
    if name in known:
        return known[name]
    fitting = {full: line for full, line in known.items() if full.endswith("." + name)}
    if len(fitting) == 1:
        return fitting.popitem()[1]
    if not fitting:
        raise ValueError(f"{path.name} defines no {name}")
    raise ValueError(f"{path.name} defines {name} {len(fitting)} times: write {' or '.join(sorted(fitting)[:3])}")


@cache
def definitions(path, changed):
    """{name with its path: the line that first defines it} of a module. ``changed``: of that moment, so that a file that was edited is read anew.

    class A with def f(self): self.x = 1 -> {"A": 1, "A.f": 2, "A.f.x": 3}
    """
    found = {}

    def visit(node, prefix):
        for child in ast.iter_child_nodes(node):
            inside = prefix
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                found.setdefault(prefix + child.name, child.lineno)
                inside = prefix + child.name + "."
            elif isinstance(child, (ast.Name, ast.Attribute)) and isinstance(child.ctx, ast.Store):
                found.setdefault(prefix + (child.id if isinstance(child, ast.Name) else child.attr), child.lineno)
            visit(child, inside)

    visit(ast.parse(path.read_text(encoding="utf-8")), "")
    return found


def headings(path):
    """The anchors of a page's headings, as code hosts make them: "## What it says, and why" -> what-it-says-and-why"""
    found = {}
    for title in re.findall(r"^#+ +(.*?) *$", FENCE.sub("", path.read_text(encoding="utf-8")), re.M):
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)  # a link's text
        anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        times = found[anchor] = found.get(anchor, -1) + 1
        if times:
            found[f"{anchor}-{times}"] = 0
    return set(found)


def main(arguments=None):
    """Look at all pages; returns the exit code."""
    parser = Parser(prog="python docs/book/check.py", description="Check the links of README.md and docs/.")
    parser.add_argument("--mend", action="store_true", help="renumber links to lines of code first")
    options = parser.parse_args(arguments)
    wrong = 0
    for page in pages():
        name = page.relative_to(ROOT)
        if options.mend:
            text, changed = renumbered(page)
            if changed:
                atomic_write(page, text)
                print(f"{name}: {changed} links renumbered")
        for line, sentence in problems(page):
            print(f"{name}:{line}: {sentence}")
            wrong += 1
    print(f"{wrong} links are wrong" if wrong else "all links lead where they say")
    return 1 if wrong else 0


if __name__ == "__main__":
    run(main)
