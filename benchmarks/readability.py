"""Measure how readable the project is: tokens, line widths, comments, folders, banned phrases.

    python benchmarks/readability.py

Targets are printed next to the measured values. Tokens are Python's own, without comments,
docstrings and line structure; lines are counted as ``wc -l`` does.
"""
import ast
import io
import re
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("minibert", "tokenizer", "data")
CORE = (
    "train.py", "minibert/model.py", "minibert/attention.py", "minibert/masking.py",
    "minibert/examples.py", "minibert/sentence_pairs.py", "minibert/batches.py",
    "minibert/optim.py", "minibert/evaluate.py", "minibert/config.py", "tokenizer/reference.py",
    "tokenizer/normalize.py", "tokenizer/pretokenize.py", "tokenizer/bpe.py",
    "tokenizer/wordpiece.py", "tokenizer/trainers/merges.py", "data/corpora.py",
    "data/readers.py", "data/prepare.py")
# Phrases of a translated style, and British spellings.
BANNED = (
    r"in place of", r"anew", r"stands?", r"stood", r"nobody", r"somebody",
    r"goes on", r"go on",
    r"held back", r"held out", r"(?:is|are) (?:said|told)", r"optimis(?!tic)\w*", r"initialis\w*",
    r"normalis\w*", r"labell\w*", r"colour\w*", r"behaviour", r"neighbour\w*")
STRUCTURE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
             tokenize.ENCODING, tokenize.ENDMARKER}


def product_files():
    files = [ROOT / "train.py"]
    for package in PACKAGES:
        files += sorted((ROOT / package).rglob("*.py"))
    return files


def test_files():
    return sorted((ROOT / "tests").rglob("*.py"))


def docstring_lines(text):
    """Return the numbers of the lines that belong to docstrings."""
    lines = set()
    for node in ast.walk(ast.parse(text)):
        has_docstring = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        if has_docstring and ast.get_docstring(node):
            docstring = node.body[0]
            lines.update(range(docstring.lineno, docstring.end_lineno + 1))
    return lines


def count_tokens(text, first=1, last=10**9):
    """Return the number of code tokens in a range of lines, without docstrings."""
    skipped = docstring_lines(text)
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return sum(token.type not in STRUCTURE and first <= token.start[0] <= last
               and token.start[0] not in skipped for token in tokens)


def function_tokens(text, name):
    """Return the code tokens of the function or method with this name."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return count_tokens(text, node.lineno, node.end_lineno)
    raise ValueError(f"no function {name}")


def imported_names(text):
    """Return how many names a file imports from the project's own packages."""
    nodes = [node for node in ast.parse(text).body if isinstance(node, ast.ImportFrom)]
    return sum(len(node.names) for node in nodes if node.module.split(".")[0] in PACKAGES)


def comment_share(files):
    """Return the share of non-blank lines that have a comment of their own or at their end."""
    lines = comments = 0
    for file in files:
        text = file.read_text(encoding="utf-8")
        lines += sum(bool(line.strip()) for line in text.splitlines())
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        comments += sum(token.type == tokenize.COMMENT for token in tokens)
    return comments / lines


def count_lines(files):
    return sum(file.read_text(encoding="utf-8").count("\n") for file in files)


def wide_lines(files, columns=100):
    """Return the share of non-blank lines that are longer than this."""
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line.strip()]
    return sum(len(line) > columns for line in lines) / len(lines)


def entries_per_folder(files):
    """Return {folder: number of modules and subfolders in it}, largest first."""
    entries = {}
    for file in files:
        parts = file.relative_to(ROOT).parts
        for depth in range(1, len(parts)):
            if parts[depth] != "__init__.py":
                entries.setdefault("/".join(parts[:depth]), set()).add(parts[depth])
    return dict(sorted(((name, len(found)) for name, found in entries.items()),
                       key=lambda item: -item[1]))


def long_functions(files, limit=50):
    """Return [(file, function, lines)] of functions with more lines than this."""
    found = []
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if lines > limit:
                    found.append((str(file.relative_to(ROOT)), node.name, lines))
    return found


def banned_phrases(text):
    """Return the banned phrases in a text, in lower case.

    >>> banned_phrases("The ids go on where the file stands.")
    ['go on', 'stands']
    """
    pattern = r"\b(" + "|".join(BANNED) + r")\b"
    return re.findall(pattern, text.lower())


def main():
    product, tests = product_files(), test_files()
    train = (ROOT / "train.py").read_text(encoding="utf-8")
    core = [ROOT / name for name in CORE]
    loop_and_step = function_tokens(train, "fit") + function_tokens(train, "training_step")
    model_lines = count_lines([ROOT / "minibert/model.py", ROOT / "minibert/attention.py"])
    product_lines, test_lines = count_lines(product), count_lines(tests)
    rows = [
        ("code tokens of train.py", count_tokens(train), "at most 2,000"),
        ("lines of train.py", train.count("\n"), "about 200"),
        ("code tokens of fit and training_step", loop_and_step, "at most 420"),
        ("names that train.py imports from the project", imported_names(train), "at most 20"),
        ("lines of model.py and attention.py", model_lines, "about 450"),
        ("lines over 100 columns, product", f"{wide_lines(product):.2%}", "under 1 %"),
        ("lines over 100 columns, tests", f"{wide_lines(tests):.2%}", "under 1 %"),
        ("comment lines in the core files", f"{comment_share(core):.1%}", "at least 12 %"),
        ("lines of product", product_lines, "at most 16,000"),
        ("lines of tests", test_lines, f"at most {0.8 * product_lines:,.0f}"),
    ]
    for name, value, target in rows:
        text = f"{value:,}" if isinstance(value, int) else value
        print(f"{name:48}{text:>10}   {target}")
    print("\nentries per folder (at most about 14):")
    for folder, count in list(entries_per_folder(product).items())[:6]:
        print(f"  {folder:46}{count:>10}")
    print("\nfiles over 350 lines:")
    for file in product:
        if (lines := count_lines([file])) > 350:
            print(f"  {file.relative_to(ROOT)!s:46}{lines:>10}")
    print("\nfunctions over 50 lines:")
    for file, name, lines in long_functions(product):
        print(f"  {file + ' ' + name:46}{lines:>10}")
    for title, files in (("product", product), ("tests", tests)):
        found = [phrase for file in files
                 for phrase in banned_phrases(file.read_text(encoding="utf-8"))]
        print(f"\nbanned phrases in {title}: {len(found)}  {', '.join(sorted(found))}")


if __name__ == "__main__":
    main()
