"""Where sentences end: each rule with its exception, worked by hand."""
import random
from types import SimpleNamespace

import pytest

from data.sentences import NEVER, SHORT, SentenceCorpus, split_sentences


@pytest.mark.parametrize("text, sentences", [
    ("One. Two! Three? Four… Five", ["One.", "Two!", "Three?", "Four…", "Five"]),
    ("It cost 3.14 euros. It was 5 p.m. sharp.", ["It cost 3.14 euros.", "It was 5 p.m. sharp."]),
    ("He came at 5 p.m. The door was shut.", ["He came at 5 p.m.", "The door was shut."]),
    ("Dr. Who met Mrs. Peel. St. Paul was there.", ["Dr. Who met Mrs. Peel.", "St. Paul was there."]),
    ("J. S. Bach wrote it. B. B. King played it.", ["J. S. Bach wrote it.", "B. B. King played it."]),
    ("The U.S. Army left the U.S. It was late.", ["The U.S. Army left the U.S.", "It was late."]),
    ("See No. 5 and pp. 12 of vol. 3. It is short.", ["See No. 5 and pp. 12 of vol. 3.", "It is short."]),
    ("She said no. Nobody came.", ["She said no.", "Nobody came."]),  # "no" is short for number only before one
    ("Born on Jan. 3 in Rome. Died in Jan. Nobody knows.", ["Born on Jan. 3 in Rome.", "Died in Jan.", "Nobody knows."]),
    ("Ships, e.g. Titanic, sank. Others, cf. Kant, did not.", ["Ships, e.g. Titanic, sank.", "Others, cf. Kant, did not."]),
    ("Acme Inc. Records was sold. Then Acme Inc. The end.", ["Acme Inc. Records was sold.", "Then Acme Inc.", "The end."]),
    ("1. First comes this. 2. Then that.", ["1. First comes this.", "2. Then that."]),
    ("It was 1990. 5 people came.", ["It was 1990.", "5 people came."]),
    ('"Stop!" he said. "Why?" She ran.', ['"Stop!" he said.', '"Why?"', "She ran."]),
    ("He (who else?) left. (She stayed.) Then (at last) it rained.", ["He (who else?) left.", "(She stayed.)", "Then (at last) it rained."]),
    ("The site example.com is down. www.example.org is not.", ["The site example.com is down. www.example.org is not."]),
    ("Wait... what? Wait... No.", ["Wait... what?", "Wait...", "No."]),
    ("今日は雨です。明日は晴れです！はい", ["今日は雨です。", "明日は晴れです！", "はい"]),
    ("Élan vital. Übung macht den Meister.", ["Élan vital.", "Übung macht den Meister."]),
    ("one line\nanother line\n\n  ", ["one line", "another line"]),
    ("  spaces \t and \u00a0 more.   Next. ", ["spaces and more.", "Next."]),
    ("no mark at all", ["no mark at all"]),
    ("", []), (" \n ", []), ("...", ["..."]),
])
def test_worked_by_hand(text, sentences):
    assert split_sentences(text) == sentences


def random_texts():
    words = ["The", "cat", "Dr.", "No.", "5", "U.S.", "J.", "etc.", "end.", "what?", '"Oh!"', "(so.)", "3.5", "1.", "。", "…",
             "He", "\n", "é.", "Inc."]
    source = random.Random(5)
    return [" ".join(source.choices(words, k=source.randrange(30))) for _ in range(500)]


def test_no_character_is_lost_or_added_but_white_space():
    for text in random_texts():
        assert "".join("".join(split_sentences(text)).split()) == "".join(text.split())


def test_a_sentence_is_not_cut_again():
    for text in random_texts():
        for sentence in split_sentences(text):
            assert split_sentences(sentence) == [sentence] and sentence == sentence.strip() != ""


@pytest.mark.parametrize("text", ["." * 200_000 + "x", "Yes. No. " * 40_000, '."' * 100_000])
def test_the_time_grows_with_the_length_alone(text):
    """Each took seconds to minutes if every sentence looked at the whole line, or every mark at all marks behind it."""
    assert "".join(split_sentences(text)).replace(" ", "") == text.replace(" ", "")


def test_the_lists_are_lower_case_and_apart():
    assert not NEVER & SHORT and all(word == word.lower() and not word.endswith(".") for word in NEVER | SHORT)


def test_a_corpus_of_sentences_mends_lines_that_were_broken():
    corpus = SimpleNamespace(name="c", description="c: 1 file", documents=lambda split: ["One line\nand a half. Two.", f"The {split} part"])
    sentences = SentenceCorpus(corpus)
    assert list(sentences.documents("eval")) == ["One line and a half.\nTwo.", "The eval part"]
    assert sentences.description == "c: 1 file; cut into sentences"
