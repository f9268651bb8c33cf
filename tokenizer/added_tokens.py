"""Added tokens: strings that are looked for in a text before it is cut into words, each of them one id.

Special tokens are of this kind: '<mask>' is never spelled < mask >. So is what somebody added to a finished vocabulary:
ModernBERT has runs of spaces, others the terms of their field. The order is the ecosystem's. First the text is searched
as it is written; then what lies between is normalized (lower case and the like), and searched for those tokens that are
``normalized`` as well. Of tokens that begin at one place the longest is taken. Where there is neither a normalizer nor
a normalized token, as in every tokenizer trained here, the second search has nothing to find.
"""
import re
from dataclasses import dataclass
from itertools import chain

import numpy as np

from tokenizer.utils.unicode_tables import WHITE_SPACE


@dataclass(frozen=True)
class AddedToken:
    """One such token; the names are those of the files.

    special: ``decode`` leaves it out, and it is not looked for where special tokens are to be split
    lstrip: white space before it belongs to it
    normalized: it is looked for in the normalized text, as opposed to the text as it is written
    """
    content: str
    special: bool = True
    lstrip: bool = False
    normalized: bool = False


class Cutter:
    """Finds tokens in texts. ``tokens``: {how it is spelled in the text: AddedToken}"""

    def __init__(self, tokens):
        self.tokens = tokens
        longest = sorted(filter(None, tokens), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest)) or r"(?!)")

    def cut(self, text, split_special_tokens=False):
        """The parts of a text in order, as (AddedToken or None, start, end); empty ones are left out.

        >>> mask = AddedToken("<mask>", lstrip=True)
        >>> [(token and token.content, start, end) for token, start, end in Cutter({"<mask>": mask}).cut("a <mask>!")]
        [(None, 0, 1), ('<mask>', 1, 8), (None, 8, 9)]
        """
        done = 0
        for match in self._pattern.finditer(text) if self.tokens else ():
            token, (start, end) = self.tokens[match[0]], match.span()
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
    """All added tokens of a tokenizer, and the way of a text around them.

    ids: {token: id}.  normalize: text -> (normal text, position of each character), for the second search; None where it is not needed.
    """

    def __init__(self, tokens, ids, normalize=None):
        self.ids, self.normalize = ids, normalize
        normal = {normalize(token.content)[0] if normalize else token.content: token for token in tokens if token.normalized}
        self.written, self.normal = Cutter({token.content: token for token in tokens if not token.normalized}), Cutter(normal)
        # Whether something is to be done even where special tokens are split.
        self.always = normalize is not None or not all(token.special for token in tokens)

    def encode(self, text, encode_between, split_special_tokens=False):
        """[(id, start, end), ...]; ``encode_between(text, shift)`` gives the same for what has no added token in it."""
        pieces = []
        for token, start, end in self.written.cut(text, split_special_tokens):
            if token:
                pieces.append((self.ids[token.content], start, end))
            elif self.normal.tokens or self.normalize:
                pieces += self._encode_normal(text[start:end], start, encode_between, split_special_tokens)
            else:
                pieces += encode_between(text[start:end], start)
        return pieces

    def _encode_normal(self, text, shift, encode_between, split_special_tokens):
        normal, position = self.normalize(text) if self.normalize else (text, range(len(text)))
        pieces = []
        for token, start, end in self.normal.cut(normal, split_special_tokens):
            pieces += [(self.ids[token.content], start, end)] if token else encode_between(normal[start:end], start)
        return [(token_id, position[start] + shift, position[end - 1] + 1 + shift) for token_id, start, end in pieces]

    def encode_texts(self, texts, encode_between):
        """The fast way for many texts, without offsets; special tokens are split. ``encode_between``: texts -> (ids of all, how many are each one's).

        What lies between added tokens goes that way, too, all texts together.
        """
        if not self.always:
            return encode_between(texts)
        cut = [list(self._parts(text)) for text in texts]
        ids, lengths = encode_between([part for parts in cut for part in parts if isinstance(part, str)])
        between = iter(np.split(ids, lengths.cumsum()[:-1]))
        rows = [[next(between) if isinstance(part, str) else [part] for part in parts] for parts in cut]
        ids = np.fromiter(chain.from_iterable(chain.from_iterable(rows)), np.uint32)
        return ids, np.array([sum(map(len, row)) for row in rows], np.int64)

    def _parts(self, text):
        """A text as normal texts with the ids of added tokens between: 'a  b' -> 'a', 50276, 'b'"""
        for token, start, end in self.written.cut(text, split_special_tokens=True):
            if token:
                yield self.ids[token.content]
                continue
            normal = self.normalize(text[start:end])[0] if self.normalize else text[start:end]
            for token, first, last in self.normal.cut(normal, split_special_tokens=True):
                yield self.ids[token.content] if token else normal[first:last]
