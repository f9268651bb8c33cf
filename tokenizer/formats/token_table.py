"""``tokens.tsv``, the vocabulary for people to read: each token with the merge that made it.

    id    token   rank    left parent     right parent    count
    261   he      0       h               e               62
    262   the     1       t               he              49

The rank is the position in the order of merges, from 0. The count is how often the two parents were
adjacent when they were merged. Special tokens and single characters have no merge; a token that two
merges make has two lines. No program reads this file, but a tokenizer that was loaded does not know
its counts, and copies the file when it is saved.
"""
HEADER = ("id", "token", "rank", "left parent", "right parent", "count")
NAME = "tokens.tsv"


def token_table(tokenizer):
    """Return {"tokens.tsv": text}; {} if nothing is known about the merges."""
    learned = tokenizer.learned
    if learned:
        merges = []
        for (left, right), count in zip(learned.merges, learned.counts):
            merges.append((learned.tokens[left], learned.tokens[right], count))
        return {NAME: render(tokenizer, merges)}
    if tokenizer.folder and (tokenizer.folder / NAME).is_file():
        return {NAME: (tokenizer.folder / NAME).read_text(encoding="utf-8", errors="replace")}
    if tokenizer.kind == "bpe":  # the merges are in merges.txt; the counts are lost
        merges = [(left, right, "") for left, right in tokenizer.merges]
        return {NAME: render(tokenizer, merges)}
    return {}


def render(tokenizer, merges):
    """Return the table as text. merges: [(left parent, right parent, count), ...] by rank."""
    made_by = {}  # token -> its merges
    for rank, (left, right, count) in enumerate(merges):
        token = tokenizer.merged_token(left, right)
        made_by.setdefault(token, []).append((rank, left, right, count))
    rows = [HEADER]
    for token, token_id in tokenizer.get_vocab().items():
        for merge in made_by.get(token, [("", "", "", "")]):
            rows.append((token_id, token, *merge))
    return "".join("\t".join(map(printable, row)) + "\n" for row in rows)


def printable(value):
    """Escape tabs and line ends, which would break the table."""
    return str(value).replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
