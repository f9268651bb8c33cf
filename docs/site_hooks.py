"""What make site does to the Markdown pages; mkdocs calls the functions named on_...

- README.md of the repository becomes the first page.
- Links to source files lead to the code host, since the site has only pages and pictures.
- A formula between $$ and $$ becomes MathML.
- The path in ```python minibert/model.py becomes the title of the quoted code.
"""
import re
import sys
from os.path import relpath
from pathlib import Path

from mkdocs.structure.files import File

try:
    from latex2mathml.converter import convert
except ImportError as error:
    sys.exit(f'the site needs more packages: pip install -e ".[site]" ({error})')

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
FENCE = re.compile(r"(^ *```.*?^ *```$)", re.M | re.S)
LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
FORMULA = re.compile(r"\$\$(.+?)\$\$", re.S)


def on_files(files, config):
    files.get_file_from_path("README.md").dest_uri = "contents.html"  # not index.html
    files.append(File.generated(config, "index.md", abs_src_path=str(ROOT / "README.md")))
    return files


def on_page_markdown(markdown, page, config, files):
    source = Path(page.file.abs_src_path)
    folder = (DOCS / page.file.src_uri).parent  # where the site has the page
    parts = FENCE.split(markdown)  # text, code, text, ..., text
    parts[::2] = [with_formulas(with_links(text, source, folder, config.repo_url))
                  for text in parts[::2]]
    parts[1::2] = [re.sub(r"^( *```python) (\S+)", r'\1 title="\2"', code) for code in parts[1::2]]
    return "".join(parts)


def with_links(text, source, folder, repo_url):
    """Return a text with links that work on the site.

    source: the file that the text is from; folder: where the site has the page. The two differ
    for README.md.
    """
    def link(match):
        if re.match(r"\w+:", match["target"]):  # https:, mailto:
            return match[0]
        path = (source.parent / match["target"]).resolve()
        if path == ROOT / "README.md":
            target = relpath(DOCS / "index.md", folder)
        elif path.suffix in (".md", ".png", ".svg") and path.is_relative_to(DOCS):
            target = relpath(path, folder)
        elif repo_url:
            kind = "tree" if path.is_dir() else "blob"
            target = f"{repo_url.rstrip('/')}/{kind}/main/{path.relative_to(ROOT).as_posix()}"
        else:
            return match["text"]
        return f"[{match['text']}]({target}{match['anchor'] or ''})"

    return LINK.sub(link, text)


def with_formulas(text):
    return FORMULA.sub(lambda formula: convert(formula[1], display="block"), text)
