"""The reference library, live: `make parity`. The same files from training, the same ids and offsets from encoding.

Characters that the running Python does not know (category Cn) are left out of the texts: of those the library's newer
or older tables may think otherwise. ``tokenizer/unicode_versions.py`` says what they are.
"""
import random
import unicodedata

import pytest
from tokenizer_samples import STORY, corpus_files, random_texts

from tokenizer import ByteLevelBPE, WordPiece
from tokenizer.normalize import BertNormalizer
from tokenizer.pretokenize import bert_words, gpt2_words

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def library():
    return pytest.importorskip("tokenizers")


def library_bpe(library, files, vocab_size, min_frequency, special_tokens):
    from tokenizers.implementations import ByteLevelBPETokenizer
    tok = ByteLevelBPETokenizer()
    options = {"vocab_size": vocab_size, "min_frequency": min_frequency, "special_tokens": list(special_tokens),
               "show_progress": False}
    if isinstance(files[0], str):
        tok.train_from_iterator(files, **options)
    else:
        tok.train([str(file) for file in files], **options)
    return tok


def assert_same_files(ours, theirs, tmp_path):
    (tmp_path / "theirs").mkdir(exist_ok=True)
    theirs.save_model(str(tmp_path / "theirs"))
    ours.save(tmp_path / "ours")
    for name in ("vocab.json", "merges.txt"):
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes(), name


@pytest.mark.parametrize("corpus, vocab_size, min_frequency", [
    ("kant", 52_000, 2), ("kant", 8_192, 2), ("kant", 3_000, 5), ("news", 20_000, 2), ("books", 8_192, 2)])
def test_training_on_corpora_gives_the_same_files(library, tmp_path, corpus, vocab_size, min_frequency):
    files = corpus_files(corpus)[:5]
    if corpus == "news":  # they are in Latin-1
        for file in files:
            (tmp_path / file.name).write_bytes(file.read_text(encoding="latin-1").encode())
        files = sorted(tmp_path.glob("*.txt"))
    ours = ByteLevelBPE.train(files, vocab_size, min_frequency, show_progress=False)
    theirs = library_bpe(library, files, vocab_size, min_frequency, ours.special_tokens)
    assert_same_files(ours, theirs, tmp_path)


def test_training_on_adversarial_strings_gives_the_same_files(library, tmp_path):
    rng = random.Random(0)
    for number in range(200):
        if number % 4 == 3:
            texts = random_texts(30, seed=number)
        else:
            letters = ["ab", "abc ", "a \n"][number % 4]
            texts = ["".join(rng.choices(letters, k=rng.randint(0, 30))) for _ in range(20)] + ["a"]
        vocab_size, min_frequency = 261 + rng.randint(0, 80), rng.choice([1, 2, 3])
        ours = ByteLevelBPE.train_from_iterator(texts, vocab_size, min_frequency, show_progress=False)
        assert_same_files(ours, library_bpe(library, texts, vocab_size, min_frequency, ours.special_tokens), tmp_path)


def test_word_pieces_of_training_differ_by_less_than_half_a_percent(library):
    from tokenizers.implementations import BertWordPieceTokenizer
    files = corpus_files("kant")
    for vocab_size in (3_000, 30_522):  # two runs of theirs differ as much from each other
        ours = WordPiece.train(files, vocab_size, show_progress=False)
        theirs = BertWordPieceTokenizer()
        theirs.train([str(file) for file in files], vocab_size=vocab_size, show_progress=False)
        only_ours, only_theirs = set(ours.get_vocab()) - set(theirs.get_vocab()), set(theirs.get_vocab()) - set(ours.get_vocab())
        print(f"WordPiece {vocab_size}: of {ours.vocab_size} only ours {len(only_ours)}, only theirs {len(only_theirs)}")
        assert max(len(only_ours), len(only_theirs)) <= 0.005 * ours.vocab_size


