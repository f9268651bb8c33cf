"""Select the files of a corpus, and count what is left out.

    a file          itself; a text file of another extension is read as plain text
    "code/*.py"     the files and folders that match the pattern
    a folder        the files that are not hidden, by the first of these rules that finds one:
                    1. .txt, .jsonl, .csv and .tsv files, also .gz or .bz2, and those of the
                       extensions in ``text_suffixes``
                    2. .json files that are arrays of objects
                    3. all text files (.py, .md, wiki_00), unless it is the folder of a model
"""
import codecs
import os
import re
import zlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from data.sources import wikipedia
from data.sources.compression import compression_suffix, decompressed
from tokenizer.utils.terminal import visible

FORMATS = (".txt", ".jsonl", ".json", ".csv", ".tsv")
KNOWN = ", ".join(FORMATS) + ", each also with .gz or .bz2"
# Files of models, tokenizers and runs: in a folder, they are not text to train on.
OF_MODELS = ("merges.txt", "vocab.txt", "tokens.tsv", "metrics.jsonl", "tokenizer.json",
             "model.safetensors", "pytorch_model.bin")
HEAD = 1 << 13  # bytes that show whether a file is text
MAX_NAMED = 5  # extensions or paths in a message


@dataclass
class Selection:
    """The files of a corpus, and what was found beside them."""

    files: list = field(default_factory=list)  # paths, in the order in which they are read
    plain: set = field(default_factory=set)  # those that are plain text, whatever their extension
    left_out: dict = field(default_factory=lambda: defaultdict(list))  # ".py" -> paths

    def add(self, path, is_plain):
        if not os.access(path, os.R_OK):  # at once, not when it is its turn
            raise PermissionError(f"permission denied: {path}")
        self.files.append(path)
        if is_plain:
            self.plain.add(path)

    def format_of(self, path):
        return ".txt" if path in self.plain else format_of(path)

    def notes(self):
        """Return what the user should know, in words: ``{"left_out": "40 .py, 3 .log"}``."""
        notes = {}
        if self.plain:
            notes["read_as_plain_text"] = counts_text(map(suffix_of, self.plain))
        if self.left_out:
            kinds = [kind for kind, paths in self.left_out.items() for _ in paths]
            notes["left_out"] = counts_text(kinds)
        return notes

    def warning(self):
        """Return a sentence if most bytes are left out, with the flag that reads them, or ""."""
        sizes = {kind: sum(os.path.getsize(path) for path in paths if path.is_file())
                 for kind, paths in self.left_out.items()}
        num_left_out = sum(sizes.values())
        share = num_left_out / max(num_left_out + sum(map(os.path.getsize, self.files)), 1)
        if share <= 0.5:
            return ""
        suffixes = []  # of text files, the largest in sum first
        for kind in sorted(sizes, key=sizes.get, reverse=True):
            path = self.left_out[kind][0]
            if kind == suffix_of(path) and kind not in FORMATS and looks_like_text(path):
                suffixes.append(visible(kind))
        advice = f": to read such files add --text-suffix {','.join(suffixes[:3])}"
        return f"{share:.0%} of the bytes are left out{advice if suffixes else ''}"


def select_files(sources, text_suffixes=""):
    """Return the Selection for a list of files, folders and patterns such as "code/**/*.py".

    text_suffixes: extensions such as ".py,.md,none" of files that are plain text, also in folders;
    "none" is for files without an extension

    Hidden files are ignored. Of a folder, ``left_out`` counts everything else that is not read,
    among it .json, which is usually a settings file, and the files of tokenizers.

    Raises FileNotFoundError for a missing path, PermissionError for an unreadable one, and
    ValueError for a file that is not text, a pipe or device, a folder without a file to read, and
    a folder with an unfinished download of Wikipedia.
    """
    selection = Selection()
    words = [word.strip().lower() for word in text_suffixes.split(",")]
    suffixes = {word if word == "none" else "." + word.removeprefix(".") for word in words if word}
    for source in map(str, sources):
        num_before = len(selection.files)
        if has_wildcard(source) and not os.path.lexists(source):
            _add_matches(selection, source, suffixes)
        elif os.path.isdir(source):
            _add_folder(selection, Path(source), suffixes)
        else:
            _add_file(selection, Path(source), suffixes)
        if len(selection.files) == num_before:
            found = selection.notes().get("left_out", "none")
            raise ValueError(f"{source} has no file to read: supported are {KNOWN}; --text-suffix "
                             f".md reads other text files (found: {found})")
    found = set(map(suffix_of, selection.files))
    for suffix in suffixes - found:
        raise ValueError(f"--text-suffix {visible(suffix)}: no file has this extension "
                         f"(found: {first_few(sorted({*found, *selection.left_out}))})")
    return selection


def format_of(path):
    """Return a file's extension without compression: ``"news.csv.gz" -> ".csv"``."""
    suffix = suffix_of(path)
    if suffix not in FORMATS:
        if Path(path).is_dir():
            raise ValueError(f"{path} is a folder: name a file in it")
        if not Path(path).exists():
            raise FileNotFoundError(f"no such file: {path}")
        raise ValueError(f"{path}: unknown extension {suffix if suffix != 'none' else '(none)'}: "
                         f"supported are {KNOWN}")
    return suffix


