"""python -m data list | download | prepare | filter | inspect"""
import json
from pathlib import Path

from tqdm import tqdm

from data.corpora import open_corpus
from data.corpus_flags import add_corpus_flags, corpus_options
from data.prepare import prepare
from data.quality.filters import FILTERS, FilteredCorpus, Filters
from data.quality.report import inspect_corpus, inspect_tokens
from data.quality.tables import render_result
from data.sources import kant, named
from data.token_file.meta import unknown_report
from data.token_file.shards import shard_name
from tokenizer import load_tokenizer
from tokenizer.utils.cli import Parser, at_least, flag, run, suggestion
from tokenizer.utils.files import atomic_lines, check_free
from tokenizer.utils.signals import termination_as_interrupt

DESCRIPTIONS = {
    "list": "List the named corpora and where they are.",
    "download": "Download a named corpus. Files that are already there are not fetched again.",
    "prepare": "Tokenize a corpus into a token file, which training reads. If it is interrupted, "
               "repeat the command to resume.",
    "filter": "Write the documents that pass quality filters as .jsonl, and report what was "
              "dropped and why.",
    "inspect": "Report on a corpus, a token file or those of a run: counts, duplicates, entropy, "
               "longest lines.",
}
FLAGS_OF_CORPORA = {
    "language": ["wikipedia"],
    "category": ["amazon"],
    "megabytes": ["wikipedia", "amazon"],
    "no_checksum": ["kant"],
}


def main(arguments=None):
    """Run a command and print its result, as a table or with --json as JSON."""
    options = make_parser().parse_args(arguments)
    result = COMMANDS[options.command](options)
    print(json.dumps(result) if options.json else render_result(result))