@pytest.fixture(scope="module")
def pairs(library, tmp_path_factory):
    """[(our tokenizer, the library's with the same vocabulary)]"""
    from tokenizers.implementations import BertWordPieceTokenizer, ByteLevelBPETokenizer
    folder = tmp_path_factory.mktemp("pairs")
    texts = [STORY, *random_texts(2000, seed=99)]
    bpe = ByteLevelBPE.train_from_iterator(texts, 2000, show_progress=False)
    bpe.save(folder)
    theirs = ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    theirs.add_special_tokens([*bpe.special_tokens[:-1], library.AddedToken("<mask>", lstrip=True)])
    result = [(bpe, theirs)]
    for number, (lowercase, strip_accents) in enumerate([(True, None), (False, None), (True, False), (False, True)]):
        ours = WordPiece.train_from_iterator(texts, 4000, lowercase=lowercase, strip_accents=strip_accents,
                                             show_progress=False)
        ours.save(folder / str(number))
        result.append((ours, BertWordPieceTokenizer(str(folder / str(number) / "vocab.txt"), lowercase=lowercase,
                                                    strip_accents=strip_accents)))
    return result


def test_ids_and_offsets_are_equal_on_20_000_random_texts(pairs):
    texts = random_texts(20_000, seed=11)
    for ours, theirs in pairs:
        for text in texts:
            mine, their = ours.encode(text, add_special_tokens=False), theirs.encode(text, add_special_tokens=False)
            assert mine.ids == their.ids, (ours.kind, text)
            assert mine.offsets == their.offsets, (ours.kind, text)


def test_ids_are_equal_on_corpora(pairs):
    for corpus in ("kant", "books"):
        text = corpus_files(corpus)[0].read_text(encoding="utf-8")[:300_000]
        for ours, theirs in pairs:
            assert ours.encode_ids(text) == theirs.encode(text, add_special_tokens=False).ids


def test_templates_and_truncation_are_equal(library):
    from tokenizers.processors import BertProcessing, RobertaProcessing
    texts = [" ".join("abcdefghij"[:length]) for length in range(9)]
    for kind in (ByteLevelBPE, WordPiece):
        ours = kind.train_from_iterator(["a b c d e f g h i j"], 300, 1, show_progress=False)
        if kind is ByteLevelBPE:
            theirs = library_bpe(library, ["a b c d e f g h i j"], 300, 1, ours.special_tokens)
            theirs.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=False, add_prefix_space=False)
        else:
            theirs = library.Tokenizer(library.models.WordPiece(ours.get_vocab(), unk_token="[UNK]"))
            theirs.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
            theirs.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        for max_length in range(5, 22):
            theirs.enable_truncation(max_length)
            for first in texts:
                for second in [None, *texts]:
                    mine, their = ours.encode(first, second, max_length=max_length), theirs.encode(first, second)
                    assert mine.ids == their.ids and mine.type_ids == their.type_ids
                    assert mine.offsets == their.offsets and mine.special_tokens_mask == their.special_tokens_mask


def test_decoding_is_equal(pairs):
    texts = [text.replace("'", "") for text in random_texts(2000, seed=12)]  # we join isn't, they write isn ' t
    for ours, theirs in pairs:
        for text in texts:
            ids = ours.encode_ids(text)
            assert ours.decode(ids) == theirs.decode(ids)


def test_every_code_point_that_python_knows_is_treated_alike(library):
    """Normalizing, BERT's words and GPT-2's words, in a few contexts."""
    normalizer = library.normalizers.BertNormalizer(lowercase=True)
    ours, words = BertNormalizer(), library.pre_tokenizers.BertPreTokenizer()
    byte_level = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    chars = [char for char in map(chr, range(0x110000)) if unicodedata.category(char) not in ("Cs", "Cn", "Co")]
    for char in chars:
        text = f"a{char}b 1{char}2 !{char}! {char}a  {char}"
        normal, _ = ours.normalize(text)
        assert normal == normalizer.normalize_str(text), f"U+{ord(char):04X}"
        assert bert_words(normal) == [span for _, span in words.pre_tokenize_str(normal)], f"U+{ord(char):04X}"
        spans = [text[start:end] for _, (start, end) in byte_level.pre_tokenize_str(text)]
        assert gpt2_words(text) == spans, f"U+{ord(char):04X}"
