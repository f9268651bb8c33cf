"""The slow, clear twins: the same results as the rest of this folder, with nothing done for speed.

Start reading here. A model knows a fixed list of tokens, the vocabulary, and sees their numbers, the ids. With whole words for
tokens, most of the words there are would be unknown; with letters, texts would be very long. So the pieces are learned from a
text: frequent words become one token, rare ones several, and nothing has to be unknown. From text to ids in three lines:

>>> from tokenizer.pretokenize import gpt2_words
>>> words = Counter(map(byte_letters, gpt2_words("hug pug hugs hug hug")))         # {('Ġ', 'h', 'u', 'g'): 2, ('h', 'u', 'g'): 1, ...}
>>> tokens, merges = train(words, sorted(byte_characters()), vocab_size=260)       # 256 bytes; up to four more
>>> tokens[256:], encode_word(byte_letters(" hugs"), merges), tokens.index("Ġhug")
(['ug', 'hug', 'Ġhug'], ['Ġhug', 's'], 258)

Training: a text is cut into words, and those into the smallest tokens (``byte_letters``, ``piece_letters``);
``train`` is byte-pair encoding as Sennrich et al. (2016) give it, with everything counted anew at every merge;
``train_by_likelihood`` tries every merge and keeps the best. Then ``encode_word`` and ``spell_word``, the two ways of using what
was learned. Tests hold the fast code to all of them on thousands of random inputs.
"""
from collections import Counter
from math import log

from tokenizer.pretokenize import byte_characters


def byte_letters(word):
    """Byte-level BPE (Radford et al. 2019) begins with the bytes of a word, each written as one of 256 characters.

    >>> byte_letters(" hé")
    ('Ġ', 'h', 'Ã', '©')
    """
    return tuple(byte_characters()[byte] for byte in word.encode("utf-8"))


def piece_letters(word):
    """WordPiece begins with characters, and knows the first of a word from the others. 'hug' -> ('h', '##u', '##g')"""
    return (word[0], *("##" + char for char in word[1:]))


def join_pieces(left, right):
    """What ``train`` makes of two word pieces. ('h', '##ug') -> 'hug'; ('##u', '##g') -> '##ug'"""
    return left + right.removeprefix("##")


def train(words, alphabet, vocab_size, min_frequency=2, join=str.__add__):
    """Learn merges. ``words``: {tuple of tokens: count}; ``alphabet``: the tokens to begin with. -> (tokens, merges)

    Of equally frequent pairs the one whose parts stand earlier in the vocabulary is taken. By hand, with the words hug 10, pug 5, hugs 5:

        1   u g 20, h u 15, p u 5, g s 5    -> ug
        2   h ug 15, p ug 5, ug s 5         -> hug
        3   p ug 5, hug s 5: equal, and p stands earlier in the vocabulary than hug -> pug

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
        words = merge_all(words, best, merged)
    return tokens, merges


def train_by_likelihood(words, alphabet, vocab_size, min_frequency=2, join=str.__add__):
    """As ``train``, but the pair is taken that makes the corpus likeliest once it is merged, and only if likelier than before.

    ``likelihood.py`` derives how much a merge gains; here it is simply made. A pair must be merged in ``min_frequency`` places. Of
    equal gains (rounded to 6 decimals, fewer from 10 million letters on, whose sums are less exact) the one whose parts
    stand earlier in the vocabulary is taken.

    Where a and b stand before x and y alike, a says nothing of x, though the two are often neighbours; c always comes with z.

    >>> words = {("a", "x"): 4, ("a", "y"): 4, ("b", "x"): 4, ("b", "y"): 4, ("c", "z"): 3}
    >>> train(words, list("abcxyz"), 7)
    (['a', 'b', 'c', 'x', 'y', 'z', 'ax'], [('a', 'x')])
    >>> train_by_likelihood(words, list("abcxyz"), 7)
    (['a', 'b', 'c', 'x', 'y', 'z', 'cz'], [('c', 'z')])
    """
    tokens, merges = list(alphabet), []
    decimals = min(6, 13 - len(str(sum(piece_counts(words).values()))))
    while len(tokens) < vocab_size:
        gains = {}
        for pair in {pair for word in words for pair in zip(word, word[1:])}:
            merged = merge_all(words, pair, join(*pair))
            if sum(piece_counts(words).values()) - sum(piece_counts(merged).values()) >= min_frequency:  # each merge makes one piece of two
                gains[pair] = round(log_likelihood(merged) - log_likelihood(words), decimals)
        best = min(gains, key=lambda pair: (-gains[pair], tokens.index(pair[0]), tokens.index(pair[1])), default=None)
        if best is None or gains[best] <= 0:
            break
        if join(*best) not in tokens:
            tokens.append(join(*best))
        merges.append(best)
        words = merge_all(words, best, join(*best))
    return tokens, merges


def log_likelihood(words):
    """ln of the corpus's probability if pieces were drawn independently, each with the probability count / total.

    In nats, as logarithms to the base e are called (1 nat = 1.44 bits). Four pieces, each of them a or b, have (1/2)^4:

    >>> round(log_likelihood({("a", "b"): 2}), 4), round(4 * log(1 / 2), 4)
    (-2.7726, -2.7726)
    """
    counts = piece_counts(words)
    total = sum(counts.values())
    return sum(count * log(count / total) for count in counts.values())


def piece_counts(words):
    """How often each piece occurs. piece_counts({('a', 'b', 'a'): 5}) -> {'a': 10, 'b': 5}"""
    counts = Counter()
    for word, count in words.items():
        for piece in word:
            counts[piece] += count
    return counts


def merge_all(words, pair, merged):
    """Replace a pair in all words. merge_all({('a', 'b'): 2}, ('a', 'b'), 'ab') -> {('ab',): 2}"""
    new_words = Counter()
    for word, count in words.items():
        new_words[tuple(merge(word, pair, merged))] += count
    return new_words


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
