"""WordPiece, the tokenizer of BERT (Schuster and Nakajima 2012; Devlin et al. 2018).

A text is normalized and cut at white space and punctuation. Each word is split into the longest
pieces that the vocabulary has, from left to right; a piece inside a word is written '##ing'. A
word that cannot be split this way becomes [UNK]. Unlike byte-level BPE, encoding needs only the
vocabulary, no merges; and case, accents and spaces are lost.

Training is byte-pair encoding over characters, of which only the vocabulary is kept: it merges
the most frequent pair, as Hugging Face's tokenizers do. (The first of these papers takes the pair
that raises the likelihood of the corpus most, see ``trainers/likelihood.py``; BERT's own trainer
was never published.)
"""
import re
import unicodedata
from collections import Counter
from functools import partial

from tokenizer.base import Tokenizer
from tokenizer.fast.word_boundaries import bert_boundaries, bert_boundaries_without_cjk
from tokenizer.formats.vocab_files import wordpiece_files
from tokenizer.normalize import BertNormalizer
from tokenizer.pretokenize import bert_words, utf8
from tokenizer.reference import join_pieces
from tokenizer.trainers.counting import count_files
from tokenizer.trainers.merges import learn_merges
from tokenizer.trainers.options import check_training_options, training_summary
from tokenizer.unknown import UnknownText, describe_unknown
from tokenizer.utils.validation import check_bool, check_int

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
INSIDE = "##"  # the prefix of every piece that is not the first of its word

_ASCII_WORD = re.compile("[A-Za-z0-9]+|[^A-Za-z0-9 ]")  # letters and digits, or one other
# What ``decode`` removes: 'it .' -> 'it.', and "isn ' t" -> "isn't" if the word ends there.
_SPACE_BEFORE = re.compile(r" ([.,!?])")
_CONTRACTION = re.compile(r" ' (s|t|m|d|re|ve|ll)(?![^ .,!?])")


