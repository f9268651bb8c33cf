"""transformers' AutoTokenizer, live (`make parity`): it loads what is saved here, and what it saves is read here. The same ids."""
import json
import random
import unicodedata

import pytest
from test_tokenizer_json_write import ODD, random_tokenizer
from tokenizer_samples import POOLS, STORY, random_texts

from tokenizer import ByteLevelBPE, WordPiece, load_tokenizer
from tokenizer.normalize import nfc

pytestmark = pytest.mark.parity
TEXTS = ["", " ", "a  <mask>b", "the <mask><mask> [MASK] x", "  leading", "isn't\n\n  it  ", "Café CAFE 中文 \u0301", "x  y   z" + " " * 30]
KINDS = [ByteLevelBPE, WordPiece]


@pytest.fixture(scope="module")
def transformers():
    pytest.importorskip("tokenizers")
    return pytest.importorskip("transformers")


ALL_WAYS = ({}, {"add_special_tokens": False}, {"split_special_tokens": True})


def assert_same(ours, theirs, texts, ways=ALL_WAYS):
    """With and without special tokens, pairs, types, offsets, split special tokens; and both ways of decoding for byte-level BPE."""
    whole = all(getattr(ours, f"{role}_token") for role, _ in ours.template if role not in "AB")
    for text, pair in zip(texts, [*texts[1:], "x"]):
        for options in ways if whole else ways[1:2]:
            theirs._tokenizer.encode_special_tokens = "split_special_tokens" in options
            for given in ((text,), (text, pair or "x")):  # an empty second text is none to transformers
                mine = ours.encode(*given, **options)
                their = theirs(*given, return_offsets_mapping=True, return_token_type_ids=True, return_special_tokens_mask=True, **options)
                assert mine.ids == their["input_ids"], (given, options)
                assert mine.attention_mask == their["attention_mask"] and mine.special_tokens_mask == their["special_tokens_mask"]
                assert mine.type_ids == their["token_type_ids"] or not whole
                assert mine.offsets == their["offset_mapping"], (given, options)
        theirs._tokenizer.encode_special_tokens = False
        if ours.kind == "bpe":
            ids = ours.encode(text, add_special_tokens=False).ids
            assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)
            assert ours.decode(ids, skip_special_tokens=False) == theirs.decode(ids)


