"""Compare training and the handling of every code point with the tokenizers library: `make parity`.

``test_parity_encoding.py`` compares ids and offsets.
"""
import random

import pytest
from tokenizer_samples import corpus_files, corpus_text, random_texts

from tokenizer import ByteLevelBPE, WordPiece
from tokenizer.normalize import BertNormalizer
from tokenizer.pretokenize import bert_words, gpt2_words

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def library():
    return pytest.importorskip("tokenizers")


@pytest.fixture
def assert_same_training(library, tmp_path):
    """Return a function that trains both on files or strings, and compares the saved files."""
    from tokenizers.implementations import ByteLevelBPETokenizer

    def assert_same(texts, vocab_size, min_frequency):
        from_files = not isinstance(texts[0], str)
        train = ByteLevelBPE.train if from_files else ByteLevelBPE.train_from_iterator
        ours = train(texts, vocab_size, min_frequency, show_progress=False)
        ours.save(tmp_path / "ours")
        theirs = ByteLevelBPETokenizer()
        options = {
            "vocab_size": vocab_size,
            "min_frequency": min_frequency,
            "special_tokens": list(ours.special_tokens),
            "show_progress": False,
        }
        if from_files:
            theirs.train([str(file) for file in texts], **options)
        else:
            theirs.train_from_iterator(texts, **options)
        (tmp_path / "theirs").mkdir(exist_ok=True)
        theirs.save_model(str(tmp_path / "theirs"))
        for name in ("vocab.json", "merges.txt"):
            expected = (tmp_path / "theirs" / name).read_bytes()
            assert (tmp_path / "ours" / name).read_bytes() == expected, name
    return assert_same


@pytest.mark.parametrize("corpus, vocab_size, min_frequency", [
    ("kant", 52_000, 2), ("kant", 8_192, 2), ("kant", 3_000, 5), ("news", 52_000, 2),
    ("books", 52_000, 2),
])
def test_training_on_corpora_gives_the_same_files(
    assert_same_training, tmp_path, corpus, vocab_size, min_frequency
):
    (tmp_path / "corpus.txt").write_bytes(corpus_text(corpus).encode())
    assert_same_training([tmp_path / "corpus.txt"], vocab_size, min_frequency)


def random_bytes(seed):
    """Return 100,000 random bytes as two texts: read as Latin-1, and as UTF-8 with U+FFFD."""
    data = random.Random(seed).randbytes(100_000)
    return [data.decode("latin-1"), data.decode("utf-8", errors="replace")]


@pytest.mark.parametrize("from_files", [False, True])
def test_training_on_random_bytes_gives_the_same_files(assert_same_training, tmp_path, from_files):
    """In files only byte 10 ends a line; strings are not cut into lines."""
    for seed, sizes in enumerate([(261, 1), (700, 2), (3_000, 3), (20_000, 2)]):
        texts = [*random_bytes(seed), "".join(random_texts(500, seed))]
        if from_files:
            for i, text in enumerate(texts):
                (tmp_path / f"{i}.txt").write_bytes(text.encode())
            texts = sorted(tmp_path.glob("?.txt"))
        assert_same_training(texts, *sizes)


def repeats(unit, longest):
    return [unit * length for length in range(1, longest)]


REPEATS = {
    "one letter, each length": repeats("a", 70),
    "one long run": ["a" * 30_000],
    "runs of about 2**n": ["a" * (2**n + d) for n in range(1, 12) for d in (-1, 0, 1)],
    "abab": repeats("ab", 40) + repeats("ba", 40),
    "overlaps": ["aaabaaab" * 5, "aabaabaa" * 7, "abaababaab" * 9, "abcab" * 11,
                 "aab", "baa", "aba", "bab"],
    "Fibonacci's word": ["abaababaabaababaababa" * 30],
    "spaces": [" " * length + "a" + "\n" * length for length in range(30)],
    "digits and signs": ["0" * 64 + "." * 64 + "0." * 32, "--" * 33, "=" * 80],
    "a letter of four bytes": repeats("😀", 20) + ["日本" * 10, "é" * 33],
    "everything once, and twice": ["".join(map(chr, range(33, 400)))] * 2,
}


@pytest.mark.parametrize("texts", REPEATS.values(), ids=REPEATS.keys())
@pytest.mark.parametrize("min_frequency", [1, 2])
def test_training_on_repeats_gives_the_same_files(assert_same_training, texts, min_frequency):
    for vocab_size in (264, 275, 400, 5_000):
        assert_same_training(texts, vocab_size, min_frequency)


def test_training_on_300_adversarial_corpora_gives_the_same_files(assert_same_training):
    rng = random.Random(0)
    for i in range(300):
        letters = ("ab", "abc ", "a \n", None)[i % 4]
        if letters:
            texts = ["".join(rng.choices(letters, k=rng.randint(0, 30))) for _ in range(20)] + ["a"]
        else:
            texts = random_texts(30, seed=i)
        assert_same_training(texts, 261 + rng.randint(0, 80), rng.choice([1, 2, 3]))


def test_word_pieces_of_training_differ_by_less_than_half_a_percent(library):
    from tokenizers.implementations import BertWordPieceTokenizer
    files = corpus_files("kant")
    for vocab_size in (3_000, 30_522):  # two runs of theirs differ as much from each other
        ours = WordPiece.train(files, vocab_size, show_progress=False)
        theirs = BertWordPieceTokenizer()
        theirs.train([str(file) for file in files], vocab_size=vocab_size, show_progress=False)
        only_ours = set(ours.get_vocab()) - set(theirs.get_vocab())
        only_theirs = set(theirs.get_vocab()) - set(ours.get_vocab())
        assert max(len(only_ours), len(only_theirs)) <= 0.005 * ours.vocab_size


def test_every_code_point_is_treated_alike(library):
    """Normalizing, BERT's words and GPT-2's words of all 1,112,064 code points. None differs."""
    normalizer = library.normalizers.BertNormalizer(lowercase=True)
    bert = library.pre_tokenizers.BertPreTokenizer()
    byte_level = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    for char in map(chr, [*range(0xD800), *range(0xE000, 0x110000)]):
        text = f"a{char}\u0323 1{char}!{char}"
        normal, _ = BertNormalizer().normalize(text)
        assert normal == normalizer.normalize_str(text), ascii(char)
        words = [text[start:end] for _, (start, end) in byte_level.pre_tokenize_str(text)]
        assert gpt2_words(text) == words, ascii(char)
        spans = [span for _, span in bert.pre_tokenize_str(text)]
        assert bert_words(text) == spans, ascii(char)
