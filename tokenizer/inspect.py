"""A learner's window into a tokenizer: what ``python -m tokenizer inspect`` shows.

Three views: a text cut into its tokens; a word made step by step; the statistics of a vocabulary. Each is worked out as data
(``cut``, ``merge_steps`` and ``match_steps``, ``statistics``) and then laid out in lines for people. The steps are taken here
anew, slowly and in the open, as ``reference.py`` does; tests hold them to the encoders.
"""
import shutil
import textwrap
from collections import Counter
from dataclasses import asdict, dataclass

from tokenizer.pretokenize import byte_characters, utf8
from tokenizer.utils.terminal import display_width, padded
from tokenizer.wordpiece import INSIDE

LONGEST = 16  # the histogram's last row: this and more

_AS_BYTES = str.maketrans({char: chr(byte) for byte, char in enumerate(byte_characters())})


# A text cut into its tokens

@dataclass(frozen=True)
class Piece:
    """A stretch of a text as it is shown. ``kind``: token | special | unknown | between (what a tokenizer drops).

    ``source``: the characters that it was made from, '' for what the template adds; ``shared``: other tokens are made of them, too.
    """
    kind: str
    text: str
    source: str = ""
    shared: bool = False
    token_id: int = None
    token: str = None


def has_template(tokenizer):
    """Whether the vocabulary holds the tokens that ``encode`` adds. GPT-2's does not."""
    return all(part in ("A", "B") or getattr(tokenizer, f"{part}_token") is not None for part, _ in tokenizer.template)


def cut(tokenizer, text):
    """A text as the pieces that a tokenizer makes of it, the template's tokens and what it drops included.

    "Hugs" -> [Piece("special", "[CLS]", ...), Piece("token", "Hug", "Hug", ...), Piece("token", "s", "s", ...), ...]
    """
    pieces = []
    for part, _ in tokenizer.template:
        if part == "A":
            pieces += _cut_plain(tokenizer, text)
        elif has_template(tokenizer):
            token = getattr(tokenizer, f"{part}_token")
            pieces.append(Piece("special", token, token_id=tokenizer.token_to_id(token), token=token))
    return pieces


def _cut_plain(tokenizer, text):
    """A text without its frame -> Pieces, also for what stands between tokens and belongs to none."""
    found = tokenizer._added.encode(text, tokenizer._encode_plain)  # not ``encode``, whose offsets may be trimmed
    added = {token.content for token in tokenizer.added_tokens}
    starts = [start for _, start, _ in found] + [len(text)]
    pieces, done = [], 0
    for i, (token_id, start, end) in enumerate(found):
        token = tokenizer.id_to_token(token_id)
        if done < start:
            pieces.append(Piece("between", text[done:start]))
        shared = start < done or starts[i + 1] < end
        kind = "unknown" if token_id == tokenizer.unk_token_id else "special" if token in added else "token"
        own = kind == "token" and (shared or tokenizer.kind == "bpe")
        pieces.append(Piece(kind, tokenizer.token_text(token) if own else text[start:end], text[start:end], shared, token_id, token))
        done = max(done, end)
    return pieces + ([Piece("between", text[done:])] if done < len(text) else [])


def text_view(tokenizer, text, style):
    """Lines: how many, the text in pieces, and a table of its tokens."""
    pieces = cut(tokenizer, text)
    tokens = [piece for piece in pieces if piece.token is not None]
    lines = [counted(pieces, text, style), "", *painted(pieces, style).rstrip("\n").split("\n"), ""]
    width = min(30, max([5, *(display_width(style.visible(piece.token)) for piece in tokens)]))
    lines.append(f"{'id':>8}  {'token':<{width}}  text")
    for piece in tokens:
        source = part_of(tokenizer, piece) + style.visible(piece.source) if piece.source else "added"
        lines.append(f"{piece.token_id:>8}  {padded(style.visible(piece.token), width)}  {source}")
    return lines