class WordPiece(Tokenizer):
    """WordPiece.

    Ids: special tokens, characters by code point, characters with '##', pieces as learned.
    """

    kind = "wordpiece"
    # [CLS] A [SEP] B [SEP]. The type ids tell BERT which tokens belong to the second text.
    PAIR_TEMPLATE = (("cls", 0), ("A", 0), ("sep", 0), ("B", 1), ("sep", 1))
    merged_token = staticmethod(join_pieces)  # 'em', '##bed' -> 'embed'

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
        check_bool(lowercase=lowercase, tokenize_chinese_chars=tokenize_chinese_chars,
                   strip_accents=strip_accents is None or strip_accents)
        check_int(1, optional=False, max_input_chars_per_word=max_input_chars_per_word)
        # Without spaces around Chinese characters, words begin in other places, too.
        self.normalizer = BertNormalizer(lowercase, strip_accents, tokenize_chinese_chars)
        self.boundaries = bert_boundaries if tokenize_chinese_chars else bert_boundaries_without_cjk
        searches_normalized = any(token.normalized for token in added)
        normalize = self.normalizer.normalize if searches_normalized else None
        normalize_text = self.normalizer.normalize_text if searches_normalized else None
        super().__init__(tokens, special_tokens, model_max_length, roles, added, templates,
                         normalize, normalize_text)
        if self.unk_token is None:
            raise ValueError("the vocabulary has no [UNK] token, which words that cannot be "
                             "spelled need: train with it, or add it to vocab.txt")
        self.max_input_chars_per_word = max_input_chars_per_word
        self.not_pieces = frozenset(not_pieces)
        excluded = self.not_pieces.union(self.special_tokens)
        # No part of a word becomes a special token, even if its characters spell one.
        self._pieces = {token: i for token, i in self._ids.items() if token not in excluded}
        self._longest_piece = {}  # first three characters -> length of the longest such piece
        for piece in self._pieces:
            for text in (piece, piece.removeprefix(INSIDE)):
                longest = max(len(text), self._longest_piece.get(text[:3], 0))
                self._longest_piece[text[:3]] = longest
        # These are found as added tokens, and words are split into them as well.
        both = sorted(token for token in self._added_contents if token in self._pieces)
        if both:
            self._nonstandard.append(both)

    # Training

    @classmethod
    def train(cls, files, vocab_size=30522, min_frequency=2, lowercase=True, strip_accents=None,
              special_tokens=SPECIAL_TOKENS, limit_alphabet=1000, max_input_chars_per_word=100,
              workers=None, max_words=None, show_progress=True, count_words=count_files):
        """Learn a vocabulary from text files.

        vocab_size: an upper bound. Training stops earlier if no pair occurs ``min_frequency``
            times; ``training_summary`` of the result reports that.
        limit_alphabet: keep this many characters, the most frequent; other words become [UNK].
        max_input_chars_per_word: a longer word becomes [UNK].
        workers, max_words, count_words: as in ``ByteLevelBPE.train``.

        Raises FileNotFoundError, and ValueError if the corpus is empty or not UTF-8, or if
        ``vocab_size`` is smaller than the special tokens and the alphabet together.

        WordPiece.train(["kant.txt"], vocab_size=8_000).encode("Critique of reason").tokens
        -> ['[CLS]', 'critique', 'of', 'reason', '[SEP]']
        """
        check_options(vocab_size, min_frequency, special_tokens, max_words, workers,
                      limit_alphabet, max_input_chars_per_word)
        normalizer = BertNormalizer(lowercase, strip_accents)
        words_of = partial(normalized_words, normalizer)  # a partial can be sent to workers
        words = count_words(files, bert_boundaries, words_of, workers, max_words, show_progress)
        characters = characters_by_frequency(words)
        words_in_symbols = initial_symbols(words, characters[:limit_alphabet])
        tokens = initial_tokens(words_in_symbols, special_tokens)
        check_size(vocab_size, tokens, special_tokens)
        # The trainers compare and join symbols very often, so each symbol becomes an integer.
        ids = {token: i for i, token in enumerate(tokens)}
        words_in_ids = []
        for symbols, count in words_in_symbols:
            words_in_ids.append(([ids[symbol] for symbol in symbols], count))
        learned = learn_merges(words_in_ids, tokens, vocab_size, min_frequency, join_pieces,
                               forbidden=set(special_tokens), show_progress=show_progress)
        # Only the tokens are kept: encoding takes the longest piece, whichever merges made it.
        tokenizer = cls(learned.tokens, special_tokens, lowercase, strip_accents,
                        max_input_chars_per_word=max_input_chars_per_word)
        tokenizer.learned = learned
        tokenizer.training_summary = training_summary(vocab_size, learned, words)
        if len(characters) > limit_alphabet:
            tokenizer.training_summary += (
                f"; limit_alphabet={limit_alphabet:,} left out {len(characters) - limit_alphabet:,}"
                f" of the {len(characters):,} characters")
        unknown, num_tokens, num_bytes = tokenizer._unknown_of_counts(words)
        tokenizer.training_unknown = describe_unknown(unknown, num_tokens, num_bytes)
        if unknown.num_words:
            share = unknown.num_words / num_tokens
            tokenizer.training_summary += f"; {share:.2%} of the tokens are [UNK]"
        return tokenizer

    # Text -> ids

    def _words(self, text):
        return normalized_words(self.normalizer, text)

    def _encode_plain(self, text, shift):
        """Return (id, start, end) of each token. [UNK] has the offsets of its word."""
        normalized, positions = self.normalizer.normalize(text)
        pieces = []
        for start, word_end in bert_words(normalized):
            ids = self._word_ids[normalized[start:word_end]]
            for i, token_id in enumerate(ids, start=1):
                # The last piece ends with the word, also if it is [UNK].
                length = len(self._tokens[token_id].removeprefix(INSIDE))
                end = start + length if i < len(ids) else word_end
                # From positions in the normalized text to positions in the original:
                # normalizing may drop characters and add spaces.
                pieces.append((token_id, positions[start] + shift, positions[end - 1] + 1 + shift))
                start = end
        return pieces

    def _encode_word(self, word, prefix=""):
        """Match the longest piece from the left, repeatedly. Return the ids of the pieces.

        prefix: INSIDE if this is only the end of a word.

        With the pieces low, ##er, ##est and ##e, "lowest" is tried in this order:

            lowest lowes lowe low     -> low
            ##est                     -> ##est

        "lows" becomes [UNK], because nothing fits its s: not even the low before it remains.
        """
        unknown = [self.unk_token_id]
        if len(word) > self.max_input_chars_per_word:
            return unknown  # BERT's code does this, too: a text may contain very long strings
        ids = []
        start = 0
        while start < len(word):
            # Longer than the longest piece with the same three characters, nothing can fit.
            longest = self._longest_piece.get(word[start : start + 3], 2)
            for end in range(min(len(word), start + longest), start, -1):
                piece = prefix + word[start:end]
                if piece in self._pieces:
                    break  # the first that fits is the longest
            else:  # not even a single character fits
                return unknown
            ids.append(self._pieces[piece])
            start = end
            prefix = INSIDE
        return ids

    # Unknown text

    def _unknown_in(self, unit):
        """Return the ``UnknownText`` of a unit of text, None if all of it is known."""
        unknown = UnknownText()
        for word in self._words(unit):
            if self.unk_token_id in self._word_ids[word]:
                unknown.add(self._unknown_word(word))
        return unknown if unknown.num_words else None

    def _unknown_word(self, word):
        """Return the ``UnknownText`` of a word that became [UNK]."""
        num_bytes = text_bytes(word)
        if len(word) > self.max_input_chars_per_word:
            return UnknownText(1, num_bytes, num_long=1)
        symbols = [word[0], *(INSIDE + char for char in word[1:])]
        missing = {symbol[-1] for symbol in symbols if symbol not in self._pieces}
        return UnknownText(1, num_bytes, characters=missing)

    def _unknown_of_counts(self, word_counts):
        """Return (``UnknownText``, number of tokens, number of bytes) of {word: count}."""
        unknown = UnknownText()
        num_tokens = 0
        num_bytes = 0
        for word, count in word_counts.items():
            ids = self._word_ids[word]
            num_tokens += count * len(ids)
            num_bytes += count * text_bytes(word)
            if self.unk_token_id in ids:
                unknown.add(self._unknown_word(word), count)
        return unknown, num_tokens, num_bytes

    # Ids -> text

    def token_text(self, token, errors="backslashreplace"):
        """Return the text of one token: '##s' -> 's'. (``errors`` is for byte-level BPE.)"""
        if token in self._added_contents:
            return token
        return token.removeprefix(INSIDE) or token

    def _decode_runs(self, runs):
        """Join '##' pieces to the piece before them, and words by spaces."""
        parts = []
        for is_added, tokens in runs:
            for token in tokens:
                # '##' itself is two punctuation marks, not the inside of a word.
                is_word = is_added or not token.startswith(INSIDE) or token == INSIDE
                if is_word or not parts:  # the first piece keeps its ##: nothing is before it
                    parts.append(" " + token)
                else:
                    parts.append(token[len(INSIDE) :])
        # Where the original had spaces is lost. Guess: none before . , ! ? and none around the
        # apostrophe of isn't and we'll.
        text = "".join(parts).removeprefix(" ")
        text = _SPACE_BEFORE.sub(r"\1", text)
        return _CONTRACTION.sub(r"'\1", text)

    # Files

    def _vocabulary_files(self):
        return wordpiece_files(self._tokens, self._added_contents)

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
    # A shortcut with the same result: printable ASCII has no accents and no control characters.
    if text.isascii() and text.isprintable():
        return _ASCII_WORD.findall(text.lower() if normalizer.lowercase else text)
    text = normalizer.normalize_text(text)
    return [text[start:end] for start, end in bert_words(text)]