def load(transformers, folder):
    return transformers.AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("kind, options", [
    (ByteLevelBPE, {}), (WordPiece, {}), (WordPiece, {"lowercase": False}), (WordPiece, {"strip_accents": False}),
    (WordPiece, {"lowercase": False, "strip_accents": True}),
    (ByteLevelBPE, {"special_tokens": ("<s>", "<pad>", "</s>", "<unk>", "<mask>", " of the ", "a\tb", "ж!", "<|x|>")}),
    (WordPiece, {"special_tokens": ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", " of the ", "a\tb", "é!", "[X Y]")})])
def test_auto_tokenizer_gives_the_same_ids_for_what_is_saved_here(transformers, tmp_path, kind, options):
    ours = kind.train_from_iterator([STORY, *random_texts(300, seed=1)], 1500, show_progress=False, **options)
    ours.save(tmp_path)
    theirs = load(transformers, tmp_path)
    assert len(theirs) == ours.vocab_size and theirs.all_special_ids
    for role in ("cls", "sep", "pad", "unk", "mask"):
        assert getattr(theirs, f"{role}_token_id") == getattr(ours, f"{role}_token_id")
    specials = [" ".join(ours.special_tokens), "".join(ours.special_tokens[::-1]), " x of the a\tb é! ж! [X Y]y "]
    assert_same(ours, theirs, [*TEXTS, *specials, *random_texts(1500, seed=3)])


def test_settings_that_training_does_not_set(transformers, tmp_path):
    bpe, pieces = (kind.train_from_iterator([STORY], 400, show_progress=False) for kind in KINDS)
    for number, ours in enumerate([
            ByteLevelBPE(bpe.get_vocab(), bpe.merges, bpe.special_tokens, add_prefix_space=True, model_max_length=77),
            ByteLevelBPE(bpe.get_vocab(), bpe.merges, bpe.special_tokens, trim_offsets=True),
            ByteLevelBPE(bpe.get_vocab(), bpe.merges, bpe.special_tokens, add_prefix_space=True, trim_offsets=True),
            WordPiece(pieces.get_vocab(), tokenize_chinese_chars=False, max_input_chars_per_word=5)]):
        ours.save(tmp_path / str(number))
        theirs = load(transformers, tmp_path / str(number))
        assert_same(ours, theirs, [*TEXTS, *random_texts(700, seed=4)])
        assert ours.model_max_length in (None, theirs.model_max_length)


@pytest.mark.parametrize("model_type", ["bert", "roberta", "modernbert"])
def test_it_makes_no_difference_what_model_lies_beside_it(transformers, tmp_path, model_type):
    for kind in KINDS:
        ours = kind.train_from_iterator([STORY], 400, show_progress=False)
        ours.save(tmp_path)
        (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
        assert_same(ours, load(transformers, tmp_path), [*TEXTS, *random_texts(50, seed=5)])


def test_any_tokenizer_is_the_same_for_auto_tokenizer(transformers, tmp_path):
    """Tiny vocabularies, odd special tokens, no merges, missing roles.

    Left out are special tokens that WordPiece could take for a piece of a word, such as "ab", "##b" or, if special tokens are split, "#":
    the reference does take them, and we, who never make a special token from plain text, do not.
    """
    rng = random.Random(1)
    for number in range(60):
        ours = random_tokenizer(rng, [token for token in ODD if not token.isalpha() and token != "##b"])
        ours.save(tmp_path / str(number))
        texts = ["ab " + "".join(rng.choices([*ODD, "a", "b", " ", "é", "x" * 99], k=rng.randint(0, 8))) for _ in range(30)]
        ways = ALL_WAYS if ours.kind == "bpe" else ALL_WAYS[:2]
        assert_same(ours, load(transformers, tmp_path / str(number)), [*texts, *random_texts(20, seed=number)], ways)


@pytest.mark.parametrize("name", ["roberta", "roberta-by-transformers", "gpt2", "modernbert", "bert", "bert-cased", "bert-with-terms",
                                  "bert-of-old"])
def test_layouts_of_published_models_are_read_saved_and_read_again(transformers, tmp_path, name):
    from make_published import TEXTS as MORE
    from make_published import make
    theirs = make(name, tmp_path / "theirs")
    ours = load_tokenizer(tmp_path / "theirs")
    rng = random.Random(2)
    texts = [*TEXTS, *MORE, *random_texts(700, seed=6), *("".join(rng.choices(["  ", "a", " ", *POOLS[2]], k=12)) for _ in range(300))]
    assert_same(ours, theirs, texts)
    ours.save(tmp_path / "ours")
    assert_same(ours, load(transformers, tmp_path / "ours"), texts[:300])
    load(transformers, tmp_path / "ours").save_pretrained(tmp_path / "again")
    again = load_tokenizer(tmp_path / "again")
    assert all(again.encode(text) == ours.encode(text) for text in texts)


def test_any_tokens_added_to_wordpiece_give_the_same_ids_both_ways(transformers, tmp_path):
    """Tokens that words are spelled with, pieces that begin with '##', new ones; searched for before or after the clean-up."""
    from tokenizers import AddedToken
    rng = random.Random(3)
    ours = WordPiece.train_from_iterator([STORY], 250, show_progress=False)
    ours.save(tmp_path / "plain")
    known = [token for token in ours.get_vocab() if token not in ours.special_tokens]
    for number in range(25):
        theirs = load(transformers, tmp_path / "plain")
        names = [rng.choice([rng.choice(known), rng.choice(STORY.split()), "Cat", "the", "s", "##s", "mill er"]) for _ in range(rng.randint(1, 6))]
        theirs.add_tokens([AddedToken(name, normalized=rng.random() < 0.5) for name in names])
        theirs.save_pretrained(tmp_path / f"theirs{number}")
        config = tmp_path / f"theirs{number}" / "tokenizer_config.json"  # which has kept the fingerprint of the tokenizer without them
        config.write_text(json.dumps({name: value for name, value in json.loads(config.read_text()).items() if name != "fingerprint"}))
        texts = ["The cat", *(" ".join(rng.choices([*STORY.split(), *names, "THE", "##s"], k=8)) for _ in range(40))]
        read = load_tokenizer(tmp_path / f"theirs{number}")
        assert_same(read, theirs, texts, ALL_WAYS[:2])
        read.save(tmp_path / f"ours{number}")
        assert_same(read, load(transformers, tmp_path / f"ours{number}"), texts, ALL_WAYS[:2])
        assert load_tokenizer(tmp_path / f"ours{number}").fingerprint == read.fingerprint


@pytest.mark.parametrize("kind", KINDS)
def test_what_transformers_saves_of_ours_comes_back_as_ours(transformers, tmp_path, kind):
    ours = kind.train_from_iterator([STORY], 400, show_progress=False)
    ours.save(tmp_path / "ours")
    load(transformers, tmp_path / "ours").save_pretrained(tmp_path / "theirs")
    assert load_tokenizer(tmp_path / "theirs").fingerprint == ours.fingerprint
    load(transformers, tmp_path / "ours").save_pretrained(tmp_path / "ours")  # over our own files
    assert load_tokenizer(tmp_path / "ours").fingerprint == ours.fingerprint


def test_composition_is_equal_for_every_code_point(transformers):
    """NFC, in the tables of the reference; in contexts where it composes, reorders and is blocked."""
    from tokenizers.normalizers import NFC
    theirs = NFC()
    for char in map(chr, range(0x110000)):
        if unicodedata.category(char) not in ("Cs", "Cn"):
            composed = f"a{char}\u0301e\u0323{char} {char}\u0300\u0327\u1161{char}"
            for text in (composed, unicodedata.normalize("NFD", composed)):
                assert nfc(text)[0] == theirs.normalize_str(text), f"U+{ord(char):04X}"
