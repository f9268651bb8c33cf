"""What is shown of a batch before training: what the model sees, and what it has to predict."""
import torch

from minibert.analysis.probes import masked_passages
from minibert.batches import Batch
from minibert.training.reporting import answer_line, masked_example
from tokenizer import ByteLevelBPE, WordPiece
from tokenizer.utils.terminal import ASCII, TextStyle

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] the cat sat on mat blue ##s".split()


def example(*rows):
    """Rows of "seen" or "seen<hidden", with spaces between -> the two lines."""
    pairs = [[cell.partition("<")[::2] for cell in row.split()] for row in rows]
    longest = max(map(len, pairs))
    ids = [[WORDS.index(seen) for seen, _ in row] + [0] * (longest - len(row)) for row in pairs]
    labels = [[WORDS.index(hidden) if hidden else -100 for _, hidden in row] + [-100] * (longest - len(row)) for row in pairs]
    return masked_example(Batch(torch.tensor(ids), torch.tensor(labels)), WordPiece(WORDS), TextStyle())


def test_what_is_to_be_predicted_stands_under_what_is_seen():
    assert example("[CLS] the [MASK]<cat ##s sat blue<on the<the mat [SEP]") == (
        "[CLS] the [MASK] ##s sat blue the mat [SEP]",
        "          cat            on   the")


def test_of_several_rows_one_that_shows_most_cases_is_taken_without_its_padding():
    assert example("[CLS] the [MASK]<cat sat [MASK]<on [MASK]<the mat [SEP]", "[CLS] blue<the cat<cat [SEP]") == ("[CLS] blue cat [SEP]",
                                                                                                         "      the  cat")
    assert example("[CLS] the cat [SEP]") == ("[CLS] the cat [SEP]", "")


def test_a_long_row_is_cut_into_lines():
    seen, hidden = example("[CLS] " + "the cat sat on the mat " * 24 + "[MASK]<cat blue<on the<the [SEP]")
    assert seen.endswith("the mat [MASK] blue the") and hidden.strip() == "cat    on   the" and len(seen) == 95  # " [SEP]" would be the 101st


class Held(list):
    """Held-out examples."""
    lengths = property(lambda self: [len(ids) for ids in self])


def test_a_word_of_one_token_is_hidden_not_a_piece():
    """Of 'the cat ##s ##s mat' the middle is a piece; 'cat' goes on, 'mat' may; 'the' alone is whole. Of 'cat ##s ##s' nothing is."""
    tokenizer = WordPiece(WORDS)
    one, two = ([WORDS.index(word) for word in text.split()] for text in ("[CLS] the cat ##s ##s mat [SEP]", "[CLS] cat ##s ##s [SEP]"))
    assert masked_passages(Held([one]), tokenizer)[0] == "[MASK] catss mat"
    assert masked_passages(Held([two]), tokenizer)[0].replace(" ", "") == "cat[MASK]s"


def test_the_same_of_byte_pairs():
    """'old' is in pieces, as it was too rare for a merge."""
    tokenizer = ByteLevelBPE.train_from_iterator(["the cat the cat sat sat"] * 9 + ["old"], vocab_size=300, show_progress=False)
    ids = tokenizer.encode("cat sat the old cat").ids
    assert len(ids) > 2 + 5 and masked_passages(Held([ids]), tokenizer)[0] == "sat <mask> old cat"


def test_an_answer_that_is_white_space_is_seen():
    def shown(token, style=None):
        return answer_line({"score": 0.314, "token_str": token}, style or TextStyle())

    assert shown(" list") == "    31.4%  list" == shown("list")
    assert shown("\n") == "    31.4%  ↵" and shown(" ") == "    31.4%  ·" and shown("\x1b") == "    31.4%  \\u001b"
    assert shown("\n", TextStyle(signs=ASCII)) == "    31.4%  \\n" and shown("é", TextStyle(signs=ASCII)) == "    31.4%  \\u00e9"
