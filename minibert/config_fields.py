"""The fields of configurations: their flags, checks of their values, and reading them from JSON."""
from dataclasses import field, fields

from tokenizer.utils.cli import suggestion


def option(default, help, choices=()):
    """Return a dataclass field with the help text and the allowed values of its flag."""
    return field(default=default, metadata={"help": help, "choices": tuple(choices)})


def check_choices(config):
    """Raise ValueError for a field whose value is not one of its choices."""
    for f in fields(config):
        check_choice(config, f.name, f.metadata.get("choices"))


def check_choice(config, name, choices):
    value = getattr(config, name)
    if choices and value not in choices:
        raise ValueError(f"{name} is {value!r}: choose from {', '.join(choices)}"
                         + suggestion(value, choices))


# NaN fails every comparison and must be an error, hence `not` in the conditions below.


def check_at_least(config, minimum, *names):
    for name in names:
        if not getattr(config, name) >= minimum:
            raise ValueError(f"{name} is {getattr(config, name)}: it must be at least {minimum}")


def check_at_most(config, maximum, *names):
    for name in names:
        if not getattr(config, name) <= maximum:
            raise ValueError(f"{name} is {getattr(config, name)}: it must be at most {maximum:,}")


def check_positive(config, *names):
    for name in names:
        if not 0 < getattr(config, name) < float("inf"):
            raise ValueError(f"{name} is {getattr(config, name)}: it must be positive and finite")


def check_fraction(config, *names):
    for name in names:
        if not 0 <= getattr(config, name) < 1:
            raise ValueError(f"{name} is {getattr(config, name)}: it must be from 0 to below 1")


def check_pad_token(config):
    if not 0 <= config.pad_token_id < config.vocab_size:
        raise ValueError(f"pad_token_id {config.pad_token_id} is outside the vocabulary of "
                         f"{config.vocab_size:,}")


def from_dict(cls, values):
    """Return a BertConfig or TrainConfig from a dict. Unknown keys raise ValueError.

    >>> from_dict(BertConfig, {"vocab_size": 4}).vocab_size
    4
    """
    names = [f.name for f in fields(cls)]
    for key in values:
        if key not in names:
            raise ValueError(f"unknown {cls.__name__} key {key!r}" + suggestion(key, names))
    return cls(**values)
