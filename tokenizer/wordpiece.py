"""WordPiece, the tokenizer of BERT (Schuster and Nakajima 2012; Devlin et al. 2018).

A text is normalized and cut at white space and punctuation. Each word is split into the longest
pieces that the vocabulary has, from left to right; a piece inside a word is written '##ing'. A
word that cannot be split this way becomes [UNK]. Unlike byte-level BPE, encoding needs only the
vocabulary, no merges; and case, accents and spaces are lost.

Training is byte-pair encoding over characters, of which only the vocabulary is kept. Two
criteria choose the pair to merge. ``frequency``, the default, takes the most frequent pair, as
Hugging Face's tokenizers do. ``likelihood`` takes the pair that raises the likelihood of the
corpus most, as the first of these papers says. (BERT's own trainer was never published.)
"""
import re
from collections import Counter
from functools import partial

from tokenizer.base import Tokenizer
from tokenizer.fast.word_boundaries import bert_boundaries, bert_boundaries_without_cjk
from tokenizer.formats.vocab_files import wordpiece_files
from tokenizer.normalize import BertNormalizer
from tokenizer.pretokenize import bert_words
from tokenizer.reference import join_pieces
from tokenizer.trainers.counting import count_files, count_texts
from tokenizer.trainers.likelihood import learn_by_likelihood
from tokenizer.trainers.merges import learn_merges
from tokenizer.trainers.options import check_training_options, training_summary
from tokenizer.utils.progress import progress_bar

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
INSIDE = "##"  # the prefix of every piece that is not the first of its word
CRITERIA = {"frequency": learn_merges, "likelihood": learn_by_likelihood}

_ASCII_WORD = re.compile("[A-Za-z0-9]+|[^A-Za-z0-9 ]")
_SPACE_BEFORE = re.compile(r" ([.,!?])")
_CONTRACTION = re.compile(r" ' (s|t|m|d|re|ve|ll)(?![^ .,!?])")


