"""Who may look at whom in a causal model (chapter 13).

    length    number of tokens
    window    size of a local layer's window, an even number; None if the layer has no window

Row i of the mask is the token that looks, column j the token that it sees. A token sees itself and
the tokens before it, never one after it. With a window it sees at most window / 2 tokens, itself
included.

Return the mask: (length, length), True where row i sees column j. A torch tensor, a numpy array and
nested lists are all right.
"""


def causal_mask(length, window):
    raise NotImplementedError
