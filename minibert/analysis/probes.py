"""The sentences with masks that a trained model is asked to fill."""
from itertools import pairwise

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

    A passage is part of one text of its example. The word consists of letters. See
    ``word_to_mask`` for which one it is.
    """
    separators = {*tokenizer.special_ids} - {tokenizer.unk_token_id}
    word_starts = WordStarts(tokenizer)
    passages = []
    for i in eval_subset(examples, 2):
        ids = longest_piece(map(int, examples[i]), separators)
        if not ids:
            continue
        texts = [tokenizer.token_text(tokenizer.id_to_token(token_id)) for token_id in ids]
        starts = word_starts(ids)
        first = passage_start(texts, starts)
        end = min(first + PASSAGE_TOKENS, len(ids))
        word = word_to_mask(texts, starts, first, end)
        if not word:
            continue
        shown = [*ids[first : word.start], tokenizer.mask_token_id, *ids[word.stop : end]]
        text = tokenizer.decode(shown, skip_special_tokens=False)
        if texts[word.start].startswith(" "):  # a byte-level mask token includes the space
            text = text.replace(tokenizer.mask_token, " " + tokenizer.mask_token)
        passages.append(" ".join(text.split()))
    return passages


def longest_piece(ids, separators):
    """Return the longest run of ids without a separator.

    >>> longest_piece([2, 7, 3, 8, 9, 3, 7], {2, 3})
    [8, 9]
    """
    pieces = [[]]
    for token_id in ids:
        if token_id in separators:
            pieces.append([])
        else:
            pieces[-1].append(token_id)
    return max(pieces, key=len)


def word_to_mask(texts, starts, first, end):
    """Return the positions of a word of letters between two positions, a range; None: no letters.

    A word of one token in mid-line, the nearest to the middle, is the best. After a line end, which
    the passage shows as a space, the model would predict the line end. In a text without spaces,
    a piece of a word is taken. texts, starts: as in ``passage_start``.

    >>> word_to_mask(["The", "\\n", "fat", " ca", "t", " sat", "."], [1, 1, 1, 1, 0, 1, 1], 0, 7)
    range(5, 6)
    """
    def rank(word):
        is_after_line_end = word.start > 0 and texts[word.start - 1].endswith("\n")
        return is_after_line_end, len(word) > 1, abs(word.start - (first + end) // 2)

    bounds = [p for p in range(first, end) if starts[p]]
    # The last word is no candidate: it may continue after the cut.
    words = [range(start, stop) for start, stop in pairwise(bounds)]
    pieces = [range(p, p + 1) for p in range(first, end)]
    for candidates in (words, pieces):
        of_letters = [word for word in candidates
                      if "".join(texts[word.start : word.stop]).strip().isalpha()]
        if of_letters:
            return min(of_letters, key=rank)
    return None


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
