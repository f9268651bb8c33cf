"""What callers may give. A wrong value is told at once, in one line that names it and says what is taken instead."""
import operator


def check_int(least, **values):
    """TypeError, ValueError unless each of ``values`` is a whole number from ``least`` on, or None, which stands for a default.

    check_whole(1, workers=2.0) -> TypeError: workers=2.0 is no whole number
    check_whole(1, workers=0) -> ValueError: workers=0 is too small: it takes at least 1
    """
    for name, value in values.items():
        if value is None:
            continue
        if not is_int(value):
            raise TypeError(f"{name}={value!r} is no whole number")
        if value < least:
            raise ValueError(f"{name}={value} is too small: it takes at least {least}")


def is_int(value):
    """Whether a value is an int, of Python, numpy or torch; True and False are none. 3 -> True, 3.0 -> False"""
    try:
        operator.index(value)
    except TypeError:
        return False
    return not isinstance(value, bool)


def as_id_list(values):
    """What ``decode`` is given, as a list of ints; TypeError where it is something else.

    range(2) -> [0, 1]; "01" -> TypeError: decode takes a list of ids, such as [0, 262, 2], but got '01'
    """
    wrong = [values]
    if hasattr(values, "__iter__") and not isinstance(values, (str, bytes)):
        values = list(values)
        wrong = [value for value in values if not is_int(value)]
    if wrong:
        raise TypeError(f"decode takes a list of ids, such as [0, 262, 2], but got {wrong[0]!r:.80}" + " among them" * (wrong[0] is not values))
    return list(map(operator.index, values))


def split_pair(item, number):
    """An item of a batch -> (text, pair or None). "a" -> ("a", None); ("a", "b") -> ("a", "b"); None -> TypeError"""
    if isinstance(item, str):
        return item, None
    if isinstance(item, (tuple, list)) and len(item) == 2 and all(isinstance(text, str) for text in item):
        return item
    raise TypeError(f"encode_batch takes texts and pairs of texts, 'a' and ('a', 'b'), but item {number} is {item!r:.80}")


def checked_texts(documents):
    """The texts of an iterable, one by one as they are asked for; TypeError for one string, or for what is none among them."""
    if isinstance(documents, str):
        raise TypeError("encode_documents takes an iterable of texts, not one text: pass [text], or use encode_ids")

    def checked(number, text):
        if not isinstance(text, str):
            raise TypeError(f"encode_documents takes texts, but number {number} is {text!r:.80}")
        return text
    return (checked(number, text) for number, text in enumerate(documents))