def suffix_of(path):
    """``"news.CSV.gz" -> ".csv"``, ``"wiki_00" -> "none"``"""
    path = Path(path)
    if compression_suffix(path):
        path = path.with_suffix("")  # news.csv.gz -> news.csv
    return path.suffix.lower() or "none"


def _add_matches(selection, pattern, suffixes):
    """Add the files and folders that match a pattern; ** matches no hidden or linked folder."""
    parts = Path(pattern).parts
    first = next(i for i, part in enumerate(parts) if has_wildcard(part))
    root = Path(*parts[:first])  # what comes before the wildcards
    if "**" in parts:
        for _, folders, _ in os.walk(root, onerror=_raise):  # glob would skip what it may not list
            folders[:] = [name for name in folders if not name.startswith(".")]
    paths = [path for path in sorted(root.glob(os.path.join(*parts[first:])))
             if not any(name.startswith(".") for name in path.relative_to(root).parts)]
    if not paths:
        raise FileNotFoundError(f"no file or folder matches {pattern}")
    matched = set(paths)
    for path in paths:
        if not matched.isdisjoint(path.parents):
            continue  # it is read with its folder, which matches, too
        if path.is_dir():
            _add_folder(selection, path, suffixes)
        else:
            _add_file(selection, path, suffixes)


def _raise(error):
    raise error


def has_wildcard(source):
    return not set("*?[").isdisjoint(source)


def _add_file(selection, path, suffixes):
    """Add a file that the user has named."""
    check_regular_file(path)
    suffix = suffix_of(path)
    is_plain = suffix in suffixes or suffix not in FORMATS and looks_like_text(path)
    if not is_plain:
        format_of(path)  # raises ValueError for an unknown one
    selection.add(path, is_plain)


def check_regular_file(path):
    """Raise unless there is a file that can be read as often as needed, and that has an end."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"no such file: {path}")
    if not os.path.isfile(path):
        raise ValueError(f"{path} is not a regular file but a folder, pipe, device or socket: "
                         "save the text in a file")


def _add_folder(selection, folder, suffixes):
    """Add the files of a folder that are text, and count the others."""
    paths = _visible_files(folder, selection)
    texts = [path for path in paths if path.name not in OF_MODELS and path.suffix != ".part"]
    plain = {path for path in texts if suffix_of(path) in suffixes}
    chosen = plain | set(filter(is_known, texts))
    if not chosen:
        chosen = {path for path in texts if path.suffix == ".json" and is_array(path)}
    if not chosen and len(texts) == len(paths):  # not a model's folder, which has a readme.md
        plain = {path for path in texts if suffix_of(path) not in FORMATS and looks_like_text(path)}
        chosen = plain
    for path in paths:
        if path in chosen:
            selection.add(path, path in plain)
        else:
            kind = path.name if path.name in OF_MODELS else suffix_of(path)
            selection.left_out[kind].append(path)


def _visible_files(folder, selection):
    """Return the files in a folder and its subfolders that are not hidden, sorted."""
    files = []
    paths = []
    for parent, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        paths += [Path(parent, name) for name in [*names, *links] if not name.startswith(".")]
    # The order on disk differs between machines.
    for path in sorted(paths, key=lambda path: path.relative_to(folder).as_posix()):
        if wikipedia.UNFINISHED.fullmatch(path.name):
            raise ValueError(f"{folder}: the download of a dump has not ended: repeat the command "
                             f"to resume it, or remove {path} to use the files as they are")
        if os.path.isfile(path):
            files.append(path)
        else:
            kind = "linked folder" if os.path.isdir(path) else "broken link or pipe"
            selection.left_out[kind].append(path)
    return files


def is_known(path):
    """Whether a file in a folder is read: .json is not, unless it is compressed (a dump)."""
    return suffix_of(path) in FORMATS and path.suffix != ".json"


def is_array(path):
    return re.match(rb"\s*\[\s*\{", _head(path).removeprefix(codecs.BOM_UTF8)) is not None


def looks_like_text(path):
    """Whether a file begins like text: of a binary file, the first bytes contain a NUL."""
    head = _head(path)
    is_utf16 = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # reading it explains
    return is_utf16 or not (b"\0" in head or head.startswith(b"%PDF"))


def _head(path):
    """Return the first bytes of a file, decompressed; a NUL if it is damaged."""
    try:
        with open(path, "rb") as raw, decompressed(raw, path) as file:
            return file.read(HEAD)
    except PermissionError:
        return b""
    except (EOFError, zlib.error, OSError):
        return b"\0"


def first_few(words, others="others"):
    """Return the first words for a message: ``"a.txt, b.txt and 40 others"``."""
    text = ", ".join(visible(str(word)) for word in words[:MAX_NAMED])
    return text + (f" and {len(words) - MAX_NAMED:,} {others}" if len(words) > MAX_NAMED else "")


def counts_text(kinds):
    """Return how often each kind occurs, the most frequent first; ``none`` has no extension.

    >>> counts_text([".py", ".log", "none", ".py"])
    '2 .py, 1 .log, 1 without extension'
    """
    counts = sorted(Counter(kinds).items(), key=lambda item: (-item[1], item[0]))
    names = [f"{count:,} {'without extension' if kind == 'none' else kind}"
             for kind, count in counts]
    return first_few(names, "other kinds")
