"""What a vocabulary contains."""
from collections import Counter

from tokenizer.pretokenize import byte_characters
from tokenizer.wordpiece import INSIDE

MAX_LISTED = 20  # special or added tokens


def statistics(tokenizer):
    """Return what a vocabulary contains, as a dict.

    Lengths are those of the tokens' texts, without added tokens: in bytes for byte-level BPE,
    including the space before a word; in characters for WordPiece.
    """
    special = dict(zip(tokenizer.special_tokens, tokenizer.special_ids))
    added = [token.content for token in tokenizer.added_tokens]
    added = {token: tokenizer.token_to_id(token) for token in added}
    tokens = [token for token in tokenizer.get_vocab() if token not in added]
    if tokenizer.kind == "bpe":
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
    """Return the statistics as lines."""
    stats = statistics(tokenizer)
    kind, unit = "WordPiece", "characters"
    if tokenizer.kind == "bpe":
        kind, unit = "byte-level BPE", "bytes, with the space before"
    lengths = ", ".join(f"{length}: {count:,}" for length, count in stats["lengths"].items())
    # The longest tokens of all are often lines of dashes, so show the longest words.
    longest = [tokenizer.token_text(token) for token in stats["longest_of_letters"]]
    max_length = stats["model_max_length"]
    rows = {
        "kind": kind,
        "tokens": f"{tokenizer.vocab_size:,}",
        "special tokens": _list_tokens(stats["special_tokens"], style) or "none",
        "other added": _list_tokens(stats["other_added_tokens"], style),
        "made of": ", ".join(f"{count:,} {name}" for name, count in stats["made_of"].items()),
        "begin a word": f"{stats['begin_a_word']:,}",
        "lengths": f"{lengths} (in {unit})",
        "longest": " ".join(map(style.visible, longest)),
        "settings": ", ".join(f"{name} {value}" for name, value in stats["settings"].items()),
        "max length": f"{max_length:,} tokens, says the model" if max_length else "",
        "fingerprint": stats["fingerprint"],
    }
    return [f"{name:>14}  {value}" for name, value in rows.items() if value]


def _list_tokens(tokens, style):
    names = [f"{style.visible(token)} {token_id}" for token, token_id in tokens.items()]
    rest = f", and {len(names) - MAX_LISTED:,} more" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + rest
