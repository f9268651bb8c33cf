"""The tokenizer on the command line.

    python -m tokenizer train --kind bpe --vocab-size 8000 --out FOLDER CORPUS
    python -m tokenizer extend FOLDER --files CORPUS --add 1000 --out NEW
    python -m tokenizer encode FOLDER [--json] < text     one line of ids per line of text
    python -m tokenizer decode FOLDER < ids               and back
    python -m tokenizer inspect FOLDER [TEXT]             show a vocabulary or a split text
"""
import json
import sys
from dataclasses import asdict

from tokenizer import load_tokenizer
from tokenizer.inspect.statistics import render_statistics, statistics
from tokenizer.inspect.text import render_text
from tokenizer.inspect.word import render_words, word_steps
from tokenizer.trainers.command import add_extend, add_train
from tokenizer.utils.cli import Parser, as_flags, at_least, run
from tokenizer.utils.terminal import TextStyle, allow_colors
from tokenizer.utils.validation import as_id_list


def main(args=None):
    args = parse(args)
    return args.command(args)


# Flags

def parse(args):
    """Parse the command line. ``command`` of the result is the function to call."""
    parser = Parser(
        prog="python -m tokenizer",
        description="Train and use tokenizers: byte-level BPE and WordPiece.",
        epilog="""
to get started:
  python -m tokenizer train --vocab-size 2000 --out my-tokenizer README.md
  python -m tokenizer inspect my-tokenizer "A text, split into its tokens."
  python -m tokenizer inspect my-tokenizer --word " tokenizer\"""",
    )
    commands = parser.add_subparsers(
        required=True, metavar="train | extend | encode | decode | inspect")
    add_train(commands)
    add_extend(commands)
    add_encode(commands)
    add_decode(commands)
    add_inspect(commands)
    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="print JSON for programs")
    return parser.parse_args(args, rest="inputs")


def add_encode(commands):
    """Define ``encode``: texts -> ids."""
    encode = commands.add_parser("encode", help="text -> ids", epilog="""
examples:
  python -m tokenizer encode my-tokenizer "A text." "Another."      a line of ids for each
  python -m tokenizer encode my-tokenizer < book.txt > ids.txt      a line of ids for each line
  python -m tokenizer encode my-tokenizer --json "A text."          with tokens, offsets, masks""")
    add = encode.add_argument
    add("folder", metavar="FOLDER", help="the folder of a tokenizer or of a run")
    add("inputs", nargs="*", default=[], metavar="TEXT",
        help="a text; with '-' or none, each line of standard input (UTF-8) is one")
    add("--no-special-tokens", action="store_true",
        help="do not add <s> and </s>, or [CLS] and [SEP]")
    add("--pair", metavar="TEXT", help="a second text, appended to each")
    add("--max-length", type=at_least(0), metavar="N",
        help="cut to N tokens, special tokens included")
    add("--pad-to-multiple-of", type=at_least(1, 10**6), metavar="N",
        help="add pad tokens up to a multiple of N")
    add("--split-special-tokens", action="store_true",
        help="treat <mask> and the like in a text as ordinary characters")
    encode.set_defaults(command=encode_command)


def add_decode(commands):
    """Define ``decode``: ids -> texts."""
    decode = commands.add_parser("decode", help="ids -> text", epilog="""
examples:
  python -m tokenizer decode my-tokenizer 0 262 2
  python -m tokenizer decode my-tokenizer < ids.txt                 a line of text for each line""")
    add = decode.add_argument
    add("folder", metavar="FOLDER", help="the folder of a tokenizer or of a run")
    add("inputs", nargs="*", default=[], metavar="ID",
        help="the ids of one text; with '-' or none, each line of standard input has the ids of "
             "one, separated by spaces or commas, or as encode --json prints them")
    add("--keep-special-tokens", action="store_true", help="print special tokens as well")
    decode.set_defaults(command=decode_command)