def counted(pieces, text, style):
    """The pieces of a text in one line: '4 tokens, 2 of them added; 4 characters, 2.00 a token'"""
    tokens = [piece for piece in pieces if piece.token is not None]
    inside = sum(bool(piece.source) for piece in tokens)
    ratio = f", {len(text) / inside:.2f} a token" if inside else ""
    unknown = sum(piece.kind == "unknown" for piece in tokens)
    share = f"; {unknown} unknown ({unknown / inside:.0%})" + ", marked ?" * (not style.color) if unknown else ""
    return f"{plural(len(tokens), 'token')}, {len(tokens) - inside} of them added; {plural(len(text), 'character')}{ratio}{share}"


def painted(pieces, style):
    """The pieces of a text side by side, neighbours told apart: '[CLS]⟦hug⟧⟦s⟧[SEP]'"""
    shown, number = "", 0
    for piece in pieces:
        shown += style.paint(piece.text, piece.kind, number)
        number += piece.token is not None  # what lies between has no colour of its own
    return shown


def part_of(tokenizer, piece):
    """What a token is of its source, where other tokens are made of that, too: 'byte f0 of ', 'bytes 9f 98 of '; 'part of ' for WordPiece."""
    if not piece.shared:
        return ""
    if tokenizer.kind != "bpe" or piece.kind != "token":
        return "part of "
    data = piece.token.translate(_AS_BYTES).encode("latin-1")
    return f"byte{'s' * (len(data) > 1)} {data.hex(' ')} of "


# A word made step by step

def words_of(tokenizer, text):
    """The words that merges or matches stay within: "It's" -> ['It', "'s"] (byte-level BPE), ['it', "'", 's'] (uncased WordPiece)"""
    if tokenizer.kind == "bpe":
        normalize = tokenizer._added.normalize
        text = tokenizer._with_prefix_space(normalize(text)[0] if normalize else text)
    words = tokenizer._words(text)
    if not words:
        raise ValueError(f"--word {text!r}: there is no word in it")
    return words


def merge_steps(tokenizer, word):
    """Byte-level BPE: a word's bytes, and each merge that follows: (rank, left, right, its place, all pieces after it).

    'hugs' with the merges u g and h ug -> ['h', 'u', 'g', 's'],
    [(0, 'u', 'g', 1, ['h', 'ug', 's']), (1, 'h', 'ug', 0, ['hug', 's'])]
    """
    ranks = {pair: rank for rank, pair in enumerate(tokenizer.merges)}
    first = pieces = [byte_characters()[byte] for byte in utf8(word)]
    steps = []
    while len(pieces) > 1:
        rank, place = min((ranks.get(pair, len(ranks)), place) for place, pair in enumerate(zip(pieces, pieces[1:])))
        if rank == len(ranks):  # no two neighbours are a merge
            break
        left, right = pieces[place:place + 2]
        pieces = [*pieces[:place], left + right, *pieces[place + 2:]]
        steps.append((rank, left, right, place, pieces))
    return first, steps


def match_steps(tokenizer, word):
    """WordPiece: for each piece, which others were tried before it, the longest first: [(tried, found), ...]

    'hugs' with h, hug and ##s -> [(['hugs'], 'hug'), ([], '##s')]. Found is None where nothing fits, and the word is unknown;
    no step at all is taken for a word that is too long.
    """
    steps, start = [], 0
    while start < len(word) <= tokenizer.max_input_chars_per_word:
        candidates = [INSIDE * (start > 0) + word[start:end] for end in range(len(word), start, -1)]
        tried = next((n for n, candidate in enumerate(candidates) if candidate in tokenizer._pieces), None)
        if tried is None:
            return [*steps, (candidates, None)]
        steps.append((candidates[:tried], candidates[tried]))
        start = len(word) - tried
    return steps


def steps_of(tokenizer, text):
    """The steps of each word as dicts, for programs. "hugs" -> [{"word": "hugs", "steps": [...], "tokens": [...], "ids": [...]}]"""
    result = []
    for word in words_of(tokenizer, text):
        if tokenizer.kind == "bpe":
            first, steps = merge_steps(tokenizer, word)
            tokens = steps[-1][-1] if steps else first
            steps = [{"rank": rank, "left": left, "right": right, "pieces": pieces} for rank, left, right, _, pieces in steps]
        else:
            steps = match_steps(tokenizer, word)
            tokens = [found for _, found in steps]
            tokens = tokens if tokens and None not in tokens else [tokenizer.unk_token]
            steps = [{"tried": tried, "found": found} for tried, found in steps]
        result.append({"word": word, "steps": steps, "tokens": tokens, "ids": [tokenizer.token_to_id(token) for token in tokens]})
    return result


