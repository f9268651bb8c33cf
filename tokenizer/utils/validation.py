"""Checks of arguments: a wrong value raises an error that names it and says what is expected."""
import operator


def check_int(minimum, **values):
    """Raise unless each value is an integer of at least ``minimum``, or None (for a default).

    check_int(1, workers=2.0) -> TypeError: workers=2.0 is not an integer
    check_int(1, workers=0) -> ValueError: workers=0 is too small: it must be at least 1
    """
    for name, value in values.items():
        if value is None:
            continue
        if not is_int(value):
            raise TypeError(f"{name}={value!r} is not an integer")
        if value < minimum:
            raise ValueError(f"{name}={value} is too small: it must be at least {minimum}")


def is_int(value):
    """Return whether a value is an integer of Python, numpy or torch. True and False are not."""
    try:
        operator.index(value)
    except TypeError:
        return False
    return not isinstance(value, bool)


def as_id_list(values):
    """Return token ids as a list of ints; raise TypeError for anything else. range(2) -> [0, 1]"""
    if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
        raise TypeError(f"decode takes a list of ids such as [0, 262, 2], not {values!r:.80}")
    values = list(values)
    for value in values:
        if not is_int(value):
            raise TypeError(f"decode takes a list of ids such as [0, 262, 2]; one is {value!r:.80}")
    return [operator.index(value) for value in values]


def split_pair(item, index):
    """Return an item of a batch as (text, pair or None). "a" -> ("a", None)"""
    if isinstance(item, str):
        return item, None
    is_sequence = isinstance(item, (tuple, list)) and len(item) == 2
    if is_sequence and all(isinstance(text, str) for text in item):
        return item
    raise TypeError(f"encode_batch takes texts and pairs of texts; item {index} is {item!r:.80}")


def checked_texts(documents):
    """Return an iterator over texts; raise TypeError at the first item that is not a text."""
    if isinstance(documents, str):
        raise TypeError("encode_documents takes an iterable of texts: pass [text]")

    def check(index, text):
        if not isinstance(text, str):
            raise TypeError(f"encode_documents takes texts, but item {index} is {text!r:.80}")
        return text
    return (check(index, text) for index, text in enumerate(documents))
