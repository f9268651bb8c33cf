import pytest

from data.sources.gutenberg import body_checksum, strip_boilerplate

START = "*** START OF THE PROJECT GUTENBERG EBOOK X ***"
END = "*** END OF THE PROJECT GUTENBERG EBOOK X ***"


def body(lines):
    return [line for line in strip_boilerplate(lines) if line]


@pytest.mark.parametrize("start, end", [
    ("*** START OF THIS PROJECT GUTENBERG EBOOK A BOOK ***",
     "*** END OF THIS PROJECT GUTENBERG EBOOK A BOOK ***"),
    ("***START OF THE PROJECT GUTENBERG EBOOK A BOOK***",
     "***END OF THE PROJECT GUTENBERG EBOOK A BOOK***"),
    ("*** START OF THE PROJECT GUTENBERG EBOOK, A BOOK ***",
     "*** END OF THE PROJECT GUTENBERG EBOOK, A BOOK ***"),
    ("*** Start of this Project Gutenberg Etext ***",
     "End of the Project Gutenberg EBook of A Book, by Anyone"),
    ("*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*",
     "End of Project Gutenberg's Etext of A Book"),
    ("*** START OF THE PROJECT GUTENBERG EBOOK A VERY\nLONG TITLE ***",
     "End of Project Gutenberg’s A Book, by Anyone"),
])
def test_every_form_of_the_markers_is_recognized(start, end):
    text = ["The text", "*** START of nothing"]
    lines = ["Header", "", *start.split("\n"), "", *text, end, "License", "*** START: X ***"]
    assert body(lines) == text


def test_a_file_can_have_several_books():
    lines = ["header", START, "text 1", END, "license", "header", START, "text 2", END, "license"]
    assert body(lines) == ["text 1", "text 2"]


def test_credits_are_left_out_only_at_the_start_of_a_book():
    credits = ["Produced by A", "and B"]
    lines = ["header", START, "", *credits, "", "Text", "", "Produced by hand", "x"]
    assert body(lines) == ["Text", "Produced by hand", "x"]


def test_other_texts_are_unchanged():
    lines = ["End of the Project Gutenberg era", "*** a rule ***", "Produced by us"] * 1000
    assert list(strip_boilerplate(lines)) == lines


def test_the_checksum_depends_only_on_the_words_of_the_book():
    old = ["old header", START, "Produced by A", "", "  Some words", END]
    new = ["new header", START, "Some words ", "", END, "new license"]
    other = ["new header", START, "Some wards ", "", END, "new license"]
    assert body_checksum(old) == body_checksum(new)
    assert body_checksum(new) != body_checksum(other)
