"""Read labeled examples from .tsv, .csv and .jsonl files (each also .gz or .bz2).

Each row is one example. The first row names the columns, unless ``columns`` does
("source,label,mark,sentence" for CoLA).

A .tsv has no quoting: in SST-2 a quotation mark opens and never closes, and would swallow lines.
``data.readers`` reads the rows.
"""
import json
import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace

import numpy as np

from data.corpus_files import format_of
from data.lines import ENCODING_ERRORS, ENCODING_ERRORS_HELP, Replacements, decoded_lines
from data.readers import json_records, raise_error, table_records
from minibert.config_fields import check_choices, option
from tokenizer.utils.cli import suggestion
from tokenizer.utils.terminal import plural, visible

MAX_CLASSES = 10  # numeric labels with more classes than this may be meant for a regression
DEV_SEED = 10  # of the random dev set; fixed, so that scores can be compared


@dataclass(frozen=True)
class Layout:
    """The columns that hold the parts of an example; "" for a part that does not exist."""
    text: str = option("sentence", "column or field of the text")
    pair: str = option("", "column or field of the second text, if the examples are pairs")
    label: str = option("label", "column or field of the label")
    columns: str = option("", "for a file without a header row: the names of all its columns, "
                          "separated by commas")
    skip_bad_rows: bool = option(False, "skip, count and list rows that cannot be read: another "
                                 "number of fields, no usable label, invalid JSON, an unclosed "
                                 "quotation mark")
    encoding_errors: str = option("strict", ENCODING_ERRORS_HELP, ENCODING_ERRORS)

    def __post_init__(self):
        check_choices(self)

    def parts(self, labeled):
        """Return the names of the columns that are needed, each with the flag that names it."""
        names = {"--text": self.text, "--pair": self.pair, "--label": self.label}
        if not self.text or labeled and not self.label:
            raise ValueError("--text and --label must not be empty")
        used = {flag: name for flag, name in names.items()
                if name and (labeled or flag != "--label")}
        if len({*used.values()}) < len(used):
            raise ValueError(f"{', '.join(used)} must not be the same")
        return {name: flag for flag, name in used.items()}


@dataclass(frozen=True)
class LabeledTexts:
    """The examples of one file."""
    path: str
    texts: list  # strings, or (text, pair) tuples
    labels: list | None  # strings, floats for a regression, ...; None if they were not read
    lines: list  # line number of each example; "item 1" in an array
    num_empty: int = 0  # rows without text, whether they were kept or not
    skipped: tuple = ()  # why each row that ``skip_bad_rows`` left out is bad
    replacements: Replacements = field(default_factory=Replacements)

    def __len__(self):
        return len(self.texts)

    def subset(self, indices):
        """Return the examples with these indices."""
        return replace(self, **{name: [getattr(self, name)[i] for i in indices]
                                for name in ("texts", "labels", "lines")})


def read_label(location, label):
    """Return a label without white space around it; ValueError if there is none."""
    if not label.strip():
        raise ValueError(f"{location}: no label: add it, or remove the row")
    return label.strip()


def read_number(location, label):
    """Return the label of a regression as a float; ValueError if it is not a number."""
    label = read_label(location, label)
    try:
        value = float(label)
    except ValueError:
        value = math.nan
    if not abs(value) <= 1e18:  # NaN, or its square does not fit into float32
        raise ValueError(f"{location}: the label {label!r} is not a number that a regression can "
                         "learn: use --task classification or another --label")
    return value


def read_labels(location, text):
    """Return the labels of a text as a list, which may be empty.

    'red, green' or '["red", "green"]' -> ["red", "green"]
    """
    names = text.split(",")
    if text.strip().startswith("["):
        try:
            names = json.loads(text)
        except (ValueError, RecursionError):
            names = [None]
        if not all(isinstance(name, (str, int)) for name in names):
            raise ValueError(f"{location}: the labels {text!r} are not a JSON list of strings")
    names = (str(name).strip() for name in names)
    return [*dict.fromkeys(name for name in names if name)]


def read_examples(path, layout=Layout(), parse_label=read_label, labeled=True, keep_empty=False):
    """Read a file of examples.

    parse_label: (location, text) -> label; labeled: read the labels too; keep_empty: keep rows
    without text, so that predictions and rows correspond.

    Raise FileNotFoundError; or ValueError, with file and line, for a missing column or label, rows
    of different lengths, a label that is not a number if one is needed, and an empty file.

    A .csv with the lines ``sentence,label`` and ``a fine film,1`` gives .texts ["a fine film"],
    .labels ["1"] and .lines [2].
    """
    texts = []
    labels = []
    lines = []
    skipped = []
    num_empty = 0
    replacements = Replacements(layout.encoding_errors)

    def on_bad_row(message):
        if not layout.skip_bad_rows:
            raise ValueError(f"{message}\n(--skip-bad-rows leaves out such rows of --train and "
                             "--dev)")
        skipped.append(message)

    lists = [layout.label] if parse_label is read_labels else []
    for line, row in read_rows(path, layout, layout.parts(labeled), on_bad_row, replacements,
                               lists):
        text = tuple(row[name].strip() for name in layout.parts(labeled=False))
        try:
            label = parse_label(f"{path}:{line}", row[layout.label]) if labeled else None
        except ValueError as error:
            on_bad_row(str(error))
            continue
        if not any(text):
            num_empty += 1
            if not keep_empty:
                continue
        texts.append(text if layout.pair else text[0])
        labels.append(label)
        lines.append(line)
    if not texts:
        first = f"; the first of {plural(len(skipped), 'bad row')}: {skipped[0]}" if skipped else ""
        raise ValueError(f"{path} has no examples with text{first}")
    return LabeledTexts(str(path), texts, labels if labeled else None, lines, num_empty,
                        tuple(skipped), replacements)


