"""The sentences that a trained model is asked."""
from minibert.evaluate import eval_subset
from tokenizer.word_starts import WordStarts

PROBES = {  # what each corpus is asked at the end; <mask> stands for the tokenizer's own mask token
    "pydocs": ("Return a new <mask> object.", "Raises <mask> if the value is not found.", "The default <mask> is None."),
    "kant": ("Human thinking involves human <mask>.", "The Critique of <mask> Reason."),
    "wikipedia": ("Good girls, like bad <mask>",), "amazon": ("The dog chased the red <mask>",),
}


def known_probes(preset, corpus, tokenizer):
    """The texts that a named corpus, or a preset that is made for one, is asked; [] for others."""
    return [probe.replace("<mask>", tokenizer.mask_token) for probe in PROBES.get(corpus) or PROBES.get(preset.removesuffix("-small")) or ()]


def masked_passages(examples, tokenizer):
    """Two of the examples, up to 24 tokens of each, with a word hidden that is one token, the nearest to the middle -> texts.

    Where no word is one token, the token in the middle is hidden.
    """
    passages, starts = [], WordStarts(tokenizer)
    for n in eval_subset(examples, 2):
        ids = [int(i) for i in examples[n] if i not in tokenizer.special_ids][:24]
        if ids:
            begins, middle = starts(ids), len(ids) // 2
            whole = [place for place in range(len(ids) - 1) if begins[place] and begins[place + 1]]  # the last one may go on
            place = min(whole, key=lambda place: abs(place - middle), default=middle)
            hidden, ids[place] = tokenizer.token_text(tokenizer.id_to_token(ids[place])), tokenizer.mask_token_id
            text = tokenizer.decode(ids, skip_special_tokens=False)
            if hidden.startswith(" "):  # which a byte-level mask token swallows
                text = text.replace(tokenizer.mask_token, " " + tokenizer.mask_token)
            passages.append(" ".join(text.split()))
    return passages
