"""Files -> labeled examples: what fine-tuning learns from, and what it is asked.

.tsv, .csv and .jsonl (each also .gz or .bz2), one example a row; the first row names the columns, unless ``columns`` does:

    sentence,label          the names of all columns, in order; text, pair and label are found by name
    3,1                     numbers from 0 on: of the text, of the pair if there is one, of the label (CoLA's files)

A .tsv knows no quotes: in SST-2 a quote mark opens and never closes, and would swallow lines. Windows line ends and a byte-order
mark are no part of any text. Reading itself, with its errors for what is no text, is ``data.readers``'.
"""
import csv
import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.readers import MAX_RECORD, decode, format_of, json_records, raw_lines, record_lines
from minibert.config import option
from tokenizer.utils.cli import suggestion
from tokenizer.utils.terminal import visible

KINDS = (".tsv", ".csv", ".jsonl", ".json")
SEPARATED = {".tsv": ("tabs", "\t"), ".csv": ("commas", ",")}
OLD_MAC = "a line ends with \\r alone, as on old Macs: convert the line ends (tr '\\r' '\\n')"
LARGEST = 1e18  # label of a regression: float32 ends at 3.4e38, and the loss adds squares up
MANY = 10  # labels that a small file may have without being a regression
HOLD_OUT_SEED = 10  # of the tenth that is held out where there is no dev file; no flag changes it


@dataclass(frozen=True)
class Layout:
    """Where in a file the parts of an example stand; "" for what there is not."""
    text: str = option("sentence", "the column or field of the text")
    pair: str = option("", "the column or field of the second text, where an example is a pair")
    label: str = option("label", "the column or field of the label")
    columns: str = option("", "for a file without a row of names: the names of all its columns, or the numbers, from 0 on, of text, pair and label")

    def parts(self, labeled):
        """The columns that are needed."""
        return [name for name in (self.text, self.pair, self.label if labeled else "") if name]

    def named(self):
        """``columns`` as {name: number}; the numbers of "3,1" are given the names."""
        words = [word.strip() for word in self.columns.split(",")]
        if all(word.isdecimal() for word in words):
            parts = self.parts(labeled=True)
            if len(words) != len(parts):
                raise ValueError(f"columns {self.columns}: {len(words)} number(s) for the {len(parts)} columns {', '.join(parts)}, in this order")
            return {name: int(word) for name, word in zip(parts, words)}
        if len(set(words)) < len(words):
            raise ValueError(f"columns {self.columns}: a name stands there twice")
        return {name: number for number, name in enumerate(words)}


@dataclass(frozen=True)
class LabeledTexts:
    """The rows of one file. texts: strings, or (text, pair); labels: strings, or floats for a regression, or None where none are asked for."""
    path: str
    texts: list
    labels: list | None
    lines: list  # where each row stands in the file, from 1 on
    empty: int = 0  # rows without text: left out where one learns, kept where one is asked

    def __len__(self):
        return len(self.texts)

    def only(self, numbers):
        """Those of the given numbers."""
        def gather_positions(values):
            return None if values is None else [values[n] for n in numbers]
        return LabeledTexts(self.path, gather_positions(self.texts), gather_positions(self.labels), gather_positions(self.lines), self.empty)


def read_examples(path, layout=None, regression=False, labeled=True, keep_empty=False, flag=""):
    """A file -> LabeledTexts. labeled: there must be labels; keep_empty: rows without any text stay; flag: the caller's, where it has one for the
    column of the text in place of fine-tuning's flags.

    Raises FileNotFoundError; ValueError, with file and line, for a missing column or label, rows of unequal length, a label that is no
    number where one is needed, and a file without examples.

    "sentence\\tlabel\\na fine film\\t1\\n" -> .texts ["a fine film"], .labels ["1"], .lines [2]
    """
    layout, path = layout or Layout(), Path(path)
    texts, labels, lines, empty = [], [], [], 0
    for number, row in rows(path, layout, layout.parts(labeled), flag):
        text = tuple(row[name].strip() for name in layout.parts(labeled=False))
        label = _label(path, number, row, layout, regression) if labeled else None
        if not any(text):
            empty += 1
            if not keep_empty:
                continue
        texts.append(text if layout.pair else text[0])
        labels.append(label)
        lines.append(number)
    if not texts:
        raise ValueError(f"{path} has no example" + (f": all {empty:,} rows are without text" if empty else ""))
    return LabeledTexts(str(path), texts, labels if labeled else None, lines, empty)


