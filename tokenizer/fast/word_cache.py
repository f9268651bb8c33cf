"""Not needed to understand BERT. The same as: calling ``encode_word`` for each word."""

WORD_CACHE_SIZE = 1 << 18  # words, about 60 MB; far fewer words make up nearly all of real texts
LONGEST_CACHED_WORD = 100  # characters; longer words rarely occur twice


class WordCache(dict):
    """word -> ids. A missing word is encoded and kept; a full cache is emptied."""

    def __init__(self, encode_word):
        self.encode_word = encode_word

    def __missing__(self, word):
        ids = self.encode_word(word)
        if len(word) <= LONGEST_CACHED_WORD:
            if len(self) >= WORD_CACHE_SIZE:
                self.clear()
            self[word] = ids
        return ids
