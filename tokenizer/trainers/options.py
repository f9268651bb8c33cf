"""Checks of the training options, and the summary of a training, for both tokenizers."""
from tokenizer.utils.validation import check_int


def check_training_options(vocab_size, min_frequency, special_tokens, max_words, workers,
                           limit_alphabet=None):
    """Raise TypeError or ValueError for invalid options, before the corpus is read."""
    check_int(0, min_frequency=min_frequency)
    check_int(1, vocab_size=vocab_size, workers=workers, limit_alphabet=limit_alphabet)
    check_int(2, max_words=max_words)
    if isinstance(special_tokens, str):
        raise TypeError(f"special_tokens must be a tuple of strings, not {special_tokens!r}")
    for token in special_tokens:
        if token.splitlines() != [token]:
            raise ValueError(f"special token {token!r}: must be a non-empty string of one line")
        if token.encode("utf-8", "ignore").decode() != token:
            raise ValueError(f"special token {token!r}: has half a character (a surrogate)")
    if len(set(special_tokens)) < len(special_tokens):
        raise ValueError(f"special_tokens contains a token twice: {', '.join(special_tokens)}")


def training_summary(vocab_size, learned, counts):
    """Return a sentence: the vocabulary's size, why it is no larger, and what ``max_words`` cost.

    -> 'vocabulary: asked for 52,000, reached 12,488: no pair occurs 2 times'
    """
    summary = f"vocabulary: asked for {vocab_size:,}, reached {len(learned.tokens):,}"
    if len(learned.tokens) < vocab_size:
        summary += f": {learned.stopped}"
    cap_summary = counts.cap_summary()
    return f"{summary}; {cap_summary}" if cap_summary else summary