def make_parser():
    """Return the parser of ``python -m data`` with its subcommands."""
    parser = Parser(prog="python -m data", description="Text -> documents -> token file.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    for name, description in DESCRIPTIONS.items():
        command = commands.add_parser(name, help=description, description=description)
        command.add_argument("--json", action="store_true", help="print the result as JSON")

    command = commands.choices["download"]
    command.add_argument("name", help=", ".join(named.NAMED))
    command.add_argument("--out", type=Path, default=None,
                         help="folder for the files (default: where training looks for them)")
    command.add_argument("--language", default=None,
                         help="wikipedia: the language, as in en.wikipedia.org (default: simple)")
    command.add_argument("--category", default=None,
                         help="amazon: the category of the reviews (default: Digital_Music)")
    command.add_argument("--megabytes", type=at_least(0), default=None,
                         help="wikipedia and amazon: how much of the compressed files, 0 for all "
                              f"(default: {named.DEFAULT_MEGABYTES})")
    command.add_argument("--no-checksum", action="store_true",
                         help="kant: accept a text that has changed, such as a newer edition")

    for name in ("prepare", "filter", "inspect"):
        command = commands.choices[name]
        token_files = "the folder of a token file or of a run, or " if name == "inspect" else ""
        command.add_argument("source", nargs="+", metavar="FILE_OR_NAME",
                             help=f"{token_files}files, folders, or the name of a corpus")
        add_corpus_flags(command, reflow="no" if name == "filter" else "auto")

    filters_help = f"a list such as short=50,markup; or all ({', '.join(FILTERS)})"
    command = commands.choices["prepare"]
    command.add_argument("--tokenizer", required=True, type=Path, metavar="FOLDER",
                         help="the folder of a tokenizer, or of a run")
    command.add_argument("--out", required=True, type=Path, metavar="FOLDER",
                         help="folder for the token file")
    command.add_argument("--split", choices=("train", "eval", "all"), default="all",
                         help="which part of the corpus")
    command.add_argument("--workers", type=at_least(1), default=None,
                         help="number of processes (default: one per core)")
    command.add_argument("--filters", default="", metavar="NAMES", help=filters_help)

    command = commands.choices["filter"]
    command.add_argument("--filters", default="all", metavar="NAMES", help=filters_help)
    command.add_argument("--out", required=True, type=Path, metavar="FILE.jsonl",
                         help='file with one document per line: {"text": ...}')

    for name in ("prepare", "filter"):
        commands.choices[name].add_argument("--overwrite", action="store_true",
                                            help="replace --out if it exists")
    return parser


def list_corpora(options):
    """Return name, description and location of each corpus."""
    return [{"name": name, "description": description, "where": named.location(name)}
            for name, description in named.NAMED.items()]


def download(options):
    """Download a corpus and return where its files are."""
    name = options.name
    if name not in named.NAMED:
        raise ValueError(f"no corpus is named {name}{suggestion(name, list(named.NAMED))} "
                         f"(corpora: {', '.join(named.NAMED)})")
    for option, corpora in FLAGS_OF_CORPORA.items():
        value = getattr(options, option)
        is_given = value is not None and value is not False  # 0 is a value
        if is_given and name not in corpora:
            raise ValueError(f"{flag(option)} is for {' and '.join(corpora)}, "
                             f"not for {name}")

    show_progress = not options.json
    if name == "pydocs":
        return {"name": name, "files": [],
                "note": "nothing to download: the sources of Python have it"}
    if name == "kant":
        files = kant.fetch(options.out or named.CACHE / "kant",
                           checksum=not options.no_checksum, show_progress=show_progress)
        return {"name": name, "files": list(map(str, files))}

    variant = options.language or options.category
    full_name = f"{name}:{variant}" if variant else name
    files = named.fetch(full_name, options.out, options.megabytes, show_progress)
    return {
        "name": full_name,
        "files": list(map(str, files)),
        "bytes": sum(file.stat().st_size for file in files),
        "train_with": f"train.py --preset {name} --corpus {options.out or full_name}",
    }


def prepare_corpus(options):
    """Write a token file and return its meta.json."""
    check_free(options.out, options.overwrite)
    tokenizer = load_tokenizer(options.tokenizer)
    corpus = open_corpus(options.source, workers=options.workers, **corpus_options(options))
    if options.filters:
        corpus = FilteredCorpus(corpus, options.filters)
    with termination_as_interrupt():
        tokens = prepare(corpus.documents(options.split), tokenizer, options.out,
                         options.workers, not options.json, corpus)
    result = {"folder": str(options.out), "corpus": corpus.name, "split": options.split}
    result.update(corpus.notes | tokens.meta | unknown_report(tokens.meta))
    if options.filters:
        result["filters"] = corpus.reports[options.split].report()
    return result


def filter_corpus(options):
    """Write the documents that pass the filters and return the filters' report."""
    filters = Filters(options.filters)
    if options.out.suffix != ".jsonl" or options.out.is_dir():
        raise ValueError(f"--out {options.out}: give the name of a .jsonl file")
    check_free(options.out, options.overwrite, inputs=options.source)
    corpus = open_corpus(options.source, **corpus_options(options))
    documents = tqdm(corpus.documents("all"), desc="filter", unit=" documents",
                     disable=options.json)
    lines = (json.dumps({"text": text}, ensure_ascii=False) for text in filters.keep(documents))
    with termination_as_interrupt():
        atomic_lines(options.out, lines)
    return {"file": str(options.out), **corpus.notes, **filters.report()}


def inspect(options):
    """Report on a token file, on both token files of a run, or on a corpus."""
    show_progress = not options.json
    folder = Path(options.source[0])
    if len(options.source) == 1:
        if is_token_file(folder):
            return inspect_tokens(folder, show_progress)
        for parent in (folder, folder / "data"):  # RUN/data, and RUN
            splits = [name for name in ("train", "eval") if is_token_file(parent / name)]
            if splits:
                return {name: inspect_tokens(parent / name, show_progress) for name in splits}
    corpus = open_corpus(options.source, **corpus_options(options))
    report = inspect_corpus(corpus, show_progress)
    return {"name": corpus.name, **corpus.notes, **report}


def is_token_file(folder):
    # Without meta.json it is a damaged one, and inspect_tokens reports that.
    return (folder / "meta.json").exists() or (folder / shard_name(0)).exists()


COMMANDS = {
    "list": list_corpora,
    "download": download,
    "prepare": prepare_corpus,
    "filter": filter_corpus,
    "inspect": inspect,
}


if __name__ == "__main__":
    run(main)
