"""The tokenizers in their slowest and clearest form. Start reading here.

A model knows a fixed list of tokens, the vocabulary, and sees their indices, the ids. If tokens
were words, most words would be unknown; if they were letters, texts would be very long. So the
tokens are learned from a text: a frequent word becomes one token, a rare word several, and no
word is unknown. From text to ids in three lines:

>>> from tokenizer.pretokenize import gpt2_words
>>> words = Counter(map(byte_symbols, gpt2_words("hug pug hugs hug hug")))
>>> tokens, merges = train(words, sorted(byte_characters()), vocab_size=260)
>>> tokens[256:], encode_word(byte_symbols(" hugs"), merges), tokens.index("Ġhug")
(['ug', 'hug', 'Ġhug'], ['Ġhug', 's'], 258)

Training cuts a text into words and each word into its smallest tokens (``byte_symbols``,
``wordpiece_symbols``). ``train`` is byte-pair encoding (Sennrich et al. 2016), which counts all
pairs again at every merge. ``encode_word`` and ``spell_word`` are the two ways to use what was
learned.

Everything else in this package gives the same results faster. Tests compare the fast code with
these functions on thousands of random inputs.
"""
from collections import Counter

from tokenizer.pretokenize import byte_characters


def byte_symbols(word):
    """Split a word into bytes, each written as one of 256 characters (Radford et al. 2019).

    >>> byte_symbols(" hé")
    ('Ġ', 'h', 'Ã', '©')
    """
    # UTF-8 writes é as two bytes, so 256 characters are enough to write any text.
    return tuple(byte_characters()[byte] for byte in word.encode("utf-8"))


def wordpiece_symbols(word):
    """Split a word into characters; '##' marks those that are not the first.

    >>> wordpiece_symbols("hug")
    ('h', '##u', '##g')
    """
    # So the vocabulary can tell a word that begins with u from a word that continues with u.
    return (word[0], *("##" + char for char in word[1:]))


def join_pieces(left, right):
    """Merge two word pieces: ('h', '##ug') -> 'hug'; ('##u', '##g') -> '##ug'."""
    return left + right.removeprefix("##")  # the left piece decides whether a word begins here


def train(words, alphabet, vocab_size, min_frequency=2, join=str.__add__):
    """Learn merges by byte-pair encoding. Return (tokens, merges).

    words: {tuple of symbols: count}.  alphabet: the tokens to begin with.
    join: makes the merged token of a pair: ``join_pieces`` for WordPiece.

    By hand, with the words hug 10, pug 5, hugs 5:

        1   u g 20, h u 15, p u 5, g s 5    merge u g
        2   h ug 15, p ug 5, ug s 5         merge h ug
        3   p ug 5, hug s 5                 a tie: p precedes hug in the vocabulary, so merge p ug

    >>> words = {("h", "u", "g"): 10, ("p", "u", "g"): 5, ("h", "u", "g", "s"): 5}
    >>> train(words, ["g", "h", "p", "s", "u"], vocab_size=8)
    (['g', 'h', 'p', 's', 'u', 'ug', 'hug', 'pug'], [('u', 'g'), ('h', 'ug'), ('p', 'ug')])
    """
    tokens = list(alphabet)
    merges = []
    while len(tokens) < vocab_size:
        # Count every pair of neighbors, as often as its word occurs. With low, lower and lowest
        # once each: l o 3, o w 3, w e 2, e r 1, e s 1, s t 1.
        counts = Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:]):
                counts[pair] += count
        if not counts:
            break  # every word is one token

        # Take the most frequent pair, here l o. On a tie, such as that of l o and o w, take the
        # pair whose parts came earlier, so that the result does not depend on the order of words.
        best = min(counts, key=lambda pair: (-counts[pair], *map(tokens.index, pair)))
        if counts[best] < min_frequency:
            break  # a pair that occurs once teaches nothing about other texts

        # Make it a token: lo w, lo w e r, lo w e s t. In the next round lo w is the most frequent
        # pair (3 times) and gives low; after that, low e gives lowe.
        merged = join(*best)
        tokens.append(merged)
        merges.append(best)
        words = merge_all(words, best, merged)
    return tokens, merges


def merge_all(words, pair, merged):
    """Merge a pair in all words: {('a', 'b'): 2}, ('a', 'b'), 'ab' -> {('ab',): 2}."""
    new_words = Counter()
    for word, count in words.items():
        new_words[tuple(merge(word, pair, merged))] += count
    return new_words


def merge(word, pair, merged):
    """Merge a pair wherever it occurs in a word, from left to right.

    >>> merge("aaab", ("a", "a"), "X")
    ['X', 'a', 'b']
    """
    result = []
    i = 0
    while i < len(word):
        if tuple(word[i : i + 2]) == pair:
            result.append(merged)
            i += 2  # a symbol belongs to one merge only: of a a a, the first two are merged
        else:
            result.append(word[i])
            i += 1
    return result


def encode_word(word, merges):
    """Encode a word by byte-pair encoding: apply the earliest merge until none applies.

    >>> encode_word("hugs", [("u", "g"), ("h", "ug")])
    ['hug', 's']
    >>> encode_word("lowest", [("l", "o"), ("lo", "w"), ("e", "s"), ("w", "e")])
    ['low', 'es', 't']
    """
    # Training merged the pair of rank 0 first, and every later merge was learned after that. So
    # encoding must use the merges in the same order, to cut words as training did.
    rank = {pair: i for i, pair in enumerate(merges)}
    word = list(word)
    while len(word) > 1:
        pairs = list(zip(word, word[1:]))
        # min takes the first of equals: the leftmost pair of the lowest rank.
        i = min(range(len(pairs)), key=lambda i: rank.get(pairs[i], len(rank)))
        if pairs[i] not in rank:
            break  # no pair is left that training merged
        word[i : i + 2] = [word[i] + word[i + 1]]
    return word


def spell_word(word, vocabulary):
    """Encode a word by WordPiece: take the longest piece that fits, then continue after it.

    >>> spell_word("hugs", {"hug", "h", "##s"}), spell_word("hums", {"hug", "h", "##s"})
    (['hug', '##s'], ['[UNK]'])
    """
    pieces = []
    start = 0
    while start < len(word):
        prefix = "##" if start > 0 else ""
        # The order of training plays no role here: only the vocabulary counts, and length.
        fitting = [end for end in range(start + 1, len(word) + 1)
                   if prefix + word[start:end] in vocabulary]
        if not fitting:
            return ["[UNK]"]  # one bad character makes the word unknown
        end = max(fitting)
        pieces.append(prefix + word[start:end])
        start = end
    return pieces
