"""The site that make site builds: it has every page, and mkdocs finds nothing to complain about."""
import os
import re
import subprocess
import sys

import pytest
from book_helpers import ROOT

PAGE_IN_NAVIGATION = re.compile(r"^ +- (?:[^:\n]+: )?(\S+\.md)$", re.M)


def test_every_page_is_in_the_navigation_once():
    listed = PAGE_IN_NAVIGATION.findall((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in ROOT.glob("docs/**/*.md")]
    assert sorted(listed) == sorted(["index.md", *pages])  # index.md is README.md


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Return a function that builds the site and returns the HTML of chapter 7."""
    for package in ("material", "latex2mathml"):
        pytest.importorskip(package)

    def chapter(repo_url):
        folder = tmp_path_factory.mktemp("site")
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet",
                   "--site-dir", str(folder)]
        environment = {**os.environ, "REPO_URL": repo_url, "NO_MKDOCS_2_WARNING": "1"}
        result = subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True)
        assert (result.returncode, result.stdout + result.stderr) == (0, "")
        return (folder / "book/07-attention.html").read_text(encoding="utf-8")

    return chapter


def test_links_to_code_lead_to_the_code_host_and_formulas_are_mathml(build):
    html = build("https://code.example/minibert")
    assert 'href="https://code.example/minibert/blob/main/minibert/model.py"' in html
    assert re.search(r'href="https://code.example/minibert/blob/main/minibert/model.py#L\d', html)
    assert 'href="13-decoders.html"' in html
    assert "<mfrac>" in html and "$$" not in html
    assert "../../minibert" not in html


def test_without_a_code_host_links_to_code_are_plain_names(build):
    html = build("")
    assert "minibert/model.py" in html
    assert 'model.py"' not in html and "model.py#" not in html
