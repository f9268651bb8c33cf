"""The rooms and their doors: imports go one way, only four packages are used, nothing that is loaded runs code, every example runs."""
import ast
import doctest
import importlib
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

from minibert import BertConfig

ROOT = Path(__file__).parent.parent
PRODUCT = sorted(path for path in [*ROOT.glob("tokenizer/**/*.py"), *ROOT.glob("data/**/*.py"), *ROOT.glob("minibert/**/*.py"), ROOT / "train.py"]
                 if "cache" not in path.parts)
MAY_IMPORT = {
    "tokenizer": {"tokenizer", "numpy", "regex", "tqdm"},
    "data": {"data", "tokenizer", "numpy", "tqdm"},
    "minibert": {"minibert", "data", "tokenizer", "numpy", "torch", "tqdm", "matplotlib"},
    "train.py": {"minibert", "data", "tokenizer", "torch", "tqdm"},
}


def name(path):
    return str(path.relative_to(ROOT))


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("path", PRODUCT, ids=name)
def test_imports_go_one_way_and_nothing_else_is_used(path):
    room = path.relative_to(ROOT).parts[0]
    used = set(imports(ast.parse(path.read_text(encoding="utf-8")))) - set(sys.stdlib_module_names)
    assert used <= MAY_IMPORT[room]


@pytest.mark.parametrize("path", PRODUCT, ids=name)
def test_nothing_that_is_loaded_runs_code(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            assert "pickle" not in {alias.name for alias in node.names} | {getattr(node, "module", None)}
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("eval", "exec", "numpy.load", "np.load")
            if called == "torch.load":
                assert {k.arg: ast.unparse(k.value) for k in node.keywords}.get("weights_only") == "True"


@pytest.mark.parametrize("path", PRODUCT, ids=name)
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", [path for path in PRODUCT if re.search("^ +>>> ", path.read_text(encoding="utf-8"), re.M)], ids=name)
def test_the_examples_in_docstrings_are_true(path):
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    failed, tried = doctest.testmod(module, extraglobs={"BertConfig": BertConfig}, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert tried and not failed


def test_no_two_files_of_tests_have_one_name():
    """pytest imports them by name: two of them could not be collected together, as `make test ARGS=...` and `make parity` do."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, times in names.items() if times > 1] == []
