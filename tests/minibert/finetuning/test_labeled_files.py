"""Files of labeled examples: what is read, what is refused and with which line."""
import gzip
import os
from pathlib import Path

import pytest

from minibert.finetuning.labeled_files import Layout, class_labels, encode_labels, read_examples, split_dev

TASKS = Path(os.environ.get("MINIBERT_CORPORA", Path(__file__).parents[3] / "../shared/corpora")).parent / "tasks"


def written(tmp_path, content, name="train.tsv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


@pytest.mark.parametrize("name, content", [
    ("a.tsv", "sentence\tlabel\na fine film\t1\nno , really\t0\n"),
    ("a.csv", 'label,sentence\n1,a fine film\n0,"no , really"\n'),
    ("a.jsonl", '{"sentence": "a fine film", "label": 1}\n{"sentence": "no , really", "label": "0", "more": [1]}\n'),
])
def test_three_formats_say_the_same(name, content, tmp_path):
    examples = read_examples(written(tmp_path, content, name))
    assert examples.texts == ["a fine film", "no , really"] and examples.labels == ["1", "0"]


def test_packed_files_are_read_too(tmp_path):
    assert len(read_examples(written(tmp_path, gzip.compress(b"sentence\tlabel\na\t1\n"), "a.tsv.gz"))) == 1


def test_a_byte_order_mark_and_windows_line_ends_are_no_text(tmp_path):
    for name, tab in (("a.tsv", "\t"), ("a.csv", ",")):
        path = written(tmp_path, b"\xef\xbb\xbf" + f"sentence{tab}label\r\na{tab}yes\r\n\r\nb{tab}no\r\n".encode(), name)
        examples = read_examples(path)
        assert examples.texts == ["a", "b"] and examples.labels == ["yes", "no"] and examples.lines == [2, 4]


def test_a_quote_that_opens_in_a_tsv_swallows_nothing(tmp_path):
    examples = read_examples(written(tmp_path, 'sentence\tlabel\n" a fine\t1\nfilm "\t0\n'))
    assert examples.texts == ['" a fine', 'film "']


def test_a_quote_that_opens_in_a_csv_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="a.csv:2: a quote mark opens in this row and never closes$"):
        read_examples(written(tmp_path, 'sentence,label\n"a fine,1\nfilm,0\n', "a.csv"))
    with pytest.raises(ValueError, match="a.csv:6: a quote mark opens"):
        read_examples(written(tmp_path, 'sentence,label\n"two\nlines",1\n\nb,0\n"a fine,1\nfilm,0\n', "a.csv"))
    with pytest.raises(ValueError, match="a.csv:3: .* expected after .*, in the row that begins on line 2$"):
        read_examples(written(tmp_path, 'sentence,label\n"a fine,1\nfilm "x",0\n', "a.csv"))


def test_pairs_come_as_tuples(tmp_path):
    path = written(tmp_path, "sentence1\tsentence2\tscore\na b\tc\t2.5\n")
    examples = read_examples(path, Layout("sentence1", "sentence2", "score"), regression=True)
    assert examples.texts == [("a b", "c")] and examples.labels == [2.5]


def test_a_file_without_names_takes_them_from_the_flag(tmp_path):
    path = written(tmp_path, "src\t1\t\ta fine one\nsrc\t0\t*\tfine a\n")
    for columns in ("source,label,mark,sentence", "3,1"):
        examples = read_examples(path, Layout(columns=columns))
        assert examples.texts == ["a fine one", "fine a"] and examples.labels == ["1", "0"] and examples.lines == [1, 2]
    assert read_examples(path, Layout("a", "b", "c", columns="3,0,1")).texts[0] == ("a fine one", "src")


def test_columns_that_do_not_fit(tmp_path):
    path = written(tmp_path, "src\t1\t\ta fine one\n")
    with pytest.raises(ValueError, match=r"train.tsv:1: no column 'sentence'; there are: src, 1, , a fine one\..*--columns"):
        read_examples(path)
    with pytest.raises(ValueError, match="train.tsv:1: columns 7,1, but this row has 4 fields: from number 0 to 3"):
        read_examples(path, Layout(columns="7,1"))
    with pytest.raises(ValueError, match=r"columns 1: 1 number\(s\) for the 2 columns sentence, label"):
        read_examples(path, Layout(columns="1"))
    with pytest.raises(ValueError, match="a name stands there twice"):
        read_examples(path, Layout(columns="a,a"))
    with pytest.raises(ValueError, match="a.jsonl:1: no field 'sentence'; there are: text, label"):
        read_examples(written(tmp_path, '{"text": "a", "label": 1}\n', "a.jsonl"))
    with pytest.raises(ValueError, match="a.jsonl:2: no field 'label'; there are: sentence. The rows before it have it: add it, or take the"):
        read_examples(written(tmp_path, '{"sentence": "a", "label": 1}\n{"sentence": "b"}\n', "a.jsonl"))
    with pytest.raises(ValueError, match="leave out --columns"):
        read_examples(tmp_path / "a.jsonl", Layout(columns="0,1"))
    with pytest.raises(ValueError, match="not from .txt"):
        read_examples(written(tmp_path, "a\n", "a.txt"))


