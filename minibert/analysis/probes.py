"""The sentences with masks that a trained model is asked to fill."""
from minibert.evaluate import eval_subset
from tokenizer.word_starts import WordStarts

PROBES = {  # by corpus or preset; <mask> is replaced by the tokenizer's mask token
    "pydocs": (
        "Return a new <mask> object.",
        "Raises <mask> if the value is not found.",
        "The default <mask> is None.",
    ),
    "kant": (
        "Human thinking involves human <mask>.",
        "The Critique of <mask> Reason.",
    ),
    "wikipedia": ("Good girls, like bad <mask>",),
    "amazon": ("The dog chased the red <mask>",),
}
PASSAGE_TOKENS = 24
CLOSERS = "\"')]”’"  # may follow the period of a sentence


def known_probes(preset, corpus, tokenizer):
    """Return the probes of a named corpus, or else of a preset; [] if neither has any."""
    probes = PROBES.get(corpus) or PROBES.get(preset.removesuffix("-small")) or ()
    return [probe.replace("<mask>", tokenizer.mask_token) for probe in probes]


def masked_passages(examples, tokenizer):
    """Return two passages of the examples, up to 24 tokens each, with one word masked.

    The word is one token, the nearest to the middle. Without such a word, the middle token is
    masked.
    """
    word_starts = WordStarts(tokenizer)
    passages = []
    for i in eval_subset(examples, 2):
        ids = [int(token_id) for token_id in examples[i] if token_id not in tokenizer.special_ids]
        if not ids:
            continue
        texts = [tokenizer.token_text(tokenizer.id_to_token(token_id)) for token_id in ids]
        starts = word_starts(ids)
        first = passage_start(texts, starts)
        end = min(first + PASSAGE_TOKENS, len(ids))
        middle = (first + end) // 2
        # The last token is no candidate: its word may continue after the cut.
        one_token_words = [p for p in range(first, end - 1)
                           if starts[p] and starts[p + 1] and texts[p].strip().isalpha()]
        position = min(one_token_words, key=lambda p: abs(p - middle), default=middle)
        ids[position] = tokenizer.mask_token_id
        text = tokenizer.decode(ids[first:end], skip_special_tokens=False)
        if texts[position].startswith(" "):  # a byte-level mask token includes the space before it
            text = text.replace(tokenizer.mask_token, " " + tokenizer.mask_token)
        passages.append(" ".join(text.split()))
    return passages


def passage_start(texts, starts):
    """Return the position of the first token that begins a sentence, or at least a word.

    An example may begin in the middle of a word. texts: of T tokens; starts: whether each of them
    begins a word.

    >>> passage_start(["ing", ".", " The", " cat"] + [" sat"] * 12, [False] + [True] * 15)
    2
    """
    word_starts = []
    for p, text in enumerate(texts):
        # The first word of a text has no space before it: a capital letter shows that it begins.
        if (starts[p] or text[:1].isupper()) and text.strip()[:1].isalnum():
            word_starts.append(p)
    for p in word_starts:
        is_early = p <= len(texts) - PASSAGE_TOKENS // 2  # a passage of some length follows
        if p > 0 and is_early and texts[p - 1].rstrip(CLOSERS).endswith((".", "!", "?", "\n")):
            return p
    return word_starts[0] if word_starts else 0
