"""What the trainings of both tokenizers share: what is asked of the options, and the sentence that says what came of it."""
from collections.abc import Iterable

from tokenizer.utils.validation import check_int


def check_training_options(vocab_size, min_frequency, special_tokens, max_words, workers, limit_alphabet=None):
    """TypeError or ValueError for options that make no sense with either tokenizer: better told before the corpus is read."""
    if vocab_size is None or min_frequency is None:
        raise TypeError(f"vocab_size={vocab_size} and min_frequency={min_frequency}: both must be whole numbers")
    check_int(0, min_frequency=min_frequency)
    check_int(1, vocab_size=vocab_size, workers=workers, limit_alphabet=limit_alphabet)
    check_int(2, max_words=max_words)
    if isinstance(special_tokens, str) or not isinstance(special_tokens, Iterable):
        raise TypeError(f"special_tokens takes a tuple of strings, such as ('<s>', '<mask>'), but got {special_tokens!r}")
    wrong = [token for token in special_tokens if not isinstance(token, str) or token.splitlines() != [token]]
    if wrong:
        raise ValueError(f"special_tokens must be non-empty strings without a line end, but one is {wrong[0]!r}")
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
