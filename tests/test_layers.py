"""The structure of the project: imports go one way, few packages are used, examples run."""
import ast
import doctest
import importlib
import re
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from minibert import BertConfig

ROOT = Path(__file__).parents[1]
PACKAGES = ("tokenizer", "data", "minibert")
PRODUCT = [ROOT / "train.py"]
for package in PACKAGES:
    PRODUCT += sorted((ROOT / package).rglob("*.py"))

# From the bottom up: a module imports only from its own layer and from those above this line.
LAYERS = (
    ("tokenizer.utils",),
    ("tokenizer.normalize", "tokenizer.pretokenize", "tokenizer.reference", "tokenizer.encoding",
     "tokenizer.word_starts", "tokenizer.fast.string_search", "tokenizer.added_tokens",
     "tokenizer.unknown"),
    ("tokenizer.fast",),
    ("tokenizer.trainers", "tokenizer.formats"),
    ("tokenizer.base", "tokenizer.bpe", "tokenizer.wordpiece", "tokenizer.trainers.extend"),
    ("tokenizer.formats.load", "tokenizer.formats.tokenizer_json_read"),
    ("tokenizer",),
    ("data.splits", "data.sentences", "data.reflow"),
    ("data.token_file", "data.sources", "data.corpus_files", "data.lines",
     "data.readers"),
    ("data",),
    ("tokenizer.__main__", "tokenizer.trainers.command"),  # commands, which read corpora
    ("minibert.config", "minibert.config_fields", "minibert.model", "minibert.attention",
     "minibert.heads",
     "minibert.masking", "minibert.examples", "minibert.sentence_pairs", "minibert.batches",
     "minibert.optim", "minibert.evaluate", "minibert.device", "minibert.checks",
     "minibert.presets"),
    ("minibert.generation",),
    ("minibert.formats",),
    ("minibert.finetuning",),
    ("minibert.analysis", "minibert.generation.command"),
    ("minibert.training",),
    ("minibert", "train"),
)
# Packages other than Python's own.
ALLOWED = {
    "tokenizer": {"numpy", "regex", "tqdm"},
    "data": {"numpy", "tqdm"},
    "minibert": {"numpy", "torch", "tqdm", "matplotlib"},
    "train": {"torch", "tqdm"},
}


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path) for path in PRODUCT}


@cache
def nodes(path):
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


@cache
def imported_modules(path):
    """Return the full names of the modules that a file imports, anywhere in it."""
    modules = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in {path}"
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                modules.add(module if module in MODULES else node.module)
    return modules


def layer(module):
    """Return the index of the layer with the longest matching name."""
    matches = [(len(prefix), index) for index, prefixes in enumerate(LAYERS) for prefix in prefixes
               if module == prefix or module.startswith(prefix + ".")]
    return max(matches)[1]


def test_imports_go_one_way():
    for path in PRODUCT:
        own_layer = layer(module_name(path))
        upward = [module for module in imported_modules(path)
                  if module.split(".")[0] in (*PACKAGES, "train") and layer(module) > own_layer]
        assert upward == [], path


def test_no_modules_import_each_other_in_a_circle():
    imports = {module_name(path): imported_modules(path) & MODULES for path in PRODUCT}
    while imports:
        free = {module for module, needed in imports.items() if not needed & imports.keys()}
        assert free, f"a circle among {sorted(imports)}"
        imports = {module: needed for module, needed in imports.items() if module not in free}


def test_only_four_packages_are_used():
    for path in PRODUCT:
        package = module_name(path).split(".")[0]
        used = {module.split(".")[0] for module in imported_modules(path)}
        assert used - sys.stdlib_module_names - set(PACKAGES) <= ALLOWED[package], path


def test_loading_a_file_never_runs_code():
    for path in PRODUCT:
        assert "pickle" not in imported_modules(path), path
        for call in (node for node in nodes(path) if isinstance(node, ast.Call)):
            function = ast.unparse(call.func)
            assert function not in ("eval", "exec", "numpy.load", "np.load"), path
            assert function != "torch.load" or "weights_only=True" in ast.unparse(call), path


WITH_EXAMPLES = [path for path in PRODUCT
                 if re.search("^ +>>> ", path.read_text(encoding="utf-8"), re.M)]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=module_name)
def test_the_examples_in_docstrings_are_true(path):
    module = importlib.import_module(module_name(path))
    num_failed, num_tried = doctest.testmod(
        module, extraglobs={"BertConfig": BertConfig},
        optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert num_tried > 0 and num_failed == 0


def test_test_files_have_distinct_names():
    """pytest imports them by name, so two of the same name cannot be collected together."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
