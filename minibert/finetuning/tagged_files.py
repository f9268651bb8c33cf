"""Read and write files of sentences with a tag for each word.

    .jsonl .json    {"words": ["New", "York"], "tags": ["B-LOC", "I-LOC"]} in each line; the fields
                    "tokens" and "ner_tags" or "pos_tags" of published data sets are found as well
    all others      a word and its tag in each line, in the first and the last column, separated by
                    a tab or by spaces, and a blank line after each sentence (CoNLL)

Lines that begin with -DOCSTART- separate documents and have no word. A file without tags has one
column, or no field of tags.
"""
import json
import re
from collections import Counter

from data.corpus_files import suffix_of
from data.lines import Replacements, decoded_lines
from data.readers import json_records
from minibert.finetuning.labeled_files import LabeledTexts
from tokenizer.utils.terminal import plural

WORD_FIELDS = ("words", "tokens")
TAG_FIELDS = ("tags", "ner_tags", "pos_tags")
DOCUMENT_START = "-DOCSTART-"


def is_json(path):
    """Return whether a file holds JSON objects rather than lines of columns."""
    return suffix_of(path) in (".jsonl", ".json")


def read_sentences(path, layout, labeled=True):
    """Return the LabeledTexts of a file: texts, labels and lines are lists with one item per word.

    Raise ValueError, with file and line, for a word without a tag and for an empty file.
    """
    replacements = Replacements(layout.encoding_errors)
    lines = decoded_lines(path, replacements=replacements)
    sentences = _json_sentences if is_json(path) else _column_sentences
    texts, labels, line_numbers = [], [], []
    for words, tags, numbers in sentences(path, lines, layout, labeled):
        texts.append(words)
        labels.append(tags)
        line_numbers.append(numbers)
    if not texts:
        raise ValueError(f"{path} has no words")
    return LabeledTexts(str(path), texts, labels if labeled else None, line_numbers,
                        replacements=replacements)


def has_tags(path, layout):
    """Return whether any sentence of a file has tags."""
    lines = decoded_lines(path, replacements=Replacements("replace"))
    if is_json(path):
        return any(field_of(record, layout.label, TAG_FIELDS) is not None
                   for _, record in json_records(path, lines))
    return any(len(columns) > 1 for _, columns in _rows(lines) if columns)


def _rows(lines):
    """Yield (line number, columns); [] for a line between sentences.

    "New York\\tB-LOC" -> ["New York", "B-LOC"]; "York NNP B-LOC" -> ["York", "NNP", "B-LOC"]
    """
    for number, line in lines:
        line = line.strip("\r\n")
        columns = []
        if line.strip():  # a word may contain other white space, as 10\u00a0000
            columns = line.split("\t") if "\t" in line else re.split(" +", line.strip(" "))
        columns = [column.strip() for column in columns]
        yield number, [] if columns[:1] == [DOCUMENT_START] else columns


def _column_sentences(path, lines, layout, labeled):
    """Yield (words, tags, line numbers) of each sentence."""
    sentence = []
    rows = list(_rows(lines))
    _check_columns(path, rows)
    for number, columns in rows:
        if columns:
            if not columns[0]:
                raise ValueError(f"{path}:{number}: a tag without a word before it")
            if labeled and (len(columns) < 2 or not columns[-1]):
                raise ValueError(f"{path}:{number}: the word {columns[0]!r} has no tag: expected "
                                 "WORD, a tab or space, TAG")
            sentence.append((columns[0], columns[-1], number))
        elif sentence:
            yield map(list, zip(*sentence))
            sentence = []
    if sentence:
        yield map(list, zip(*sentence))


def _check_columns(path, rows):
    """Raise ValueError if most lines are sentences: of various lengths, or spaces before a tab.

    Also for CoNLL-U, whose first column is the number of the word in its sentence.
    """
    rows = [(number, columns) for number, columns in rows if columns]
    num_numbered = sum(len(columns) == 10 and columns[0].isdigit() for _, columns in rows)
    if 2 * num_numbered > len(rows):
        raise ValueError(f"{path} is CoNLL-U, with the word in the second of ten columns. Keep "
                         "that and the tags, here UPOS: grep -vE '^#|^[0-9]+[-.]' FILE | "
                         "cut -f 2,4")
    sizes = Counter(len(columns) for _, columns in rows)
    most_frequent = max(sizes.values(), default=0)
    num_with_spaces = sum(" " in columns[0] for _, columns in rows)
    if 2 * most_frequent < len(rows) or 2 * num_with_spaces > len(rows):
        raise ValueError(f"{path}:{rows[0][0]}: this line and most others are sentences: write a "
                         "word, a tab and its tag per line, and a blank line after each sentence")


def _json_sentences(path, lines, layout, labeled):
    for number, record in json_records(path, lines):
        words = _strings(path, number, record, layout.text, WORD_FIELDS)
        tags = _strings(path, number, record, layout.label, TAG_FIELDS) if labeled else words
        if len(words) != len(tags):
            raise ValueError(f"{path}:{number}: {plural(len(words), 'word')} but "
                             f"{plural(len(tags), 'tag')}")
        if words:
            yield words, tags, [number] * len(words)


def field_of(record, name, usual_names):
    """Return the field of a record that has one of these names, None if there is none."""
    return next((field for field in (name, *usual_names) if field in record), None)


def _strings(path, number, record, name, usual_names):
    """Return a field of a record, which must be a list of strings that are not blank."""
    field = field_of(record, name, usual_names)
    if field is None:
        raise ValueError(f"{path}:{number}: no field {' or '.join(usual_names)}; there are: "
                         f"{', '.join(record)[:200]!r}")
    values = record[field]
    if not isinstance(values, list) or not all(isinstance(v, str) and v.strip() for v in values):
        raise ValueError(f"{path}:{number}: the field {field!r} must be a list of strings, none "
                         "of them blank")
    return values


def with_tags(path, sentences, layout):
    """Yield the lines of a file with the given tags instead of the file's own.

    sentences: a list of tags for each sentence, in the order of the file
    """
    lines = decoded_lines(path, replacements=Replacements("replace"))
    if is_json(path):
        records = (record for _, record in json_records(path, lines)
                   if record[field_of(record, layout.text, WORD_FIELDS)])
        for record, tags in zip(records, sentences):
            field = field_of(record, layout.label, TAG_FIELDS) or TAG_FIELDS[0]
            yield json.dumps(record | {field: tags}, ensure_ascii=False)
        return
    all_tags = (tag for tags in sentences for tag in tags)
    for _, line in lines:
        line = line.strip("\r\n")
        (_, columns), = _rows([(0, line)])
        if columns:
            separator = " " if "\t" not in line and len(columns) > 1 else "\t"
            yield separator.join([*columns[: max(1, len(columns) - 1)], next(all_tags)])
        else:
            yield line
