"""The commands that learn a vocabulary: train a new one, or extend one for the text of a domain."""
import json
import sys
from pathlib import Path

from data.corpora import open_corpus, take_characters
from data.corpus_flags import add_corpus_flags, corpus_options
from tokenizer import ByteLevelBPE, WordPiece, load_tokenizer
from tokenizer.formats.save import check_save_folder
from tokenizer.trainers.extend import extend
from tokenizer.unknown import describe_unknown
from tokenizer.utils.cli import as_flags, at_least, errors_name_flags, flag
from tokenizer.utils.terminal import plural

KINDS = {"bpe": ByteLevelBPE, "wordpiece": WordPiece}
# The options of training that the command line passes on under their own names.
TRAINING_OPTIONS = (
    "vocab_size", "min_frequency", "workers", "max_words", "special_tokens", "limit_alphabet",
    "max_input_chars_per_word",
)
MEASURED_CHARACTERS = 5_000_000  # of the text that ``extend`` does not learn from
WORDPIECE_ONLY = ("cased", "keep_accents", "limit_alphabet", "max_input_chars_per_word")


def add_train(commands):
    """Define ``train``: a corpus -> a tokenizer's folder."""
    train = commands.add_parser("train", help="learn a vocabulary from a corpus", epilog="""
examples:
  python -m tokenizer train --vocab-size 52000 --out kant-bpe kant/*.txt
  python -m tokenizer train --kind wordpiece --vocab-size 30522 --cased --out cased books/
  python -m tokenizer train --vocab-size 8000 --out code 'project/**/*.py'""")
    add = train.add_argument
    add("inputs", nargs="+", metavar="FILE_OR_NAME",
        help="files, folders, quoted patterns, or the name of a corpus, as for train.py --corpus")
    add("--kind", choices=tuple(KINDS), default="bpe",
        help="bpe: byte-level, as RoBERTa; wordpiece: as BERT")
    add("--vocab-size", type=at_least(1), metavar="N",
        help="maximum number of tokens, special tokens included; fewer if no remaining pair is "
             "frequent enough (default: 30000 for bpe, 30522 for wordpiece)")
    add("--cased", action="store_true", help="wordpiece: keep capitals and accents")
    add("--keep-accents", action="store_true", help="wordpiece: keep accents, but not capitals")
    add("--limit-alphabet", type=at_least(1), metavar="N",
        help="wordpiece: keep the N most frequent characters; words with others are [UNK] "
             "(default: 1000)")
    add("--max-input-chars-per-word", type=at_least(1), metavar="N",
        help="wordpiece: words of more than N characters are [UNK] (default: 100)")
    add("--special-tokens", type=str.split, metavar="'TOKEN TOKEN ...'",
        help="instead of <s> <pad> </s> <unk> <mask> or [PAD] [UNK] [CLS] [SEP] [MASK], in order "
             "of ids; one argument, separated by spaces")
    add_learning_flags(train)
    train.set_defaults(command=train_command)


def add_learning_flags(command):
    """Add the flags of both commands that learn a vocabulary."""
    add_corpus_flags(command)
    add = command.add_argument
    add("--min-frequency", type=at_least(0), default=2, metavar="N",
        help="how often a pair must occur to be merged")
    add("--workers", type=at_least(1), metavar="N",
        help="processes that count words (default: one per core); the result is the same")
    add("--max-words", type=at_least(2), metavar="N",
        help="limit memory: count at most N distinct words at a time and drop the rarest; each "
             "takes about 200 bytes (default: no limit)")
    add("--out", required=True, metavar="FOLDER", help="where to write the tokenizer")
    add("--overwrite", action="store_true", help="replace the tokenizer in FOLDER")
    add("--no-progress", action="store_true", help="do not show a progress bar")


def add_extend(commands):
    """Define ``extend``: a tokenizer and the text of a domain -> a tokenizer with more entries."""
    command = commands.add_parser("extend", help="add entries for the words of a domain", epilog="""
example:
  python -m tokenizer extend bert-base-uncased --files articles/ --add 1000 --out extended
  python train.py --init bert-base-uncased --tokenizer extended --corpus articles/ --epochs 1""")
    add = command.add_argument
    add("folder", metavar="FOLDER", help="the folder of a tokenizer, a model or a run")
    add("--files", dest="inputs", nargs="+", required=True, metavar="FILE_OR_NAME",
        help="text of the domain, as for train; a twentieth of it is not learned from, but "
             "measures tokens per word")
    add("--add", type=at_least(1), required=True, metavar="N",
        help="maximum number of new entries; their ids follow all others, which stay")
    add_learning_flags(command)
    command.set_defaults(command=extend_command)


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
            raise ValueError(f"{flag(name)} is for --kind wordpiece")
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
    finish(args, corpus, tokenizer, {})


def extend_command(args):
    """Learn more entries from the text of a domain, and measure them on other text of it."""
    check_save_folder(args.out, args.overwrite)
    tokenizer = load_tokenizer(args.folder)
    corpus = open_corpus(args.inputs, **corpus_options(args))
    print(f"corpus: {corpus.description}", file=sys.stderr)
    with errors_name_flags(TRAINING_OPTIONS):
        extended = extend(tokenizer, corpus.documents("train"), args.add, args.min_frequency,
                          args.workers, args.max_words, not args.no_progress)
    texts = list(take_characters(corpus.documents("eval"), MEASURED_CHARACTERS))
    num_words = sum(len(text.split()) for text in texts)
    before = len(tokenizer.encode_texts(texts)[0])
    after = len(extended.encode_texts(texts)[0])
    if unknown := extended.take_unknown():
        extended.training_unknown = describe_unknown(unknown, after, len("".join(texts).encode()))
    finish(args, corpus, extended, {
        "added": extended.vocab_size - tokenizer.vocab_size, "validation_words": num_words,
        "tokens_per_word": {"before": before / num_words, "after": after / num_words}})


def finish(args, corpus, tokenizer, measured):
    """Save a tokenizer that was learned, and print what is known about it."""
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
            **measured,
        }))
        return
    if "replaced" in corpus.notes:
        print(f"replaced: {corpus.notes['replaced']}")
    print(as_flags(tokenizer.training_summary, TRAINING_OPTIONS))
    if measured:
        ratio = measured["tokens_per_word"]
        added = plural(measured["added"], "entry", "entries")
        print(f"added: {added}; {ratio['before']:.3f} tokens per word before "
              f"and {ratio['after']:.3f} after, on {plural(measured['validation_words'], 'word')} "
              "that were not learned from")
    if tokenizer.training_unknown:
        print(f"unknown: {tokenizer.training_unknown}")
    print(f"written to {Path(args.out).resolve()}")
