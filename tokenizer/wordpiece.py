"""WordPiece (Schuster and Nakajima 2012; Devlin et al. 2018), the tokenizer of BERT.

A text is normalized, cut at white space and punctuation, and each word spelled by the longest pieces that the vocabulary
has, from the left; pieces inside a word are written '##ing'. A word that cannot be spelled is [UNK] as a whole. Unlike
byte-level BPE there are no merges when encoding, only the vocabulary; and case, accents and spaces are not kept.

Training is byte-pair encoding over characters, of which only the vocabulary is kept. Two criteria choose the pair to merge:
``frequency``, the default, takes the most frequent, as Hugging Face's tokenizers do; ``likelihood`` the one that raises the
likelihood of the corpus most, as the first of these papers says (BERT's own trainer was never published; ``likelihood.py``).
docs/log.md compares them.
"""
import re
from collections import Counter
from functools import partial

from tokenizer.base import Tokenizer
from tokenizer.fast.word_boundaries import bert_boundaries, bert_boundaries_without_cjk
from tokenizer.formats.vocab_files import wordpiece_files
from tokenizer.normalize import BertNormalizer
from tokenizer.pretokenize import bert_words
from tokenizer.trainers.counting import count_files, count_texts
from tokenizer.trainers.likelihood import learn_by_likelihood
from tokenizer.trainers.merges import learn_merges
from tokenizer.trainers.options import check_training_options, training_summary
from tokenizer.utils.progress import progress_bar

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
INSIDE = "##"  # begins every piece that is not the first of its word

_ASCII_WORD = re.compile("[A-Za-z0-9]+|[^A-Za-z0-9 ]")
_SPACE_BEFORE = re.compile(r" ([.,!?])")
_CONTRACTION = re.compile(r" ' (s|t|m|d|re|ve|ll)(?![^ .,!?])")


