"""The slow, clear twins: the same results as the rest of this folder, with nothing done for speed.

Start reading here. ``train`` is byte-pair encoding as Sennrich et al. (2016) give it, with everything counted anew at
every merge; ``encode_word`` and ``spell_word`` are the two ways of using a vocabulary. Tests hold ``merges.py``, ``bpe.py`` and
``wordpiece.py`` to them on thousands of random inputs.
"""
from collections import Counter


def train(words, alphabet, vocab_size, min_frequency=2, join=str.__add__):
    """Learn merges. ``words``: {tuple of tokens: count}; ``alphabet``: the tokens to begin with. -> (tokens, merges)

    Of equally frequent pairs the one whose parts stand earlier in the vocabulary is taken.

    >>> train({("h", "u", "g"): 10, ("p", "u", "g"): 5, ("h", "u", "g", "s"): 5}, ["g", "h", "p", "s", "u"], 8)
    (['g', 'h', 'p', 's', 'u', 'ug', 'hug', 'pug'], [('u', 'g'), ('h', 'ug'), ('p', 'ug')])
    """
    tokens, merges = list(alphabet), []
    while len(tokens) < vocab_size:
        counts = Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:]):
                counts[pair] += count
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], tokens.index(pair[0]), tokens.index(pair[1])))
        if counts[best] < min_frequency:
            break
        merged = join(*best)
        if merged not in tokens:
            tokens.append(merged)
        merges.append(best)
        new_words = Counter()
        for word, count in words.items():
            new_words[tuple(merge(word, best, merged))] += count
        words = new_words
    return tokens, merges


def merge(word, pair, merged):
    """Replace a pair of neighbours wherever it stands, from the left. merge('aaab', ('a', 'a'), 'X') -> ['X', 'a', 'b']"""
    result, i = [], 0
    while i < len(word):
        if tuple(word[i:i + 2]) == pair:
            result.append(merged)
            i += 2
        else:
            result.append(word[i])
            i += 1
    return result


def encode_word(word, merges):
    """Byte-pair encoding: the merge that was learned first goes first, until none applies.

    >>> encode_word("hugs", [("u", "g"), ("h", "ug")])
    ['hug', 's']
    """
    rank = {pair: i for i, pair in enumerate(merges)}
    word = list(word)
    while len(word) > 1:
        i = min(range(len(word) - 1), key=lambda i: rank.get((word[i], word[i + 1]), len(rank)))  # min: the leftmost
        if (word[i], word[i + 1]) not in rank:
            break
        word[i:i + 2] = [word[i] + word[i + 1]]
    return word


def spell_word(word, vocabulary, unknown="[UNK]"):
    """WordPiece: the longest piece that fits, then the same with the rest, whose pieces begin with '##'.

    >>> spell_word("hugs", {"hug", "h", "##s"}), spell_word("hums", {"hug", "h", "##s"})
    (['hug', '##s'], ['[UNK]'])
    """
    pieces, rest = [], word
    while rest:
        fitting = [end for end in range(1, len(rest) + 1) if ("##" if pieces else "") + rest[:end] in vocabulary]
        if not fitting:
            return [unknown]
        pieces.append(("##" if pieces else "") + rest[:max(fitting)])
        rest = rest[max(fitting):]
    return pieces
