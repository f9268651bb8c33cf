"""The tokenizer on the command line.

    python -m tokenizer train --kind bpe --vocab-size 8000 --out FOLDER CORPUS
    python -m tokenizer encode FOLDER [--json] < text     one line of ids per line of text
    python -m tokenizer decode FOLDER < ids               and back
    python -m tokenizer inspect FOLDER [TEXT]             show a vocabulary or a split text
"""
import json
import sys
from dataclasses import asdict
from pathlib import Path

from data.corpora import open_corpus
from data.corpus_flags import add_corpus_flags, corpus_options
from tokenizer import ByteLevelBPE, WordPiece, load_tokenizer
from tokenizer.formats.save import check_save_folder
from tokenizer.formats.vocab_files import holds_tokenizer
from tokenizer.inspect.statistics import render_statistics, statistics
from tokenizer.inspect.text import render_text
from tokenizer.inspect.word import render_words, word_steps
from tokenizer.utils.cli import Parser, as_flags, at_least, run
from tokenizer.utils.terminal import TextStyle, allow_colors
from tokenizer.utils.validation import as_id_list

KINDS = {"bpe": ByteLevelBPE, "wordpiece": WordPiece}
# The options of training that the command line passes on under their own names.
TRAINING_OPTIONS = (
    "vocab_size", "min_frequency", "workers", "max_words", "special_tokens", "limit_alphabet",
    "max_input_chars_per_word", "criterion",
)
WORDPIECE_ONLY = ("cased", "keep_accents", "criterion", "limit_alphabet",
                  "max_input_chars_per_word")


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
    commands = parser.add_subparsers(required=True, metavar="train | encode | decode | inspect")
    add_train(commands)
    add_encode(commands)
    add_decode(commands)
    add_inspect(commands)
    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="print JSON for programs")
    return parser.parse_args(args, rest="inputs")


def add_train(commands):
    """Define ``train``: a corpus -> a tokenizer's folder."""
    train = commands.add_parser("train", help="learn a vocabulary from a corpus", epilog="""
examples:
  python -m tokenizer train --vocab-size 52000 --out kant-bpe kant/*.txt
  python -m tokenizer train --kind wordpiece --vocab-size 30522 --cased --out cased books/
  python -m tokenizer train --vocab-size 8000 --out code 'project/**/*.py'""")
    flag = train.add_argument
    flag("inputs", nargs="+", metavar="FILE_OR_NAME",
         help="files, folders, quoted patterns, or the name of a corpus, as for train.py --corpus")
    add_corpus_flags(train)
    flag("--kind", choices=tuple(KINDS), default="bpe",
         help="bpe: byte-level, as RoBERTa; wordpiece: as BERT")
    flag("--vocab-size", type=at_least(1), metavar="N",
         help="maximum number of tokens, special tokens included; fewer if no remaining pair is "
              "frequent enough (default: 30000 for bpe, 30522 for wordpiece)")
    flag("--min-frequency", type=at_least(0), default=2, metavar="N",
         help="how often a pair must occur to be merged")
    flag("--cased", action="store_true", help="wordpiece: keep capitals and accents")
    flag("--keep-accents", action="store_true", help="wordpiece: keep accents, but not capitals")
    flag("--limit-alphabet", type=at_least(1), metavar="N",
         help="wordpiece: keep the N most frequent characters; words with others are [UNK] "
              "(default: 1000)")
    flag("--max-input-chars-per-word", type=at_least(1), metavar="N",
         help="wordpiece: words of more than N characters are [UNK] (default: 100)")
    flag("--special-tokens", type=str.split, metavar="'TOKEN TOKEN ...'",
         help="instead of <s> <pad> </s> <unk> <mask> or [PAD] [UNK] [CLS] [SEP] [MASK], in order "
              "of ids; one argument, separated by spaces")
    flag("--criterion", choices=("frequency", "likelihood"),
         help="wordpiece: merge the most frequent pair (the default), or the one that makes the "
              "corpus most likely")
    flag("--workers", type=at_least(1), metavar="N",
         help="processes that count words (default: one per core); the result is the same")
    flag("--max-words", type=at_least(2), metavar="N",
         help="limit memory: count at most N distinct words at a time and drop the rarest; each "
              "takes about 200 bytes (default: no limit)")
    flag("--out", required=True, metavar="FOLDER", help="where to write the tokenizer")
    flag("--overwrite", action="store_true", help="replace the tokenizer in FOLDER")
    flag("--no-progress", action="store_true", help="do not show a progress bar")
    train.set_defaults(command=train_command)


