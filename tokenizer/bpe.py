"""Byte-level byte-pair encoding (Sennrich et al. 2016; bytes: Radford et al. 2019), the tokenizer of GPT-2 and RoBERTa.

A text is cut into words by GPT-2's pattern, each word written as bytes, and neighbours merged in the order in which
training learned the merges. All 256 bytes are in the vocabulary, so nothing is unknown, and decoding gives back every
text exactly. WordPiece, the other kind, normalizes first, forgets spaces, and has an unknown token.
"""
import heapq
from collections import Counter

from .base import Tokenizer, check_training_options, training_summary
from .counting import count_files, count_texts, progress_bar
from .merges import learn_merges
from .pretokenize import CHUNK_PATTERN, GPT2_PATTERN, byte_characters, gpt2_words, utf8
from .saved import bpe_files

SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


class ByteLevelBPE(Tokenizer):
    """Byte-level BPE. Ids: special tokens, the 256 bytes in order of their characters, merges in the order learned."""
    kind = "bpe"
    PAIR_TEMPLATE = (("cls", 0), ("A", 0), ("sep", 0), ("sep", 0), ("B", 0), ("sep", 0))  # RoBERTa has no types
    MASK_TAKES_SPACE = True  # 'x <mask>' and 'x<mask>' are the same to RoBERTa

    def __init__(self, tokens, merges, special_tokens=SPECIAL_TOKENS, add_prefix_space=False, model_max_length=None,
                 roles=None):
        """tokens: all, in order of ids.  merges: pairs of tokens, in order of their rank."""
        super().__init__(tokens, special_tokens, model_max_length, roles)
        self.add_prefix_space = add_prefix_space
        self.merges = [tuple(pair) for pair in merges]
        missing = [char for char in byte_characters() if char not in self._ids]
        if missing:
            raise ValueError(f"the vocabulary lacks {len(missing)} of the 256 bytes (the first: {missing[0]!r}): "
                             f"it is not a byte-level vocabulary")
        byte_level, special = set(byte_characters()), set(self.special_tokens)
        for i, token in enumerate(self._tokens):
            if token not in special and not byte_level.issuperset(token):
                raise ValueError(f"token {token!r} (id {i}) holds a character that stands for no byte: it is not a "
                                 f"byte-level vocabulary, or the token is special and not named as such")
        self._byte_ids = [self._ids[char] for char in byte_characters()]
        self._ranks = {}  # (left id, right id) -> (rank, id of the merged token)
        for rank, (left, right) in enumerate(self.merges):
            self._ranks[self._ids[left], self._ids[right]] = rank, self._ids[left + right]

    # Training

    @classmethod
    def train(cls, files, vocab_size=30000, min_frequency=2, special_tokens=SPECIAL_TOKENS, show_progress=True):
        """Learn a vocabulary from text files, each line fed with its line end.

        vocab_size is an upper bound: training ends earlier where no pair occurs ``min_frequency`` times;
        ``training_summary`` of the result says so. Raises ValueError for an empty corpus, for one that is not
        UTF-8, and for a vocab_size smaller than special tokens and bytes together; FileNotFoundError.

        ByteLevelBPE.train(["kant.txt"], vocab_size=52_000).training_summary
        -> 'vocabulary: asked for 52,000, reached 12,290: no pair occurs 2 times'
        """
        check_size(vocab_size, min_frequency, special_tokens)
        chunks = count_files(files, CHUNK_PATTERN.findall, show_progress)
        return cls._from_counts(chunks, vocab_size, min_frequency, special_tokens, show_progress)

    @classmethod
    def train_from_iterator(cls, texts, vocab_size=30000, min_frequency=2, special_tokens=SPECIAL_TOKENS,
                            show_progress=True):
        """As ``train``, from an iterable of strings, each fed whole."""
        check_size(vocab_size, min_frequency, special_tokens)
        chunks = count_texts(texts, CHUNK_PATTERN.findall, show_progress)
        return cls._from_counts(chunks, vocab_size, min_frequency, special_tokens, show_progress)

    @classmethod
    def _from_counts(cls, chunks, vocab_size, min_frequency, special_tokens, show_progress):
        if not chunks:
            raise ValueError("the corpus is empty: there is no text to learn a vocabulary from")
        words = Counter()
        for chunk, count in chunks.items():
            for word in gpt2_words(chunk):
                words[word] += count
        tokens = [*special_tokens, *sorted(byte_characters())]
        byte_ids = [tokens.index(char) for char in byte_characters()]
        ids = [([byte_ids[byte] for byte in utf8(word)], count) for word, count in words.items()]
        with progress_bar("learning merges", vocab_size - len(tokens), show_progress) as bar:
            learned = learn_merges(ids, tokens, vocab_size, max(1, min_frequency), forbidden=set(special_tokens),
                                   progress=lambda size: bar.update(size - len(tokens) - bar.n))
        merges = [(learned.tokens[left], learned.tokens[right]) for left, right in learned.merges]
        tokenizer = cls(learned.tokens, merges, special_tokens)
        tokenizer.training_summary = training_summary(vocab_size, learned)
        return tokenizer

    # Text -> ids

    def _chunks(self, text):
        return CHUNK_PATTERN.findall(self._with_prefix_space(text))

    def _encode_chunk(self, chunk):
        return [token_id for word in gpt2_words(chunk) for token_id in self._merge(utf8(word))]

    def _encode_plain(self, text, shift):
        """Offsets include the space before a word, so that together they cover the text. The bytes of one character
        may be several tokens: each then has the offsets of the whole character."""
        spaced = self._with_prefix_space(text)
        added = len(spaced) - len(text)
        pieces = []
        for word in GPT2_PATTERN.finditer(spaced):
            # character_of[i]: the character that byte i of the word belongs to
            character_of = range(word.start(), word.end()) if word[0].isascii() else [
                position for position, char in enumerate(word[0], word.start()) for _ in utf8(char)]
            start = 0
            for token_id in self._cache[word[0]]:  # a word is a chunk of its own, too
                end = start + len(self._tokens[token_id])
                first, last = (max(character_of[byte] - added, 0) for byte in (start, end - 1))  # an added space
                pieces.append((token_id, first + shift, last + 1 + shift))       # counts with the first character
                start = end
        return pieces

    def _with_prefix_space(self, text):
        return " " + text if self.add_prefix_space and text and not text.startswith(" ") else text

    def _merge(self, word):
        """Bytes of a word -> ids: the merge of lowest rank first, of equal ones the leftmost, until none applies.

        All merges that are possible wait in a heap; a merge makes at most two new ones possible, with the
        neighbours. So a word of n bytes costs n log n: a megabyte without a space is no trap.
        """
        ids = [self._byte_ids[byte] for byte in word]
        before, after = list(range(-1, len(ids) - 1)), list(range(1, len(ids) + 1))  # the neighbours still there
        waiting = []

        def consider(left, right):
            if left >= 0 and right < len(ids):
                merge = self._ranks.get((ids[left], ids[right]))
                if merge:
                    heapq.heappush(waiting, (merge[0], left, ids[left], ids[right], merge[1]))

        for right in range(1, len(ids)):
            consider(right - 1, right)
        while waiting:
            _, left, left_id, right_id, merged = heapq.heappop(waiting)
            right = after[left]
            if ids[left] != left_id or right == len(ids) or ids[right] != right_id:
                continue  # another merge took one of the two
            ids[left], ids[right] = merged, None
            after[left] = after[right]
            if after[right] < len(ids):
                before[after[right]] = left
            consider(before[left], left)
            consider(left, after[left])
        return [token_id for token_id in ids if token_id is not None]

    # Ids -> text

    def _join(self, runs):
        """Bytes that are no UTF-8, as when a character was cut in two, become U+FFFD."""
        byte_of = {char: byte for byte, char in enumerate(byte_characters())}
        data = b"".join("".join(tokens).encode() if special else bytes(byte_of[char] for char in "".join(tokens))
                        for special, tokens in runs)
        return data.decode("utf-8", errors="replace")

    # Files

    def _vocabulary_files(self):
        return bpe_files(self._tokens, self.merges)

    def _settings(self):
        return {"add_prefix_space": self.add_prefix_space}


def check_size(vocab_size, min_frequency, special_tokens):
    """ValueError unless the vocabulary has room for the 256 bytes and the special tokens, and no token is both."""
    check_training_options(vocab_size, min_frequency, special_tokens)
    byte_level = set(byte_characters())
    clash = [token for token in special_tokens if token in byte_level]
    if clash:
        raise ValueError(f"special token {clash[0]!r} is also one of the 256 byte characters: choose a longer name")
    if vocab_size < 256 + len(special_tokens):
        raise ValueError(f"vocab_size={vocab_size} is smaller than the 256 bytes and {len(special_tokens)} special tokens "
                         f"that every byte-level vocabulary holds: use at least {256 + len(special_tokens)}")
