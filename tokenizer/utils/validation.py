"""Checks of arguments that a tokenizer's users pass."""
import operator


def check_int(minimum, optional=True, **values):
    """Raise unless each value is an integer of at least ``minimum``, or None if it is optional.

    check_int(1, workers=0) -> ValueError: workers=0 is too small: it must be at least 1
    """
    for name, value in values.items():
        if value is None and optional:
            continue
        if value is None:
            raise TypeError(f"{name} is missing: it must be an integer")
        if operator.index(value) < minimum:
            raise ValueError(f"{name}={value} is too small: it must be at least {minimum}")


def check_bool(**values):
    """Raise TypeError unless each value is True or False."""
    for name, value in values.items():
        if not isinstance(value, bool):
            raise TypeError(f"{name} is {value!r}: it must be true or false")


def as_id_list(ids):
    """Return ids of Python, numpy or torch as a list of ints; raise TypeError for anything else."""
    return [operator.index(token_id) for token_id in ids]
