"""Shared by all commands: a parser that suggests the nearest flag, and errors as one clear line.

Exit codes: 0 done, 1 the work failed (the last line says why), 2 the command line is wrong,
130 stopped with Ctrl-C.
"""
import argparse
import contextlib
import difflib
import re
import signal
import sys
from dataclasses import fields

from tokenizer.utils import interrupt
from tokenizer.utils.terminal import SafeStream


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows the default of each flag that has one, and keeps the line breaks of examples."""

    def _get_help_string(self, action):
        if action.default in (None, False, "", []):
            return action.help
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """An ``argparse.ArgumentParser`` that suggests the nearest flag and takes no abbreviations.

    ``--vocab-sise 100`` -> ``error: unknown flag --vocab-sise: did you mean --vocab-size?``
    """

    def __init__(self, formatter_class=HelpFormatter, **options):
        super().__init__(formatter_class=formatter_class, allow_abbrev=False, **options)

    def parse_args(self, args=None, rest=""):
        """Parse the command line.

        rest: name of the list of positional arguments, which also receives those that follow a
        flag. argparse does not accept them: in ``FOLDER --json TEXT``, TEXT would be an error.
        """
        namespace, unknown = self.parse_known_args(args)
        if rest:
            texts = [word for word in unknown if word == "-" or not word.startswith("-")]
            getattr(namespace, rest).extend(texts)
            unknown = [word for word in unknown if word not in texts]
        if unknown:
            word = unknown[0].split("=")[0]
            kind = "flag" if word.startswith("-") else "argument"
            parser = self.of_command(sys.argv[1:] if args is None else args)
            parser.error(f"unknown {kind} {word}{suggestion(word, parser.flags())}")
        return namespace

    def flags(self):
        """Return all flags: ['-h', '--help', '--vocab-size', ...]"""
        return list(self._option_string_actions)

    def of_command(self, args):
        """Return the parser of the subcommand that the arguments name, or this parser."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                return next(action.choices[word] for word in args if word in action.choices)
        return self

    def _check_value(self, action, value):
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += suggestion(str(value), [str(choice) for choice in action.choices])
            raise

    def error(self, message):
        self.exit(2, f"error: {message}\n({self.prog} --help lists all flags)\n")


def at_least(minimum, maximum=10**9):
    """Return an argparse type for integers from ``minimum`` to ``maximum``."""
    def integer(word):
        value = int(word)
        if value < minimum:
            raise argparse.ArgumentTypeError(f"{value} is too small: it must be at least {minimum}")
        if value > maximum:
            raise argparse.ArgumentTypeError(f"{value} is too large: it must be at most {maximum}")
        return value
    return integer


def flag(name):
    """Return the flag of an argument: max_steps -> --max-steps."""
    return "--" + name.replace("_", "-")


def as_flags(message, names):
    """Replace the names of Python arguments in an error message by the names of flags.

    >>> as_flags("vocab_size=7 is too small for vocab_size.txt", ["vocab_size"])
    '--vocab-size 7 is too small for vocab_size.txt'
    """
    def replacement(match):
        name, equals = match.groups()
        return flag(name) + (" " if equals else "")
    # The name must not be part of a longer name or of a path. The choices of a flag are not flags.
    message, *choices = re.split("(?=choose from )", message, maxsplit=1)
    message = re.sub(rf"(?<![\w./-])({'|'.join(names)})(?![\w./-])(=)?", replacement, message)
    return message + "".join(choices)


@contextlib.contextmanager
def errors_name_flags(names):
    """Within the block, replace the names of arguments in ValueErrors by the names of flags."""
    try:
        yield
    except ValueError as error:
        raise ValueError(as_flags(str(error), names)) from None


def suggestion(word, known):
    """Return the end of an error message that names the nearest known word, or "".

    >>> suggestion("quikstart", ["quickstart", "kant"])
    ': did you mean quickstart?'
    """
    near = difflib.get_close_matches(word, known, n=1)
    return f": did you mean {near[0]}?" if near else ""


def add_flags(group, cls, names=None, *, shown, unset_at_zero=()):
    """Add a flag for each field of ``cls`` that has a help text, or for those in ``names``.

    A flag that is not on the command line is None, so that ``explicit_flags`` can tell.

    shown           an instance of ``cls`` whose values are printed as the defaults
    unset_at_zero   fields for which 0 means that a feature is off, and is not printed
    """
    for field in fields(cls):
        if "help" not in field.metadata or (names is not None and field.name not in names):
            continue
        kind = type(field.default)
        choices = ",".join(field.metadata["choices"])
        options = {"type": kind, "metavar": f"{{{choices}}}" if choices else kind.__name__.upper()}
        if kind is bool:
            options = {"action": argparse.BooleanOptionalAction}  # --flag and --no-flag
        value = getattr(shown, field.name)
        is_off = value == "" or value is False or (field.name in unset_at_zero and not value)
        group.add_argument(flag(field.name), default=None,
                           help=field.metadata["help"] + ("" if is_off else f" [{value}]"),
                           **options)


def explicit_flags(arguments, cls):
    """Return {field: value} for the fields of ``cls`` that are on the command line."""
    values = {field.name: getattr(arguments, field.name, None) for field in fields(cls)}
    return {name: value for name, value in values.items() if value is not None}


def run(main):
    """Call ``main()`` and exit with its code; print expected errors as one line, no traceback.

    What is printed, here and until Python ends, cannot control the terminal (``SafeStream``).
    """
    interrupt.imports_are_over()
    # Escape characters that the output's encoding lacks (cp1252 in pipes on Windows): 'Ġ' as \u0120
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stdout = sys.stdout and SafeStream(sys.stdout)  # None if it is closed
    sys.stderr = sys.stderr and SafeStream(sys.stderr, has_bars=True)
    try:
        sys.exit(main())
    except BrokenPipeError:  # the reader, such as ``head``, has closed the pipe
        sys.stderr.close()
        sys.exit(0)
    except (ValueError, OSError) as error:
        # str(error) of a system's error is "[Errno 13] Permission denied: 'FILE'"
        is_about_file = isinstance(error, OSError) and error.filename and error.strerror
        sys.exit(f"error: {error.filename}: {error.strerror}" if is_about_file
                 else f"error: {error}")
    except KeyboardInterrupt as error:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not print a traceback
        print(f"stopped; {error}" if str(error) else "stopped", file=sys.stderr)
        sys.exit(130)