def class_labels(examples):
    """Return the distinct labels: in numeric order if all are numbers, else alphabetical.

    Raise ValueError if there is only one, or if they look like the numbers of a regression.

    ["2", "10", "2"] -> ["2", "10"]
    """
    labels = sorted(set(examples.labels))
    if len(labels) < 2:
        raise ValueError(f"{examples.path}: the only label of {plural(len(examples), 'example')} "
                         f"is {labels[0]!r}: is it the right --label column?")
    try:
        labels.sort(key=float)
    except ValueError:
        return labels
    if len(labels) > max(MAX_CLASSES, len(examples) / 2):
        raise ValueError(f"{examples.path}: {len(labels):,} different numbers as labels of "
                         f"{len(examples):,} examples: use --task regression?")
    return labels


def rarest_class(examples):
    """Return the index of the rarest of the ``class_labels``; of equals, the last.

    The labels ["a", "b", "b", "c", "c"] -> 0
    """
    counts = Counter(examples.labels)
    labels = class_labels(examples)
    return min(range(len(labels)), key=lambda i: (counts[labels[i]], -i))


def encode_labels(examples, labels):
    """Return class indices (N,) int64.

    Raise ValueError, with file and line, for a label that is not in ``labels``.
    """
    class_index = {label: i for i, label in enumerate(labels)}
    for label, line in zip(examples.labels, examples.lines):
        if label not in class_index:
            known = [visible(name) for name in labels]
            raise ValueError(f"{examples.path}:{line}: label {label!r} does not occur in training: "
                             f"choose from {', '.join(known[:20])}"
                             + suggestion(visible(label), known))
    return np.array([class_index[label] for label in examples.labels], dtype=np.int64)


def split_dev(examples, share=0.1):
    """Split examples into (train, dev). dev is a random tenth, the same one every time.

    Of labels that are names, a tenth of each goes to dev, at least one example, and at least one
    stays in train. Raise ValueError if nothing can go to dev.
    """
    indices_of = defaultdict(list)
    for i in np.random.default_rng(DEV_SEED).permutation(len(examples)).tolist():
        label = examples.labels[i]
        indices_of[label if isinstance(label, str) else None].append(i)
    chosen = set()
    for indices in indices_of.values():
        num_dev = max(1, round(len(indices) * share))
        chosen.update(indices[: min(num_dev, len(indices) - 1)])
    if not chosen:
        raise ValueError(f"{examples.path}: {plural(len(examples), 'example')}: too few to "
                         "split off a dev set, give --dev FILE")
    train = set(range(len(examples))) - chosen
    return examples.subset(sorted(train)), examples.subset(sorted(chosen))


# ---------------------------------------------------------------------------------- files -> rows


def read_rows(path, layout, needed, on_bad_row=raise_error, replacements=None, lists=()):
    """Yield (line number, {column: str}) of each row.

    Blank lines are skipped.

    needed         {column: the flag that names it}: the columns to return
    on_bad_row     is called with a message for each row that cannot be read
    replacements   see ``decoded_lines``
    lists          columns where a JSON list is allowed
    """
    extension = format_of(path)
    lines = decoded_lines(path, replacements=replacements)
    if extension in (".jsonl", ".json"):
        if layout.columns:
            raise ValueError(f"{path}: a .jsonl names its fields itself: leave out --columns")
        records = json_records(path, lines, on_bad_row)
    elif extension in (".csv", ".tsv"):
        columns = [name.strip() for name in layout.columns.split(",") if layout.columns]
        records = table_records(path, lines, needed, columns, on_bad_row)
    else:
        raise ValueError(f"{path}: examples are read from .tsv, .csv and .jsonl files (each also "
                         f".gz or .bz2), not from {extension}")
    for line, record in records:
        try:
            row = {name: _part(f"{path}:{line}", name, record, needed, lists) for name in needed}
        except ValueError as error:
            if extension in (".csv", ".tsv"):  # the column is missing in every row
                raise
            on_bad_row(str(error))
        else:
            yield line, row


def has_label_column(path, layout):
    """Return whether the first row has all parts of an example, also the label."""
    rows = read_rows(path, layout, layout.parts(labeled=True),
                     replacements=Replacements("replace"), lists=[layout.label])
    try:
        return next(rows, None) is not None
    except ValueError:
        return False


def _part(location, name, record, needed, lists):
    """Return a field as text: a JSON null is empty, numbers are as they are written."""
    if name not in record:
        known = visible(", ".join(record)[:200])  # safe to print, and not too long
        raise ValueError(f"{location}: no column {name!r}; there are: {known}. Name one with "
                         f"{needed[name]}, or add a header row")
    value = record[name]
    if isinstance(value, (list, dict)) and not (isinstance(value, list) and name in lists):
        raise ValueError(f"{location}: field {name!r} is a {type(value).__name__}: it must be text "
                         "or a number")
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