class WordPiece(Tokenizer):
    """WordPiece. Ids: special tokens, characters in order of code points, '##' characters, then pieces as learned."""
    kind = "wordpiece"
    PAIR_TEMPLATE = (("cls", 0), ("A", 0), ("sep", 0), ("B", 1), ("sep", 1))

    def __init__(self, tokens, special_tokens=SPECIAL_TOKENS, lowercase=True, strip_accents=None,
                 tokenize_chinese_chars=True, max_input_chars_per_word=100, model_max_length=None, roles=None, added=(),
                 templates=None, apart=()):
        """tokens: all, in order of ids.  strip_accents=None: as lowercase.  added, templates: see ``Tokenizer``.

        apart: those added tokens that no word is spelled with, as they stand in a file's added_tokens and not in its vocabulary.
        max_input_chars_per_word: a longer word is [UNK] as a whole, as in BERT's code; counted after normalizing.
        """
        self.normalizer = BertNormalizer(lowercase, strip_accents, tokenize_chinese_chars)
        self.boundaries = bert_boundaries if tokenize_chinese_chars else bert_boundaries_without_cjk
        normalize = self.normalizer.normalize if any(token.normalized for token in added) else None
        super().__init__(tokens, special_tokens, model_max_length, roles, added, templates, normalize)
        if self.unk_token is None:
            raise ValueError("the vocabulary has no [UNK] token, which words that cannot be spelled need: "
                             "train with it in special_tokens, or add it to vocab.txt")
        self.max_input_chars_per_word = max_input_chars_per_word
        self.apart = frozenset(apart)
        no_pieces = self.apart.union(self.special_tokens)
        self._pieces = {token: i for token, i in self._ids.items() if token not in no_pieces}
        both = sorted(token.content for token in self.added_tokens if token.content in self._pieces)
        if both:  # found as they are, and words are spelled with them, too
            self._unusual.append(both)

    # Training

    @classmethod
    def train(cls, files, vocab_size=30522, min_frequency=2, lowercase=True, strip_accents=None,
              criterion="frequency", special_tokens=SPECIAL_TOKENS, limit_alphabet=1000, workers=None, max_words=None,
              show_progress=True):
        """Learn a vocabulary from text files.

        vocab_size is an upper bound: training ends earlier where no pair occurs ``min_frequency`` times, or none raises
        the likelihood; ``training_summary`` of the result says so. criterion: frequency or likelihood, see above.
        limit_alphabet: so many characters, the most frequent, are kept; words with other ones become [UNK]. workers,
        max_words: as ``ByteLevelBPE.train``. Raises ValueError for an empty corpus, for one that is not UTF-8, and for a
        vocab_size smaller than special tokens and alphabet together; FileNotFoundError.

        WordPiece.train(["kant.txt"], vocab_size=8_000).encode("Critique of reason").tokens
        -> ['[CLS]', 'critique', 'of', 'reason', '[SEP]']
        """
        check_options(vocab_size, min_frequency, criterion, special_tokens, max_words, workers, limit_alphabet)
        normalizer = BertNormalizer(lowercase, strip_accents)
        words = count_files(files, bert_boundaries, partial(normalized_words, normalizer), workers, max_words, show_progress)
        return cls._from_counts(words, vocab_size, min_frequency, normalizer, criterion, special_tokens,
                                limit_alphabet, show_progress)

    @classmethod
    def train_from_iterator(cls, texts, vocab_size=30522, min_frequency=2, lowercase=True, strip_accents=None,
                            criterion="frequency", special_tokens=SPECIAL_TOKENS, limit_alphabet=1000, workers=None,
                            max_words=None, show_progress=True):
        """As ``train``, from an iterable of strings."""
        check_options(vocab_size, min_frequency, criterion, special_tokens, max_words, workers, limit_alphabet)
        normalizer = BertNormalizer(lowercase, strip_accents)
        words = count_texts(texts, bert_boundaries, partial(normalized_words, normalizer), workers, max_words, show_progress)
        return cls._from_counts(words, vocab_size, min_frequency, normalizer, criterion, special_tokens,
                                limit_alphabet, show_progress)

    @classmethod
    def _from_counts(cls, words, vocab_size, min_frequency, normalizer, criterion, special_tokens, limit_alphabet,
                     show_progress):
        """The second half of training: ``WordCounts`` -> tokenizer."""
        if not words:
            raise ValueError("the corpus is empty: there is no word to learn a vocabulary from")
        words_in_letters = letters_of(words, limit_alphabet)
        letters = {letter for word, _ in words_in_letters for letter in word}
        # Every character goes in bare as well, though it may stand only inside the words of this corpus: others begin with it.
        alphabet = sorted({letter[-1] for letter in letters})
        inside = sorted(letter for letter in letters if len(letter) > 1)
        tokens = list(dict.fromkeys([*special_tokens, *alphabet, *inside]))
        if vocab_size < len(tokens):
            raise ValueError(f"vocab_size={vocab_size} is smaller than the {len(special_tokens)} special tokens and the "
                             f"{len(tokens) - len(special_tokens)} characters of this corpus (each as such and "
                             f"within words): use at least {len(tokens)}, or a smaller limit_alphabet")
        ids = {token: i for i, token in enumerate(tokens)}
        with progress_bar(vocab_size - len(tokens), "learning pieces", "tokens", show_progress) as bar:
            learned = CRITERIA[criterion]([([ids[letter] for letter in word], count) for word, count in words_in_letters], tokens,
                                          vocab_size, max(1, min_frequency), join_pieces, forbidden=set(special_tokens),
                                          progress=lambda size: bar.update(size - len(tokens) - bar.n))
        tokenizer = cls(learned.tokens, special_tokens, normalizer.lowercase, normalizer.strip_accents,
                        normalizer.tokenize_chinese_chars)
        tokenizer.learned = learned
        tokenizer.training_summary = training_summary(vocab_size, learned, words)
        return tokenizer

    def token_text(self, token, errors="backslashreplace"):
        """Return the text of one token: '##s' -> 's'. (``errors`` is for byte-level BPE.)"""
        return token if token in self._added_contents else token.removeprefix(INSIDE) or token

    def merged_token(self, left, right):
        """'em', '##bed' -> 'embed'"""
        return join_pieces(left, right)

    # Text -> ids

    def _words(self, text):
        return normalized_words(self.normalizer, text)

    def _encode_word(self, word):
        return [token_id for token_id, _, _ in self._spell_word(word, 0)]

    def _encode_plain(self, text, shift):
        """Offsets are those of the characters that a piece was made from; [UNK] has those of its word."""
        normalized, position = self.normalizer.normalize(text)
        return [(token_id, position[start] + shift, position[end - 1] + 1 + shift)
                for word_start, word_end in bert_words(normalized)
                for token_id, start, end in self._spell_word(normalized[word_start:word_end], word_start)]

    def _spell_word(self, word, shift):
        """Greedy longest match from the left. 'embedding' -> em, ##bed, ##ding as [(id, start, end), ...]"""
        unknown = [(self.unk_token_id, shift, shift + len(word))]
        if len(word) > self.max_input_chars_per_word:
            return unknown
        pieces, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = word[start:end] if start == 0 else INSIDE + word[start:end]
                if piece in self._pieces:
                    break
            else:  # no piece fits here, not even a single character
                return unknown
            pieces.append((self._pieces[piece], shift + start, shift + end))
            start = end
        return pieces

    # Ids -> text

    def _text_of(self, runs):
        """Join the '##' pieces to what stands before them, and take out the spaces before . , ! ? and around the apostrophe of isn't and we'll.

        Spaces, case and accents as they were are not known any more.
        """
        parts = []
        for added, tokens in runs:
            for token in tokens:
                inside = parts and not added and token.startswith(INSIDE) and token != INSIDE
                parts.append(token[len(INSIDE):] if inside else " " + token)
        return _CONTRACTION.sub(r"'\1", _SPACE_BEFORE.sub(r"\1", "".join(parts).removeprefix(" ")))

    # Files

    def _vocabulary_files(self):
        return wordpiece_files(self._tokens)

    def _settings(self):
        return {"do_lower_case": self.normalizer.lowercase, "strip_accents": self.normalizer.strip_accents,
                "tokenize_chinese_chars": self.normalizer.tokenize_chinese_chars,
                "max_input_chars_per_word": self.max_input_chars_per_word}