class WordPiece(Tokenizer):
    """WordPiece.

    Ids: special tokens, characters by code point, characters with '##', pieces as learned.
    """

    kind = "wordpiece"
    PAIR_TEMPLATE = (("cls", 0), ("A", 0), ("sep", 0), ("B", 1), ("sep", 1))

    def __init__(self, tokens, special_tokens=SPECIAL_TOKENS, lowercase=True, strip_accents=None,
                 tokenize_chinese_chars=True, max_input_chars_per_word=100, model_max_length=None,
                 roles=None, added=(), templates=None, not_pieces=()):
        """Build a tokenizer from its vocabulary.

        tokens: all tokens in order of ids.
        strip_accents: None strips accents if ``lowercase`` is set.
        max_input_chars_per_word: a longer word, after normalizing, is [UNK], as in BERT's code.
        not_pieces: added tokens that no word is split into; a file's model vocabulary lacks them.
        roles, added, templates: see ``Tokenizer``.
        """
        self.normalizer = BertNormalizer(lowercase, strip_accents, tokenize_chinese_chars)
        self.boundaries = bert_boundaries if tokenize_chinese_chars else bert_boundaries_without_cjk
        searches_normalized = any(token.normalized for token in added)
        normalize = self.normalizer.normalize if searches_normalized else None
        super().__init__(
            tokens, special_tokens, model_max_length, roles, added, templates, normalize
        )
        if self.unk_token is None:
            raise ValueError(
                "the vocabulary has no [UNK] token, which words that cannot be spelled need: "
                "train with it in special_tokens, or add it to vocab.txt"
            )
        self.max_input_chars_per_word = max_input_chars_per_word
        self.not_pieces = frozenset(not_pieces)
        excluded = self.not_pieces.union(self.special_tokens)
        self._pieces = {token: i for token, i in self._ids.items() if token not in excluded}
        # These are found as added tokens, and words are split into them as well.
        both = sorted(token for token in self._added_contents if token in self._pieces)
        if both:
            self._nonstandard.append(both)

    # Training

    @classmethod
    def train(cls, files, vocab_size=30522, min_frequency=2, lowercase=True, strip_accents=None,
              criterion="frequency", special_tokens=SPECIAL_TOKENS, limit_alphabet=1000,
              workers=None, max_words=None, show_progress=True):
        """Learn a vocabulary from text files.

        vocab_size: an upper bound. Training stops earlier if no pair occurs ``min_frequency``
            times or raises the likelihood; ``training_summary`` of the result reports that.
        criterion: "frequency" or "likelihood", see above.
        limit_alphabet: keep this many characters, the most frequent; other words become [UNK].
        workers, max_words: as in ``ByteLevelBPE.train``.

        Raises FileNotFoundError, and ValueError if the corpus is empty or not UTF-8, or if
        ``vocab_size`` is smaller than the special tokens and the alphabet together.

        WordPiece.train(["kant.txt"], vocab_size=8_000).encode("Critique of reason").tokens
        -> ['[CLS]', 'critique', 'of', 'reason', '[SEP]']
        """
        check_options(
            vocab_size, min_frequency, criterion, special_tokens, max_words, workers, limit_alphabet
        )
        normalizer = BertNormalizer(lowercase, strip_accents)
        words_of = partial(normalized_words, normalizer)
        words = count_files(files, bert_boundaries, words_of, workers, max_words, show_progress)
        return cls._from_counts(
            words, vocab_size, min_frequency, normalizer, criterion, special_tokens, limit_alphabet,
            show_progress,
        )

    @classmethod
    def train_from_iterator(cls, texts, vocab_size=30522, min_frequency=2, lowercase=True,
                            strip_accents=None, criterion="frequency",
                            special_tokens=SPECIAL_TOKENS, limit_alphabet=1000, workers=None,
                            max_words=None, show_progress=True):
        """Learn a vocabulary from an iterable of strings; otherwise as ``train``."""
        check_options(
            vocab_size, min_frequency, criterion, special_tokens, max_words, workers, limit_alphabet
        )
        normalizer = BertNormalizer(lowercase, strip_accents)
        words_of = partial(normalized_words, normalizer)
        words = count_texts(texts, bert_boundaries, words_of, workers, max_words, show_progress)
        return cls._from_counts(
            words, vocab_size, min_frequency, normalizer, criterion, special_tokens, limit_alphabet,
            show_progress,
        )

    @classmethod
    def _from_counts(cls, words, vocab_size, min_frequency, normalizer, criterion, special_tokens,
                     limit_alphabet, show_progress):
        """Learn pieces from ``WordCounts`` and return the tokenizer."""
        if not words:
            raise ValueError("the corpus is empty: there is no word to learn a vocabulary from")
        words_in_symbols = initial_symbols(words, limit_alphabet)
        tokens = initial_tokens(words_in_symbols, special_tokens)
        if vocab_size < len(tokens):
            raise ValueError(
                f"vocab_size={vocab_size} is smaller than the {len(special_tokens)} special tokens "
                f"and the {len(tokens) - len(special_tokens)} characters of this corpus (each with "
                f"and without ##): use at least {len(tokens)}, or a smaller limit_alphabet"
            )
        ids = {token: i for i, token in enumerate(tokens)}
        words_in_ids = [
            ([ids[symbol] for symbol in symbols], count) for symbols, count in words_in_symbols
        ]
        learn = CRITERIA[criterion]
        num_new = vocab_size - len(tokens)
        with progress_bar(num_new, "learning pieces", "tokens", show_progress) as bar:
            learned = learn(
                words_in_ids,
                tokens,
                vocab_size,
                max(1, min_frequency),
                join_pieces,
                forbidden=set(special_tokens),
                progress=lambda size: bar.update(size - len(tokens) - bar.n),
            )
        tokenizer = cls(
            learned.tokens,
            special_tokens,
            normalizer.lowercase,
            normalizer.strip_accents,
            normalizer.tokenize_chinese_chars,
        )
        tokenizer.learned = learned
        tokenizer.training_summary = training_summary(vocab_size, learned, words)
        return tokenizer

    def merged_token(self, left, right):
        """Return the token that a merge makes: 'em', '##bed' -> 'embed'."""
        return join_pieces(left, right)

    # Text -> ids

    def _words(self, text):
        return normalized_words(self.normalizer, text)

    def _encode_word(self, word):
        return [token_id for token_id, _, _ in self._spell_word(word, 0)]

    def _encode_plain(self, text, shift):
        """Return (id, start, end) of each token. [UNK] has the offsets of its word."""
        normalized, positions = self.normalizer.normalize(text)
        return [
            (token_id, positions[start] + shift, positions[end - 1] + 1 + shift)
            for word_start, word_end in bert_words(normalized)
            for token_id, start, end in self._spell_word(
                normalized[word_start:word_end], word_start
            )
        ]

    def _spell_word(self, word, shift):
        """Match the longest piece from the left, repeatedly. Return (id, start, end) of each piece.

        'embedding' -> em, ##bed, ##ding
        """
        unknown = [(self.unk_token_id, shift, shift + len(word))]
        if len(word) > self.max_input_chars_per_word:
            return unknown
        pieces = []
        start = 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = word[start:end] if start == 0 else INSIDE + word[start:end]
                if piece in self._pieces:
                    break
            else:  # not even a single character fits
                return unknown
            pieces.append((self._pieces[piece], shift + start, shift + end))
            start = end
        return pieces

    # Ids -> text

    def token_text(self, token, errors="backslashreplace"):
        """Return the text of one token: '##s' -> 's'. (``errors`` is for byte-level BPE.)"""
        if token in self._added_contents:
            return token
        return token.removeprefix(INSIDE) or token

    def _decode_runs(self, runs):
        """Join '##' pieces to the piece before them, and words by spaces.

        Original spaces, case and accents are lost. Spaces before . , ! ? and around the
        apostrophes of isn't and we'll are removed.
        """
        parts = []
        for is_added, tokens in runs:
            for token in tokens:
                is_word = is_added or not token.startswith(INSIDE) or token == INSIDE
                if is_word or not parts:
                    parts.append(" " + token)
                else:
                    parts.append(token[len(INSIDE) :])
        text = "".join(parts).removeprefix(" ")
        text = _SPACE_BEFORE.sub(r"\1", text)
        return _CONTRACTION.sub(r"'\1", text)

    # Files

    def _vocabulary_files(self):
        return wordpiece_files(self._tokens)

    def _settings(self):
        return {
            "do_lower_case": self.normalizer.lowercase,
            "strip_accents": self.normalizer.strip_accents,
            "tokenize_chinese_chars": self.normalizer.tokenize_chinese_chars,
            "max_input_chars_per_word": self.max_input_chars_per_word,
        }


