"""The tokenizer on the command line.

    python -m tokenizer train --kind bpe --vocab-size 8000 --out FOLDER FILE...
    python -m tokenizer encode FOLDER [--json] < text        one line of ids for each line of text
    python -m tokenizer decode FOLDER < ids                  and back
    python -m tokenizer inspect FOLDER [TEXT]                what is in a vocabulary; how a text is cut, and why
"""
import json
import os
import sys
from dataclasses import asdict

from tokenizer import ByteLevelBPE, WordPiece, load_tokenizer
from tokenizer.formats.save import check_save_folder
from tokenizer.formats.vocab_files import holds_tokenizer
from tokenizer.inspect import as_data, as_lines, has_template
from tokenizer.utils.cli import Parser, as_flags, at_least, run
from tokenizer.utils.terminal import TextStyle
from tokenizer.utils.validation import as_id_list

VOCAB_SIZE = {"bpe": 30000, "wordpiece": 30522}
TRAINING = ("vocab_size", "min_frequency", "workers", "max_words", "special_tokens", "limit_alphabet", "criterion")
WORDPIECE_ONLY = {"cased": "always keeps case", "keep_accents": "always keeps accents", "criterion": "always merges by frequency",
                  "limit_alphabet": "has the 256 bytes for its alphabet"}


def main(args=None):
    args = parse(args)
    return args.command(args)


def parse(args):
    """The command line -> a namespace whose ``command`` is the function to call."""
    parser = Parser(prog="python -m tokenizer", description="Train and use tokenizers: byte-level BPE and WordPiece.", explained={
        "--lowercase": "wordpiece is lower case unless --cased is given, bpe never is"}, epilog="""
a first style:
  python -m tokenizer train --vocab-size 2000 --out my-tokenizer README.md
  python -m tokenizer inspect my-tokenizer "A text, cut into its tokens."
  python -m tokenizer inspect my-tokenizer --word " tokenizer\"""")
    commands = parser.add_subparsers(required=True, metavar="train | encode | decode | inspect")
    add_train(commands)

    encode = commands.add_parser("encode", help="text -> ids", epilog="""
examples:
  python -m tokenizer encode my-tokenizer "A text." "Another."      a line of ids for each
  python -m tokenizer encode my-tokenizer < book.txt > ids.txt      a line of ids for each line
  python -m tokenizer encode my-tokenizer --json "A text."          with tokens, offsets, masks""")
    encode.add_argument("folder", metavar="FOLDER", help="a folder with a tokenizer")
    encode.add_argument("inputs", nargs="*", default=[], metavar="TEXT", help="a text; '-' or none: each line of standard input (UTF-8) is one")
    encode.add_argument("--no-special-tokens", action="store_true", help="do not add <s> and </s>, [CLS] and [SEP]")
    encode.add_argument("--pair", metavar="TEXT", help="a second text, which is put behind each")
    encode.add_argument("--max-length", type=at_least(0), metavar="N", help="cut to so many tokens, special ones included")
    encode.add_argument("--pad-to-multiple-of", type=at_least(1), metavar="N", help="fill up with pad tokens to a multiple of N")
    encode.add_argument("--split-special-tokens", action="store_true", help="treat <mask> and the like in a text as plain characters")
    encode.set_defaults(command=encode_command)

    decode = commands.add_parser("decode", help="ids -> text", epilog="""
examples:
  python -m tokenizer decode my-tokenizer 0 262 2
  python -m tokenizer decode my-tokenizer < ids.txt                 a line of text for each line of ids""")
    decode.add_argument("folder", metavar="FOLDER", help="a folder with a tokenizer")
    decode.add_argument("inputs", nargs="*", default=[], metavar="ID", help="the ids of one text; '-' or none: each line of standard input "
                        "holds those of one, with spaces or commas between, or as encode --json writes them")
    decode.add_argument("--keep-special-tokens", action="store_true", help="write special tokens as they are spelled")
    decode.set_defaults(command=decode_command)

    inspect = commands.add_parser("inspect", help="what is in a vocabulary; how a text is cut; how a word is made", epilog="""
examples:
  python -m tokenizer inspect my-tokenizer                          size, special tokens, lengths, settings, fingerprint
  python -m tokenizer inspect my-tokenizer "The cat's café 😀"      the text in its tokens, with their ids
  python -m tokenizer inspect my-tokenizer --word " tokenizer"      the merges that made it, or the pieces that were tried
in a text · is a space, ↵ a line end, \\xf0 one byte of a character that was cut. NO_COLOR=1 turns colours off.""")
    inspect.add_argument("folder", metavar="FOLDER", help="a folder with a tokenizer")
    inspect.add_argument("inputs", nargs="*", default=[], metavar="TEXT", help="a text to cut; '-': standard input is the text")
    inspect.add_argument("--word", metavar="WORD", help="show step by step how WORD is made; within a text a word most often has a space "
                         "before it, which is part of it in byte-level BPE: --word ' WORD'")
    inspect.set_defaults(command=inspect_command)
    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="print JSON for programs")
    return parser.parse_args(args, rest="inputs")