def normalized_words(normalizer, text):
    """A text's words, normalized. "It's" -> ['it', "'", 's']"""
    text = text.strip(" \t\n\r")  # of which units have some before them
    if text.isascii() and text.isprintable():  # the same, sooner
        return _ASCII_WORD.findall(text.lower() if normalizer.lowercase else text)
    text, _ = normalizer.normalize(text)
    return [text[start:end] for start, end in bert_words(text)]


def letters_of(words, limit_alphabet):
    """{word: count} -> [(the letters that training begins with, count), ...].

    Of all characters the most frequent ``limit_alphabet`` are kept, on a tie the smaller code point; the others are left out. What
    remains is marked as inside even where the first letter of its word is among these.

    >>> letters_of({"abc": 2, "äc": 1}, limit_alphabet=3)
    [(['a', '##b', '##c'], 2), (['##c'], 1)]
    """
    characters = Counter()
    for word, count in words.items():
        for char in word:
            characters[char] += count
    ranked = sorted(characters, key=lambda char: (-characters[char], char))
    kept = set(ranked[:limit_alphabet])
    return [([INSIDE * (i > 0) + char for i, char in enumerate(word) if char in kept], count)
            for word, count in words.items()]


def join_pieces(left, right):
    """The second part stands inside the word: ('em', '##bed') -> 'embed'; ('##e', '##d') -> '##ed'"""
    return left + right[len(INSIDE):]


CRITERIA = {"frequency": learn_merges, "likelihood": learn_by_likelihood}


def check_options(vocab_size, min_frequency, criterion, special_tokens, max_words, workers, limit_alphabet):
    """ValueError unless the criterion is known and there is a token for what cannot be spelled."""
    check_training_options(vocab_size, min_frequency, special_tokens, max_words, workers, limit_alphabet)
    if criterion not in CRITERIA:
        raise ValueError(f"criterion={criterion!r} is not known: use {' or '.join(map(repr, CRITERIA))}")
    if not {"[UNK]", "<unk>"} & set(special_tokens):
        raise ValueError(f"special_tokens must hold '[UNK]', for words that cannot be spelled; got {special_tokens}")
