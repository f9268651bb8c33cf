"""What the trainings of both tokenizers share: what is asked of the options, and the sentence that says what came of it."""


def check_training_options(vocab_size, min_frequency, special_tokens, max_words):
    """ValueError for options that make no sense with either tokenizer: better told before the corpus is read."""
    if max_words is not None and max_words < 2:
        raise ValueError(f"max_words={max_words} is no room to count in: give a few million, or None for no cap")
    if vocab_size < 1 or min_frequency < 0:
        raise ValueError(f"vocab_size={vocab_size} and min_frequency={min_frequency}: the first must be at least 1, "
                         f"the second at least 0")
    if isinstance(special_tokens, str) or not all(isinstance(token, str) and token and len(token.splitlines()) == 1
                                                  for token in special_tokens):
        raise ValueError(f"special_tokens must be a tuple of non-empty strings of one line, got {special_tokens!r}")
    if len(set(special_tokens)) < len(special_tokens):
        raise ValueError(f"special_tokens holds a token twice: {', '.join(special_tokens)}")


def training_summary(vocab_size, learned, counts):
    """How large the vocabulary became, why no larger (``LearnedMerges.stopped``), and what a cap on words cost (``WordCounts.loss``).

    -> 'vocabulary: asked for 52,000, reached 12,488: no pair occurs 2 times'
    """
    summary = f"vocabulary: asked for {vocab_size:,}, reached {len(learned.tokens):,}"
    if len(learned.tokens) < vocab_size:
        summary += f": {learned.stopped}"
    return "; ".join(filter(None, (summary, counts.loss)))