def word_view(tokenizer, text, style):
    """Lines: each word of a text, step by step."""
    if text in {added.content for added in tokenizer.added_tokens}:
        return [f"{style.visible(text)} is token {tokenizer.token_to_id(text)} as a whole: it was added, and is never cut"]
    lines = []
    for result in steps_of(tokenizer, text):
        tokens, ids = result["tokens"], result["ids"]
        size = plural(len(utf8(result["word"])), "byte") if tokenizer.kind == "bpe" else plural(len(result["word"]), "character")
        lines += [f"{style.visible(result['word'])}  ({size}, {plural(len(tokens), 'token')})", ""]
        rows = _merge_rows if tokenizer.kind == "bpe" else _match_rows
        lines += [*rows(tokenizer, result["word"], style), ""]
        lines += [f"{token_id:>8}  {style.visible(token)}" for token_id, token in zip(ids, tokens)] + [""]
    return lines[:-1]


def _merge_rows(tokenizer, word, style):
    """Lines of a table: the bytes of a word, then each merge with its rank and what the word is after it."""
    def shown(pieces, new=None):
        texts = [tokenizer.token_text(piece) for piece in pieces]
        return " ".join(style.paint(text) if i == new else style.visible(text) for i, text in enumerate(texts))
    first, steps = merge_steps(tokenizer, word)
    merges = [" + ".join(style.visible(tokenizer.token_text(part)) for part in (left, right)) for _, left, right, _, _ in steps]
    width = max(map(display_width, ["merge", *merges]))
    yield f"{'rank':>8}  {'merge':<{width}}  pieces"
    yield f"{'':>8}  {'':<{width}}  {shown(first)}"
    for (rank, _, _, place, pieces), merge in zip(steps, merges):
        yield f"{rank:>8}  {padded(merge, width)}  {shown(pieces, place)}"
    if len(steps[-1][-1] if steps else first) > 1:
        yield f"{'':>8}  no two neighbours that are left are a merge"


def _match_rows(tokenizer, word, style):
    """Lines of a table: for each place in a word the piece that was found, and the longer ones that were tried before it."""
    steps = match_steps(tokenizer, word)
    if not steps:
        yield f"longer than {tokenizer.max_input_chars_per_word} characters: unknown without a try"
        return
    width = max([7, *(display_width(style.visible(found)) for _, found in steps if found)])
    room = max(40, shutil.get_terminal_size().columns - width - 2)
    yield f"{'found':<{width}}  tried before it, the longest first"
    for tried, found in steps:
        head = padded(style.visible(found or "nothing"), width) + "  "
        for line in textwrap.wrap(" ".join(map(style.visible, tried)) or "-", room, break_long_words=False, break_on_hyphens=False):
            yield head + line
            head = " " * len(head)
    if not found:
        yield "so the whole word is unknown"


# The statistics of a vocabulary

def statistics(tokenizer):
    """What a vocabulary holds, as a dict: kind, size, special tokens, what it is made of, lengths, settings, fingerprint, ...

    Lengths are those of the tokens' texts, added tokens left out: in bytes, the space before a word included, for byte-level
    BPE, else in characters.
    """
    special = dict(zip(tokenizer.special_tokens, tokenizer.special_ids))
    added = {token.content: tokenizer.token_to_id(token.content) for token in tokenizer.added_tokens}
    tokens = [token for token in tokenizer.get_vocab() if token not in added]
    if tokenizer.kind == "bpe":
        lengths = {token: len(token) for token in tokens}
        made_of = {"bytes": len(set(tokens) & set(byte_characters())), "merges": len(tokenizer.merges)}
        begin = [token for token in tokens if token.startswith(byte_characters()[ord(" ")])]
    else:
        lengths = {token: len(token.removeprefix(INSIDE) or token) for token in tokens}
        begin = [token for token in tokens if not token.startswith(INSIDE) or token == INSIDE]
        characters = sum(lengths[token] == 1 for token in begin)
        inside = sum(length == 1 for length in lengths.values()) - characters
        made_of = {"characters": characters, "characters inside words": inside, "longer pieces": len(tokens) - characters - inside}
    longest = sorted(tokens, key=lambda token: (-lengths[token], token))
    of_letters = [token for token in longest if tokenizer.token_text(token).strip().isalpha()]
    return {"kind": tokenizer.kind, "vocab_size": tokenizer.vocab_size, "special_tokens": special,
            "other_added_tokens": {token: token_id for token, token_id in added.items() if token not in special},
            "made_of": made_of, "begin_a_word": len(begin), "lengths": dict(sorted(Counter(lengths.values()).items())),
            "longest_tokens": longest[:10], "longest_of_letters": of_letters[:10],
            "settings": tokenizer._settings(), "model_max_length": tokenizer.model_max_length, "fingerprint": tokenizer.fingerprint}


