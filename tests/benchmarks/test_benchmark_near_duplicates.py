"""The benchmark of near duplicates finds the true similarities."""
import random
import sys
from pathlib import Path

from data.quality.near_duplicates import jaccard

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import near_duplicates  # noqa: E402


def variations(rng):
    """Texts of 6 to 40 words, some of them with a few words changed, or none."""
    texts = []
    for _ in range(60):
        words = rng.choices([f"word{number}" for number in range(50)], k=rng.randint(6, 40))
        texts.append(" ".join(words))
        for changes in rng.choice([(), (0,), (1, 2)]):
            for place in rng.sample(range(len(words)), changes):
                words[place] = "changed"
            texts.append(" ".join(words))
    return [*texts, "", "!"]


def test_the_true_similarity_is_that_of_each_pair_with_what_was_kept():
    texts, kept = variations(random.Random(0)), []
    results = list(near_duplicates.evaluate_file(texts, show_progress=False))
    for text, (similarity, dropped) in zip(texts, results, strict=True):
        assert similarity == max((jaccard(text, other) for other in kept), default=0)
        kept += [] if dropped else [text]
    assert 5 < sum(dropped for _, dropped in results) < 50 and any(0 < similarity < 0.8 for similarity, _ in results)


def test_a_line_by_hand(tmp_path, capsys):
    """Two shingles, the same two, and one of two in common with the first: 1/3, which nobody takes for near."""
    (tmp_path / "a.txt").write_text("a b c d e f\n\nA, b, c, d, e, f!\n\na b c d e g\n\nx")
    near_duplicates.main([str(tmp_path / "a.txt"), "--documents", "3"])
    assert capsys.readouterr().out == "3 documents: 1 near duplicates, 1 found; 0 judged otherwise\n"
    near_duplicates.main([str(tmp_path / "a.txt"), "--filters", "short,duplicates"])
    assert capsys.readouterr().out == "3 documents: 1 near duplicates, 1 found; 0 judged otherwise\n"  # without "x"; punctuation makes no duplicate
    assert near_duplicates.summary([(0.9, True), (0.75, True), (0.0, False), (0.82, False)]) == \
        "4 documents: 2 near duplicates, 2 found; 2 judged otherwise, between 0.750 and 0.820"
