"""Reading labeled examples: formats, columns, labels, and errors with their line."""
import gzip
from collections import Counter
from pathlib import Path

import pytest

from minibert.finetuning.labeled_files import (
    Layout,
    class_labels,
    encode_labels,
    rarest_class,
    read_examples,
    read_number,
    split_dev,
)


def written(tmp_path, content, name="train.tsv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def labeled(tmp_path, labels):
    """Return the examples "text 0", "text 1", ... with these labels."""
    rows = "".join(f"text {i}\t{label}\n" for i, label in enumerate(labels))
    return read_examples(written(tmp_path, "sentence\tlabel\n" + rows))


# formats


@pytest.mark.parametrize("name, content", [
    ("a.tsv", b"sentence\tlabel\na fine film\t1\nno , really\t0\n"),
    ("a.tsv.gz", gzip.compress(b"sentence\tlabel\na fine film\t1\nno , really\t0\n")),
    ("a.csv", b'label,sentence\n1,a fine film\n0,"no , really"\n'),
    ("a.jsonl", b'{"sentence": "a fine film", "label": 1}\n'
                b'{"sentence": "no , really", "label": "0", "more": [1]}\n'),
])
def test_all_formats_give_the_same_examples(name, content, tmp_path):
    examples = read_examples(written(tmp_path, content, name))
    assert examples.texts == ["a fine film", "no , really"] and examples.labels == ["1", "0"]


@pytest.mark.parametrize("name, separator", [("a.tsv", "\t"), ("a.csv", ",")])
def test_byte_order_mark_windows_line_ends_and_blank_lines_are_skipped(name, separator, tmp_path):
    content = f"\ufeffsentence{separator}label\r\na{separator}yes\r\n\r\nb{separator}no\r\n"
    examples = read_examples(written(tmp_path, content, name))
    assert examples.texts == ["a", "b"] and examples.labels == ["yes", "no"]
    assert examples.lines == [2, 4]


def test_an_open_quotation_mark_is_text_in_a_tsv_and_an_error_in_a_csv(tmp_path):
    path = written(tmp_path, 'sentence\tlabel\n" a fine\t1\nfilm "\t0\n')
    assert read_examples(path).texts == ['" a fine', 'film "']
    path = written(tmp_path, 'sentence,label\n"two\nlines",1\n\nb,0\n"a fine,1\nfilm,0\n', "a.csv")
    with pytest.raises(ValueError, match="a.csv:6: the row that starts here cannot be read"):
        read_examples(path)


# columns


def test_pairs_are_tuples_and_labels_of_a_regression_are_floats(tmp_path):
    path = written(tmp_path, "sentence1\tsentence2\tscore\na b\tc\t2.5\n")
    examples = read_examples(path, Layout("sentence1", "sentence2", "score"), read_number)
    assert examples.texts == [("a b", "c")] and examples.labels == [2.5]


def test_columns_can_be_named_by_a_flag(tmp_path):
    path = written(tmp_path, "src\t1\t\ta fine one\nsrc\t0\t*\tfine a\n")
    examples = read_examples(path, Layout(columns="source,label, mark,sentence"))
    assert examples.texts == ["a fine one", "fine a"] and examples.labels == ["1", "0"]
    assert examples.lines == [1, 2]
    pairs = read_examples(path, Layout("a", "b", "c", columns="b,c,mark,a"))
    assert pairs.texts[0] == ("a fine one", "src")


@pytest.mark.parametrize("name, content, columns, message", [
    ("a.tsv", "b\t\x1b[m\na\t1", "", r"a.tsv:2: no column 'sentence'; there are: b, \\x1b\[m"),
    ("a.tsv", "b\tlabel\na\t1", "", "a.tsv:2: no column 'sentence'; .* Name one with --text"),
    ("a.tsv", "sentence\tb\na\t1", "", "a.tsv:2: no column 'label'; .* Name one with --label"),
    ("a.tsv", "src\t1", "sentence", "a.tsv:1: 2 fields in this row, but 1 column name:"),
    ("a.tsv", "sentence\tlabel\tlabel", "", "a.tsv:1: a column name is repeated"),
    ("a.tsv", "x\ty\tz", "sentence,label,label", "columns of .*a.tsv: a column name is repeated"),
    ("a.tsv", "sentence\tlabel\na\t1\nb", "", "a.tsv:3: 1 field in this row, but 2 column names"),
    ("a.jsonl", '{"text": "a", "label": 1}', "", "a.jsonl:1: no column 'sentence'; there are"),
    ("a.jsonl", "{}", "1,2", "a .jsonl names its fields itself"),
    ("a.txt", "a", "", "examples are read from .tsv, .csv and .jsonl files"),
])
def test_wrong_columns_raise(name, content, columns, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_examples(written(tmp_path, content + "\n", name), Layout(columns=columns))


def test_rows_without_text_are_counted_and_left_out_or_kept(tmp_path):
    path = written(tmp_path, "sentence\tlabel\n \t1\nb\t0\n")
    without, kept = read_examples(path), read_examples(path, keep_empty=True)
    assert without.texts == ["b"] and kept.texts == ["", "b"]
    assert without.num_empty == kept.num_empty == 1
    with pytest.raises(ValueError, match="has no examples with text"):
        read_examples(written(tmp_path, "sentence\tlabel\n\t1\n"))


def test_texts_can_be_read_without_labels(tmp_path):
    examples = read_examples(written(tmp_path, "sentence\na\n"), labeled=False)
    assert examples.texts == ["a"] and examples.labels is None


# labels


@pytest.mark.parametrize("name, content, message", [
    ("a.tsv", "sentence\tlabel\nb\t", "a.tsv:2: no label"),
    ("a.jsonl", '{"sentence": "a", "label": null}', "a.jsonl:1: no label"),
    ("a.jsonl", '{"sentence": "a", "label": [1]}', "a.jsonl:1: field 'label' is a list"),
])
def test_missing_labels_raise(name, content, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_examples(written(tmp_path, content + "\n", name))


@pytest.mark.parametrize("label", ["good", "nan", "-1e19"])
def test_a_regression_needs_numbers_whose_squares_fit_into_float32(label, tmp_path):
    path = written(tmp_path, f"sentence\tlabel\na\t1e18\nb\t{label}\n")
    with pytest.raises(ValueError, match=f"train.tsv:3: the label '{label}' is not a number"):
        read_examples(path, parse_label=read_number)
    assert read_examples(path).labels == ["1e18", label]


@pytest.mark.parametrize("labels, expected", [
    (["10", "2", "2", "-1"], ["-1", "2", "10"]),
    (["yes", "no"], ["no", "yes"]),
    (["10", "2", "x"], ["10", "2", "x"]),
    ([f"{i}" for i in range(20)] * 2, [f"{i}" for i in range(20)]),
])
def test_class_labels_are_in_numeric_or_alphabetical_order(labels, expected, tmp_path):
    assert class_labels(labeled(tmp_path, labels)) == expected


@pytest.mark.parametrize("labels, expected", [("aab", 1), ("abb", 0), ("ab", 1), ("aabcc", 1)])
def test_the_rarest_class_is_the_last_of_equals(labels, expected, tmp_path):
    assert rarest_class(labeled(tmp_path, labels)) == expected


def test_labels_that_are_no_classes_raise(tmp_path):
    with pytest.raises(ValueError, match="11 different numbers .* use --task regression?"):
        class_labels(labeled(tmp_path, [f"{i}.5" for i in range(11)]))
    with pytest.raises(ValueError, match="the only label of 2 examples is 'x'"):
        class_labels(labeled(tmp_path, "xx"))


def test_labels_become_class_indices_and_unknown_ones_raise(tmp_path):
    examples = labeled(tmp_path, ["good", "god"])
    assert encode_labels(examples, ["god", "good"]).tolist() == [1, 0]
    with pytest.raises(ValueError, match="train.tsv:3: label 'god' .* did you mean good"):
        encode_labels(examples, ["bad", "good"])


# dev set


def test_the_dev_set_is_a_tenth_always_the_same_and_no_example_is_lost(tmp_path):
    examples = labeled(tmp_path, "01" * 30)
    train, dev = split_dev(examples)
    assert len(dev) == 6 and sorted(train.texts + dev.texts) == sorted(examples.texts)
    assert split_dev(examples)[1] == dev
    with pytest.raises(ValueError, match="too few to split off a dev set"):
        split_dev(labeled(tmp_path, "01"))


@pytest.mark.parametrize("counts, expected", [
    ({"1": 203, "0": 7}, {"1": 20, "0": 1}),
    ({"1": 60, "0": 30, "2": 10}, {"1": 6, "0": 3, "2": 1}),
    ({"1": 98, "0": 2}, {"1": 10, "0": 1}),
    ({"1": 26, "0": 24, "2": 1}, {"1": 3, "0": 2})])
def test_the_dev_set_has_a_tenth_of_each_label(tmp_path, counts, expected):
    labels = [label for label, count in counts.items() for _ in range(count)]
    _, dev = split_dev(labeled(tmp_path, labels))
    assert Counter(dev.labels) == expected


@pytest.mark.parametrize("name, content, bad", [
    ("a.tsv", "sentence\tlabel\na\t1\nb\nc\t2\td\ne\t\nf\t0\n", {
        3: "1 field in this row", 4: "3 fields in this row", 5: "no label"}),
    ("a.csv", 'sentence,label\na,1\n"b,1\nc\n"d" e,0\nf,0\n', {
        3: "the row that starts here cannot be read", 4: "1 field ", 5: "the row that starts"}),
    ("a.jsonl", '{"sentence": "a", "label": 1}\n{"sentence": "b", \n[3]\n{"label": 1}\n'
                '{"sentence": ["c"], "label": 1}\n{"sentence": "d", "label": null}\n'
                '{"sentence": "f", "label": 0}\n', {
        2: "invalid JSON", 3: "a JSON list", 4: "no column 'sentence'",
        5: "field 'sentence' is a list", 6: "no label"}),
    ("a.json", '[{"sentence": "a", "label": 1}, 7,\n{"sentence": "f", "label": 0}]', {
        "item 2": "a JSON int"}),
])
def test_every_kind_of_bad_row_is_skipped_and_noted_on_request(tmp_path, name, content, bad):
    path = written(tmp_path, content, name)
    examples = read_examples(path, Layout(skip_bad_rows=True))
    assert examples.texts == ["a", "f"] and examples.labels == ["1", "0"]
    assert len(examples.skipped) == len(bad)
    for message, (line, reason) in zip(examples.skipped, bad.items()):
        assert message.startswith(f"{path}:{line}: ") and reason in message
    line, reason = next(iter(bad.items()))
    with pytest.raises(ValueError, match=f"(?s):{line}: {reason}.*--skip-bad-rows leaves out such"):
        read_examples(path)


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("name, separator", [("a.tsv", "\t"), ("a.csv", ",")])
def test_a_missing_column_of_a_table_is_not_a_bad_row(tmp_path, name, separator, skip):
    path = written(tmp_path, f"The{separator}DET\ncat{separator}NOUN\n", name)
    with pytest.raises(ValueError) as error:
        read_examples(path, Layout(skip_bad_rows=skip))
    message = str(error.value)
    assert message.startswith(f"{path}:2: no column 'sentence'; there are: The, DET.")
    assert "--skip-bad-rows" not in message


def test_a_file_of_bad_rows_only_is_an_error_that_names_the_first(tmp_path):
    path = written(tmp_path, '{"text": "a"}\n' * 3, "a.jsonl")
    with pytest.raises(ValueError, match="no examples .* the first of 3 bad rows: .*:1: no column"):
        read_examples(path, Layout(skip_bad_rows=True))


def test_bytes_that_are_not_utf8_are_replaced_on_request(tmp_path):
    for name, content in (("a.tsv", b"sentence\tlabel\ncaf\xe9\t1\nb\t0\n"),
                          ("a.csv", b"sentence,label\ncaf\xe9,1\nb,0\n"),
                          ("a.jsonl", b'{"sentence": "caf\xe9", "label": 1}\n'
                                      b'{"sentence": "b", "label": 0}\n')):
        path = written(tmp_path, content, name)
        examples = read_examples(path, Layout(encoding_errors="replace"))
        assert examples.texts == ["caf\ufffd", "b"]
        assert examples.replacements.num_characters == 1
        with pytest.raises(ValueError, match="not UTF-8"):
            read_examples(path)


def test_every_label_stays_in_the_training_set(tmp_path):
    for rare in range(50):
        labels = ["ab"[i % 2] for i in range(50)]
        labels[rare] = "rare"
        train, dev = split_dev(labeled(tmp_path, labels))
        assert "rare" in train.labels and len(dev) == 4  # round(24 / 10) + round(25 / 10)
    train, dev = split_dev(labeled(tmp_path, [*map(str, range(18)), "0", "0"]))
    assert dev.labels == ["0"] and "0" in train.labels and len(train) == 19
    with pytest.raises(ValueError, match="too few to split off a dev set"):
        split_dev(labeled(tmp_path, map(str, range(20))))


def test_the_labels_of_a_regression_need_not_stay_in_the_training_set(tmp_path):
    rows = "".join(f"text {i}\t{i}.5\n" for i in range(20))
    path = written(tmp_path, "sentence\tlabel\n" + rows)
    _, dev = split_dev(read_examples(path, parse_label=read_number))
    assert len(dev) == 2


def test_the_first_sample_of_the_guide_has_two_equal_classes_and_other_sentences_for_dev():
    samples = Path(__file__).parents[3] / "docs/samples"
    train, dev = (read_examples(samples / f"errors_{part}.tsv") for part in ("train", "dev"))
    assert sorted(train.labels) == ["error"] * 30 + ["result"] * 30
    assert sorted(dev.labels) == ["error"] * 10 + ["result"] * 10
    assert len({*train.texts, *dev.texts}) == 80


@pytest.mark.parametrize("names", [
    {"text": "a", "pair": "a"}, {"text": "a", "label": "a"}, {"label": ""}, {"text": ""}])
def test_the_parts_of_an_example_have_a_column_each(names):
    with pytest.raises(ValueError, match="must not be"):
        Layout(**names).parts(labeled=True)
    assert Layout(text="label").parts(labeled=False) == {"label": "--text"}