def statistics_view(tokenizer, style):
    """Lines: the statistics, with a histogram of lengths."""
    facts = statistics(tokenizer)
    unit = "bytes, with the space before" if tokenizer.kind == "bpe" else "characters"
    rest = sum(facts["lengths"].values())
    share = f" ({facts['begin_a_word'] / rest:.0%} of all that were not added)" if rest else ""
    rows = {"kind": {"bpe": "byte-level BPE", "wordpiece": "WordPiece"}[tokenizer.kind], "tokens": f"{tokenizer.vocab_size:,}",
            "special tokens": _named(facts["special_tokens"], style) or "none",
            "also added": _named(facts["other_added_tokens"], style),
            "made of": ", ".join(f"{number:,} {what}" for what, number in facts["made_of"].items()),
            "begin a word": f"{facts['begin_a_word']:,}{share}",
            "settings": ", ".join(f"{name} {value}" for name, value in facts["settings"].items()),
            "longest text": facts["model_max_length"] and f"{facts['model_max_length']:,} tokens, says the model",
            "fingerprint": facts["fingerprint"]}
    lines = [f"{name:>14}  {value}" for name, value in rows.items() if value]
    lines += ["", f"{'length':>14}  tokens (in {unit})", *_histogram(facts["lengths"], style)]
    for title, name in (("tokens", "longest_tokens"), ("of letters", "longest_of_letters")):
        if name == "longest_tokens" or facts[name] != facts["longest_tokens"]:
            lines += ["", f"{'longest':>14}  {title}"]
            texts = [(token, style.visible(tokenizer.token_text(token))) for token in facts[name]]
            lines += [f"{tokenizer.token_to_id(token):>14}  {text if len(text) <= 60 else text[:60] + style.signs.rest}" for token, text in texts]
    return lines


def _named(tokens, style):
    names = [f"{style.visible(token)} {token_id}" for token, token_id in tokens.items()]
    return ", ".join(names[:20]) + f", and {len(names) - 20:,} more" * (len(names) > 20)


def _histogram(lengths, style):
    """{1: 256, 2: 900, ...} -> a row for each length, the last for all longer ones."""
    counts = Counter()
    for length, count in lengths.items():
        counts[min(length, LONGEST)] += count
    for length in range(1, max(counts, default=0) + 1):
        more = "+" if length == LONGEST else ""
        bar = style.signs.bar * round(40 * counts[length] / max(counts.values()))
        yield f"{f'{length}{more}':>14}  {counts[length]:>7,} {bar}".rstrip()


# Both together, and small things

def as_data(tokenizer, text=None, word=None):
    """All that is asked for, for ``--json``."""
    data = statistics(tokenizer)
    if text is not None:
        data["encoding"] = asdict(tokenizer.encode(text, add_special_tokens=has_template(tokenizer)))
    if word is not None:
        data["words"] = steps_of(tokenizer, word)
    return data


def as_lines(tokenizer, text, word, style):
    """The views that are asked for, as lines; the vocabulary's where none is."""
    if text is None and word is None:
        return statistics_view(tokenizer, style)
    lines = text_view(tokenizer, text, style) if text is not None else []
    return lines + ([""] * bool(lines) + word_view(tokenizer, word, style) if word is not None else [])


def plural(number, what):
    """plural(1, "token") -> '1 token'; plural(1200, "token") -> '1,200 tokens'"""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
