"""transformers' AutoTokenizer, live (``make parity``): the same ids, whoever saved the files."""
import json
import random
import unicodedata

import pytest
from format_helpers import ODD, change_json, random_tokenizer
from tokenizer_samples import POOLS, STORY, random_texts

from tokenizer import ByteLevelBPE, WordPiece, load_tokenizer
from tokenizer.normalize import nfc

pytestmark = pytest.mark.parity
TEXTS = ["", " ", "a  <mask>b", "the <mask><mask> [MASK] x", "  leading", "isn't\n\n  it  ",
         "Café CAFE 中文 \u0301", "x  y   z" + " " * 30]
KINDS = [ByteLevelBPE, WordPiece]
ALL_OPTIONS = ({}, {"add_special_tokens": False}, {"split_special_tokens": True})
WITHOUT_SPLIT = ALL_OPTIONS[:2]


@pytest.fixture(scope="module")
def transformers():
    pytest.importorskip("tokenizers")
    return pytest.importorskip("transformers")


def load(transformers, folder):
    return transformers.AutoTokenizer.from_pretrained(folder)


def train(kind, size=400, **options):
    return kind.train_from_iterator([STORY], size, show_progress=False, **options)


def assert_same(ours, theirs, texts, all_options=ALL_OPTIONS):
    """Compare encodings of texts and pairs with each of the options; for BPE also decoding."""
    has_templates = ours.has_template_tokens()
    for text, pair in zip(texts, [*texts[1:], "x"]):
        for options in all_options if has_templates else all_options[1:2]:
            theirs._tokenizer.encode_special_tokens = "split_special_tokens" in options
            for inputs in ((text,), (text, pair or "x")):  # transformers ignores an empty pair
                encoding = ours.encode(*inputs, **options)
                expected = theirs(*inputs, return_offsets_mapping=True, return_token_type_ids=True,
                                  return_special_tokens_mask=True, **options)
                assert encoding.ids == expected["input_ids"], (inputs, options)
                assert encoding.attention_mask == expected["attention_mask"]
                assert encoding.special_tokens_mask == expected["special_tokens_mask"]
                assert encoding.type_ids == expected["token_type_ids"] or not has_templates
                assert encoding.offsets == expected["offset_mapping"], (inputs, options)
        theirs._tokenizer.encode_special_tokens = False
        if ours.kind == "bpe":
            ids = ours.encode(text, add_special_tokens=False).ids
            assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)
            assert ours.decode(ids, skip_special_tokens=False) == theirs.decode(ids)


BPE_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>", " of the ", "a\tb", "ж!", "<|x|>")
BERT_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", " of the ", "a\tb", "é!", "[X Y]")


@pytest.mark.parametrize("kind, options", [
    (ByteLevelBPE, {}),
    (ByteLevelBPE, {"special_tokens": BPE_TOKENS}),
    (WordPiece, {}),
    (WordPiece, {"lowercase": False}),
    (WordPiece, {"strip_accents": False}),
    (WordPiece, {"lowercase": False, "strip_accents": True}),
    (WordPiece, {"special_tokens": BERT_TOKENS})])
def test_auto_tokenizer_loads_a_trained_tokenizer(transformers, tmp_path, kind, options):
    corpus = [STORY, *random_texts(300, seed=1)]
    ours = kind.train_from_iterator(corpus, 2000, show_progress=False, **options)
    ours.save(tmp_path)
    theirs = load(transformers, tmp_path)
    assert len(theirs) == ours.vocab_size
    assert theirs.all_special_ids
    for role in ("cls", "sep", "pad", "unk", "mask"):
        assert getattr(theirs, f"{role}_token_id") == getattr(ours, f"{role}_token_id")
    special = [" ".join(ours.special_tokens), "".join(ours.special_tokens[::-1]),
               " x of the a\tb é! ж! [X Y]y "]
    assert_same(ours, theirs, [*TEXTS, *special, *random_texts(1500, seed=3)])


@pytest.mark.parametrize("kind, options", [
    (ByteLevelBPE, {"add_prefix_space": True, "model_max_length": 77}),
    (ByteLevelBPE, {"trim_offsets": True}),
    (ByteLevelBPE, {"add_prefix_space": True, "trim_offsets": True}),
    (WordPiece, {"tokenize_chinese_chars": False, "max_input_chars_per_word": 5})])
def test_settings_that_training_does_not_set(transformers, tmp_path, kind, options):
    trained = train(kind)
    if kind is ByteLevelBPE:
        options = options | {"merges": trained.merges}
    ours = kind(trained.get_vocab(), **options)
    ours.save(tmp_path)
    theirs = load(transformers, tmp_path)
    assert_same(ours, theirs, [*TEXTS, *random_texts(700, seed=4)])
    assert ours.model_max_length in (None, theirs.model_max_length)


