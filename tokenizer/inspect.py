"""Show what a tokenizer does: the views of ``python -m tokenizer inspect``.

There are three views: a text split into its tokens, a word encoded step by step, and the statistics
of a vocabulary. Each is computed as data (``split_text``, ``word_steps``, ``statistics``) and then
rendered as lines. The steps are computed here again, slowly, as in ``reference.py``; tests compare
them with the encoders.
"""
import shutil
import textwrap
from collections import Counter
from dataclasses import asdict, dataclass
from itertools import pairwise

from tokenizer.pretokenize import byte_characters, token_bytes, utf8
from tokenizer.utils.terminal import display_width, padded
from tokenizer.wordpiece import INSIDE

MAX_LENGTH_ROW = 16  # the last row of the histogram is for this length and all longer ones


def is_byte_level(tokenizer):
    """Return True for byte-level BPE, False for WordPiece; any other kind is an error."""
    if tokenizer.kind not in ("bpe", "wordpiece"):
        raise ValueError(f"unknown tokenizer kind {tokenizer.kind!r}")
    return tokenizer.kind == "bpe"


# A text split into its tokens

@dataclass(frozen=True)
class Piece:
    """A stretch of a text as it is shown.

    kind    "token", "special", "unknown", or "between" for text that the tokenizer drops
    text    the text to show
    source  the characters that the token was made from; '' for tokens that the template adds
    shared  whether other tokens are made from the same character
    """

    kind: str
    text: str
    source: str = ""
    shared: bool = False
    token_id: int = None
    token: str = None


def split_text(tokenizer, text):
    """Split a text into ``Piece``s, including the template's tokens and what the tokenizer drops.

    "Hugs" -> [Piece("special", "[CLS]", ...), Piece("token", "Hug", "Hug", ...), ...]
    """
    pieces = []
    for part, _ in tokenizer.template:
        if part == "A":
            pieces += _split_plain(tokenizer, text)
        elif tokenizer.has_template_tokens():
            token = getattr(tokenizer, f"{part}_token")
            token_id = tokenizer.token_to_id(token)
            pieces.append(Piece("special", token, token_id=token_id, token=token))
    return pieces


def _split_plain(tokenizer, text):
    """Split a text without its template into ``Piece``s."""
    # Not ``encode``: its offsets may be trimmed.
    found = tokenizer._added.encode(text, tokenizer._encode_plain)
    added = {token.content for token in tokenizer.added_tokens}
    next_starts = [start for _, start, _ in found[1:]] + [len(text)]
    pieces = []
    done = 0
    for (token_id, start, end), next_start in zip(found, next_starts):
        token = tokenizer.id_to_token(token_id)
        if done < start:
            pieces.append(Piece("between", text[done:start]))
        shared = start < done or next_start < end
        kind = "token"
        if token_id == tokenizer.unk_token_id:
            kind = "unknown"
        elif token in added:
            kind = "special"
        # WordPiece tokens are normalized; show the original text, unless tokens share a character.
        shown = text[start:end]
        if kind == "token" and (shared or is_byte_level(tokenizer)):
            shown = tokenizer.token_text(token)
        pieces.append(Piece(kind, shown, text[start:end], shared, token_id, token))
        done = max(done, end)
    if done < len(text):
        pieces.append(Piece("between", text[done:]))
    return pieces


def render_text(tokenizer, text, style):
    """Return lines: a summary, the text in pieces, and a table of its tokens."""
    pieces = split_text(tokenizer, text)
    tokens = [piece for piece in pieces if piece.token is not None]
    painted = render_pieces(pieces, style).rstrip("\n")
    lines = [summarize(pieces, text, style), "", *painted.split("\n"), ""]
    widths = [display_width(style.visible(piece.token)) for piece in tokens]
    width = min(30, max([5, *widths]))
    lines.append(f"{'id':>8}  {'token':<{width}}  text")
    for piece in tokens:
        source = "added"
        if piece.source:
            source = shared_note(tokenizer, piece) + style.visible(piece.source)
        lines.append(f"{piece.token_id:>8}  {padded(style.visible(piece.token), width)}  {source}")
    return lines


def summarize(pieces, text, style):
    """Return one line of counts: '4 tokens, 2 of them added; 4 characters, 2.00 per token'."""
    tokens = [piece for piece in pieces if piece.token is not None]
    num_inside = sum(bool(piece.source) for piece in tokens)
    line = f"{plural(len(tokens), 'token')}, {len(tokens) - num_inside} of them added; "
    line += plural(len(text), "character")
    if num_inside:
        line += f", {len(text) / num_inside:.2f} per token"
    num_unknown = sum(piece.kind == "unknown" for piece in tokens)
    if num_unknown:
        line += f"; {num_unknown} unknown ({num_unknown / num_inside:.0%})"
        line += "" if style.color else ", marked ?"
    return line


