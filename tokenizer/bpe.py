"""Byte-level byte-pair encoding, the tokenizer of GPT-2 and RoBERTa.

A text is cut into words by GPT-2's pattern, each word is written as bytes, and neighbors are
merged in the order in which training learned the merges (Sennrich et al. 2016; bytes: Radford
et al. 2019). The vocabulary contains all 256 bytes, so nothing is unknown, and decoding
restores every text exactly. WordPiece, the other kind, normalizes first, drops spaces and has
an unknown token.
"""
from functools import cached_property
from itertools import pairwise

import numpy as np

from tokenizer.base import Tokenizer
from tokenizer.fast.batch_encoder import BatchEncoder
from tokenizer.fast.long_words import merge_long_word
from tokenizer.fast.word_boundaries import gpt2_boundaries
from tokenizer.formats.vocab_files import bpe_files
from tokenizer.normalize import nfc, nfc_text
from tokenizer.pretokenize import GPT2_PATTERN, byte_characters, gpt2_words, token_bytes, utf8
from tokenizer.trainers.counting import count_files
from tokenizer.trainers.merges import learn_merges
from tokenizer.trainers.options import check_training_options, training_summary
from tokenizer.utils.unicode_tables import WHITE_SPACE
from tokenizer.utils.validation import check_bool

SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")

# UTF-8 never uses these bytes, so published vocabularies may lack them.
NEVER_IN_UTF8 = {0xC0, 0xC1, *range(0xF5, 0x100)}
LONG_WORD = 256  # bytes; in longer words, scanning all pairs for each merge takes too long
MANY_BYTES = 2000  # from this many on, encoding words in a batch is faster than one by one
NO_MERGE = 1 << 62  # the rank of a pair that is not merged

# White space as it occurs in tokens: 'Ġ' in most, ' ' in added tokens.
_SPACES = "".join(WHITE_SPACE) + byte_characters()[ord(" ")]


