"""Byte-level byte-pair encoding (Sennrich et al. 2016; bytes: Radford et al. 2019), the tokenizer of GPT-2 and RoBERTa.

A text is cut into words by GPT-2's pattern, each word written as bytes, and neighbours merged in the order in which
training learned the merges. All 256 bytes are in the vocabulary, so nothing is unknown, and decoding gives back every
text exactly. WordPiece, the other kind, normalizes first, forgets spaces, and has an unknown token.
"""
import heapq
from functools import cached_property
from itertools import pairwise

from tokenizer.base import Tokenizer
from tokenizer.fast.closed_tokens import tokens_that_encode_to_themselves
from tokenizer.fast.word_boundaries import gpt2_boundaries
from tokenizer.formats.vocab_files import bpe_files
from tokenizer.normalize import nfc
from tokenizer.pretokenize import GPT2_PATTERN, byte_characters, gpt2_words, token_bytes, utf8
from tokenizer.trainers.counting import count_files, count_texts
from tokenizer.trainers.merges import learn_merges
from tokenizer.trainers.options import check_training_options, training_summary
from tokenizer.utils.progress import progress_bar
from tokenizer.utils.unicode_tables import WHITE_SPACE

SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")

NEVER_IN_UTF8 = {0xC0, 0xC1, *range(0xF5, 0x100)}  # bytes that published vocabularies may lack
LONG_WORD = 64  # bytes, from which on looking at every pair again and again is slower than a heap
NO_MERGE = 1 << 62  # the rank of a pair that is not merged

_SPACES = "".join(WHITE_SPACE) + byte_characters()[ord(" ")]  # in tokens: added ones are spelled as they are


