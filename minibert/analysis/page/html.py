"""Build HTML in Python. Everything that enters a page is escaped, unless ``tag`` made it.

A page is one file. It loads nothing, and its Content-Security-Policy forbids the browser to: no
font, no image, no data from anywhere, and no script but the one whose hash the policy names.
"""
import base64
import hashlib
import json
from html import escape
from pathlib import Path

from tokenizer.inspect.text import render_pieces, split_text
from tokenizer.utils.terminal import TextStyle, escaped

FOLDER = Path(__file__).parent
VOID_ELEMENTS = ("meta",)  # elements without an end tag
POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'unsafe-inline'"
SCRIPTS = ("tokenizer.js", "model.js", "views.js")


class Markup(str):
    """A piece of HTML, as opposed to text that must be escaped."""


def tag(name, /, *children, **attributes):
    """Return an element. Children that are not Markup are escaped.

    The attributes class_ and fill_opacity are written class and fill-opacity.

    >>> tag("p", "a < b", tag("b", "c"), class_="x")
    '<p class="x">a &lt; b<b>c</b></p>'
    """
    start = name
    for key, value in attributes.items():
        start += f' {key.rstrip("_").replace("_", "-")}="{escape_text(value)}"'
    if name in VOID_ELEMENTS:
        return Markup(f"<{start}>")
    return Markup(f"<{start}>{join(children)}</{name}>")


def join(children):
    """Return elements and texts, one after the other, as Markup."""
    parts = [child if isinstance(child, Markup) else escape_text(child) for child in children]
    return Markup("".join(parts))


def escape_text(value):
    """Return a value as HTML text; unprintable characters are spelled as in Python.

    >>> escape_text("<b>\\x00")
    '&lt;b&gt;\\\\u0000'
    """
    return escape("".join(
        char if char.isprintable() or char == "\n" else escaped(char) for char in str(value)
    ))


def table(rows, head=()):
    """Return a table that scrolls if it is too wide; the first cell of each row is a heading."""
    parts = []
    if head:
        cells = [tag("th", cell, scope="col") for cell in head]
        parts.append(tag("thead", tag("tr", *cells)))
    body = []
    for first, *rest in rows:
        cells = [tag("td", cell) for cell in rest]
        body.append(tag("tr", tag("th", first, scope="row"), *cells))
    return tag("div", tag("table", *parts, tag("tbody", *body)), class_="scroll")


class HtmlStyle(TextStyle):
    """Shows tokens as a terminal does, with the colors of the style sheet."""

    def in_color(self, line, kind, index):
        return tag("span", line, class_=f"{kind} {'ab'[index % 2]}")


def colored_tokens(tokenizer, text):
    """Return a text split into tokens, neighbors in different colors."""
    pieces = split_text(tokenizer, text)
    return tag("p", Markup(render_pieces(pieces, HtmlStyle(color=True))), class_="tokens")


def document(title, *children, data=None):
    """Return a complete page. With data, a JSON value, it ends with this data and the scripts."""
    policy = POLICY
    scripts = []
    if data is not None:
        code = "\n".join(read_file(name) for name in SCRIPTS)
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        policy += f"; script-src 'sha256-{digest}'"
        # No "<", so that no text of the run can end the element.
        text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
        scripts.append(tag("script", Markup(text), type="application/json", id="data"))
        scripts.append(tag("script", Markup(code)))
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Markup(read_file("page.css"))),
    )
    body = tag("body", tag("main", *children), *scripts)
    return "<!DOCTYPE html>\n" + tag("html", head, "\n", body, lang="en") + "\n"


def read_file(name):
    """Return the text of a file in this folder."""
    return (FOLDER / name).read_text(encoding="utf-8")
