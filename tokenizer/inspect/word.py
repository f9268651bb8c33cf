"""A word encoded step by step.

The steps are computed here again, slowly, as in ``reference.py``; tests compare them with the
encoders.
"""
from itertools import pairwise

from tokenizer.pretokenize import utf8
from tokenizer.reference import byte_symbols
from tokenizer.utils.terminal import display_width, padded, plural
from tokenizer.wordpiece import INSIDE


def word_steps(tokenizer, text):
    """Return for each word of a text a dict with word, steps, tokens and ids."""
    result = []
    for word in split_words(tokenizer, text):
        if tokenizer.kind == "bpe":
            steps = merge_steps(tokenizer, word)
            tokens = steps[-1]["pieces"] if steps else list(byte_symbols(word))
        else:
            steps = match_steps(tokenizer, word)
            tokens = [step["found"] for step in steps]
            if not tokens or None in tokens:
                tokens = [tokenizer.unk_token]
        ids = [tokenizer.token_to_id(token) for token in tokens]
        result.append({"word": word, "steps": steps, "tokens": tokens, "ids": ids})
    return result


def split_words(tokenizer, text):
    """Return the words of a text as the tokenizer sees them.

    "It's" -> ['It', "'s"] (byte-level BPE), ['it', "'", 's'] (uncased WordPiece)
    """
    if tokenizer.kind == "bpe":
        normalize = tokenizer._added.normalize
        if normalize:
            text, _ = normalize(text)
        text = tokenizer._with_prefix_space(text)
    words = tokenizer._words(text)
    if not words:
        raise ValueError(f"--word {text!r}: there is no word in it")
    return words


def merge_steps(tokenizer, word):
    """Return each merge of a word as a dict with rank, left, right, and the pieces after it.

    'hugs' with the merges u g and h ug -> [
        {"rank": 0, "left": "u", "right": "g", "index": 1, "pieces": ['h', 'ug', 's']},
        {"rank": 1, "left": "h", "right": "ug", "index": 0, "pieces": ['hug', 's']}]
    """
    ranks = {pair: rank for rank, pair in enumerate(tokenizer.merges)}
    no_merge = len(ranks)
    pieces = list(byte_symbols(word))
    steps = []
    while len(pieces) > 1:
        # The lowest rank first, the leftmost of equals.
        rank, i = min((ranks.get(pair, no_merge), i) for i, pair in enumerate(pairwise(pieces)))
        if rank == no_merge:
            break
        left, right = pieces[i : i + 2]
        pieces = [*pieces[:i], left + right, *pieces[i + 2 :]]
        steps.append({"rank": rank, "left": left, "right": right, "index": i, "pieces": pieces})
    return steps


def match_steps(tokenizer, word):
    """Return for each piece of a word the longer candidates that were tried, and the piece found.

    'hugs' with h, hug and ##s -> [
        {"tried": ['hugs'], "found": 'hug'},
        {"tried": [], "found": '##s'}]

    The piece is None if nothing fits; then the word is unknown. A word that is too long has no
    steps.
    """
    if len(word) > tokenizer.max_input_chars_per_word:
        return []
    steps = []
    start = 0
    while start < len(word):
        prefix = INSIDE if start > 0 else ""
        step = {"tried": [], "found": None}
        steps.append(step)
        for end in range(len(word), start, -1):
            candidate = prefix + word[start:end]
            if candidate in tokenizer._pieces:
                step["found"] = candidate
                break
            step["tried"].append(candidate)
        if step["found"] is None:
            break
        start = end
    return steps


def render_words(tokenizer, text, style):
    """Return lines: each word of a text, step by step."""
    if text in {added.content for added in tokenizer.added_tokens}:
        token_id = tokenizer.token_to_id(text)
        return [f"{style.visible(text)} is token {token_id}, an added token, which is never split"]
    lines = []
    for result in word_steps(tokenizer, text):
        word = result["word"]
        if tokenizer.kind == "bpe":
            size = plural(len(utf8(word)), "byte")
            rows = _merge_rows(tokenizer, word, result["steps"], style)
        else:
            size = plural(len(word), "character")
            rows = _match_rows(tokenizer, result["steps"], style)
        lines += [f"{style.visible(word)}  ({size}, {plural(len(result['tokens']), 'token')})", ""]
        lines += [*rows, ""]
        for token_id, token in zip(result["ids"], result["tokens"]):
            lines.append(f"{token_id:>8}  {style.visible(token)}")
        lines.append("")
    return lines[:-1]


def _merge_rows(tokenizer, word, steps, style):
    """Yield the lines of a table: the bytes of a word, then each merge and the pieces after it."""

    def show(pieces, new=None):
        shown = []
        for i, piece in enumerate(pieces):
            text = tokenizer.token_text(piece)
            shown.append(style.paint(text) if i == new else style.visible(text))
        return " ".join(shown)

    merges = []
    for step in steps:
        left = style.visible(tokenizer.token_text(step["left"]))
        right = style.visible(tokenizer.token_text(step["right"]))
        merges.append(f"{left} + {right}")
    width = max(map(display_width, ["merge", *merges]))
    pieces = byte_symbols(word)
    yield f"{'rank':>8}  {'merge':<{width}}  pieces"
    yield f"{'':>8}  {'':<{width}}  {show(pieces)}"
    for step, merge in zip(steps, merges):
        pieces = step["pieces"]
        yield f"{step['rank']:>8}  {padded(merge, width)}  {show(pieces, step['index'])}"
    if len(pieces) > 1:
        yield f"{'':>8}  no merge applies to what is left"


def _match_rows(tokenizer, steps, style):
    """Yield the lines of a table: each piece found, and the longer candidates tried before it."""
    if not steps:
        yield f"longer than {tokenizer.max_input_chars_per_word} characters, so it is unknown"
        return
    names = [style.visible(step["found"] or "nothing") for step in steps]
    width = max(7, *map(display_width, names))
    yield f"{'found':<{width}}  tried before it, the longest first"
    for name, step in zip(names, steps):
        yield f"{padded(name, width)}  {' '.join(map(style.visible, step['tried'])) or '-'}"
    if step["found"] is None:
        yield "so the word is unknown"