def test_a_name_that_stands_twice_is_refused_where_it_is_needed(tmp_path):
    with pytest.raises(ValueError, match="train.tsv:1: column 'label' stands there twice: rename one, or give --columns$"):
        read_examples(written(tmp_path, "sentence\tlabel\t label\na\t1\t0\n"))
    assert read_examples(written(tmp_path, "sentence\tlabel\tmark\tmark\na\t1\t0\t0\n")).labels == ["1"]


@pytest.mark.parametrize("name, content", [("a.tsv", "sentence\tlabel\ra\t1\rb\t0\r"), ("a.csv", "sentence,label\ra,1\rb,0\r")])
def test_line_ends_of_old_macs_are_named(name, content, tmp_path):
    with pytest.raises(ValueError, match=f"{name}:1: a line ends with .r alone, as on old Macs: convert the line ends"):
        read_examples(written(tmp_path, content, name))


def test_the_names_that_there_are_cannot_upset_a_terminal_or_fill_it(tmp_path):
    with pytest.raises(ValueError, match=r"there are: a\\x1b\[31m, b\. Name"):
        read_examples(written(tmp_path, "a\x1b[31m\tb\n"))
    with pytest.raises(ValueError, match=r"there are: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 \.\.\.\. Name"):
        read_examples(written(tmp_path, "\t".join(map(str, range(11))) + "\n"))
    with pytest.raises(ValueError, match=r"there are: x{200} \.\.\.\. Name"):
        read_examples(written(tmp_path, "x" * 250 + "\n"))


