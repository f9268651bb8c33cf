"""Results as people read them: aligned, with units, one idea a line."""
from data.quality.tables import as_text, said


def test_names_and_values_line_up():
    assert as_text({"num_tokens": 12345, "corpus": "books", "rare_characters_share": 0.00008, "files": ["a", "b"], "index": [],
                    "filters": {"documents": 4, "kept_documents": 1, "kept_characters": 0, "characters": 0}}).split("\n") == [
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
        "  kept characters  0",
        "  characters       0"]


def test_a_list_of_dicts_is_a_table_with_numbers_to_the_right():
    rows = [{"filter": "short", "documents": 1234567, "share_of_documents": 0.5, "example": "日本"},
            {"filter": "near-duplicates", "documents": 8, "share_of_documents": 0.0, "example": "", "not_remembered": 3}]
    assert as_text({"dropped": rows}).split("\n") == [
        "dropped",
        "  filter           documents  share of documents  example  not remembered",
        "  short            1,234,567             50.000%  日本",
        "  near-duplicates          8              0.000%                        3"]


def test_units():
    assert [said("num_bytes", value) for value in (99_999, 68_600_000, 1_500_000_000)] == ["99,999 bytes", "68.6 MB", "1,500.0 MB"]
    assert said("unigram_entropy_of_words", 6.93147) == "6.931 nats" and said("bytes_per_token", 4.163) == "4.163"
    assert said("crc32", 0xbeef) == "0000beef" and said("name", "a") == "a" and said("whole", True) == "True" and said("vocab_size", 8192) == "8,192"