def render_pieces(pieces, style):
    """Return pieces side by side, so that neighbors look different: '[CLS]⟦hug⟧⟦s⟧[SEP]'."""
    rendered = ""
    num_tokens = 0  # alternates the colors
    for piece in pieces:
        rendered += style.paint(piece.text, piece.kind, num_tokens)
        if piece.token is not None:  # text between tokens has a color of its own
            num_tokens += 1
    return rendered


def shared_note(tokenizer, piece):
    """Say which part of its character a token is: 'byte f0 of ', 'part of ' (WordPiece), or ''."""
    if not piece.shared:
        return ""
    if not is_byte_level(tokenizer) or piece.kind != "token":
        return "part of "
    data = token_bytes(piece.token)
    return f"{'byte' if len(data) == 1 else 'bytes'} {data.hex(' ')} of "


# A word encoded step by step

def split_words(tokenizer, text):
    """Return the words of a text as the tokenizer sees them.

    "It's" -> ['It', "'s"] (byte-level BPE), ['it', "'", 's'] (uncased WordPiece)
    """
    if is_byte_level(tokenizer):
        normalize = tokenizer._added.normalize
        if normalize:
            text, _ = normalize(text)
        text = tokenizer._with_prefix_space(text)
    words = tokenizer._words(text)
    if not words:
        raise ValueError(f"--word {text!r}: there is no word in it")
    return words


def merge_steps(tokenizer, word):
    """Return a word's bytes, and each merge as (rank, left, right, index, pieces after it).

    'hugs' with the merges u g and h ug -> ['h', 'u', 'g', 's'],
    [(0, 'u', 'g', 1, ['h', 'ug', 's']), (1, 'h', 'ug', 0, ['hug', 's'])]
    """
    ranks = {pair: rank for rank, pair in enumerate(tokenizer.merges)}
    no_merge = len(ranks)
    symbols = [byte_characters()[byte] for byte in utf8(word)]
    pieces = symbols
    steps = []
    while len(pieces) > 1:
        # The lowest rank first, the leftmost of equals.
        rank, i = min((ranks.get(pair, no_merge), i) for i, pair in enumerate(pairwise(pieces)))
        if rank == no_merge:
            break
        left, right = pieces[i : i + 2]
        pieces = [*pieces[:i], left + right, *pieces[i + 2 :]]
        steps.append((rank, left, right, i, pieces))
    return symbols, steps


def match_steps(tokenizer, word):
    """Return, for each piece of a word, (longer candidates that were tried first, piece found).

    'hugs' with h, hug and ##s -> [(['hugs'], 'hug'), ([], '##s')]

    The piece is None if nothing fits; then the word is unknown. A word that is too long has no
    steps.
    """
    if len(word) > tokenizer.max_input_chars_per_word:
        return []
    steps = []
    start = 0
    while start < len(word):
        prefix = INSIDE if start > 0 else ""
        tried = []
        for end in range(len(word), start, -1):
            candidate = prefix + word[start:end]
            if candidate in tokenizer._pieces:
                break
            tried.append(candidate)
        else:
            return [*steps, (tried, None)]
        steps.append((tried, candidate))
        start = end
    return steps


def word_steps(tokenizer, text):
    """Return the steps of each word of a text as dicts with word, steps, tokens and ids."""
    result = []
    for word in split_words(tokenizer, text):
        if is_byte_level(tokenizer):
            tokens, merges = merge_steps(tokenizer, word)
            steps = []
            for rank, left, right, _, tokens in merges:
                steps.append({"rank": rank, "left": left, "right": right, "pieces": tokens})
        else:
            matches = match_steps(tokenizer, word)
            tokens = [found for _, found in matches]
            if not tokens or None in tokens:
                tokens = [tokenizer.unk_token]
            steps = [{"tried": tried, "found": found} for tried, found in matches]
        ids = [tokenizer.token_to_id(token) for token in tokens]
        result.append({"word": word, "steps": steps, "tokens": tokens, "ids": ids})
    return result


def render_words(tokenizer, text, style):
    """Return lines: each word of a text, step by step."""
    if text in {added.content for added in tokenizer.added_tokens}:
        token_id = tokenizer.token_to_id(text)
        return [f"{style.visible(text)} is token {token_id}, an added token, which is never split"]
    lines = []
    for result in word_steps(tokenizer, text):
        word, tokens = result["word"], result["tokens"]
        if is_byte_level(tokenizer):
            size = plural(len(utf8(word)), "byte")
            rows = _merge_rows(tokenizer, word, style)
        else:
            size = plural(len(word), "character")
            rows = _match_rows(tokenizer, word, style)
        lines += [f"{style.visible(word)}  ({size}, {plural(len(tokens), 'token')})", ""]
        lines += [*rows, ""]
        for token_id, token in zip(result["ids"], tokens):
            lines.append(f"{token_id:>8}  {style.visible(token)}")
        lines.append("")
    return lines[:-1]


