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
import re
from dataclasses import dataclass
from itertools import chain

import numpy as np

from tokenizer.utils.unicode_tables import WHITE_SPACE


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
        # Alternatives are tried from left to right, so the longest must come first.
        spellings = sorted(filter(None, tokens), key=len, reverse=True)
        never = r"(?!)"
        self._pattern = re.compile("|".join(map(re.escape, spellings)) or never)

    def split(self, text, split_special_tokens=False):
        """Yield the parts of a text in order, as (AddedToken or None, start, end).

        >>> finder = TokenFinder({"<mask>": AddedToken("<mask>", lstrip=True)})
        >>> [(start, end) for _, start, end in finder.split("a <mask>!")]
        [(0, 1), (1, 8), (8, 9)]
        """
        done = 0
        for match in self._pattern.finditer(text) if self.tokens else ():
            token = self.tokens[match[0]]
            start, end = match.span()
            if token.special and split_special_tokens:
                continue
            while token.lstrip and start > done and text[start - 1] in WHITE_SPACE:
                start -= 1
            if done < start:
                yield None, done, start
            yield token, start, end
            done = end
        if done < len(text):
            yield None, done, len(text)


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
        if self.only_special:
            return encode_plain_texts(texts)
        split = [list(self._parts(text)) for text in texts]
        plain = [part for part in chain.from_iterable(split) if isinstance(part, str)]
        ids, lengths = encode_plain_texts(plain)
        ids_of_plain = iter(np.split(ids, lengths.cumsum()[:-1]))

        # Put the ids of the plain parts and the added ids together again.
        rows = []
        for parts in split:
            row = []
            for part in parts:
                row.extend(next(ids_of_plain) if isinstance(part, str) else [part])
            rows.append(row)
        ids = np.fromiter(chain.from_iterable(rows), np.uint32)
        return ids, np.array([len(row) for row in rows], np.int64)

    def _parts(self, text):
        """Yield normalized texts and, between them, ids of added tokens: 'a', 50276, 'b'."""
        for token, start, end in self.original.split(text, split_special_tokens=True):
            if token:
                yield self.ids[token.content]
                continue
            normal = text[start:end]
            if self.normalize:
                normal, _ = self.normalize(normal)
            for token, first, last in self.normalized.split(normal, split_special_tokens=True):
                yield self.ids[token.content] if token else normal[first:last]
