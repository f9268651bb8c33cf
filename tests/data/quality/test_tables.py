import pytest

from data.quality.tables import render_result, render_value


def test_names_and_values_are_aligned():
    filters = {"documents": 4, "kept_documents": 1, "characters": 0, "kept_characters": 0}
    assert render_result({
        "num_tokens": 12345, "corpus": "books", "rare_characters_share": 0.00008,
        "files": ["a", "b"], "index": [], "filters": filters,
    }).split("\n") == [
        "tokens           12,345",
        "corpus           books",
        "rare characters  0.008%",
        "files",
        "  a",
        "  b",
        "index: none",
        "filters",
        "  documents        4",
        "  kept documents   1 (25.000%)",
        "  characters       0",
        "  kept characters  0"]


def test_a_list_of_dicts_is_a_table():
    rows = [{"filter": "short", "documents": 1234567, "example": "日本"},
            {"filter": "near-duplicates", "documents": 8, "example": "", "not_remembered": 3}]
    assert render_result({"dropped": rows}).split("\n") == [
        "dropped",
        "  filter           documents  example  not remembered",
        "  short            1,234,567  日本",
        "  near-duplicates          8                        3"]


@pytest.mark.parametrize("name, value, text", [
    ("num_bytes", 99_999, "99,999 bytes"),
    ("num_bytes", 1_500_000_000, "1,500.0 MB"),
    ("unigram_entropy_of_words", 6.93147, "6.931 nats"),
    ("bytes_per_token", 4.163, "4.163"),
    ("vocab_size", 8192, "8,192"),
    ("name", "a", "a"),
    ("complete", True, "True"),
])
def test_values_have_units(name, value, text):
    assert render_value(name, value) == text
