"""What ``encode`` returns, and the arithmetic of lengths: truncation and padding. No vocabulary is needed here."""
from dataclasses import dataclass, field


@dataclass
class Encoding:
    """One encoded text or pair: lists of equal length, one entry a token.

    ``offsets``: (start, end) in the text as it was given (A's or B's; see ``type_ids``); (0, 0) where there is none.
    ``type_ids``: 0, or 1 for the second text where the model tells them apart.
    ``attention_mask``: 0 at padding, else 1.  ``special_tokens_mask``: 1 where the template or padding put a token.
    """
    ids: list = field(default_factory=list)
    tokens: list = field(default_factory=list)
    type_ids: list = field(default_factory=list)
    offsets: list = field(default_factory=list)
    attention_mask: list = field(default_factory=list)
    special_tokens_mask: list = field(default_factory=list)

    def __len__(self):
        return len(self.ids)

    def add(self, token_id, token, type_id=0, offset=(0, 0), attention=1, special=0):
        self.ids.append(token_id)
        self.tokens.append(token)
        self.type_ids.append(type_id)
        self.offsets.append(offset)
        self.attention_mask.append(attention)
        self.special_tokens_mask.append(special)


def longest_first(first, second, room):
    """How many tokens of each text stay when both together have ``room``: the longer one gives way first.

    Where both must give, they share; the odd token goes to the longer text, on a tie to the second.

    >>> longest_first(10, 3, 8), longest_first(10, 9, 9), longest_first(3, 4, 20)
    ((5, 3), (5, 4), (3, 4))
    """
    if first + second <= room:
        return first, second
    short = min(min(first, second), room // 2)
    return (room - short, short) if first > second else (short, room - short)


def padded_length(length, pad_to_length=None, pad_to_multiple_of=None):
    """padded_length(13, pad_to_multiple_of=8) -> 16; padded_length(13, 20) -> 20; never less than ``length``"""
    length = max(length, pad_to_length or 0)
    if pad_to_multiple_of:
        length += -length % pad_to_multiple_of
    return length
