"""What ``python -m data`` says to people: the results that --json prints for programs, one idea a line, in columns that line up.

    documents         90,449
    text              24.6 MB
    duplicated lines  1.594%
    longest lines
      characters  begins
           1,024  It was the best of times ...

Units are known by the names that the results have: a share becomes a percentage, bytes become MB, entropies are in nats.
"""
from tokenizer.utils.terminal import display_width, padded

GAP = "  "


def as_text(result):
    """A dict as lines "name  value", further in what it holds inside; a list of dicts inside a dict as a table, by itself as one block each.

    >>> print(as_text({"num_tokens": 12345, "files": ["a", "b"], "dropped": [{"filter": "short", "documents": 1200}, {"filter": "markup"}]}))
    tokens  12,345
    files
      a
      b
    dropped
      filter  documents
      short       1,200
      markup
    """
    if isinstance(result, list):
        return "\n\n".join(map(as_text, result))
    lines = []
    width = max((len(label(name)) for name, value in result.items() if not isinstance(value, (dict, list))), default=0)
    for name, value in result.items():
        if isinstance(value, dict):
            lines += [label(name), *(GAP + line for line in as_text(value).split("\n"))]
        elif isinstance(value, list):
            lines += [label(name) + ("" if value else ": none"), *(GAP + line for line in table(value))]
        else:
            lines.append(f"{label(name):{width}}{GAP}{said(name, value)}{share_kept(name, result)}".rstrip())
    return "\n".join(lines)


def table(rows):
    """A list of dicts as lines: a head, and numbers to the right; other lists as they are, an item a line.

    ``[{"file": "a", "tokens": 1200}] -> ["file  tokens", "a      1,200"]``
    """
    if not all(isinstance(row, dict) for row in rows):
        return [said("", row) for row in rows]
    lines = []
    for name in dict.fromkeys(name for row in rows for name in row):
        cells = [label(name), *(said(name, row[name]) if name in row else "" for row in rows)]
        width, numbers = max(map(display_width, cells)), any(isinstance(row.get(name), (int, float)) for row in rows)
        lines.append([" " * (width - display_width(cell)) + cell if numbers else padded(cell, width) for cell in cells])
    return [GAP.join(cells).rstrip() for cells in zip(*lines)]


def label(name):
    """``"num_tokens" -> "tokens"``, ``"num_bytes" -> "text"``, ``"duplicated_lines_share" -> "duplicated lines"``"""
    name = name.removeprefix("num_").removesuffix("_share")
    return {"bytes": "text", "crc32": "checksum"}.get(name, name.replace("_", " "))


def said(name, value):
    """A value with its unit.

    >>> said("share_of_documents", 0.25), said("num_bytes", 24_600_000), said("unigram_entropy", 6.93147), said("documents", 90449)
    ('25.000%', '24.6 MB', '6.931 nats', '90,449')
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return str(value)
    if "share" in name:
        return f"{value:.3%}"
    if name in ("bytes", "num_bytes"):
        return f"{value / 1e6:,.1f} MB" if value >= 1e5 else f"{value:,} bytes"
    if name == "crc32":
        return f"{value:08x}"
    number = f"{value:.4g}" if isinstance(value, float) else f"{value:,}"
    return number + " nats" * ("entropy" in name)


def share_kept(name, result):
    """``"kept_documents", {"documents": 4, "kept_documents": 1} -> " (25.000%)"``; "" for all other names."""
    whole = result.get(name.removeprefix("kept_")) if name.startswith("kept_") else None
    return f" ({result[name] / whole:.3%})" if whole else ""
