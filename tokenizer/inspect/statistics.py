"""What a vocabulary contains."""
from collections import Counter

from tokenizer.inspect.text import is_byte_level
from tokenizer.pretokenize import byte_characters
from tokenizer.wordpiece import INSIDE

MAX_LENGTH_ROW = 16  # the last row of the histogram is for this length and all longer ones


def statistics(tokenizer):
    """Return what a vocabulary contains, as a dict.

    Lengths are those of the tokens' texts, without added tokens: in bytes for byte-level BPE,
    including the space before a word; in characters for WordPiece.
    """
    special = dict(zip(tokenizer.special_tokens, tokenizer.special_ids))
    added = [token.content for token in tokenizer.added_tokens]
    added = {token: tokenizer.token_to_id(token) for token in added}
    tokens = [token for token in tokenizer.get_vocab() if token not in added]
    if is_byte_level(tokenizer):
        lengths = {token: len(token) for token in tokens}
        space = byte_characters()[ord(" ")]
        word_starts = [token for token in tokens if token.startswith(space)]
        num_bytes = len(set(tokens) & set(byte_characters()))
        made_of = {"bytes": num_bytes, "merges": len(tokenizer.merges)}
    else:
        lengths = {token: len(tokenizer.token_text(token)) for token in tokens}
        word_starts = [tok for tok in tokens if not tok.startswith(INSIDE) or tok == INSIDE]
        num_characters = sum(lengths[token] == 1 for token in word_starts)
        num_inside = sum(length == 1 for length in lengths.values()) - num_characters
        made_of = {
            "characters": num_characters,
            "characters inside words": num_inside,
            "longer pieces": len(tokens) - num_characters - num_inside,
        }
    longest = sorted(tokens, key=lambda token: (-lengths[token], token))
    of_letters = [token for token in longest if tokenizer.token_text(token).strip().isalpha()]
    return {
        "kind": tokenizer.kind,
        "vocab_size": tokenizer.vocab_size,
        "special_tokens": special,
        "other_added_tokens": {token: i for token, i in added.items() if token not in special},
        "made_of": made_of,
        "begin_a_word": len(word_starts),
        "lengths": dict(sorted(Counter(lengths.values()).items())),
        "longest_tokens": longest[:10],
        "longest_of_letters": of_letters[:10],
        "settings": tokenizer._settings(),
        "model_max_length": tokenizer.model_max_length,
        "fingerprint": tokenizer.fingerprint,
    }


def render_statistics(tokenizer, style):
    """Return lines: the statistics, with a histogram of lengths."""
    stats = statistics(tokenizer)
    kind, unit = "WordPiece", "characters"
    if is_byte_level(tokenizer):
        kind, unit = "byte-level BPE", "bytes, with the space before"
    max_length = stats["model_max_length"]
    rows = {
        "kind": kind,
        "tokens": f"{tokenizer.vocab_size:,}",
        "special tokens": _list_tokens(stats["special_tokens"], style) or "none",
        "other added": _list_tokens(stats["other_added_tokens"], style),
        "made of": ", ".join(f"{count:,} {name}" for name, count in stats["made_of"].items()),
        "begin a word": f"{stats['begin_a_word']:,}",
        "settings": ", ".join(f"{name} {value}" for name, value in stats["settings"].items()),
        "max length": f"{max_length:,} tokens, says the model" if max_length else "",
        "fingerprint": stats["fingerprint"],
    }
    lines = [f"{name:>14}  {value}" for name, value in rows.items() if value]
    lines += ["", f"{'length':>14}  tokens (in {unit})", *_histogram(stats["lengths"], style)]
    # The longest tokens are often lines of dashes, so those of letters are listed, too.
    lines += _longest_rows(tokenizer, "tokens", stats["longest_tokens"], style)
    if stats["longest_of_letters"] != stats["longest_tokens"]:
        lines += _longest_rows(tokenizer, "of letters", stats["longest_of_letters"], style)
    return lines


def _list_tokens(tokens, style, limit=20):
    names = [f"{style.visible(token)} {token_id}" for token, token_id in tokens.items()]
    rest = f", and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest


def _histogram(lengths, style):
    """Yield a row for each length, the last one for all longer tokens."""
    counts = Counter()
    for length, count in lengths.items():
        counts[min(length, MAX_LENGTH_ROW)] += count
    for length in range(1, max(counts, default=0) + 1):
        label = f"{length}+" if length == MAX_LENGTH_ROW else f"{length}"
        bar = style.signs.bar * round(40 * counts[length] / max(counts.values()))
        yield f"{label:>14}  {counts[length]:>7,} {bar}".rstrip()


def _longest_rows(tokenizer, title, tokens, style):
    yield ""
    yield f"{'longest':>14}  {title}"
    for token in tokens:
        text = style.visible(tokenizer.token_text(token))
        if len(text) > 60:
            text = text[:60] + style.signs.rest
        yield f"{tokenizer.token_to_id(token):>14}  {text}"
