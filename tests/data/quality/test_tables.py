from data.quality.tables import render_result


def test_names_and_values_are_aligned():
    filters = {"documents": 4, "kept_documents": 1}
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
        "  documents       4",
        "  kept documents  1"]


def test_a_list_of_dicts_is_a_table():
    rows = [{"filter": "short", "documents": 1234567, "example": "日本"},
            {"filter": "near-duplicates", "documents": 8, "example": "", "not_remembered": 3}]
    assert render_result({"dropped": rows}).split("\n") == [
        "dropped",
        "  filter           documents  example  not remembered",
        "  short            1,234,567  日本",
        "  near-duplicates          8                        3"]