class ByteLevelBPE(Tokenizer):
    """Byte-level BPE.

    Ids: special tokens, the 256 bytes in order of their characters, merges in the order learned.
    """

    kind = "bpe"
    # <s> A </s></s> B </s>. RoBERTa does not distinguish segments, so all type ids are 0.
    PAIR_TEMPLATE = (("cls", 0), ("A", 0), ("sep", 0), ("sep", 0), ("B", 0), ("sep", 0))
    boundaries = staticmethod(gpt2_boundaries)
    CACHES = (*Tokenizer.CACHES, "_batch_encoder")
    MASK_TAKES_SPACE = True  # RoBERTa reads 'x <mask>' and 'x<mask>' alike
    merged_token = staticmethod(str.__add__)  # 'Ġt', 'he' -> 'Ġthe'

    def __init__(self, tokens, merges, special_tokens=SPECIAL_TOKENS, add_prefix_space=False,
                 model_max_length=None, roles=None, added=(), templates=None, unicode_form=None,
                 trim_offsets=False):
        """Build a tokenizer from its vocabulary.

        tokens: all tokens in order of ids.  merges: pairs of tokens in order of rank.
        add_prefix_space: put a space before every text, so that its first word is a usual one.
        unicode_form: "NFC" composes each text first, as ModernBERT does.
        trim_offsets: leave the space before a word out of its offsets, as RoBERTa's files say.
        roles, added, templates: see ``Tokenizer``.
        """
        check_bool(add_prefix_space=add_prefix_space, trim_offsets=trim_offsets)
        normalize, normalize_text = (nfc, nfc_text) if unicode_form else (None, None)
        super().__init__(tokens, special_tokens, model_max_length, roles, added, templates,
                         normalize, normalize_text)
        self.unicode_form = unicode_form
        self.add_prefix_space = add_prefix_space
        self.trim_offsets = trim_offsets
        self.merges = [tuple(pair) for pair in merges]
        self._check_vocabulary()

        # Encoding works on ids, which are faster to compare than strings.
        self._byte_ids = [self._ids.get(char) for char in byte_characters()]  # byte -> id
        self._ranks = {}       # (left id, right id) -> rank: 0 for the merge learned first
        self._merged_ids = []  # rank -> id of the merged token
        for rank, (left, right) in enumerate(self.merges):
            self._ranks[self._ids[left], self._ids[right]] = rank
            self._merged_ids.append(self._ids[left + right])

    def _check_vocabulary(self):
        missing = []
        for byte, char in enumerate(byte_characters()):
            if char not in self._ids and byte not in NEVER_IN_UTF8:
                missing.append(char)
        if missing:
            raise ValueError(f"the vocabulary lacks {len(missing)} of the 256 bytes (first: "
                             f"{missing[0]!r}): it is not a byte-level vocabulary")
        # A space or an emoji in a token shows that the file is of another kind, such as WordPiece.
        byte_level = set(byte_characters())
        for i, token in enumerate(self._tokens):
            if token not in self._added_contents and not byte_level.issuperset(token):
                raise ValueError(f"token {token!r} (id {i}) has a character that represents no "
                                 "byte: it is not a byte-level vocabulary, or the token is missing "
                                 "from the special tokens")

    # Training

    @classmethod
    def train(cls, files, vocab_size=30000, min_frequency=2, special_tokens=SPECIAL_TOKENS,
              workers=None, max_words=None, show_progress=True, count_words=count_files):
        """Learn a vocabulary from text files, which are streamed line by line, on all cores.

        vocab_size: an upper bound. Training stops earlier if no pair occurs ``min_frequency``
            times; ``training_summary`` of the result reports that.
        workers: number of processes, by default one per core. The result does not depend on it.
            On macOS and Windows they import the script that calls this: put the call under
            ``if __name__ == "__main__":``, or pass 1.
        max_words: the most distinct words to count at a time, to limit memory (a word takes about
            200 bytes). The rarest words are dropped; the summary reports the loss.
        count_words: ``count_files``; ``train_from_iterator`` passes ``count_texts``.

        Raises FileNotFoundError, and ValueError if the corpus is empty or not UTF-8, or if
        ``vocab_size`` is smaller than the special tokens and the 256 bytes together.

        ByteLevelBPE.train(three_books_by_kant, vocab_size=52_000).training_summary
        -> 'vocabulary: asked for 52,000, reached 12,488: no pair occurs 2 times'
        """
        check_options(vocab_size, min_frequency, special_tokens, max_words, workers)
        # Pairs never cross words, so the counts of words are all that training needs to know.
        words = count_words(files, gpt2_boundaries, gpt2_words, workers, max_words, show_progress)
        tokens = [*special_tokens, *sorted(byte_characters())]
        learned = learn_merges(words_in_ids(words, tokens), tokens, vocab_size, min_frequency,
                               forbidden=set(special_tokens), show_progress=show_progress)
        merges = [(learned.tokens[left], learned.tokens[right]) for left, right in learned.merges]
        tokenizer = cls(learned.tokens, merges, special_tokens)
        tokenizer.learned = learned
        tokenizer.training_summary = training_summary(vocab_size, learned, words)
        return tokenizer

    # Text -> ids

    def _words(self, text):
        return gpt2_words(text)

    def _encode_word(self, word):
        """Return a word's ids."""
        data = utf8(word)
        if len(data) > LONG_WORD:
            ids, _ = self._batch_encoder.encode([data])
            return ids.tolist()
        return self._merge([self._byte_ids[byte] for byte in data])

    def _merge(self, byte_ids):
        """Merge the ids of a word's bytes (Sennrich et al. 2016, section 3.2).

        Apply the merge of the lowest rank, the leftmost first, until none is left. With the merges
        l o, lo w, e r and w e, in this order, "lower" becomes

            l o w e r  ->  lo w e r  ->  low e r  ->  low er

        The pair w e never gets its turn: its w is taken by an earlier merge.
        """
        ids = list(byte_ids)
        # ranks[i] is the rank of the pair ids[i], ids[i + 1].
        rank_of = self._ranks.get
        ranks = [rank_of(pair, NO_MERGE) for pair in pairwise(ids)]
        while ranks and (rank := min(ranks)) < NO_MERGE:
            i = ranks.index(rank)  # the leftmost of equal ranks
            ids[i] = self._merged_ids[rank]
            del ids[i + 1]
            del ranks[i]
            # Only the pairs on both sides of the merged token have changed.
            if i > 0:
                ranks[i - 1] = rank_of((ids[i - 1], ids[i]), NO_MERGE)
            if i < len(ranks):
                ranks[i] = rank_of((ids[i], ids[i + 1]), NO_MERGE)
        return ids

    def _bytes_of(self, token_id):
        """Return the ids of the bytes of a token: the id of 'hug' -> those of h, u and g."""
        return [self._byte_ids[byte] for byte in token_bytes(self._tokens[token_id])]

    def _encode_plain_texts(self, texts):
        if self.add_prefix_space:
            texts = [self._with_prefix_space(text) for text in texts]
        return super()._encode_plain_texts(texts)

    def _with_prefix_space(self, text):
        """Add GPT-2's ``add_prefix_space``, if it is set: 'a' -> ' a', ' a' -> ' a'."""
        if self.add_prefix_space and text and not text.startswith(" "):
            return " " + text
        return text

    def _encode_units(self, units):
        if sum(map(len, units)) < MANY_BYTES:
            return super()._encode_units(units)
        words = []
        first_words = []  # unit -> index of its first word
        for unit in units:
            first_words.append(len(words))
            # Most units are one word. White space that is not ASCII may make more of them.
            if unit.isascii() or unit.decode("utf-8").lstrip(" ").isalpha():
                words.append(unit)
            else:
                words += map(utf8, self._words(unit.decode("utf-8")))
        ids, lengths = self._batch_encoder.encode(words)
        return ids, np.add.reduceat(lengths, first_words)

    @cached_property
    def _batch_encoder(self):
        return BatchEncoder(self._ranks, self._merged_ids, self._byte_ids, self._tokens,
                            self._merge_long)

    def _merge_long(self, byte_ids):
        """Return what ``_merge`` returns, in a time that does not grow with the square."""
        return merge_long_word(byte_ids, self._ranks, self._merged_ids, self._merge,
                               self._bytes_of)

    def _encode_plain(self, text, shift):
        """Return (id, start, end) of each token.

        Offsets include the space before a word, so together they cover the text.

        'é' -> [(132, 0, 1), (107, 0, 1)], unless a merge has joined its two bytes
        """
        spaced = self._with_prefix_space(text)
        num_added = len(spaced) - len(text)  # 1 if a space was added, else 0
        pieces = []
        for match in GPT2_PATTERN.finditer(spaced):
            word = match[0]
            # character_of[i]: the position of the character that byte i of the word belongs to.
            # If its bytes are several tokens, each has the offsets of the entire character.
            character_of = range(match.start(), match.end())  # ASCII: a byte is a character
            if not word.isascii():
                character_of = []
                for position, char in enumerate(word, match.start()):
                    character_of += [position] * len(utf8(char))
            first_byte = 0
            for token_id in self._word_ids[word]:
                # A byte-level token has as many characters as bytes.
                last_byte = first_byte + len(self._tokens[token_id]) - 1
                # An added space has no position in the text. It shares the first character's.
                start = max(character_of[first_byte] - num_added, 0)
                end = max(character_of[last_byte] - num_added, 0) + 1
                pieces.append((token_id, start + shift, end + shift))
                first_byte = last_byte + 1
        return pieces

    def _encode_text(self, text, split_special_tokens):
        pieces = super()._encode_text(text, split_special_tokens)
        if not self.trim_offsets:
            return pieces
        trimmed = []
        # Only offsets change: the ids are those of words with their spaces.
        for i, (token_id, start, end) in enumerate(pieces):
            token = self._tokens[token_id]
            if token in self._added_contents:
                token = text[start:end]  # as written, with any space that belongs to the token
            trimmed.append((token_id, *self._trim(token, start, end, is_first=i == 0)))
        return trimmed

    def _trim(self, token, start, end, is_first):
        """Return the offsets without the white space at both ends of a token.

        Follows ``process_offsets`` of ByteLevel in the tokenizers library step by step.

        'Ġcat', 3, 7 -> 4, 7; but 'Ġcat', 0, 3 -> 0, 3 if ``add_prefix_space`` put the space there
        """
        num_before = len(token) - len(token.lstrip(_SPACES))
        num_after = len(token) - len(token.rstrip(_SPACES))
        if num_before:
            if self.add_prefix_space and (is_first or start == 0):
                num_before -= 1
            start = min(start + num_before, end)
        if num_after and end >= num_after:
            end = max(end - num_after, start)
        return start, end

    # Ids -> text

    def token_text(self, token, errors="backslashreplace"):
        """Return the text of one token: 'Ġhug' -> ' hug'.

        Some tokens are only part of a character, such as 'ðŁ', half of an emoji. ``errors`` is
        that of ``bytes.decode`` and decides how they look: '\\xf0\\x9f' by default.
        """
        if token in self._added_contents:
            return token
        return token_bytes(token).decode("utf-8", errors)

    def _decode_runs(self, runs):
        """Join tokens. Bytes that are not UTF-8, as of half a character, become U+FFFD."""
        # Join the bytes before decoding: a character may be split between two tokens.
        parts = []
        for is_added, tokens in runs:
            joined = "".join(tokens)
            parts.append(joined.encode("utf-8") if is_added else token_bytes(joined))
        return b"".join(parts).decode("utf-8", errors="replace")

    # Files

    def _vocabulary_files(self):
        return bpe_files(self._tokens, self.merges)

    def _settings(self):
        settings = {"add_prefix_space": self.add_prefix_space}
        if self.unicode_form:
            settings["unicode_form"] = self.unicode_form
        return settings


def words_in_ids(words, tokens):
    """Return [(word, count), ...] with each word as ``learn_merges`` takes it.

    A word is a string whose characters have the ids of its bytes as code points. With the tokens
    a, b, c, the word "cab" becomes "\\2\\0\\1".
    """
    ids = {byte: tokens.index(char) for byte, char in enumerate(byte_characters())}
    result = []
    for word, count in words.items():
        # Latin-1 turns byte b into chr(b), and ``translate`` turns that into chr(id of b).
        result.append((utf8(word).decode("latin-1").translate(ids), count))
    return result


def check_options(vocab_size, min_frequency, special_tokens, max_words, workers):
    """Raise ValueError unless the special tokens and the 256 bytes fit and do not overlap."""
    check_training_options(vocab_size, min_frequency, special_tokens, max_words, workers)
    clashes = set(special_tokens) & set(byte_characters())
    if clashes:
        raise ValueError(f"special token {min(clashes)!r} is also one of the 256 byte characters: "
                         "choose a longer name")
    least = 256 + len(special_tokens)
    if vocab_size < least:
        raise ValueError(f"vocab_size={vocab_size} is smaller than the 256 bytes and "
                         f"{len(special_tokens)} special tokens: use at least {least}")
