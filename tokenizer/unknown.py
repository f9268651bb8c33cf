"""How much of a text a WordPiece writes as [UNK], and why. Byte-level BPE has no unknown text."""
from dataclasses import dataclass, field

from tokenizer.utils.terminal import plural

WARN_ABOVE = 0.01  # share of the tokens: BERT's own vocabulary stays far below it on English text


@dataclass
class UnknownText:
    """Counts of the words that became [UNK], each of which is one token.

    num_words    all of them
    num_bytes    their UTF-8 bytes, after normalizing
    num_long     those longer than max_input_chars_per_word; the others have unknown characters
    characters   the distinct characters that the vocabulary lacks
    """

    num_words: int = 0
    num_bytes: int = 0
    num_long: int = 0
    characters: set = field(default_factory=set)

    def add(self, other, times=1):
        self.num_words += times * other.num_words
        self.num_bytes += times * other.num_bytes
        self.num_long += times * other.num_long
        self.characters |= other.characters

    def to_json(self):
        return {**vars(self), "characters": "".join(sorted(self.characters))}

    @classmethod
    def from_json(cls, values):
        return cls(**{**values, "characters": set(values["characters"])})


def describe_unknown(unknown, num_tokens, num_bytes):
    """Return a sentence: the share of [UNK] in a text, its reasons and, if it is high, remedies.

    >>> print(describe_unknown(UnknownText(5, 15, 0, set("中文")), 1000, 4000))
    0.50% of the tokens and 0.38% of the text are [UNK]: 5 words with 2 characters that the \
vocabulary lacks (0.50% of the tokens)
    """
    if not unknown.num_words:
        return "no text is [UNK]"
    share = unknown.num_words / num_tokens
    reasons = []
    remedies = ["byte-level BPE, which has no [UNK]"]
    num_others = unknown.num_words - unknown.num_long
    if num_others:
        characters = plural(len(unknown.characters), "character")
        reasons.append(f"{plural(num_others, 'word')} with {characters} that the vocabulary lacks "
                       f"({num_others / num_tokens:.2%} of the tokens)")
        remedies.append("a vocabulary trained on such text with a --limit-alphabet larger by "
                        f"{len(unknown.characters):,}")
    if unknown.num_long:
        reasons.append(f"{plural(unknown.num_long, 'word')} longer than max_input_chars_per_word "
                       f"({unknown.num_long / num_tokens:.2%} of the tokens)")
        remedies.append("one trained with a larger --max-input-chars-per-word")
        remedies.append("spaces between the letters")
    text = (f"{share:.2%} of the tokens and {unknown.num_bytes / num_bytes:.2%} of the text are "
            f"[UNK]: {' and '.join(reasons)}")
    if share <= WARN_ABOVE:
        return text
    return f"warning: {text}. A model cannot learn it; use {', or '.join(remedies)}"
