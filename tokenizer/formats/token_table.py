"""``tokens.tsv``, the vocabulary for the eye: each token with its rank, its two parents and their count.

    id    token   rank    left parent     right parent    count
    261   he      0       h               e               62
    262   the     1       t               he              49

The rank is the place in the order of merging, from 0; the count is how often the parents stood side by side when they were
merged. Special tokens and single characters have neither. A token that two merges make has two lines. No program reads
this file; but a tokenizer that was loaded, and so does not know its counts, hands it on when it is saved.
"""
HEADER = ("id", "token", "rank", "left parent", "right parent", "count")
NAME = "tokens.tsv"


def token_table(tokenizer):
    """{"tokens.tsv": text}; {} where nothing is known that the vocabulary does not say."""
    if tokenizer.learned:
        tokens, learned = tokenizer.learned.tokens, tokenizer.learned
        merges = [(tokens[left], tokens[right], count) for (left, right), count in zip(learned.merges, learned.counts)]
        return {NAME: as_text(tokenizer, merges)}
    kept = handed_on(tokenizer)
    if kept:
        return {NAME: kept}
    if tokenizer.kind == "bpe":  # the merges are in merges.txt, the counts are lost
        return {NAME: as_text(tokenizer, [(left, right, "") for left, right in tokenizer.merges])}
    return {}


def as_text(tokenizer, merges):
    """merges: [(left parent, right parent, count), ...] in order of rank."""
    made = {}
    for rank, (left, right, count) in enumerate(merges):
        made.setdefault(tokenizer.merged_token(left, right), []).append((rank, left, right, count))
    rows = [HEADER] + [(token_id, token, *merge) for token, token_id in tokenizer.get_vocab().items()
                       for merge in made.get(token, [("", "", "", "")])]
    return "".join("\t".join(map(printable, row)) + "\n" for row in rows)


def printable(value):
    """A special token may hold a tab or a line end, which would break the table: 'a\\tb' is written a\\\\tb"""
    return str(value).replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def handed_on(tokenizer):
    """The table in the folder that the tokenizer was loaded from, if there is one and it is of this vocabulary; else None."""
    path = tokenizer.folder and tokenizer.folder / NAME
    if not path or not path.is_file():
        return None
    text = path.read_bytes().decode("utf-8", errors="replace")
    named = [line.split("\t")[:2] for line in text.split("\n")[1:-1]]
    tokens = [[str(token_id), printable(token)] for token, token_id in tokenizer.get_vocab().items()]
    return text if [row for i, row in enumerate(named) if i == 0 or row != named[i - 1]] == tokens else None
