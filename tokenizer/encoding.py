"""What ``encode`` returns, and the arithmetic of lengths: truncation and padding."""
from dataclasses import dataclass, field


@dataclass
class Encoding:
    """One encoded text or pair: lists of equal length, with one entry per token.

    type_ids              0, or 1 for the second text if the model tells the two apart
    offsets               (start, end) in the original text; (0, 0) for added special tokens
    attention_mask        0 at padding, else 1
    special_tokens_mask   1 for tokens that the template or padding added, else 0
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
        """Append one token."""
        self.ids.append(token_id)
        self.tokens.append(token)
        self.type_ids.append(type_id)
        self.offsets.append(offset)
        self.attention_mask.append(attention)
        self.special_tokens_mask.append(special)

    def extend(self, pieces, vocabulary, type_id=0):
        """Append (token id, start, end) of many tokens. vocabulary: all tokens in order of ids"""
        ids = [token_id for token_id, _, _ in pieces]
        self.ids += ids
        self.tokens += [vocabulary[token_id] for token_id in ids]
        self.type_ids += [type_id] * len(ids)
        self.offsets += [(start, end) for _, start, end in pieces]
        self.attention_mask += [1] * len(ids)
        self.special_tokens_mask += [0] * len(ids)


def truncate(pieces, max_length, num_added):
    """Cut {"A": pieces, "B": pieces} so that they and ``num_added`` special tokens fit."""
    max_pieces = max_length - num_added
    if max_pieces < 0:
        raise ValueError(f"max_length={max_length} has no room for the {num_added} special "
                         "tokens that are added: use more, or add_special_tokens=False")
    len_a, len_b = longest_first(len(pieces["A"]), len(pieces.get("B", "")), max_pieces)
    pieces["A"] = pieces["A"][:len_a]
    if "B" in pieces:
        pieces["B"] = pieces["B"][:len_b]


def longest_first(len_a, len_b, max_total):
    """Return how many tokens of each text to keep: the longer text is cut first.

    If both must be cut, they share ``max_total``; the odd token goes to the longer text, on a
    tie to the second.

    >>> longest_first(10, 3, 8), longest_first(10, 9, 9), longest_first(3, 4, 20)
    ((5, 3), (5, 4), (3, 4))
    """
    if len_a + len_b <= max_total:
        return len_a, len_b
    shorter = min(len_a, len_b, max_total // 2)
    longer = max_total - shorter
    return (longer, shorter) if len_a > len_b else (shorter, longer)


def padded_length(length, pad_to_length, pad_to_multiple_of):
    """padded_length(13, None, 8) -> 16; padded_length(13, 20, None) -> 20"""
    length = max(length, pad_to_length or 0)
    if pad_to_multiple_of:
        length += -length % pad_to_multiple_of
    return length
