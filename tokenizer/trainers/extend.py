"""Extend a vocabulary: learn entries of another text on top of those that exist.

The text is split with the present vocabulary, and training continues from there: the most frequent
pair of neighboring pieces becomes a new entry, and so on (``trainers/merges.py``). Every old entry
keeps its id, and the new ones follow. So a trained model can be continued: only rows of its
embeddings are added (``minibert/training/init_from.py``).

- Byte-level BPE appends the merges to the old ones. A word is first merged as before, then further.
- WordPiece appends the pieces. A word is still split into the longest pieces, from left to right,
  so it may be split in other places than before.
"""
from tokenizer.added_tokens import ROLES
from tokenizer.bpe import ByteLevelBPE
from tokenizer.pretokenize import token_bytes
from tokenizer.trainers.counting import count_texts
from tokenizer.trainers.merges import learn_merges
from tokenizer.trainers.options import check_training_options, training_summary
from tokenizer.utils.validation import check_int
from tokenizer.wordpiece import INSIDE, WordPiece


def extend(tokenizer, texts, num_new, min_frequency=2, workers=None, max_words=None,
           show_progress=True):
    """Return a tokenizer with up to ``num_new`` more entries, learned from an iterable of strings.

    There are fewer if no pair occurs ``min_frequency`` times; ``training_summary`` of the result
    reports that. Other arguments are those of ``ByteLevelBPE.train``.

    Raises ValueError if the text has no pair for a new entry.

    extend(load_tokenizer("bert-base-uncased"), articles, 1000).encode("myocardial").tokens
    """
    check_int(1, num_new=num_new)
    old_tokens = list(tokenizer.get_vocab())
    vocab_size = len(old_tokens) + num_new
    check_training_options(vocab_size, min_frequency, tokenizer.special_tokens, max_words, workers)
    if tokenizer.kind == "wordpiece" and (added := ordinary_added(tokenizer)):
        # The reference library numbers them after the model's vocabulary, which grows.
        raise ValueError(f"the tokenizer has added tokens outside of its vocabulary, such as "
                         f"{min(added)!r}: extend it without them, then add them")
    if normalize := tokenizer._added.normalize_text:
        texts = map(normalize, texts)
    words = count_texts(texts, tokenizer.boundaries, tokenizer._words, workers, max_words,
                        show_progress)
    # A word with unknown characters is one id, [UNK], and so has no pair.
    words_in_ids = [(tokenizer._encode_word(word), count) for word, count in words.items()]
    learned = learn_merges(words_in_ids, old_tokens, vocab_size, min_frequency,
                           tokenizer.merged_token, forbidden=set(old_tokens),
                           show_progress=show_progress)
    if not learned.merges:
        raise ValueError(f"the text adds nothing to the vocabulary: {learned.stopped}")
    merges = [(learned.tokens[left], learned.tokens[right]) for left, right in learned.merges]
    extended = with_entries(tokenizer, learned.tokens[len(old_tokens):], merges)
    extended.training_summary = training_summary(vocab_size, learned, words)
    return extended


def ordinary_added(tokenizer):
    """Return the added tokens of a WordPiece that are neither pieces nor special."""
    return tokenizer.not_pieces.difference(tokenizer.special_tokens)


def with_entries(tokenizer, new_tokens, new_merges):
    """Return a copy of a tokenizer with more tokens, and for byte-level BPE more merges."""
    settings = tokenizer._settings()
    if tokenizer.kind == "bpe":
        kind = ByteLevelBPE
        settings["merges"] = [*tokenizer.merges, *new_merges]
        settings["trim_offsets"] = tokenizer.trim_offsets
    else:
        kind = WordPiece
        settings["lowercase"] = settings.pop("do_lower_case")
        # No word is split into a special token, so those can be in the model's vocabulary.
        settings["not_pieces"] = ordinary_added(tokenizer)
    return kind(
        [*tokenizer.get_vocab(), *new_tokens], special_tokens=tokenizer.special_tokens,
        model_max_length=tokenizer.model_max_length, added=tokenizer.added_tokens,
        roles={role: getattr(tokenizer, f"{role}_token") for role in ROLES},
        templates=(tokenizer.template, tokenizer.pair_template), **settings)


def replaced_pieces(old, extended):
    """Return {id of a new token: ids of the old pieces that it replaces}; {} for equal tokenizers.

    Raises ValueError if ``extended`` is not ``old`` with more entries.

    With the pieces ab and ##cd in ``old``, and abcd as entry 700 of ``extended``: {700: [31, 45]}
    """
    tokens = list(extended.get_vocab())
    new_tokens = tokens[old.vocab_size:]
    new_merges = extended.merges[len(old.merges):] if old.kind == extended.kind == "bpe" else ()
    try:
        expected = with_entries(old, new_tokens, new_merges).fingerprint
    except (ValueError, KeyError):  # merges or tokens that do not fit
        expected = None
    if expected != extended.fingerprint:
        raise ValueError(f"the tokenizer in {extended.folder} is not that in {old.folder} with "
                         "more entries: make it with python -m tokenizer extend, or start a new "
                         "model without --init")
    return {extended.token_to_id(token): split_token(old, token) for token in new_tokens}


def split_token(tokenizer, token):
    """Return the ids of the pieces of a token that the vocabulary lacks: '##cde' -> ##c, ##de"""
    if tokenizer.kind == "bpe":  # may be half a character, so it is not encoded as a text
        return tokenizer._merge([tokenizer._byte_ids[byte] for byte in token_bytes(token)])
    prefix = INSIDE if token.startswith(INSIDE) else ""
    return tokenizer._encode_word(token.removeprefix(INSIDE), prefix)
