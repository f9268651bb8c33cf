"""The loss of a causal model (chapter 13).

    logits       a torch tensor (B, T, V): row t was computed from the tokens 0 to t
    input_ids    (B, T): the tokens themselves
    is_token     (B, T): True for a token, False for padding, which comes at the end

Row t of the logits predicts token t + 1. Return a number: the mean of -log p(token) over all tokens
that have a row and are not padding. log p is the log of the softmax of the row.
"""


def next_token_loss(logits, input_ids, is_token):
    raise NotImplementedError
