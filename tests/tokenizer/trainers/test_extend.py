"""Extending a vocabulary: entries counted by hand, old ids, and what is refused."""
from pathlib import Path

import pytest
from tokenizer_samples import STORY, random_texts

from tokenizer import ByteLevelBPE, WordPiece, load_tokenizer
from tokenizer.pretokenize import byte_characters
from tokenizer.trainers.extend import extend, replaced_pieces, split_token
from tokenizer.wordpiece import SPECIAL_TOKENS

BYTES = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *byte_characters()]
KINDS = [ByteLevelBPE, WordPiece]
PUBLISHED = Path(__file__).parents[1] / "golden" / "published"
# "ohm" three times, "ohms" twice, "lower" once
DOMAIN = ["ohm\n", "ohm", "ohms\n", "ohm", "ohms", "lower"]


def small_bpe(merges):
    return ByteLevelBPE([*BYTES, *map("".join, merges)], merges)


def small_wordpiece(*pieces):
    return WordPiece([*SPECIAL_TOKENS, *pieces])


def trained(kind, size=None, **options):
    size = size or {"bpe": 280, "wordpiece": 110}[kind.kind]
    return kind.train_from_iterator([STORY], size, show_progress=False, **options)


def extended(tokenizer, texts, num_new, **options):
    return extend(tokenizer, texts, num_new, show_progress=False, workers=1, **options)


def test_bpe_merges_go_on_by_hand():
    # With h m and l o, the text is o hm (5 times), o hm s (of these, 2 times) and lo w e r (once).
    # o hm occurs 5 times and is merged first; then ohm s, 2 times; then nothing occurs twice.
    old = small_bpe([("h", "m"), ("l", "o")])
    new = extended(old, DOMAIN, 10)
    assert new.merges == [("h", "m"), ("l", "o"), ("o", "hm"), ("ohm", "s")]
    assert list(new.get_vocab()) == [*old.get_vocab(), "ohm", "ohms"]
    assert new.encode_ids("ohms lower") == [
        new.token_to_id(token) for token in ("ohms", "Ġ", "lo", "w", "e", "r")]
    assert new.training_summary == "vocabulary: asked for 273, reached 265: no pair occurs 2 times"


def test_wordpiece_entries_go_on_by_hand_and_the_longest_match_decides():
    old = small_wordpiece("o", "h", "m", "s", "##h", "##m", "##s", "##hm", "##ms")
    # ohm is o ##hm (5 times), of these with ##s 2 times: o ##hm is merged, then ohm ##s.
    new = extended(old, DOMAIN, 2)
    assert list(new.get_vocab()) == [*old.get_vocab(), "ohm", "ohms"]
    assert new.encode("ohms", add_special_tokens=False).tokens == ["ohms"]
    assert extended(old, DOMAIN, 1).encode("ohms", add_special_tokens=False).tokens == [
        "ohm", "##s"]


def test_a_token_that_no_merge_reaches_is_not_made_twice():
    """Published merges may be in such an order that abc is a, bc although abc is a token."""
    old = small_bpe([("b", "c"), ("a", "b"), ("ab", "c")])
    new = extended(old, ["abcd abcd abcd"], 10)
    assert list(new.get_vocab())[old.vocab_size:] == ["bcd", "abcd", "Ġabcd"]


def test_words_with_unknown_characters_are_skipped():
    old = small_wordpiece("o", "##h")
    new = extended(old, ["oh oh ohm ohm ohm"], 5)
    assert list(new.get_vocab())[7:] == ["oh"]


@pytest.mark.parametrize("kind", KINDS)
def test_old_ids_and_settings_stay_also_after_saving(kind, tmp_path):
    old = trained(kind)
    new = extended(old, [STORY], 30)
    assert list(new.get_vocab())[:old.vocab_size] == list(old.get_vocab())
    assert new.special_ids == old.special_ids and new.mask_token_id == old.mask_token_id
    assert new.vocab_size == old.vocab_size + 30
    new.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert again.fingerprint == new.fingerprint
    for text in [STORY, *random_texts(300)]:
        assert again.encode(text).ids == new.encode(text).ids
        assert len(new.encode(text)) <= len(old.encode(text))