def normalized_words(normalizer, text):
    """Return the normalized words of a text: "It's" -> ['it', "'", 's']."""
    text = text.strip(" \t\n\r")
    if text.isascii() and text.isprintable():  # a shortcut with the same result
        return _ASCII_WORD.findall(text.lower() if normalizer.lowercase else text)
    text, _ = normalizer.normalize(text)
    return [text[start:end] for start, end in bert_words(text)]


def initial_symbols(words, limit_alphabet):
    """Split words into the symbols that training begins with.

    Only the most frequent ``limit_alphabet`` characters are kept (on a tie, the smaller code
    point); the others are dropped. A symbol keeps its '##' even if the first character of its
    word is dropped.

    >>> initial_symbols({"abc": 2, "äc": 1}, limit_alphabet=3)
    [(['a', '##b', '##c'], 2), (['##c'], 1)]
    """
    counts = Counter()
    for word, count in words.items():
        for char in word:
            counts[char] += count
    ranked = sorted(counts, key=lambda char: (-counts[char], char))
    kept = set(ranked[:limit_alphabet])
    result = []
    for word, count in words.items():
        symbols = [
            char if i == 0 else INSIDE + char for i, char in enumerate(word) if char in kept
        ]
        result.append((symbols, count))
    return result


def initial_tokens(words_in_symbols, special_tokens):
    """Return the vocabulary before any merge: special tokens, characters, '##' characters."""
    symbols = {symbol for symbols, _ in words_in_symbols for symbol in symbols}
    # A character that occurs only inside the words of this corpus may begin words of other texts.
    characters = sorted({symbol[-1] for symbol in symbols})
    inside = sorted(symbol for symbol in symbols if len(symbol) > 1)
    return list(dict.fromkeys([*special_tokens, *characters, *inside]))


def check_options(vocab_size, min_frequency, criterion, special_tokens, max_words, workers,
                  limit_alphabet):
    """Raise ValueError unless the criterion is known and there is an unknown token."""
    check_training_options(
        vocab_size, min_frequency, special_tokens, max_words, workers, limit_alphabet
    )
    if criterion not in CRITERIA:
        raise ValueError(f"unknown criterion {criterion!r}: use {' or '.join(map(repr, CRITERIA))}")
    if not {"[UNK]", "<unk>"} & set(special_tokens):
        raise ValueError(
            f"special_tokens must include '[UNK]', for words that cannot be spelled; "
            f"got {special_tokens}"
        )
