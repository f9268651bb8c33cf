"""Mask tokens: 80/10/10 (chapter 6).

All arrays are numpy arrays of the shape (B, T). The random numbers are given, so that everyone uses
the same ones:

    input_ids     ids
    is_special    True at [CLS], [SEP], padding, ...: never selected
    select        in [0, 1): a token is selected if its number is below ``probability``
    action        in [0, 1): a selected token becomes ``mask_token_id`` below 0.8, the id in
                  ``replacement`` below 0.9, and else stays
    replacement   ids

Return (corrupted, labels), both (B, T): the ids that the model sees, and the labels, which are the
true id of each selected token and -100 everywhere else.
"""


def mask_tokens(input_ids, is_special, select, action, replacement, mask_token_id, probability):
    raise NotImplementedError