@pytest.mark.parametrize("model_type", ["bert", "roberta", "modernbert"])
def test_the_model_in_the_same_folder_makes_no_difference(transformers, tmp_path, model_type):
    for kind in KINDS:
        ours = train(kind)
        ours.save(tmp_path)
        (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
        assert_same(ours, load(transformers, tmp_path), [*TEXTS, *random_texts(50, seed=5)])


def test_auto_tokenizer_loads_any_tokenizer(transformers, tmp_path):
    """Tiny vocabularies, odd special tokens, no merges, missing roles.

    Excluded are special tokens that WordPiece could take for a piece of a word, such as "ab" or
    "##b" or, if special tokens are split, "#". The reference does take them; ours never makes a
    special token from plain text.
    """
    rng = random.Random(1)
    odd = [token for token in ODD if not token.isalpha() and token != "##b"]
    for i in range(60):
        ours = random_tokenizer(rng, odd)
        ours.save(tmp_path / str(i))
        texts = []
        for _ in range(30):
            parts = rng.choices([*ODD, "a", "b", " ", "é", "x" * 99], k=rng.randint(0, 8))
            texts.append("ab " + "".join(parts))
        texts += random_texts(20, seed=i)
        all_options = ALL_OPTIONS if ours.kind == "bpe" else WITHOUT_SPLIT
        assert_same(ours, load(transformers, tmp_path / str(i)), texts, all_options)


@pytest.mark.parametrize("name", [
    "roberta", "roberta-by-transformers", "gpt2", "modernbert", "bert", "bert-cased",
    "bert-with-terms", "bert-of-old"])
def test_published_layouts_are_loaded_saved_and_loaded_again(transformers, tmp_path, name):
    from make_published import TEXTS as PUBLISHED_TEXTS
    from make_published import make
    theirs = make(name, tmp_path / "theirs")
    ours = load_tokenizer(tmp_path / "theirs")
    rng = random.Random(2)
    texts = [*TEXTS, *PUBLISHED_TEXTS, *random_texts(700, seed=6)]
    texts += ["".join(rng.choices(["  ", "a", " ", *POOLS[2]], k=12)) for _ in range(300)]
    assert_same(ours, theirs, texts)
    ours.save(tmp_path / "ours")
    assert_same(ours, load(transformers, tmp_path / "ours"), texts[:300])
    load(transformers, tmp_path / "ours").save_pretrained(tmp_path / "again")
    again = load_tokenizer(tmp_path / "again")
    assert all(again.encode(text) == ours.encode(text) for text in texts)


def test_any_tokens_added_to_wordpiece_give_the_same_ids(transformers, tmp_path):
    """Added are tokens of words, pieces with '##', and new ones, normalized or not."""
    from tokenizers import AddedToken
    rng = random.Random(3)
    ours = train(WordPiece, 250)
    ours.save(tmp_path / "plain")
    known = [token for token in ours.get_vocab() if token not in ours.special_tokens]
    for i in range(25):
        names = []
        for _ in range(rng.randint(1, 6)):
            names.append(rng.choice([rng.choice(known), rng.choice(STORY.split()), "Cat", "the",
                                     "s", "##s", "mill er"]))
        theirs = load(transformers, tmp_path / "plain")
        theirs.add_tokens([AddedToken(name, normalized=rng.random() < 0.5) for name in names])
        theirs.save_pretrained(tmp_path / f"theirs{i}")
        # The saved configuration has kept the fingerprint of the tokenizer without them.
        change_json(tmp_path / f"theirs{i}" / "tokenizer_config.json",
                    lambda config: config.pop("fingerprint"))
        texts = ["The cat"]
        for _ in range(40):
            texts.append(" ".join(rng.choices([*STORY.split(), *names, "THE", "##s"], k=8)))
        loaded = load_tokenizer(tmp_path / f"theirs{i}")
        assert_same(loaded, theirs, texts, WITHOUT_SPLIT)
        loaded.save(tmp_path / f"ours{i}")
        assert_same(loaded, load(transformers, tmp_path / f"ours{i}"), texts, WITHOUT_SPLIT)
        assert load_tokenizer(tmp_path / f"ours{i}").fingerprint == loaded.fingerprint


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_transformers_has_saved_again_give_the_same_tokenizer(
        transformers, tmp_path, kind):
    ours = train(kind)
    ours.save(tmp_path / "ours")
    for folder in ("theirs", "ours"):  # at last over our own files
        load(transformers, tmp_path / "ours").save_pretrained(tmp_path / folder)
        assert load_tokenizer(tmp_path / folder).fingerprint == ours.fingerprint


def test_composition_is_equal_for_every_code_point(transformers):
    """NFC in contexts where the character composes, is reordered, or blocks composition."""
    from tokenizers.normalizers import NFC
    theirs = NFC()
    for char in map(chr, range(0x110000)):
        if unicodedata.category(char) not in ("Cs", "Cn"):
            composed = f"a{char}\u0301e\u0323{char} {char}\u0300\u0327\u1161{char}"
            for text in (composed, unicodedata.normalize("NFD", composed)):
                assert nfc(text)[0] == theirs.normalize_str(text), f"U+{ord(char):04X}"