def add_inspect(commands):
    """Define ``inspect``: show a vocabulary, a text or a word."""
    inspect = commands.add_parser("inspect", help="show a vocabulary, a text or a word", epilog="""
examples:
  python -m tokenizer inspect my-tokenizer                          size, special tokens, lengths
  python -m tokenizer inspect my-tokenizer "The cat's café 😀"      the tokens of a text
  python -m tokenizer inspect my-tokenizer --word " tokenizer"      how a word is encoded
In a text, · is a space, ↵ a line end, \\xf0 one byte of a character that was split.
NO_COLOR=1 turns colors off.""")
    add = inspect.add_argument
    add("folder", metavar="FOLDER", help="the folder of a tokenizer or of a run")
    add("inputs", nargs="*", default=[], metavar="TEXT",
        help="a text to split; '-': standard input is the text")
    add("--word", metavar="WORD",
        help="show step by step how WORD is encoded. In byte-level BPE the space before a word is "
             "part of it: --word ' WORD'")
    inspect.set_defaults(command=inspect_command)


# Commands

def encode_command(args):
    """Print a line of ids for each text."""
    tokenizer = load_tokenizer(args.folder)
    add_special_tokens = not args.no_special_tokens
    if add_special_tokens and not tokenizer.has_template_tokens():
        raise ValueError(f"{args.folder}: the vocabulary lacks the special tokens that are added "
                         "to a text: encode with --no-special-tokens")
    for text in read_texts(args.inputs):
        try:
            encoding = tokenizer.encode(
                text,
                args.pair,
                add_special_tokens=add_special_tokens,
                max_length=args.max_length,
                pad_to_multiple_of=args.pad_to_multiple_of,
                split_special_tokens=args.split_special_tokens,
            )
        except ValueError as error:
            message = str(error).replace("add_special_tokens=False", "--no-special-tokens")
            raise ValueError(as_flags(message, ["max_length", "pad_to_multiple_of"])) from None
        if args.json:
            print(json.dumps(asdict(encoding), ensure_ascii=False))
        else:
            print(" ".join(map(str, encoding.ids)))


def decode_command(args):
    """Print a text for each line of ids."""
    tokenizer = load_tokenizer(args.folder)
    inputs = [" ".join(args.inputs)] if args.inputs else []
    for line_number, line in enumerate(read_texts(inputs), start=1):
        try:
            if line.startswith("{"):
                ids = as_id_list(json.loads(line)["ids"])
            else:
                ids = [int(word) for word in line.replace(",", " ").strip(" []\r").split()]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ValueError(f"line {line_number} of the input must be ids, such as '0 262 2', "
                             f"but is {line!r:.80}") from None
        text = tokenizer.decode(ids, skip_special_tokens=not args.keep_special_tokens)
        shown = json.dumps({"text": text}, ensure_ascii=False) if args.json else text
        print(f"{shown}\n", end="")  # one write: \r\n, unlike \r, is printed as it is


def inspect_command(args):
    """Show a vocabulary, how a text is split, or how a word is encoded."""
    tokenizer = load_tokenizer(args.folder)
    text = None
    if args.inputs == ["-"]:
        text = "\n".join(read_texts(args.inputs))
    elif args.inputs:
        text = " ".join(args.inputs)
    if args.json:
        print(json.dumps(collect_data(tokenizer, text, args.word)))
        return
    style = TextStyle.of(sys.stdout)
    views = []
    if text is not None:
        views.append(render_text(tokenizer, text, style))
    if args.word is not None:
        views.append(render_words(tokenizer, args.word, style))
    if not views:
        views.append(render_statistics(tokenizer, style))
    output = allow_colors(sys.stdout) if style.color else sys.stdout
    print("\n\n".join("\n".join(lines) for lines in views), file=output)


def collect_data(tokenizer, text, word):
    """Return the requested views as data: the statistics, and those of a text or a word."""
    data = statistics(tokenizer)
    if text is not None:
        encoding = tokenizer.encode(text, add_special_tokens=tokenizer.has_template_tokens())
        data["encoding"] = asdict(encoding)
    if word is not None:
        data["words"] = word_steps(tokenizer, word)
    return data


def read_texts(inputs):
    """Yield the texts of the command line, or, if there are none, the lines of standard input.

    A line ends only at '\\n', which is removed. Standard output becomes UTF-8.
    """
    sys.stdout.reconfigure(encoding="utf-8")
    if inputs and inputs != ["-"]:
        yield from inputs
        return
    if sys.stdin.isatty():
        print("(reading lines from the keyboard; Ctrl-D ends)", file=sys.stderr)
    for line_number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            yield line.decode("utf-8").removesuffix("\n")
        except UnicodeDecodeError:
            raise ValueError(f"line {line_number} of standard input is not UTF-8 text: convert it "
                             "(iconv -f ITS_ENCODING -t UTF-8)") from None


if __name__ == "__main__":
    run(main)
