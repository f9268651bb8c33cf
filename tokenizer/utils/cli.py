"""What the project's commands share: a parser that names the nearest flag, and errors as one clear line.

Exit codes: 0 done, 1 the work could not be done (the reason is the last line), 2 the command line is wrong,
130 stopped with Ctrl-C.
"""
import argparse
import contextlib
import difflib
import errno
import re
import signal
import sys
from dataclasses import fields


class Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Defaults beside the flags that have one, and examples (``epilog``) as they are written, line by line."""

    def _get_help_string(self, action):
        return action.help if action.default in (None, False, "", []) else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """``argparse.ArgumentParser`` that names the nearest real flag or value, and takes no abbreviations.

    ``--vocab-sise 100`` -> ``error: unknown flag --vocab-sise: did you mean --vocab-size?``
    """

    def __init__(self, explained=(), **options):
        """explained: {flag that there is not: what to say instead of a suggestion}"""
        options.setdefault("formatter_class", Help)
        super().__init__(allow_abbrev=False, **options)
        self.explained = dict(explained)

    def parse_args(self, args=None, namespace=None, rest=""):
        """rest: the list of words that also takes those which a flag stands before: argparse gives up on 'FOLDER --json TEXT'"""
        into, (namespace, rest) = rest, self.parse_known_args(args, namespace)
        if into:
            setattr(namespace, into, getattr(namespace, into) + [word for word in rest if not word.startswith("-")])
            rest = [word for word in rest if word.startswith("-")]
        if rest:
            word = rest[0].split("=")[0]
            remedy = f": {self.explained[word]}" if word in self.explained else suggestion(word, self.flags())
            self.error(f"unknown {'flag' if word.startswith('-') else 'argument'} {word}" + remedy)
        return namespace

    def flags(self):
        """All flags, those of subcommands included. -> ['-h', '--help', '--vocab-size', ...]"""
        commands = [command for action in self._actions if isinstance(action, argparse._SubParsersAction)
                    for command in action.choices.values()]
        own = [flag for action in self._actions for flag in action.option_strings]
        return own + [flag for command in commands for flag in command.flags()]

    def error(self, message):
        wrong = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if wrong:
            message += suggestion(wrong[1], re.findall(r"[\w.-]+", wrong[2]))
        self.exit(2, f"error: {message}\n({self.prog} --help lists what there is)\n")


def at_least(smallest):
    """A type of flags: whole numbers from ``smallest`` on. "3" -> 3; "0" -> error: argument --workers: 0 is too small: it takes at least 1"""
    def number(word):
        try:
            value = int(word)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{word!r} is no whole number") from None
        if value < smallest:
            raise argparse.ArgumentTypeError(f"{value} is too small: it takes at least {smallest}")
        return value
    return number


def as_flags(message, names):
    """An error of Python as the command line has it; parts of file names stay.

    >>> as_flags("vocab_size=7 is too small for vocab_size.txt", ["vocab_size"])
    '--vocab-size 7 is too small for vocab_size.txt'
    """
    def flag(match):
        return "--" + match[1].replace("_", "-") + " " * bool(match[2])
    return re.sub(rf"(?<![\w./-])({'|'.join(names)})(?![\w./-])(=)?", flag, message)


def suggestion(word, known):
    """The end of an error line that names the nearest of ``known``; '' where nothing is near.

    >>> suggestion("quikstart", ["quickstart", "kant"])
    ': did you mean quickstart?'
    """
    near = difflib.get_close_matches(word, known, n=1)
    return f": did you mean {near[0]}?" if near else ""


def add_flags(group, cls, names=None, shown=None, unset_at_zero=()):
    """A flag for each field of a configuration, or for those of ``names``; one that is not given is None, so that ``explicit_flags`` can tell.

    shown: a configuration whose values stand in brackets behind the help, but those that say that something is off.
    """
    known = {f.name: f for f in fields(cls)}
    for f in map(known.__getitem__, names or known):
        switch = isinstance(f.default, bool)
        kind, alone = (true_or_false, {"nargs": "?", "const": True}) if switch else (type(f.default), {})
        value = getattr(shown, f.name, "")
        off = value == "" or value is False or (f.name in unset_at_zero and not value)
        group.add_argument("--" + f.name.replace("_", "-"), type=kind, default=None, metavar=kind.__name__.upper(),
                           help=f.metadata["help"] + ("" if off else f" [{value}]"), **alone)  # a switch that stands alone is on


def true_or_false(word):
    if word.lower() not in ("true", "false"):
        raise ValueError(word)  # argparse turns it into "invalid value"
    return word.lower() == "true"


def explicit_flags(arguments, cls):
    """The fields of ``cls`` that stand on the command line -> dict."""
    return {f.name: getattr(arguments, f.name) for f in fields(cls) if getattr(arguments, f.name) is not None}


def run(main):
    """Call ``main()`` and exit with its code; bad input and failing disks become one line on stderr, not a traceback.

    A character that the output's encoding lacks is escaped: 'Ġ' as \\u0120 under cp1252, say, which pipes on Windows have.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # stderr is so from the start
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # `... | head` has seen enough
            sys.stderr.close()
            sys.exit(0)
        full = ". The disk is full: make room, then do the same again" if error.__class__ is OSError and error.errno == errno.ENOSPC else ""
        sys.exit(f"error: {error}{full}")
    except KeyboardInterrupt as error:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would find Python tidying up, and be a traceback
        print(f"stopped; {error}" if str(error) else "stopped", file=sys.stderr)
        sys.exit(130)


@contextlib.contextmanager
def sigterm_as_interrupt():
    """Within, SIGTERM, which a machine that shuts down sends, is as Ctrl-C: KeyboardInterrupt."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