class ByteLevelBPE(Tokenizer):
    """Byte-level BPE. Ids: special tokens, the 256 bytes in order of their characters, merges in the order learned."""
    kind = "bpe"
    PAIR_TEMPLATE = (("cls", 0), ("A", 0), ("sep", 0), ("sep", 0), ("B", 0), ("sep", 0))  # RoBERTa has no types
    boundaries = staticmethod(gpt2_boundaries)
    MASK_TAKES_SPACE = True  # 'x <mask>' and 'x<mask>' are the same to RoBERTa

    def __init__(self, tokens, merges, special_tokens=SPECIAL_TOKENS, add_prefix_space=False, model_max_length=None,
                 roles=None, added=(), templates=None, unicode_form=None, trim_offsets=False):
        """tokens: all, in order of ids.  merges: pairs of tokens, in order of their rank.

        unicode_form: "NFC" composes a text before all else, as ModernBERT's does.  added, templates: see ``Tokenizer``.
        trim_offsets: leave the space before a word out of its offsets, as RoBERTa's folders say: no id changes.
        """
        super().__init__(tokens, special_tokens, model_max_length, roles, added, templates, nfc if unicode_form else None)
        self.unicode_form = unicode_form
        self.add_prefix_space = add_prefix_space
        self.trim_offsets = trim_offsets
        self.merges = [tuple(pair) for pair in merges]
        missing = [char for byte, char in enumerate(byte_characters()) if char not in self._ids and byte not in NEVER_IN_UTF8]
        if missing:
            raise ValueError(f"the vocabulary lacks {len(missing)} of the 256 bytes (the first: {missing[0]!r}): "
                             f"it is not a byte-level vocabulary")
        byte_level, apart = set(byte_characters()), {token.content for token in self.added_tokens}
        for i, token in enumerate(self._tokens):
            if token not in apart and not byte_level.issuperset(token):
                raise ValueError(f"token {token!r} (id {i}) holds a character that stands for no byte: it is not a "
                                 f"byte-level vocabulary, or the token is special and not named as such")
        self._byte_ids = [self._ids.get(char) for char in byte_characters()]
        self._ranks = {(self._ids[left], self._ids[right]): rank for rank, (left, right) in enumerate(self.merges)}
        self._merged_ids = [self._ids[left + right] for left, right in self.merges]
        self._byte_characters = dict(enumerate(byte_characters()))

    # Training

    @classmethod
    def train(cls, files, vocab_size=30000, min_frequency=2, special_tokens=SPECIAL_TOKENS, workers=None, max_words=None,
              show_progress=True):
        """Learn a vocabulary from text files, each line fed with its line end. The files are streamed, over all cores.

        vocab_size is an upper bound: training ends earlier where no pair occurs ``min_frequency`` times;
        ``training_summary`` of the result says so.  workers: processes, None is one a core; any number gives the same result.
        max_words: a cap on memory, so many distinct words are counted at a time (each takes some 200 bytes); the rarest are left out
        when there are more, and the summary says what that cost. Raises ValueError for an empty corpus, for one that is not
        UTF-8, and for a vocab_size smaller than special tokens and bytes together; FileNotFoundError.

        ByteLevelBPE.train(three_books_by_kant, vocab_size=52_000).training_summary
        -> 'vocabulary: asked for 52,000, reached 12,488: no pair occurs 2 times'
        """
        check_options(vocab_size, min_frequency, special_tokens, max_words, workers)
        words = count_files(files, gpt2_boundaries, gpt2_words, workers, max_words, show_progress)
        return cls._from_counts(words, vocab_size, min_frequency, special_tokens, show_progress)

    @classmethod
    def train_from_iterator(cls, texts, vocab_size=30000, min_frequency=2, special_tokens=SPECIAL_TOKENS, workers=None,
                            max_words=None, show_progress=True):
        """As ``train``, from an iterable of strings, each fed whole."""
        check_options(vocab_size, min_frequency, special_tokens, max_words, workers)
        words = count_texts(texts, gpt2_boundaries, gpt2_words, workers, max_words, show_progress)
        return cls._from_counts(words, vocab_size, min_frequency, special_tokens, show_progress)

    @classmethod
    def _from_counts(cls, words, vocab_size, min_frequency, special_tokens, show_progress):
        """The second half of training: ``WordCounts`` -> tokenizer."""
        if not words:
            raise ValueError("the corpus is empty: there is no text to learn a vocabulary from")
        tokens = [*special_tokens, *sorted(byte_characters())]
        # ``learn_merges`` takes a word as a string of characters numbered by token id: ``decode("latin-1")`` makes byte b the
        # character b, ``translate`` makes that the character of b's id.
        byte_ids = {byte: tokens.index(char) for byte, char in enumerate(byte_characters())}
        ids = [(utf8(word).decode("latin-1").translate(byte_ids), count) for word, count in words.items()]
        with progress_bar(vocab_size - len(tokens), "learning merges", "tokens", show_progress) as bar:
            learned = learn_merges(ids, tokens, vocab_size, max(1, min_frequency), forbidden=set(special_tokens),
                                   progress=lambda size: bar.update(size - len(tokens) - bar.n))
        merges = [(learned.tokens[left], learned.tokens[right]) for left, right in learned.merges]
        tokenizer = cls(learned.tokens, merges, special_tokens)
        tokenizer.learned = learned
        tokenizer.training_summary = training_summary(vocab_size, learned, words)
        return tokenizer

    def token_text(self, token, errors="backslashreplace"):
        """Return the text of one token: 'Ġhug' -> ' hug'.

        Some tokens hold only part of a character, such as 'ðŁ', half of an emoji. ``errors`` is
        that of ``bytes.decode`` and decides how they look: '\\xf0\\x9f' by default.
        """
        return token if token in self._added_contents else token_bytes(token).decode("utf-8", errors)

    def merged_token(self, left, right):
        """'Ġt', 'he' -> 'Ġthe'"""
        return left + right

    # Text -> ids

    def _words(self, text):
        return gpt2_words(text)

    def _encode_unit(self, unit):
        """The ids of a unit. Of ASCII a unit is a word (``word_boundaries.py``), and if that is a token, often no merging is needed."""
        if not unit.isascii():
            return super()._encode_unit(unit)
        token_id = self._ids.get(unit.translate(self._byte_characters))
        return [token_id] if token_id in self._whole_tokens else self._encode_word(unit)

    @cached_property
    def _whole_tokens(self):
        """The ids of the tokens whose own text, encoded, is that one token: see ``whole.py``."""
        letters = [token_id for token_id in self._byte_ids if token_id is not None]
        return tokens_that_encode_to_themselves(letters, [(*pair, merged) for pair, merged in zip(self._ranks, self._merged_ids)], self.vocab_size)

    def _encode_word(self, word):
        """A word's ids: the merge of lowest rank first, of equal ones the leftmost, until none applies.

        (Sennrich et al. 2016, section 3.2.) ``ranks[i]`` belongs to the pair of ``ids[i]`` and ``ids[i + 1]``; a merge changes
        two of them.
        """
        ids = [self._byte_ids[byte] for byte in utf8(word)]
        if len(ids) > LONG_WORD:
            return self._encode_long_word(ids)
        rank_of, merged_ids = self._ranks.get, self._merged_ids
        ranks = [rank_of(pair, NO_MERGE) for pair in pairwise(ids)]
        while ranks and (rank := min(ranks)) < NO_MERGE:
            i = ranks.index(rank)
            ids[i] = merged_ids[rank]
            del ids[i + 1], ranks[i]
            if i:
                ranks[i - 1] = rank_of((ids[i - 1], ids[i]), NO_MERGE)
            if i < len(ranks):
                ranks[i] = rank_of((ids[i], ids[i + 1]), NO_MERGE)
        return ids

    def _encode_long_word(self, ids):
        """As ``_encode_word`` for a word of any length, given as the ids of its bytes, which are changed.

        All merges that are possible wait in a heap, and one that is made opens at most two new ones, with its neighbours. So n
        bytes cost n log n: a megabyte without a space is no trap.
        """
        # A linked list: the places of the nearest tokens that are left, before and after each place. A merge leaves its token in
        # the left place and takes the right one out.
        before, after = list(range(-1, len(ids) - 1)), list(range(1, len(ids) + 1))
        waiting = []  # heap of (rank, left place, the two ids: by these one notices that a neighbour has changed since)

        def consider(left, right):
            """Have the pair of two neighbouring places wait, if there is a merge for it."""
            if left >= 0 and right < len(ids):
                rank = self._ranks.get((ids[left], ids[right]))
                if rank is not None:
                    heapq.heappush(waiting, (rank, left, ids[left], ids[right]))

        for right in range(1, len(ids)):
            consider(right - 1, right)
        while waiting:
            rank, left, left_id, right_id = heapq.heappop(waiting)
            right = after[left]
            if ids[left] != left_id or right == len(ids) or ids[right] != right_id:
                continue  # another merge took one of the two
            ids[left], ids[right] = self._merged_ids[rank], None
            after[left] = after[right]
            if after[right] < len(ids):
                before[after[right]] = left
            consider(before[left], left)
            consider(left, after[left])
        return [token_id for token_id in ids if token_id is not None]

    def _encode_plain(self, text, shift):
        """Offsets include the space before a word, so that together they cover the text. The bytes of one character
        may be several tokens: each then has the offsets of the whole character.

        'é' -> [(132, 0, 1), (107, 0, 1)], the tokens of its two bytes, where no merge has joined them
        """
        spaced = self._with_prefix_space(text)
        added = len(spaced) - len(text)
        pieces = []
        for word in GPT2_PATTERN.finditer(spaced):
            # character_of[i]: the character that byte i of the word belongs to
            character_of = range(word.start(), word.end()) if word[0].isascii() else [
                position for position, char in enumerate(word[0], word.start()) for _ in utf8(char)]
            start = 0
            for token_id in self._word_ids[word[0]]:
                end = start + len(self._tokens[token_id])
                # an added space has no place in the text: it counts with the first character
                first, last = (max(character_of[byte] - added, 0) for byte in (start, end - 1))
                pieces.append((token_id, first + shift, last + 1 + shift))
                start = end
        return pieces

    def _encode_text(self, text, split_special_tokens):
        pieces = super()._encode_text(text, split_special_tokens)
        if not self.trim_offsets:
            return pieces
        added = {self._ids[token.content] for token in self.added_tokens}
        shown = [text[start:end] if token_id in added else self._tokens[token_id] for token_id, start, end in pieces]
        return [(token_id, *self._trimmed(token, start, end, i == 0)) for i, ((token_id, start, end), token) in enumerate(zip(pieces, shown))]

    def _trimmed(self, token, start, end, is_first):
        """Offsets without the white space at a token's ends, step by step as the tokenizers library (ByteLevel, process_offsets).

        token: an added one as it stands in the text, the space that belongs to it included.

        'Ġcat', 3, 7 -> 4, 7; where each text begins with a space that was put there: 'Ġcat', 0, 3 -> 0, 3
        """
        before, after = len(token) - len(token.lstrip(_SPACES)), len(token) - len(token.rstrip(_SPACES))
        if before:
            start = min(start + before - (self.add_prefix_space and (is_first or start == 0)), end)
        if after and end >= after:
            end = max(end - after, start)
        return start, end

    # Ids -> text

    def _text_of(self, runs):
        """Added tokens are written as they are. Bytes that are no UTF-8, as when a character was cut in two, become U+FFFD."""
        data = b"".join("".join(tokens).encode() if added else token_bytes("".join(tokens)) for added, tokens in runs)
        return data.decode("utf-8", errors="replace")

    # Files

    def _vocabulary_files(self):
        return bpe_files(self._tokens, self.merges)

    def _settings(self):
        form = {"unicode_form": self.unicode_form} if self.unicode_form else {}
        return {"add_prefix_space": self.add_prefix_space, **form}


def check_options(vocab_size, min_frequency, special_tokens, max_words, workers):
    """ValueError unless the vocabulary has room for the 256 bytes and the special tokens, and no token is both."""
    check_training_options(vocab_size, min_frequency, special_tokens, max_words, workers)
    byte_level = set(byte_characters())
    clash = [token for token in special_tokens if token in byte_level]
    if clash:
        raise ValueError(f"special token {clash[0]!r} is also one of the 256 byte characters: choose a longer name")
    if vocab_size < 256 + len(special_tokens):
        raise ValueError(f"vocab_size={vocab_size} is smaller than the 256 bytes and {len(special_tokens)} special tokens "
                         f"that every byte-level vocabulary holds: use at least {256 + len(special_tokens)}")