def add_train(commands):
    """The flags of ``train``."""
    train = commands.add_parser("train", help="learn a vocabulary from text files", epilog="""
examples:
  python -m tokenizer train --vocab-size 52000 --out kant-bpe kant/*.txt
  python -m tokenizer train --kind wordpiece --vocab-size 30522 --cased --out cased books/*.txt""")
    train.add_argument("inputs", nargs="+", metavar="FILE", help="plain text in UTF-8; each line is fed with its line end")
    train.add_argument("--kind", choices=("bpe", "wordpiece"), default="bpe", help="bpe: byte-level, as RoBERTa's; "
                       "wordpiece: as BERT's")
    train.add_argument("--vocab-size", type=at_least(1), metavar="N", help="at most so many tokens, special ones included; "
                       "fewer where no pair is left that is frequent enough (default: "
                       + ", ".join(f"{size} for {kind}" for kind, size in VOCAB_SIZE.items()) + ")")
    train.add_argument("--min-frequency", type=at_least(0), default=2, metavar="N", help="how often a pair must occur to be merged")
    train.add_argument("--cased", action="store_true", help="wordpiece: keep capitals and accents")
    train.add_argument("--keep-accents", action="store_true", help="wordpiece: keep accents, though not capitals")
    train.add_argument("--limit-alphabet", type=at_least(1), metavar="N", help="wordpiece: words with other characters than the N most "
                       "frequent ones are [UNK] (default: 1000)")
    train.add_argument("--special-tokens", type=str.split, metavar="'TOKEN TOKEN ...'", help="instead of <s> <pad> </s> <unk> <mask> or "
                       "[PAD] [UNK] [CLS] [SEP] [MASK], in the order of their ids; one argument, spaces between")
    train.add_argument("--criterion", choices=("frequency", "likelihood"), help="wordpiece: merge the pair that occurs most often "
                       "(the default), or the one that makes the corpus likeliest")
    train.add_argument("--workers", type=at_least(1), metavar="N", help="processes that count words (default: one a core); the result is the same")
    train.add_argument("--max-words", type=at_least(2), metavar="N", help="a cap on memory: so many distinct words are counted at a time, the "
                       "rarest left out, and the summary says what that cost; each takes some 200 bytes (default: no cap)")
    train.add_argument("--out", required=True, metavar="FOLDER", help="where the tokenizer is written")
    train.add_argument("--overwrite", action="store_true", help="replace a tokenizer that is in FOLDER already")
    train.add_argument("--no-progress", action="store_true", help="show no progress bar")
    train.set_defaults(command=train_command)


def train_command(args):
    """Learn a vocabulary from files and save it. Where it is to go is looked at before the files are."""
    check_save_folder(args.out, args.overwrite)
    check_files(args.inputs)
    replaced = holds_tokenizer(args.out)
    args.vocab_size = args.vocab_size or VOCAB_SIZE[args.kind]
    options = {name: getattr(args, name) for name in TRAINING if getattr(args, name) is not None}
    if args.kind == "bpe":
        for name, instead in WORDPIECE_ONLY.items():
            if getattr(args, name):
                raise ValueError(f"{as_flags(name, [name])} is for --kind wordpiece: byte-level BPE {instead}")
    else:
        options.update(lowercase=not args.cased, strip_accents=False if args.keep_accents else None)
    try:
        tokenizer = (ByteLevelBPE if args.kind == "bpe" else WordPiece).train(args.inputs, show_progress=not args.no_progress, **options)
    except ValueError as error:
        raise ValueError(as_flags(str(error), TRAINING)) from None
    tokenizer.save(args.out)
    if args.json:
        print(json.dumps({"folder": args.out, "kind": tokenizer.kind, "requested": args.vocab_size,
                          "vocab_size": tokenizer.vocab_size, "summary": tokenizer.training_summary,
                          "fingerprint": tokenizer.fingerprint}))
    else:
        print(f"{tokenizer.training_summary}\nwritten to {os.path.realpath(args.out)}"
              + ", replaced the tokenizer that was there" * replaced)


