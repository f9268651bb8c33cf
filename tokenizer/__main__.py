"""The tokenizer on the command line.

    python -m tokenizer train --kind bpe --vocab-size 8000 --out FOLDER FILE...
    python -m tokenizer encode FOLDER [--json] < text        one line of ids for each line of text
    python -m tokenizer decode FOLDER < ids                  and back
    python -m tokenizer inspect FOLDER [TEXT]                what is in a vocabulary; how a text is cut
"""
import json
import sys
from dataclasses import asdict

from . import ByteLevelBPE, WordPiece, load_tokenizer
from .cli import Parser, run


def main(args=None):
    args = parse(args)
    return args.command(args)


def parse(args):
    """The command line -> a namespace whose ``command`` is the function to call."""
    parser = Parser(prog="python -m tokenizer", description="Train and use tokenizers: byte-level BPE and WordPiece.")
    commands = parser.add_subparsers(required=True, metavar="train | encode | decode | inspect")

    train = commands.add_parser("train", help="learn a vocabulary from text files")
    train.add_argument("files", nargs="+", metavar="FILE", help="UTF-8 text")
    train.add_argument("--kind", choices=("bpe", "wordpiece"), default="bpe", help="bpe: byte-level, as RoBERTa's; "
                       "wordpiece: as BERT's")
    train.add_argument("--vocab-size", type=int, default=30000, help="at most so many tokens")
    train.add_argument("--min-frequency", type=int, default=2, help="how often a pair must occur to be merged")
    train.add_argument("--cased", action="store_true", help="wordpiece: keep capitals and accents")
    train.add_argument("--criterion", choices=("frequency", "likelihood"), help="wordpiece: merge the pair that occurs most often "
                       "(the default), or the one that makes the corpus likeliest")
    train.add_argument("--out", required=True, metavar="FOLDER", help="where the tokenizer is written")
    train.add_argument("--no-progress", action="store_true", help="show no progress bar")
    train.set_defaults(command=train_command)

    encode = commands.add_parser("encode", help="text on standard input -> ids, line by line")
    encode.add_argument("--no-special-tokens", action="store_true", help="do not add <s> and </s>, [CLS] and [SEP]")
    encode.set_defaults(command=encode_command)

    decode = commands.add_parser("decode", help="ids on standard input -> text, line by line")
    decode.add_argument("--keep-special-tokens", action="store_true", help="write special tokens as they are spelled")
    decode.set_defaults(command=decode_command)

    inspect = commands.add_parser("inspect", help="what is in a vocabulary; how a text is cut")
    inspect.set_defaults(command=inspect_command)
    for command in (encode, decode, inspect):
        command.add_argument("folder", metavar="FOLDER", help="a folder with a tokenizer")
    inspect.add_argument("text", nargs="?", metavar="TEXT", help="a text to cut")
    for command in (train, encode, decode, inspect):
        command.add_argument("--json", action="store_true", help="print JSON for programs")
    return parser.parse_args(args)


def train_command(args):
    """Learn a vocabulary from files and save it."""
    options = {"vocab_size": args.vocab_size, "min_frequency": args.min_frequency,
               "show_progress": not args.no_progress}
    if args.kind == "bpe":
        if args.cased:
            raise ValueError("--cased is for --kind wordpiece: byte-level BPE always keeps case")
        if args.criterion:
            raise ValueError("--criterion is for --kind wordpiece: byte-level BPE always merges by frequency")
        tokenizer = ByteLevelBPE.train(args.files, **options)
    else:
        tokenizer = WordPiece.train(args.files, lowercase=not args.cased, criterion=args.criterion or "frequency", **options)
    tokenizer.save(args.out)
    if args.json:
        print(json.dumps({"folder": args.out, "kind": tokenizer.kind, "requested": args.vocab_size,
                          "vocab_size": tokenizer.vocab_size, "summary": tokenizer.training_summary,
                          "fingerprint": tokenizer.fingerprint}))
    else:
        print(f"{tokenizer.training_summary}\nwritten to {args.out}")


def encode_command(args):
    tokenizer = load_tokenizer(args.folder)
    for line in lines_of_stdin():
        encoding = tokenizer.encode(line, add_special_tokens=not args.no_special_tokens)
        print(json.dumps(asdict(encoding), ensure_ascii=False) if args.json else " ".join(map(str, encoding.ids)))


def decode_command(args):
    """Lines of ids on standard input -> text."""
    tokenizer = load_tokenizer(args.folder)
    for number, line in enumerate(lines_of_stdin(), start=1):
        try:
            ids = [int(word) for word in line.replace(",", " ").strip(" []\r").split()]
        except ValueError:
            raise ValueError(f"line {number} of the input must be ids, such as '0 262 2', but is {line!r:.80}") from None
        text = tokenizer.decode(ids, skip_special_tokens=not args.keep_special_tokens)
        print(json.dumps({"text": text}, ensure_ascii=False) if args.json else text)


def inspect_command(args):
    """Say what a vocabulary holds, and how a text is cut."""
    tokenizer = load_tokenizer(args.folder)
    facts = {"kind": tokenizer.kind, "vocab_size": tokenizer.vocab_size,
             "special_tokens": dict(zip(tokenizer.special_tokens, tokenizer.special_ids)),
             "settings": tokenizer._settings(), "fingerprint": tokenizer.fingerprint,
             "longest_tokens": sorted(tokenizer.get_vocab(), key=lambda token: (-len(token.strip("ĠĊ")), token))[:10]}
    encoding = tokenizer.encode(args.text) if args.text is not None else None
    if args.json:
        print(json.dumps({**facts, **({"encoding": asdict(encoding)} if encoding else {})}))
        return
    for name, value in facts.items():
        value = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        print(f"{name.replace('_', ' '):>15}  {'  '.join(value) if isinstance(value, list) else value}")
    if encoding:
        print()
        for token_id, token, (start, end) in zip(encoding.ids, encoding.tokens, encoding.offsets):
            print(f"{token_id:>8}  {token:<20}  {args.text[start:end]!r}" if end else f"{token_id:>8}  {token}")


def lines_of_stdin():
    """Lines of standard input without their line ends; a line ends at '\\n' only."""
    sys.stdin.reconfigure(encoding="utf-8", newline="\n")
    sys.stdout.reconfigure(encoding="utf-8")
    try:
        for line in sys.stdin:
            yield line.removesuffix("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"standard input is not UTF-8 text ({error.reason})") from None


if __name__ == "__main__":
    run(main)
