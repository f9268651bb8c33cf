"""Added tokens: strings that are found in a text before it is cut into words, one id each.

Special tokens are of this kind: '<mask>' is never split into < mask >. So are tokens that were
added to a finished vocabulary: ModernBERT has runs of spaces, other vocabularies the terms of a
field.

The order is that of Hugging Face's tokenizers. First the original text is searched. What is
between the matches is normalized (lower case and the like) and searched again, for tokens
marked as ``normalized``. Of tokens that start at the same position, the longest wins.
Tokenizers trained here have neither such tokens nor such a normalizer, and skip the second
search.
"""
from dataclasses import dataclass
from itertools import chain

import numpy as np

from tokenizer.prefix_search import PrefixSearch
from tokenizer.utils.unicode_tables import WHITE_SPACE

# The roles of special tokens, and the tokens that RoBERTa and BERT use for them.
ROLES = {
    "cls": ("<s>", "[CLS]"),
    "pad": ("<pad>", "[PAD]"),
    "sep": ("</s>", "[SEP]"),
    "unk": ("<unk>", "[UNK]"),
    "mask": ("<mask>", "[MASK]"),
}


@dataclass(frozen=True)
class AddedToken:
    """One added token; the names are those of tokenizer.json.

    special      ``decode`` skips it, and ``split_special_tokens`` ignores it
    lstrip       it includes the white space before it
    normalized   it is found in the normalized text, not in the original
    """

    content: str
    special: bool = True
    lstrip: bool = False
    normalized: bool = False


class TokenFinder:
    """Find tokens in texts. ``tokens``: {spelling in the text: AddedToken}"""

    def __init__(self, tokens):
        self.tokens = tokens
        self._all_tokens = "".join(tokens)
        self.has_ordinary = not all(token.special for token in tokens.values())
        self._search = PrefixSearch(filter(None, tokens))

    def find(self, text, split_special_tokens=False):
        """Yield (AddedToken, start, end) of each token in a text, from left to right."""
        done = 0
        for start, end in self._search.find(text):
            token = self.tokens[text[start:end]]
            if token.special and split_special_tokens:
                continue
            while token.lstrip and start > done and text[start - 1] in WHITE_SPACE:
                start -= 1
            yield token, start, end
            done = end

    def split(self, text, split_special_tokens=False):
        """Yield the parts of a text in order, as (AddedToken or None, start, end).

        >>> finder = TokenFinder({"<mask>": AddedToken("<mask>", lstrip=True)})
        >>> [(start, end) for _, start, end in finder.split("a <mask>!")]
        [(0, 1), (1, 8), (8, 9)]
        """
        done = 0
        for token, start, end in self.find(text, split_special_tokens):
            if done < start:
                yield None, done, start
            yield token, start, end
            done = end
        if done < len(text):
            yield None, done, len(text)

    def cut(self, texts, ids):
        """Cut texts at their tokens, of which special ones are ignored.

        Return (all strings between tokens, the id of each token, the index of the string after
        each token). Two tokens in a row have an empty string between them.

        ["a<t>b", "c"], {"<t>": 7} -> ["a", "b", "c"], array([7]), array([1])
        """
        strings = []
        added = []
        cuts = []
        if not self.has_ordinary:
            return texts, np.array(added, np.int64), np.array(cuts, np.int64)
        between = self._unused_character(texts)
        joined = between.join(texts)  # no token crosses it
        done = 0
        for token, start, end in self.find(joined, split_special_tokens=True):
            strings += joined[done:start].split(between)
            added.append(ids[token.content])
            cuts.append(len(strings))
            done = end
        strings += joined[done:].split(between)
        return strings, np.array(added, np.int64), np.array(cuts, np.int64)

    def _unused_character(self, texts):
        """Return a character, not white space, that is in no text and in no token."""
        for char in map(chr, range(0x110000)):
            if not any(char in text for text in chain(texts, [self._all_tokens], WHITE_SPACE)):
                return char


class AddedTokens:
    """All added tokens of a tokenizer: encode texts around them.

    ids: {token: id}
    normalize: text -> (normalized text, positions of its characters), for the second search
    """

    def __init__(self, tokens, ids, normalize=None):
        self.ids = ids
        self.normalize = normalize
        original = {}
        normalized = {}
        for token in tokens:
            if not token.normalized:
                original[token.content] = token
            else:
                spelling = normalize(token.content)[0] if normalize else token.content
                normalized[spelling] = token
        self.original = TokenFinder(original)
        self.normalized = TokenFinder(normalized)
        # Without a normalizer and with special tokens only, splitting those leaves nothing to do.
        self.only_special = normalize is None and all(token.special for token in tokens)

    def encode(self, text, encode_plain, split_special_tokens=False):
        """Return (id, start, end) of each token.

        ``encode_plain(text, shift)`` returns the same for a text without added tokens.
        """
        pieces = []
        for token, start, end in self.original.split(text, split_special_tokens):
            if token:
                pieces.append((self.ids[token.content], start, end))
            elif self.normalized.tokens or self.normalize:
                pieces += self._encode_normalized(
                    text[start:end], start, encode_plain, split_special_tokens
                )
            else:
                pieces += encode_plain(text[start:end], start)
        return pieces

    def _encode_normalized(self, text, shift, encode_plain, split_special_tokens):
        """Normalize a text without original added tokens, and search it again."""
        normal, positions = self.normalize(text) if self.normalize else (text, range(len(text)))
        pieces = []
        for token, start, end in self.normalized.split(normal, split_special_tokens):
            if token:
                pieces.append((self.ids[token.content], start, end))
            else:
                pieces += encode_plain(normal[start:end], start)
        # From positions in the normalized text to positions in the original.
        return [
            (token_id, positions[start] + shift, positions[end - 1] + 1 + shift)
            for token_id, start, end in pieces
        ]

    def encode_texts(self, texts, encode_plain_texts):
        """Encode many texts fast: no offsets, special tokens are split.

        ``encode_plain_texts``: list of texts -> (ids of all, number of ids of each). It gets
        what is between added tokens, of all texts together; this returns the same for
        ``texts``.
        """
        if self.only_special or not texts:
            return encode_plain_texts(texts)
        strings, added, cuts = self.original.cut(texts, self.ids)
        starts = np.delete(np.arange(len(strings)), cuts)  # (T,): the first string of each text
        if self.normalize:
            strings = [self.normalize(string)[0] for string in strings]
        if self.normalized.tokens:
            strings, more_added, more_cuts = self.normalized.cut(strings, self.ids)
            moved = np.delete(np.arange(len(strings)), more_cuts)  # old index -> new index
            cuts = np.concatenate((moved[cuts], more_cuts))
            order = np.argsort(cuts, kind="stable")
            cuts = cuts[order]
            added = np.concatenate((added, more_added))[order]
            starts = moved[starts]

        ids, lengths = encode_plain_texts(strings)
        ids_before = np.concatenate(([0], np.cumsum(lengths)))  # (strings + 1,)
        ids = np.insert(ids, ids_before[cuts], added)
        # A token belongs to the text whose first string is before the string after the token.
        starts = np.append(starts, len(strings))
        return ids, np.diff(ids_before[starts] + np.searchsorted(cuts, starts))
