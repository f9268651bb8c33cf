"""The made-up language of the plateau: its entropies are those of its texts, and its curves read as a table."""
import sys
from pathlib import Path

import numpy as np
import pytest

from data.token_file.reader import entropy
from minibert.evaluate import copying_loss

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import plateau  # noqa: E402


def test_each_noun_has_its_adjective_before_it_and_rows_begin_with_either():
    text = plateau.rows(400, np.random.default_rng(0))
    is_noun = text >= plateau.SPECIAL + plateau.NOUNS
    assert (is_noun[:, 1:] != is_noun[:, :-1]).all() and 0.4 < is_noun[:, 0].mean() < 0.6
    before, after = text[:, :-1], text[:, 1:]
    assert (after - before == plateau.NOUNS)[is_noun[:, 1:]].all()


def test_the_entropy_that_is_expected_is_that_of_the_texts():
    text = plateau.rows(20_000, np.random.default_rng(0))
    assert plateau.expected()["unigram_entropy"] == pytest.approx(entropy(np.bincount(text.ravel())), abs=0.01)
    assert plateau.expected()["copying_loss"] == pytest.approx(copying_loss(np.bincount(text.ravel()), 2 * plateau.NOUNS), abs=0.01)


def test_a_curve_begins_at_ln_v_and_a_table_shows_it():
    expected = plateau.expected()
    curve = plateau.curve("modernbert", steps=2, every=2)
    assert curve[0][1] == pytest.approx(expected["ln_vocab"], abs=0.2) and len(curve) == 2
    table = plateau.table({"curves": {"a": [[0, 6.0], [25, 5.5]], "b": [[0, 6.1], [25, 4.25]]}})
    assert table.splitlines()[2:] == ["| 0 | 6.000 | 6.100 |", "| 25 | 5.500 | 4.250 |"]
