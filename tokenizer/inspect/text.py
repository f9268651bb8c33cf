"""A text split into its tokens, as it is shown in a terminal or on a page."""
from dataclasses import dataclass

from tokenizer.pretokenize import token_bytes
from tokenizer.utils.terminal import display_width, padded, plural


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
        if kind == "token" and (shared or tokenizer.kind == "bpe"):
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
    """Return pieces next to each other, so that neighbors look different: '[CLS]⟦hug⟧⟦s⟧[SEP]'."""
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
    if tokenizer.kind != "bpe" or piece.kind != "token":
        return "part of "
    data = token_bytes(piece.token)
    return f"{'byte' if len(data) == 1 else 'bytes'} {data.hex(' ')} of "
