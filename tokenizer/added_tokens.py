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
from functools import partial

import numpy as np

from tokenizer.fast.string_search import StringSearch
from tokenizer.utils.unicode_tables import WHITE_SPACE
from tokenizer.utils.validation import check_bool

SEPARATOR = "\ud800"  # half a character (a surrogate), which no text that can be encoded has

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

    def __post_init__(self):
        check_bool(special=self.special, lstrip=self.lstrip, normalized=self.normalized)


class TokenFinder:
    """Find tokens in texts. ``tokens``: {spelling in the text: AddedToken}"""

    def __init__(self, tokens):
        self.tokens = tokens
        self.has_ordinary = not all(token.special for token in tokens.values())
        self._search = StringSearch(token for token in tokens if token and SEPARATOR not in token)

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

    def encode_around(self, texts, ids, encode_strings):
        """Cut texts at their tokens, of which special ones are ignored, and encode them.

        ``encode_strings``: list of strings -> (ids of all, number of ids of each). It gets what is
        between tokens, of all texts together; this returns the same for ``texts``:

            texts, ids                          ["a<t>b", "c"], {"<t>": 7}
            strings                             ["a", "b", "c"]
            encode_strings(strings)             [40, 41, 41, 42], [1, 2, 1]
            added, after_added                  [7], [1]: the string "b" follows the token 7
            returned                            [40, 7, 41, 41, 42], [4, 1]
        """
        if not texts or not self.has_ordinary or any(SEPARATOR in text for text in texts):
            return encode_strings(texts)  # which refuses half a character
        joined = SEPARATOR.join(texts)  # one search is faster than many; no token crosses it
        strings = []
        added = []
        after_added = []  # for each token the index of the string after it, often an empty one
        done = 0
        for token, start, end in self.find(joined, split_special_tokens=True):
            strings += joined[done:start].split(SEPARATOR)
            added.append(ids[token.content])
            after_added.append(len(strings))
            done = end
        strings += joined[done:].split(SEPARATOR)

        string_ids, num_ids = encode_strings(strings)
        ids_before = np.concatenate(([0], np.cumsum(num_ids)))  # (strings + 1,)
        after_added = np.array(after_added, np.int64)
        text_ids = np.insert(string_ids, ids_before[after_added], np.array(added, np.int64))
        num_ids[after_added] += 1  # a token is counted with the string after it
        text_starts = np.delete(np.arange(len(strings)), after_added)  # all other strings
        return text_ids, np.add.reduceat(num_ids, text_starts)


class AddedTokens:
    """All added tokens of a tokenizer: encode texts around them.

    ids: {token: id}
    normalize: text -> (normalized text, positions of its characters), for the second search
    normalize_text: the same without the positions, for ``encode_texts``; both may be None
    """

    def __init__(self, tokens, ids, normalize, normalize_text):
        self.ids = ids
        self.normalize = normalize
        self.normalize_text = normalize_text
        original = {}
        normalized = {}
        for token in tokens:
            if not token.normalized:
                original[token.content] = token
            else:
                spelling = normalize_text(token.content) if normalize_text else token.content
                normalized[spelling] = token
        self.original = TokenFinder(original)
        self.normalized = TokenFinder(normalized)

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

        ``encode_plain_texts``: list of texts without added tokens -> what this returns
        """
        encode_strings = partial(self._encode_normalized_texts, encode_plain_texts)
        return self.original.encode_around(texts, self.ids, encode_strings)

    def _encode_normalized_texts(self, encode_plain_texts, texts):
        """Normalize texts without original added tokens, and search them again."""
        if self.normalize_text:
            texts = [self.normalize_text(text) for text in texts]
        return self.normalized.encode_around(texts, self.ids, encode_plain_texts)