def text_bytes(word):
    """Return the UTF-8 bytes of a normalized word in composed form, as most texts have it."""
    return len(utf8(unicodedata.normalize("NFC", word)))


def characters_by_frequency(words):
    """Return the characters of {word: count}, the most frequent first.

    >>> characters_by_frequency({"abc": 2, "äc": 1})
    ['c', 'a', 'b', 'ä']
    """
    counts = Counter()
    for word, count in words.items():
        for char in word:
            counts[char] += count
    return sorted(counts, key=lambda char: (-counts[char], char))  # on a tie by code point


def initial_symbols(words, alphabet):
    """Split words into the symbols that training begins with, without rare characters.

    >>> initial_symbols({"abc": 2, "äc": 1}, alphabet="cab")
    [(['a', '##b', '##c'], 2), (['##c'], 1)]
    """
    # A web corpus has many thousands of different characters, most of which occur a few times.
    # Each of them would take two tokens.
    kept = set(alphabet)
    result = []
    for word, count in words.items():
        symbols = []
        for i, char in enumerate(word):
            if char in kept:  # a symbol keeps its ## even if the character before it is dropped
                symbols.append(char if i == 0 else INSIDE + char)
        result.append((symbols, count))
    return result


def initial_tokens(words_in_symbols, special_tokens):
    """Return the vocabulary before any merge: special tokens, characters, '##' characters."""
    symbols = {symbol for symbols, _ in words_in_symbols for symbol in symbols}
    # A character that occurs only inside the words of this corpus may begin words of other texts.
    characters = sorted({symbol[-1] for symbol in symbols})
    inside = sorted(symbol for symbol in symbols if len(symbol) > 1)
    return list(dict.fromkeys([*special_tokens, *characters, *inside]))


def check_size(vocab_size, tokens, special_tokens):
    """Raise ValueError if the initial tokens do not fit into the vocabulary."""
    if vocab_size < len(tokens):
        raise ValueError(
            f"vocab_size={vocab_size} is smaller than the {len(special_tokens)} special tokens "
            f"and the {len(tokens) - len(special_tokens)} characters of this corpus (most with "
            f"and without ##): use at least {len(tokens)}, or a smaller limit_alphabet")


def check_options(vocab_size, min_frequency, special_tokens, max_words, workers, limit_alphabet,
                  max_input_chars_per_word):
    """Raise ValueError for a wrong option, and unless there is an unknown token."""
    check_training_options(vocab_size, min_frequency, special_tokens, max_words, workers,
                           limit_alphabet)
    check_int(1, max_input_chars_per_word=max_input_chars_per_word)
    for token in special_tokens:
        if len(token.removeprefix(INSIDE)) < 2:
            raise ValueError(f"special token {token!r} could be a character of the text: choose a "
                             "longer name")
    if not {"[UNK]", "<unk>"} & set(special_tokens):
        raise ValueError("special_tokens must include '[UNK]', for words that cannot be spelled")
