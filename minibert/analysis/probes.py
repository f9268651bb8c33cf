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
        ids = ids[:PASSAGE_TOKENS]
        if not ids:
            continue
        starts = word_starts(ids)
        middle = len(ids) // 2
        # The last token is no candidate: its word may continue after the cut.
        one_token_words = [p for p in range(len(ids) - 1) if starts[p] and starts[p + 1]]
        position = min(one_token_words, key=lambda p: abs(p - middle), default=middle)
        original = tokenizer.token_text(tokenizer.id_to_token(ids[position]))
        ids[position] = tokenizer.mask_token_id
        text = tokenizer.decode(ids, skip_special_tokens=False)
        if original.startswith(" "):  # a byte-level mask token includes the space before it
            text = text.replace(tokenizer.mask_token, " " + tokenizer.mask_token)
        passages.append(" ".join(text.split()))
    return passages
