"""Span corruption: input and target of given spans (chapter 13; Raffel et al. 2020, section 3.1.4).

    ids             list of token ids
    spans           list of (start, end) in ascending order: tokens start to end - 1 are cut out
    sentinel_ids    list of at least as many ids as there are spans

The input is the text with each span replaced by the next sentinel. The target has each sentinel,
followed by the tokens that it replaced.

Return (input, target), two lists of ids. Together they give back the text: put the tokens that
follow a sentinel in the target where that sentinel is in the input.
"""


def corrupt_spans(ids, spans, sentinel_ids):
    raise NotImplementedError