def _merge_rows(tokenizer, word, style):
    """Yield the lines of a table: the bytes of a word, then each merge and the pieces after it."""

    def show(pieces, new=None):
        texts = [tokenizer.token_text(piece) for piece in pieces]
        return " ".join(
            style.paint(text) if i == new else style.visible(text) for i, text in enumerate(texts)
        )

    pieces, steps = merge_steps(tokenizer, word)
    merges = [
        " + ".join(style.visible(tokenizer.token_text(part)) for part in (left, right))
        for _, left, right, _, _ in steps
    ]
    width = max(map(display_width, ["merge", *merges]))
    yield f"{'rank':>8}  {'merge':<{width}}  pieces"
    yield f"{'':>8}  {'':<{width}}  {show(pieces)}"
    for (rank, _, _, i, pieces), merge in zip(steps, merges):
        yield f"{rank:>8}  {padded(merge, width)}  {show(pieces, i)}"
    if len(pieces) > 1:
        yield f"{'':>8}  no merge applies to what is left"


def _match_rows(tokenizer, word, style):
    """Yield the lines of a table: each piece found, and the longer candidates tried before it."""
    steps = match_steps(tokenizer, word)
    if not steps:
        yield f"longer than {tokenizer.max_input_chars_per_word} characters, so it is unknown"
        return
    widths = [display_width(style.visible(found)) for _, found in steps if found]
    width = max([7, *widths])
    max_columns = max(40, shutil.get_terminal_size().columns - width - 2)
    yield f"{'found':<{width}}  tried before it, the longest first"
    for tried, found in steps:
        head = padded(style.visible(found or "nothing"), width) + "  "
        candidates = " ".join(map(style.visible, tried)) or "-"
        for line in textwrap.wrap(
            candidates, max_columns, break_long_words=False, break_on_hyphens=False
        ):
            yield head + line
            head = " " * len(head)
    if not found:
        yield "so the word is unknown"


# The statistics of a vocabulary

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
        num_bytes = len(set(tokens) & set(byte_characters()))
        made_of = {"bytes": num_bytes, "merges": len(tokenizer.merges)}
        space = byte_characters()[ord(" ")]
        num_word_starts = sum(token.startswith(space) for token in tokens)
    else:
        lengths = {token: len(tokenizer.token_text(token)) for token in tokens}
        word_starts = [tok for tok in tokens if not tok.startswith(INSIDE) or tok == INSIDE]
        num_word_starts = len(word_starts)
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
        "begin_a_word": num_word_starts,
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
    word_starts = f"{stats['begin_a_word']:,}"
    num_tokens = sum(stats["lengths"].values())
    if num_tokens:
        word_starts += f" ({stats['begin_a_word'] / num_tokens:.0%} of all but added tokens)"
    max_length = stats["model_max_length"]
    rows = {
        "kind": kind,
        "tokens": f"{tokenizer.vocab_size:,}",
        "special tokens": _list_tokens(stats["special_tokens"], style) or "none",
        "other added": _list_tokens(stats["other_added_tokens"], style),
        "made of": ", ".join(f"{count:,} {name}" for name, count in stats["made_of"].items()),
        "begin a word": word_starts,
        "settings": ", ".join(f"{name} {value}" for name, value in stats["settings"].items()),
        "max length": f"{max_length:,} tokens, says the model" if max_length else "",
        "fingerprint": stats["fingerprint"],
    }
    lines = [f"{name:>14}  {value}" for name, value in rows.items() if value]
    lines += ["", f"{'length':>14}  tokens (in {unit})", *_histogram(stats["lengths"], style)]
    lines += _longest_rows(tokenizer, "tokens", stats["longest_tokens"], style)
    if stats["longest_of_letters"] != stats["longest_tokens"]:
        lines += _longest_rows(tokenizer, "of letters", stats["longest_of_letters"], style)
    return lines


def _list_tokens(tokens, style, limit=20):
    names = [f"{style.visible(token)} {token_id}" for token, token_id in tokens.items()]
    more = f", and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


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


# All views together

def collect_data(tokenizer, text=None, word=None):
    """Return the requested views as data, for ``--json``."""
    data = statistics(tokenizer)
    if text is not None:
        encoding = tokenizer.encode(text, add_special_tokens=tokenizer.has_template_tokens())
        data["encoding"] = asdict(encoding)
    if word is not None:
        data["words"] = word_steps(tokenizer, word)
    return data


def render_lines(tokenizer, text, word, style):
    """Return the requested views as lines; the statistics if there is neither text nor word."""
    if text is None and word is None:
        return render_statistics(tokenizer, style)
    lines = [] if text is None else render_text(tokenizer, text, style)
    if word is not None:
        if lines:
            lines.append("")
        lines += render_words(tokenizer, word, style)
    return lines


def plural(count, noun):
    """plural(1, "token") -> '1 token'; plural(1200, "token") -> '1,200 tokens'"""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
