"""HTML from Python, safe by construction: whatever enters a page is text, and is escaped, unless it was made here as markup.

A page is one file. It loads nothing, and its Content-Security-Policy forbids the browser to: no script, no font, no image from anywhere.
"""
from html import escape

from tokenizer.inspect import render_pieces, split_text
from tokenizer.utils.terminal import TextStyle, escaped

EMPTY = ("meta", "wbr")  # elements without an end
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


class Markup(str):
    """A piece of HTML, as opposed to a text."""


def tag(name, /, *children, **attributes):
    """An element. Children that are no Markup are texts; a name such as class_ or fill_opacity stands for class, fill-opacity.

    >>> tag("p", "a < b", tag("b", "c"), class_="x")
    '<p class="x">a &lt; b<b>c</b></p>'
    """
    start = name + "".join(f' {key.rstrip("_").replace("_", "-")}="{as_text(value)}"' for key, value in attributes.items())
    return Markup(f"<{start}>" if name in EMPTY else f"<{start}>{joined(children)}</{name}>")


def joined(children):
    """Elements and texts, one after the other -> Markup"""
    return Markup("".join(child if isinstance(child, Markup) else as_text(child) for child in children))


def as_text(value):
    """A value as it is written in HTML; what does not print, and half characters, are spelled as in Python.

    >>> as_text("<b>\\x00")
    '&lt;b&gt;\\\\u0000'
    """
    return escape("".join(char if char.isprintable() or char == "\n" else escaped(char) for char in str(value)))


def table(rows, head=None, **attributes):
    """A table, in a box of its own that scrolls where it is too wide. rows: lists of cells, the first one of each its heading."""
    top = [tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in head)))] if head else []
    body = [tag("tr", tag("th", first, scope="row"), *(tag("td", cell) for cell in rest)) for first, *rest in rows]
    return tag("div", tag("table", *top, tag("tbody", *body), **attributes), class_="scroll")


class HtmlStyle(TextStyle):
    """How tokens look on a page: as ``tokenizer.utils.terminal`` shows them in a terminal, the colours being the style sheet's."""

    def in_color(self, line, kind, number):
        return tag("span", line, class_=f"{kind} {'ab'[number % 2]}")


def coloured_tokens(tokenizer, text):
    """A text cut into its tokens, each in a colour that its neighbours do not have, as ``python -m tokenizer inspect`` does."""
    return tag("p", Markup(render_pieces(split_text(tokenizer, text), HtmlStyle(color=True))), class_="tokens")


def document(title, *children):
    """A whole page."""
    head = tag("head", tag("meta", charset="utf-8"), tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
               tag("meta", http_equiv="Content-Security-Policy", content=POLICY), tag("meta", name="color-scheme", content="light dark"),
               tag("title", title), tag("style", Markup(STYLE)))
    return "<!DOCTYPE html>\n" + tag("html", head, "\n", tag("body", tag("main", *children)), lang="en") + "\n"


STYLE = """
:root { color-scheme: light dark; --page: #fff; --card: #f5f7f9; --ink: #1b2026; --soft: #59636e; --line: #d5dbe1; --blue: #0072b2;
  --orange: #b84c00; --a: #cbe6f6; --b: #fbe2b8; --special: #e4d6f2; --special-b: #d3bfe8; --unknown: #f7c6c0; }
@media (prefers-color-scheme: dark) { :root { --page: #14181d; --card: #1d232a; --ink: #e4e8ec; --soft: #9ba6b1; --line: #38414b; --blue: #5db7ea;
  --orange: #f2934b; --a: #1d4a66; --b: #614413; --special: #4b3365; --special-b: #5f447c; --unknown: #76302a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
main { max-width: 62rem; margin: 0 auto; padding: 1rem 1rem 3rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
p { margin: .4rem 0; } .soft, figcaption { color: var(--soft); font-size: .9rem; }
code, .tokens, .mono { font-family: ui-monospace, monospace; font-size: .95em; }
.note { background: var(--card); border-left: 4px solid var(--orange); padding: .5rem .8rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .6rem; margin: 1rem 0; }
.tiles div { background: var(--card); border-radius: .4rem; padding: .5rem .8rem; }
.tiles b { display: block; font-size: 1.25rem; } .tiles span { color: var(--soft); font-size: .85rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); gap: 0 2rem; align-items: start; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; min-width: 50%; }
th, td { text-align: left; vertical-align: top; padding: .15rem .8rem .15rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: normal; color: var(--soft); overflow-wrap: normal; } td { font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0; } figcaption { margin-bottom: .3rem; }
.key { white-space: nowrap; margin-right: 1rem; } .key i { display: inline-block; width: 1.2rem; margin-right: .4rem; vertical-align: middle; }
.key .line { border-top: 2px solid var(--blue); } .key .dots { width: .55rem; height: .55rem; border-radius: 50%; background: var(--orange); }
.key .guide { border-top: 2px dashed var(--soft); }
.plot { position: relative; height: 17rem; margin: .5rem .5rem 2.2rem 3.4rem; border: solid var(--line); border-width: 0 0 1px 1px; }
.plot.small { height: 9rem; } .plot svg { position: absolute; width: 100%; height: 100%; overflow: visible; }
.plot path { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; stroke-linejoin: round; }
.plot .grid { stroke: var(--line); stroke-width: 1; } .plot .line { stroke: var(--blue); stroke-width: 1.5; }
.plot .dots { stroke: var(--orange); stroke-width: 7; stroke-linecap: round; } .plot .guide { stroke: var(--soft); stroke-dasharray: 6 5; }
.plot span { position: absolute; font-size: .78rem; line-height: 1; color: var(--soft); white-space: nowrap; }
.plot .y { right: 100%; margin-right: .4rem; transform: translateY(50%); } .plot .x { top: 100%; margin-top: .4rem; transform: translateX(-50%); }
.plot .what { top: 100%; margin-top: 1.4rem; right: 0; }
.bars { display: grid; grid-template-columns: max-content max-content 1fr; gap: .15rem .7rem; align-items: center; font-size: .9rem; }
.bars i { height: .7rem; background: var(--blue); border-radius: 0 .2rem .2rem 0; min-width: 1px; }
.bars span:nth-child(3n + 1) { text-align: right; font-variant-numeric: tabular-nums; color: var(--soft); }
.tokens { line-height: 1.9; white-space: pre-wrap; } .tokens span { display: inline-block; white-space: pre-wrap; padding: 0 .15em; max-width: 100%; }
.a { background: var(--a); } .b { background: var(--b); } .special.a { background: var(--special); } .special.b { background: var(--special-b); }
.unknown { background: var(--unknown); } .tokens .between { background: none; color: var(--soft); padding: 0; }
.maps { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); gap: 1rem; }
.heads { display: grid; grid-template-columns: repeat(auto-fill, minmax(6.5rem, 1fr)); gap: .8rem; margin: .6rem 0; }
.maps figure, .heads figure { margin: 0; } svg.map { display: block; width: 100%; } svg.map path { fill: var(--blue); }
svg.map rect { fill: var(--card); } svg.map text { fill: var(--ink); font: .62px ui-monospace, monospace; }
details { margin: .5rem 0; } summary { cursor: pointer; color: var(--blue); }
"""