def _label(path, number, row, layout, regression):
    label = row[layout.label].strip()
    if not label:
        raise ValueError(f"{path}:{number}: no label in column {layout.label!r}: add it, or take the row out")
    if not regression:
        return label
    try:
        value = float(label)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{path}:{number}: label {label!r} is no number, which a regression needs: take --task classification, or another --label")
    if abs(value) > LARGEST:
        raise ValueError(f"{path}:{number}: label {label!r} is too large a number: scale the labels")
    return value


def class_labels(examples):
    """The distinct labels, in the order of numbers where all are numbers, else of the alphabet. ValueError where there is one only,
    and where they are numbers of which most occur once, as those of a regression.

    ["2", "10", "2"] -> ["2", "10"]
    """
    labels = sorted(set(examples.labels))
    if len(labels) < 2:
        raise ValueError(f"{examples.path}: all {len(examples):,} examples have the label {labels[0]!r}, so there is nothing to tell apart: "
                         "is it the right --label column?")
    try:
        ordered = sorted(labels, key=float)
    except ValueError:
        return labels
    if len(labels) > max(MANY, len(examples) / 2):
        raise ValueError(f"{examples.path}: {len(labels):,} different labels of {len(examples):,} examples: the labels are numbers, almost all "
                         "different: --task regression?")
    return ordered


def encode_labels(examples, labels):
    """The labels of examples as numbers (N,) int64, or (N,) float32 where ``labels`` is empty: a regression.

    Raises ValueError, with file and line, for a label that is not among ``labels``.
    """
    if not labels:
        return np.array(examples.labels, dtype=np.float32)
    place, known = {label: number for number, label in enumerate(labels)}, [visible(label) for label in labels]
    for label, line in zip(examples.labels, examples.lines):
        if label not in place:
            raise ValueError(f"{examples.path}:{line}: label {label!r} does not occur in training, where there are {', '.join(known[:20])}"
                             + suggestion(visible(label), known))
    return np.array([place[label] for label in examples.labels], dtype=np.int64)


def split_dev(examples, share=0.1):
    """Examples -> (to learn from, held out): a tenth drawn at random, always the same one. ValueError for fewer than ten.

    The last example of a label is never held out: the next one drawn is, in its place; less than a tenth where no other is left. ValueError
    where no label occurs twice.
    """
    count = int(len(examples) * share)
    if not count:
        raise ValueError(f"{examples.path} has {len(examples)} examples, too few to hold out a tenth of them: give --dev FILE")
    order = np.random.default_rng(HOLD_OUT_SEED).permutation(len(examples))
    if isinstance(examples.labels[0], float):  # a regression: each number is a label of its own
        held = order[:count].tolist()
    else:
        left, held = Counter(examples.labels), []
        for n in order.tolist():
            if len(held) < count and left[examples.labels[n]] > 1:
                left[examples.labels[n]] -= 1
                held.append(n)
    if not held:
        raise ValueError(f"{examples.path}: no label of its {len(examples):,} examples occurs twice, so none can be held out: give --dev FILE")
    return examples.only(sorted(set(order.tolist()) - set(held))), examples.only(sorted(held))


# ------------------------------------------------------------------------------------------------ files -> rows


