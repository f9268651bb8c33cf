import pytest

from data.sources.gutenberg import body_checksum, strip_boilerplate


@pytest.mark.parametrize("start, end", [
    ("*** START OF THIS PROJECT GUTENBERG EBOOK A BOOK ***", "*** END OF THIS PROJECT GUTENBERG EBOOK A BOOK ***"),
    ("***START OF THE PROJECT GUTENBERG EBOOK A BOOK***", "***END OF THE PROJECT GUTENBERG EBOOK A BOOK***"),
    ("*** START OF THE PROJECT GUTENBERG EBOOK, A BOOK ***", "*** END OF THE PROJECT GUTENBERG EBOOK, A BOOK ***"),
    ("*** Start of this Project Gutenberg Etext ***", "End of the Project Gutenberg EBook of A Book, by Anyone"),
    ("*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*", "End of Project Gutenberg's Etext of A Book"),
    ("*** START OF THE PROJECT GUTENBERG EBOOK A VERY\nLONG TITLE ***", "End of Project Gutenberg’s A Book, by Anyone"),
])
def test_every_spelling_of_the_markers_is_known(start, end):
    lines = ["The header", "", *start.split("\n"), "", "The text", "*** START of nothing", end, "The licence", "*** START: FULL LICENSE ***", "more"]
    assert [line for line in strip_boilerplate(lines) if line] == ["The text", "*** START of nothing"]


def test_books_joined_in_one_file_are_all_found():
    book = ["header", "*** START OF THE PROJECT GUTENBERG EBOOK X ***", "text {}", "*** END OF THE PROJECT GUTENBERG EBOOK X ***", "licence"]
    assert list(strip_boilerplate(line.format(number) for number in (1, 2) for line in book)) == ["text 1", "text 2"]


def test_the_credits_go_with_the_header_but_only_at_the_start():
    lines = ["*** START OF THE PROJECT GUTENBERG EBOOK X ***", "", "Produced by A", "and B", "", "Text", "", "Produced by hand", "x"]
    assert [line for line in strip_boilerplate(lines) if line] == ["Text", "Produced by hand", "x"]


def test_other_texts_pass_unchanged():
    lines = ["End of the Project Gutenberg era", "*** a rule ***", "Produced by us"] * 1000
    assert list(strip_boilerplate(lines)) == lines


def test_the_checksum_is_of_the_words_not_of_header_or_layout():
    one = ["old header", "*** START OF THIS PROJECT GUTENBERG EBOOK X ***", "Produced by A", "", "  Some words", "*** END OF THIS PROJECT GUTENBERG"]
    two = ["new header", "*** START OF THE PROJECT GUTENBERG EBOOK X ***", "Some words ", "", "*** END OF THE PROJECT GUTENBERG EBOOK X ***", "new"]
    other = [*two[:2], "Some wards", *two[3:]]
    assert body_checksum(one) == body_checksum(two) != body_checksum(other)
