"""The cut by sentence leaves nothing of a held-out sentence in the training file."""
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import by_sentence  # noqa: E402

COUNTING = ["one two three four five six seven", "two three four five six", "four five six seven eight nine", "three four five six seven eight"]
COLORS = ["red green blue white black grey", "green blue white black grey"]
SHORT = ["six seven", "blue white black grey", "six red", "six"]


def test_phrases_of_one_sentence_are_found_through_others():
    """The third shares no five words with the first: the fourth joins them."""
    assert by_sentence.sentences([*COUNTING, *COLORS, *SHORT]) == [[0, 1, 2, 3], [4, 5]]
    assert by_sentence.sentences(["a b c d", "a b c d"]) == []


def rows(texts):
    return [(text, str(number % 2)) for number, text in enumerate(texts)]


@pytest.mark.parametrize("seed", range(4))
def test_nothing_of_a_held_out_sentence_is_trained_on(seed):
    everything = rows([*SHORT, *COUNTING, *COLORS])
    train, dev = by_sentence.cut(everything, 1, seed)
    if dev == [everything[4]]:  # the longest of its sentence
        assert train == [everything[number] for number in (1, 2, 8, 9)]  # "six red" is in no sentence; "six seven" and "six" are
    else:
        assert dev == [everything[8]] and train == [everything[number] for number in (0, 2, 3, 4, 5, 6, 7)]


def test_the_files(tmp_path, capsys):
    for part, texts in (("train", COUNTING), ("dev", [*COLORS, *SHORT])):
        (tmp_path / f"{part}.tsv").write_text("sentence\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows(texts)))
    by_sentence.main([str(tmp_path), str(tmp_path / "new"), "--dev", "1"])
    train, dev = (by_sentence.rows_of(tmp_path / "new" / f"{part}.tsv") for part in ("train", "dev"))
    assert len(dev) == 1 and {dev[0][0]} <= {COUNTING[0], COLORS[0]} and f"train.tsv with {len(train)}" in capsys.readouterr().out
    with pytest.raises(ValueError, match="2 sentences for dev.tsv, but there are 2"):
        by_sentence.main([str(tmp_path), str(tmp_path / "newer"), "--dev", "2"])
    for there in ("new", "."):
        with pytest.raises(ValueError, match="holds such files already"):
            by_sentence.main([str(tmp_path), str(tmp_path / there), "--dev", "1"])