def add_encode(commands):
    """Define ``encode``: texts -> ids."""
    encode = commands.add_parser("encode", help="text -> ids", epilog="""
examples:
  python -m tokenizer encode my-tokenizer "A text." "Another."      a line of ids for each
  python -m tokenizer encode my-tokenizer < book.txt > ids.txt      a line of ids for each line
  python -m tokenizer encode my-tokenizer --json "A text."          with tokens, offsets, masks""")
    flag = encode.add_argument
    flag("folder", metavar="FOLDER", help="the folder of a tokenizer or of a run")
    flag("inputs", nargs="*", default=[], metavar="TEXT",
         help="a text; with '-' or none, each line of standard input (UTF-8) is one")
    flag("--no-special-tokens", action="store_true",
         help="do not add <s> and </s>, or [CLS] and [SEP]")
    flag("--pair", metavar="TEXT", help="a second text, appended to each")
    flag("--max-length", type=at_least(0), metavar="N",
         help="cut to N tokens, special tokens included")
    flag("--pad-to-multiple-of", type=at_least(1, 10**6), metavar="N",
         help="add pad tokens up to a multiple of N")
    flag("--split-special-tokens", action="store_true",
         help="treat <mask> and the like in a text as ordinary characters")
    encode.set_defaults(command=encode_command)


def add_decode(commands):
    """Define ``decode``: ids -> texts."""
    decode = commands.add_parser("decode", help="ids -> text", epilog="""
examples:
  python -m tokenizer decode my-tokenizer 0 262 2
  python -m tokenizer decode my-tokenizer < ids.txt                 a line of text for each line""")
    flag = decode.add_argument
    flag("folder", metavar="FOLDER", help="the folder of a tokenizer or of a run")
    flag("inputs", nargs="*", default=[], metavar="ID",
         help="the ids of one text; with '-' or none, each line of standard input has the ids of "
              "one, separated by spaces or commas, or as encode --json prints them")
    flag("--keep-special-tokens", action="store_true", help="print special tokens as well")
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
    flag = inspect.add_argument
    flag("folder", metavar="FOLDER", help="the folder of a tokenizer or of a run")
    flag("inputs", nargs="*", default=[], metavar="TEXT",
         help="a text to split; '-': standard input is the text")
    flag("--word", metavar="WORD",
         help="show step by step how WORD is encoded. In byte-level BPE the space before a word is "
              "part of it: --word ' WORD'")
    inspect.set_defaults(command=inspect_command)


# Commands

def train_command(args):
    """Learn a vocabulary from a corpus and save it."""
    # Find mistakes before the training, which may take long.
    check_save_folder(args.out, args.overwrite)
    options = {}
    for name in TRAINING_OPTIONS:
        if getattr(args, name) is not None:
            options[name] = getattr(args, name)
    if args.kind == "wordpiece":
        options["lowercase"] = not args.cased
        options["strip_accents"] = False if args.keep_accents else None
    for name in WORDPIECE_ONLY:
        if getattr(args, name) and args.kind != "wordpiece":
            raise ValueError(f"{as_flags(name, [name])} is for --kind wordpiece")
    corpus = open_corpus(args.inputs, **corpus_options(args))
    print(f"corpus: {corpus.description}", file=sys.stderr)
    kind = KINDS[args.kind]
    train, texts = kind.train_from_iterator, corpus.documents("all")
    if files := corpus.plain_text_files:  # the processes that count words read them, faster
        train, texts = kind.train, files
    try:
        tokenizer = train(texts, show_progress=not args.no_progress, **options)
    except UnicodeError as error:
        raise ValueError(f"{error}, or add --encoding-errors replace") from None
    except ValueError as error:
        raise ValueError(as_flags(str(error), TRAINING_OPTIONS)) from None
    tokenizer.save(args.out)
    if args.json:
        print(json.dumps({
            "folder": args.out,
            "corpus": {"name": corpus.name, **corpus.notes},
            "kind": tokenizer.kind,
            "vocab_size": tokenizer.vocab_size,
            "summary": tokenizer.training_summary,
            "unknown": tokenizer.training_unknown,
            "fingerprint": tokenizer.fingerprint,
        }))
    else:
        if "replaced" in corpus.notes:
            print(f"replaced: {corpus.notes['replaced']}")
        print(as_flags(tokenizer.training_summary, TRAINING_OPTIONS))
        if tokenizer.training_unknown:
            print(f"unknown: {tokenizer.training_unknown}")
        print(f"written to {Path(args.out).resolve()}")


def load(folder):
    """Return the tokenizer in a folder, or that of a run, which is in its folder tokenizer/."""
    part = Path(folder, "tokenizer")
    return load_tokenizer(part if holds_tokenizer(part) else folder)


def encode_command(args):
    """Print a line of ids for each text."""
    tokenizer = load(args.folder)
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
    tokenizer = load(args.folder)
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
    tokenizer = load(args.folder)
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
