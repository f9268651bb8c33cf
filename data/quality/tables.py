"""Print the results of ``python -m data`` for people; --json prints the same dict for programs.

    documents         90,449
    text              24.6 MB
    duplicated lines  1.594%
    longest lines
      characters  begins
           1,024  It was the best of times ...

The unit follows from the name: a share is a percentage, bytes are MB, an entropy is in nats.
"""
from tokenizer.utils.terminal import render_table


def render_result(result):
    """Return a dict as lines "name  value".

    A dict in it is indented, a list of dicts is a table. A list by itself is one block per item.

    >>> dropped = [{"filter": "short", "documents": 1200}, {"filter": "markup"}]
    >>> print(render_result({"num_tokens": 12345, "files": ["a", "b"], "dropped": dropped}))
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
        return "\n\n".join(map(render_result, result))

    names = [name for name, value in result.items() if not isinstance(value, (dict, list))]
    width = max((len(label(name)) for name in names), default=0)
    lines = []
    for name, value in result.items():
        if name in names:
            lines.append(f"{label(name):{width}}  {render_value(name, value)}".rstrip())
            continue
        if not value:
            lines.append(f"{label(name)}: none")
            continue
        nested = render_result(value) if isinstance(value, dict) else _render_list(value)
        lines.append(label(name))
        lines += ["  " + line for line in nested.split("\n")]
    return "\n".join(lines)


def _render_list(rows):
    """Return dicts as a table with numbers to the right, other values one per line."""
    if not isinstance(rows[0], dict):
        return "\n".join(render_value("", row) for row in rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = [[label(name) for name in names]]
    for row in rows:
        table.append([render_value(name, row[name]) if name in row else "" for name in names])
    align = ""
    for name in names:
        is_numeric = any(isinstance(row.get(name), (int, float)) for row in rows)
        align += "r" if is_numeric else "l"
    return render_table(table, align)


def label(name):
    """``"num_tokens" -> "tokens"``, ``"duplicated_lines_share" -> "duplicated lines"``"""
    name = name.removeprefix("num_").removesuffix("_share")
    return {"bytes": "text", "crc32": "checksum"}.get(name, name.replace("_", " "))


def render_value(name, value):
    """Return a value with its unit.

    >>> render_value("share_of_documents", 0.25), render_value("num_bytes", 24_600_000)
    ('25.000%', '24.6 MB')
    >>> render_value("unigram_entropy", 6.93147), render_value("documents", 90449)
    ('6.931 nats', '90,449')
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return str(value)
    if "share" in name:
        return f"{value:.3%}"
    if name in ("bytes", "num_bytes"):
        return f"{value / 1e6:,.1f} MB" if value >= 1e5 else f"{value:,} bytes"
    text = f"{value:.4g}" if isinstance(value, float) else f"{value:,}"
    return f"{text} nats" if "entropy" in name else text
