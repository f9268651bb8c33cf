"""Sentence boundaries: each rule with its exception, worked by hand."""
import random
from types import SimpleNamespace

import pytest

from data.sentences import SentenceCorpus, split_sentences


@pytest.mark.parametrize("text", [  # " | " marks the boundaries
    "One. | Two! | Three? | Four… | Five",
    "It cost 3.14 euros. | It was 5 p.m. sharp.",
    "He came at 5 p.m. | The door was shut.",
    "Dr. Who met Mrs. Peel. | St. Paul was there.",
    "J. S. Bach wrote it. | B. B. King played it.",
    "The U.S. Army left the U.S. | It was late.",
    "See No. 5 and pp. 12 of vol. 3. | It is short.",
    "She said no. | Few came.",  # "no" is an abbreviation only before a number
    "Born on Jan. 3 in Rome. | Died in Jan. | Few know.",
    "Ships, e.g. Titanic, sank. | Others, cf. Kant, did not.",
    "Acme Inc. Records was sold. | Then Acme Inc. | The end.",
    "1. First comes this. | 2. Then that.",
    "It was 1990. | 5 people came.",
    '"Stop!" he said. | "Why?" | She ran.',
    "He (who else?) left. | (She stayed.) | Then (at last) it rained.",
    "The site example.com is down. www.example.org is not.",  # "www" is lowercase
    "Wait... what? | Wait... | No.",
    "Élan vital. | Übung macht den Meister.",
    "no mark at all",
    "...",
])
def test_boundaries_worked_by_hand(text):
    assert split_sentences(text.replace(" | ", " ")) == text.split(" | ")


@pytest.mark.parametrize("text, sentences", [
    ("今日は雨です。明日は晴れです！はい", ["今日は雨です。", "明日は晴れです！", "はい"]),
    ("one line\nanother line\n\n  ", ["one line", "another line"]),
    ("  spaces \t and \u00a0 more.   Next. ", ["spaces and more.", "Next."]),
    ("", []),
    (" \n ", []),
])
def test_white_space_and_lines(text, sentences):
    assert split_sentences(text) == sentences


def random_texts():
    words = ["The", "cat", "Dr.", "No.", "5", "U.S.", "J.", "etc.", "end.", "what?", '"Oh!"',
             "(so.)", "3.5", "1.", "。", "…", "He", "\n", "é.", "Inc."]
    rng = random.Random(5)
    return [" ".join(rng.choices(words, k=rng.randrange(30))) for _ in range(500)]


def test_only_white_space_changes():
    for text in random_texts():
        assert "".join("".join(split_sentences(text)).split()) == "".join(text.split())


def test_a_sentence_is_not_split_again():
    for text in random_texts():
        for sentence in split_sentences(text):
            assert split_sentences(sentence) == [sentence]
            assert sentence == sentence.strip() != ""


@pytest.mark.parametrize("text", ["." * 200_000 + "x", "Yes. No. " * 40_000, '."' * 100_000])
def test_time_is_linear_in_the_length(text):
    """These take minutes if each sentence searches the whole line, or each mark all later ones."""
    assert "".join(split_sentences(text)).replace(" ", "") == text.replace(" ", "")


def test_a_sentence_corpus_joins_broken_lines():
    documents = ["One line\nand a half. Two.", "Another document"]
    corpus = SimpleNamespace(name="c", description="c: 1 file", documents=lambda split: documents)
    sentences = SentenceCorpus(corpus)
    assert list(sentences.documents("eval")) == ["One line and a half.\nTwo.", "Another document"]
    assert sentences.description == "c: 1 file; split into sentences"