def check_files(files):
    """ValueError for what cannot be read in parts, by several processes: standard input, pipes, packed files."""
    for file in files:
        if file == "-" or os.path.exists(file) and not os.path.isfile(file) and not os.path.isdir(file):
            raise ValueError(f"{file} is no file, and training reads files in parts, with all cores: save the text in a file first, or use "
                             "train_from_iterator in Python")
        if os.path.isfile(file):
            with open(file, "rb") as source:
                if source.read(2) == b"\x1f\x8b":
                    raise ValueError(f"{file} is packed with gzip, and training reads plain files: unpack it first (gzip -dk {file}), or use "
                                     "train_from_iterator in Python")


def encode_command(args):
    """Texts -> a line of ids for each."""
    tokenizer = load_tokenizer(args.folder)
    if not args.no_special_tokens and not has_template(tokenizer):
        raise ValueError(f"{args.folder}: the vocabulary lacks the tokens that are put around a text: encode with --no-special-tokens")
    for text in texts(args.inputs):
        try:
            encoding = tokenizer.encode(text, args.pair, add_special_tokens=not args.no_special_tokens, max_length=args.max_length,
                                        pad_to_multiple_of=args.pad_to_multiple_of, split_special_tokens=args.split_special_tokens)
        except ValueError as error:
            message = str(error).replace("add_special_tokens=False", "--no-special-tokens")
            raise ValueError(as_flags(message, ["max_length", "pad_to_multiple_of"])) from None
        print(json.dumps(asdict(encoding), ensure_ascii=False) if args.json else " ".join(map(str, encoding.ids)))


def decode_command(args):
    """Lines of ids -> text."""
    tokenizer = load_tokenizer(args.folder)
    for number, line in enumerate(texts([" ".join(args.inputs)] if args.inputs else []), start=1):
        try:
            if line.startswith("{"):
                ids = as_id_list(json.loads(line)["ids"])
            else:
                ids = [int(word) for word in line.replace(",", " ").strip(" []\r").split()]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ValueError(f"line {number} of the input must be ids, such as '0 262 2', but is {line!r:.80}") from None
        text = tokenizer.decode(ids, skip_special_tokens=not args.keep_special_tokens)
        print(json.dumps({"text": text}, ensure_ascii=False) if args.json else text)


def inspect_command(args):
    """Say what a vocabulary holds, how a text is cut, how a word is made."""
    tokenizer = load_tokenizer(args.folder)
    text = "\n".join(texts(args.inputs)) if args.inputs == ["-"] else " ".join(args.inputs) if args.inputs else None
    if args.json:
        print(json.dumps(as_data(tokenizer, text, args.word)))
    else:
        print("\n".join(as_lines(tokenizer, text, args.word, TextStyle.of(sys.stdout))))


def texts(inputs):
    """The texts of the command line; where there are none, or it is '-', the lines of standard input without their line ends.

    A line ends at '\\n' only. What is printed from here on is UTF-8.
    """
    sys.stdout.reconfigure(encoding="utf-8")
    if inputs and inputs != ["-"]:
        yield from inputs
        return
    if sys.stdin.isatty():
        print("(reading lines from the keyboard; Ctrl-D ends)", file=sys.stderr)
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            yield line.decode("utf-8").removesuffix("\n")
        except UnicodeDecodeError as error:
            raise ValueError(f"line {number} of standard input is not UTF-8 text ({error.reason} at byte {error.start + 1}): convert it "
                             "(iconv -f ISO-8859-1 -t UTF-8)") from None


if __name__ == "__main__":
    run(main)