def rows(path, layout, needed, flag=""):
    """Yield (line number, {column: str}) for each row of a file, which has all ``needed`` columns. Blank lines are left out. flag: as above."""
    remedy = f"Name it with {flag}" if flag else "Name them with --text, --pair and --label"
    of_a_table = remedy + ("" if flag else "; a file without a row of names needs --columns")
    kind = format_of(path)
    if kind not in KINDS:
        raise ValueError(f"{path}: examples are read from {', '.join(KINDS[:3])}, each also with .gz or .bz2, not from {kind}")
    if kind in (".jsonl", ".json"):
        if layout.columns:
            raise ValueError(f"{path}: a .jsonl names its fields itself: leave out --columns")
        for number, record in json_records(path):
            _check_there(path, number, record, needed, "field", remedy)
            remedy = "The rows before it have it: add it, or take the row out"
            yield number, {name: _as_text(path, number, name, record[name]) for name in needed}
        return
    table = _tsv(path) if kind == ".tsv" else _csv(path)
    names = layout.named() if layout.columns else None
    width = None
    for number, row in table:
        if names is None:
            names, width = {name.strip(): place for place, name in enumerate(row)}, len(row)
            _check_names(path, number, row, needed, flag)
            _check_there(path, number, names, needed, "column", _other_kind(kind, row) + of_a_table)
            continue
        if width is None:  # the first row of a file whose columns have been named
            _check_there(path, number, names, needed, "column", of_a_table)
            width = len(row)
            beyond = {name: place for name, place in names.items() if place >= width}
            if beyond:
                raise ValueError(f"{path}:{number}: columns {layout.columns}, but this row has {width} fields: from number 0 to {width - 1}. "
                                 f"{_other_kind(kind, row)}".rstrip(" ."))
        if len(row) != width:
            raise ValueError(f"{path}:{number}: {len(row)} fields in this row, {width} in the first: "
                             f"a {'tab' if kind == '.tsv' else 'quote mark'} is missing or too many")
        yield number, {name: row[names[name]] for name in needed}


def _check_names(path, number, row, needed, flag):
    """The row of names: of one line, and with the needed ones once."""
    if any("\r" in name.strip() for name in row):
        raise ValueError(f"{path}:{number}: {OLD_MAC}")
    count = Counter(name.strip() for name in row)
    for name in needed:
        if count[name] > 1:
            raise ValueError(f"{path}:{number}: column {name!r} stands there twice: rename one" + ("" if flag else ", or give --columns"))


def _check_there(path, number, there, needed, what, remedy):
    for name in needed:
        if name not in there:
            raise ValueError(f"{path}:{number}: no {what} {name!r}; there are: {_listed(there)}. {remedy}")


def _listed(names):
    """The first ten names, and 200 characters of them, safe to print.

    ["sentence", "a\\x1b"] -> 'sentence, a\\\\x1b'; [] -> 'none'
    """
    listed = ", ".join(visible(str(name)[:201]) for name in list(names)[:10])
    return listed[:200] + " ..." * (len(names) > 10 or len(listed) > 200) or "none"


def _other_kind(kind, row):
    """What to say of a row that is one field, where it holds another separator than those of its kind; else ""."""
    (mine, _), (other, (theirs, separator)) = SEPARATED[kind], next(item for item in SEPARATED.items() if item[0] != kind)
    if len(row) == 1 and separator in row[0]:
        return f"A {kind} is split at {mine}: is this a {other}, which is split at {theirs}? "
    if len(row) == 1 and ";" in row[0]:
        return f"A {kind} is split at {mine}, not at semicolons: save it with {mine}. "
    return ""


def _as_text(path, number, name, value):
    """A JSON value as a text: null is none, numbers as they are written."""
    if isinstance(value, (list, dict)):
        raise ValueError(f"{path}:{number}: the field {name!r} holds a {type(value).__name__}: it must be a text or a number")
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def _tsv(path):
    for number, line in record_lines(path):
        yield number, line.rstrip("\r\n").split("\t")


def _csv(path):
    """A field in quotes may hold commas and line ends; the number is that of the line on which the row ends."""
    reader = csv.reader((decode(path, raw, number) for number, raw in enumerate(raw_lines(path, MAX_RECORD), 1)), strict=True)
    begins = 1  # the line on which the next row does
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
            begins = reader.line_num + 1
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise ValueError(f"{path}:{begins}: a quote mark opens in this row and never closes") from None
        if "new-line character" in str(error):
            raise ValueError(f"{path}:{reader.line_num}: {OLD_MAC}") from None
        since = f", in the row that begins on line {begins}" if begins < reader.line_num else ""
        raise ValueError(f"{path}:{reader.line_num}: {error}{since}") from None
