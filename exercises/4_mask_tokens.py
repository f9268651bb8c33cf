"""Mask tokens: 80/10/10 (chapter 6).

All arrays are numpy's, of the shape (B, T). The dice are thrown already, so that everyone gets the same:

    input_ids     ids                    is_special    True at [CLS], [SEP], padding, ...: never selected
    select        numbers in [0, 1)      a token is selected where its number is below ``probability``
    action        numbers in [0, 1)      a selected token: below 0.8 it becomes ``mask_token_id``, below 0.9 the id in ``replacement``, else it stays
    replacement   ids

Return (corrupted, labels), both of the shape (B, T): the ids that the model is to see; and what it is to guess, which is the true id at
each selected token and -100 everywhere else.
"""


def mask_tokens(input_ids, is_special, select, action, replacement, mask_token_id, probability):
    raise NotImplementedError