@pytest.mark.parametrize("name, header, message", [
    ("a.tsv", "sentence,label", r"there are: sentence,label\. A \.tsv is split at tabs: is this a \.csv, which is split at commas\? Name them with"),
    ("a.csv", "sentence\tlabel", r"there are: sentence\\tlabel\. A \.csv is split at commas: is this a \.tsv, which is split at tabs\? Name them"),
    ("a.tsv", "sentence;label", r"A \.tsv is split at tabs, not at semicolons: save it with tabs\. Name them"),
    ("a.csv", "sentence;label", r"A \.csv is split at commas, not at semicolons: save it with commas\. Name them"),
    ("a.tsv", "text", r"there are: text\. Name them with"),
    ("a.tsv", "one, two\tlabel", r"there are: one, two, label\. Name them with"),
])
def test_another_separator_is_named(name, header, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_examples(written(tmp_path, header + "\n", name))


def test_another_separator_is_named_where_the_columns_are_given(tmp_path):
    with pytest.raises(ValueError, match=r"this row has 1 fields: from number 0 to 0\. A \.tsv is split at tabs: is this a \.csv"):
        read_examples(written(tmp_path, "a,1\n"), Layout(columns="0,1"))


@pytest.mark.parametrize("row, message", [
    ("b\t", "train.tsv:3: no label in column 'label'"),
    ("b", "train.tsv:3: 1 fields in this row, 2 in the first: a tab is missing"),
    ("b\tc\t1", "train.tsv:3: 3 fields in this row"),
])
def test_a_broken_row_is_named_with_its_line(row, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_examples(written(tmp_path, f"sentence\tlabel\na\t1\n{row}\n"))


def test_a_label_of_null_is_missing_and_a_list_is_none(tmp_path):
    with pytest.raises(ValueError, match="a.jsonl:1: no label in column 'label'"):
        read_examples(written(tmp_path, '{"sentence": "a", "label": null}\n', "a.jsonl"))
    with pytest.raises(ValueError, match="a.jsonl:1: the field 'label' holds a list"):
        read_examples(written(tmp_path, '{"sentence": "a", "label": [1]}\n', "a.jsonl"))


@pytest.mark.parametrize("label", ["good", "nan", "inf"])
def test_a_regression_wants_numbers(label, tmp_path):
    path = written(tmp_path, f"sentence\tlabel\na\t1.5\nb\t{label}\n")
    with pytest.raises(ValueError, match=f"train.tsv:3: label '{label}' is no number"):
        read_examples(path, regression=True)


@pytest.mark.parametrize("label", ["1e39", "-1e19"])
def test_a_number_whose_square_is_beyond_float32_is_refused(label, tmp_path):
    path = written(tmp_path, f"sentence\tlabel\na\t1e18\nb\t{label}\n")
    with pytest.raises(ValueError, match=f"train.tsv:3: label '{label}' is too large a number: scale the labels"):
        read_examples(path, regression=True)
    assert read_examples(path).labels == ["1e18", label]


def test_empty_texts_are_counted_and_left_out_or_kept(tmp_path):
    path = written(tmp_path, "sentence\tlabel\n \t1\nb\t0\n")
    examples = read_examples(path)
    assert examples.texts == ["b"] and examples.empty == 1
    examples = read_examples(path, keep_empty=True)
    assert examples.texts == ["", "b"] and examples.empty == 1
    with pytest.raises(ValueError, match="has no example: all 1 rows are without text"):
        read_examples(written(tmp_path, "sentence\tlabel\n\t1\n"))
    with pytest.raises(ValueError, match="has no example$"):
        read_examples(written(tmp_path, "sentence\tlabel\n"))


def test_texts_to_be_judged_need_no_label(tmp_path):
    examples = read_examples(written(tmp_path, "sentence\na\n"), labeled=False)
    assert examples.texts == ["a"] and examples.labels is None


def test_labels_are_numbered_in_the_order_of_numbers_or_of_the_alphabet(tmp_path):
    def labels(*words):
        return class_labels(read_examples(written(tmp_path, "sentence\tlabel\n" + "".join(f"a\t{word}\n" for word in words))))

    assert labels("10", "2", "2", "-1") == ["-1", "2", "10"] and labels("yes", "no") == ["no", "yes"] and labels("10", "2", "x") == ["10", "2", "x"]
    assert labels(*map(str, range(10))) == list(map(str, range(10))) and len(labels(*"ABCDEFGHIJKLMN")) == 14
    assert len(labels(*map(str, range(20)), *map(str, range(20)))) == 20
    with pytest.raises(ValueError, match="11 different labels of 11 examples: the labels are numbers, almost all different: --task regression?"):
        labels(*(f"{n}.5" for n in range(11)))
    with pytest.raises(ValueError, match="all 2 examples have the label 'x', so there is nothing to tell apart"):
        labels("x", "x")


def test_a_label_that_training_never_had_is_named_with_its_line(tmp_path):
    examples = read_examples(written(tmp_path, "sentence\tlabel\na\tgood\nb\tgod\n", "dev.tsv"))
    with pytest.raises(ValueError, match="dev.tsv:3: label 'god' does not occur in training, where there are bad, good: did you mean good"):
        encode_labels(examples, ["bad", "good"])
    assert encode_labels(examples, ["god", "good"]).tolist() == [1, 0]
    with pytest.raises(ValueError, match=r"where there are good\\x1b, x: did you mean good\\x1b\?"):
        encode_labels(examples, ["good\x1b", "x"])


def test_a_tenth_is_held_out_always_the_same_and_nothing_is_lost(tmp_path):
    path = written(tmp_path, "sentence\tlabel\n" + "".join(f"text {n}\t{n % 2}\n" for n in range(50)))
    learn, held = split_dev(read_examples(path))
    assert len(held) == 5 and sorted(learn.texts + held.texts) == sorted(f"text {n}" for n in range(50))
    assert split_dev(read_examples(path))[1] == held
    with pytest.raises(ValueError, match="too few to hold out a tenth"):
        split_dev(held)


def test_every_label_stays_in_training(tmp_path):
    def labeled(*labels):
        return read_examples(written(tmp_path, "sentence\tlabel\n" + "".join(f"text {n}\t{label}\n" for n, label in enumerate(labels))))

    alike = ["ab"[n % 2] for n in range(50)]
    held = {int(text.split()[1]) for text in split_dev(labeled(*alike))[1].texts}
    for rare in range(50):  # the others that are held out stay, and where the rare one was, another takes its place
        learn, now = split_dev(labeled(*alike[:rare], "rare", *alike[rare + 1 :]))
        now = {int(text.split()[1]) for text in now.texts}
        assert "rare" in learn.labels and len(now) == 5 and held - {rare} <= now and (now == held or rare in held)
    learn, held = split_dev(labeled(*map(str, range(18)), "0", "0"))  # nothing but two of the "0" can be
    assert len(held) == 2 and set(held.labels) == {"0"} and len(learn) == 18 and "0" in learn.labels
    learn, held = split_dev(labeled(*map(str, range(28)), "0", "0"))
    assert len(held) == 2 and len(learn) == 28
    with pytest.raises(ValueError, match="train.tsv: no label of its 20 examples occurs twice, so none can be held out: give --dev FILE"):
        split_dev(labeled(*map(str, range(20))))


def test_of_a_regression_a_tenth_is_held_out_though_no_number_occurs_twice(tmp_path):
    path = written(tmp_path, "sentence\tlabel\n" + "".join(f"text {n}\t{n}.5\n" for n in range(20)))
    assert len(split_dev(read_examples(path, regression=True))[1]) == 2


@pytest.mark.skipif(not TASKS.is_dir(), reason="no folder tasks/ beside the corpora")
def test_the_published_files_are_read_whole():
    sst2 = read_examples(TASKS / "sst2" / "dev.tsv")
    assert class_labels(sst2) == ["0", "1"] and len(sst2) == len((TASKS / "sst2" / "dev.tsv").read_text(encoding="utf-8").splitlines()) - 1
    cola = read_examples(TASKS / "cola" / "dev.tsv", Layout(columns="source,label,mark,sentence"))
    assert len(cola) == 516 and class_labels(cola) == ["0", "1"] and cola.lines[-1] == 516