def test_bpe_that_is_extended_on_its_own_text_is_the_larger_bpe():
    """The merges of training do not depend on where it is interrupted."""
    assert extended(trained(ByteLevelBPE, 300), [STORY], 50).merges == (
        trained(ByteLevelBPE, 350).merges)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_token_replaces_the_pieces_that_the_old_tokenizer_has_for_it(kind):
    old = trained(kind)
    new = extended(old, [STORY], 100)
    pieces = replaced_pieces(old, new)
    assert list(pieces) == list(range(old.vocab_size, new.vocab_size))
    joined = {}
    for new_id, ids in pieces.items():
        token = old.id_to_token(ids[0])
        for part in ids[1:]:
            token = old.merged_token(token, old.id_to_token(part))
        joined[new_id] = token
        assert len(ids) > 1 and max(ids) < old.vocab_size
    assert joined == {i: new.id_to_token(i) for i in pieces}
    assert replaced_pieces(old, old) == {}


def test_the_pieces_inside_a_word_keep_their_prefix():
    tokenizer = small_wordpiece("a", "b", "ab", "##a", "##b", "##c")
    assert [tokenizer.id_to_token(i) for i in split_token(tokenizer, "##abc")] == [
        "##a", "##b", "##c"]
    assert [tokenizer.id_to_token(i) for i in split_token(tokenizer, "abc")] == ["ab", "##c"]


def test_half_a_character_can_be_a_new_token():
    old = small_bpe([])
    new = extended(old, ["\u0bb7\u0bb8"], 1)  # E0 AE B7, E0 AE B8: only E0 AE occurs twice
    assert replaced_pieces(old, new) == {261: [old._byte_ids[0xE0], old._byte_ids[0xAE]]}


def test_text_in_another_unicode_form_is_learned_as_the_tokenizer_reads_it():
    old = ByteLevelBPE(BYTES, [], unicode_form="NFC")
    new = extended(old, ["e\u0301 e\u0301"], 1)
    assert new.encode("e\u0301", add_special_tokens=False).ids == [261]


def test_a_text_that_adds_nothing_is_refused():
    with pytest.raises(ValueError, match="adds nothing to the vocabulary: no pair occurs 2 times"):
        extended(small_bpe([]), ["ab"], 5)
    with pytest.raises(ValueError, match="the corpus is empty"):
        extended(small_bpe([]), [" "[:0]], 5)
    with pytest.raises(ValueError, match="num_new"):
        extended(small_bpe([]), DOMAIN, 0)


@pytest.mark.parametrize("name", ["modernbert", "gpt2"])
def test_a_published_folder_keeps_its_added_tokens_and_templates(name, tmp_path):
    old = load_tokenizer(PUBLISHED / name)
    extended(old, ["ohms ohms"], 3).save(tmp_path)
    new = load_tokenizer(tmp_path)
    assert (new.added_tokens, new.template) == (old.added_tokens, old.template)
    assert len(replaced_pieces(old, new)) == 3


def test_a_wordpiece_with_added_terms_outside_of_its_vocabulary_is_refused():
    with_terms = load_tokenizer(PUBLISHED / "bert-with-terms")
    assert replaced_pieces(with_terms, with_terms) == {}
    with pytest.raises(ValueError, match="such as 'Flour': extend it without them"):
        extended(with_terms, [STORY], 5)
    plain = trained(WordPiece)
    special = WordPiece([*plain.get_vocab(), "Flour"], not_pieces=["Flour"],
                        special_tokens=[*SPECIAL_TOKENS, "Flour"])
    new = extended(special, [STORY], 5)
    assert new.token_to_id("Flour") == plain.vocab_size and not new.not_pieces


def test_tokenizers_that_are_no_extension_are_refused():
    old = trained(WordPiece)
    larger = trained(WordPiece, 120)
    cased = trained(WordPiece, 120, lowercase=False)
    for other in (trained(ByteLevelBPE), cased, trained(WordPiece, 109)):
        with pytest.raises(ValueError, match="with more entries: make it with"):
            replaced_pieces(old, other)
    assert len(replaced_pieces(old, larger)) == 10  # a longer training has the same beginning
