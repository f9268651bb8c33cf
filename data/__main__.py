"""python -m data list | download | prepare | filter | inspect"""
import json
from pathlib import Path

from tqdm import tqdm

from data.corpora import open_corpus
from data.prepare import prepare
from data.quality.filters import FILTERS, FilteredCorpus, Filters
from data.quality.report import inspect_corpus, inspect_tokens
from data.quality.tables import render_result
from data.sources import kant, named
from data.token_file.shards import shard_name
from tokenizer.formats.vocab_files import holds_tokenizer
from tokenizer.utils.cli import Parser, at_least, run, sigterm_as_interrupt, suggestion
from tokenizer.utils.files import atomic_lines

FILTERS_HELP = f"{', '.join(FILTERS)}, with commas between; or all; all,short=50 changes one of them"

DESCRIPTIONS = {
    "list": "The named corpora, and where on this machine they are, or would be.",
    "download": "Fetch a named corpus from its public home. What is there already is not fetched again.",
    "prepare": "Tokenize a corpus into a token file, which training maps into memory.",
    "filter": "Write the documents that are worth keeping as .jsonl, and say what was dropped and why.",
    "inspect": "What is in a corpus or in a token file: counts, duplicated lines, entropy, the longest lines.",
}


def main(arguments=None):
    """Run one command; its result goes to the screen, or as JSON to stdout with --json."""
    parser = Parser(prog="python -m data", description="Text -> documents -> token file.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)

    command = commands.add_parser("list", help="the named corpora and where they are")
    command.set_defaults(call=list_corpora)

    command = commands.add_parser("download", help="fetch a named corpus from its public home")
    command.add_argument("name", help=", ".join(named.NAMED))
    command.add_argument("--out", type=Path, default=None, help="folder for its files (default: where training looks for it)")
    command.add_argument("--language", default=None, help="wikipedia: the language, as in en.wikipedia.org (default: simple)")
    command.add_argument("--category", default=None, help="amazon: the category of the reviews (default: Digital_Music)")
    command.add_argument("--megabytes", type=int, default=None,
                         help=f"wikipedia and amazon: how much of the packed files, 0 for all (default: {named.DEFAULT_MEGABYTES})")
    command.add_argument("--no-checksum", action="store_true", help="kant: take the text as it comes, a newer edition say")
    command.set_defaults(call=download)

    command = commands.add_parser("prepare", help="tokenize a corpus into a token file", epilog="""
Stopped with Ctrl-C, by a full disk or by kill -9, it has lost next to nothing: the same command goes on where it was.""")
    command.add_argument("source", nargs="+", metavar="FILE_OR_NAME", help="files, folders, or the name of a corpus")
    command.add_argument("--tokenizer", required=True, metavar="FOLDER", help="made by python -m tokenizer train, or a run that has one")
    command.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="where the token file goes")
    command.add_argument("--split", choices=("train", "eval", "all"), default="all", help="which part of the corpus")
    command.add_argument("--text-field", default="text", help="the field or column of .jsonl, .csv, .tsv with the text")
    command.add_argument("--workers", type=at_least(1), default=None, help="processes (default: one a core)")
    command.add_argument("--filters", default="", metavar="NAMES", help=FILTERS_HELP)
    command.set_defaults(call=prepare_corpus)

    command = commands.add_parser("filter", help="write the documents that are worth keeping, and say what was dropped and why")
    command.add_argument("source", nargs="+", metavar="FILE_OR_NAME", help="files, folders, or the name of a corpus")
    command.add_argument("--filters", default="all", metavar="NAMES", help=FILTERS_HELP)
    command.add_argument("--out", required=True, type=Path, metavar="FILE.jsonl", help='one document a line: {"text": ...}')
    command.add_argument("--text-field", default="text", help="the field or column of .jsonl, .csv, .tsv with the text")
    command.set_defaults(call=filter_corpus)

    command = commands.add_parser("inspect", help="what is in a token file or a corpus: counts, duplicates, entropy")
    command.add_argument("source", nargs="+", metavar="FOLDER_OR_FILES", help="a token file's folder; or files, folders, a name")
    command.add_argument("--text-field", default="text", help="the field or column of .jsonl, .csv, .tsv with the text")
    command.set_defaults(call=inspect)

    for name, command in commands.choices.items():
        command.description = DESCRIPTIONS[name]
        command.add_argument("--json", action="store_true", help="print the result for programs")
    options = parser.parse_args(arguments)
    result = options.call(options)
    print(json.dumps(result) if options.json else render_result(result))


def list_corpora(options):
    """Name, description and place of each corpus."""
    return [{"name": name, "description": description, "where": named.location(name)}
            for name, description in named.NAMED.items()]


def download(options):
    """Fetch a corpus; say where its files are."""
    if options.name not in named.NAMED:
        raise ValueError(f"no corpus is named {options.name}{suggestion(options.name, list(named.NAMED))} "
                         f"(there are: {', '.join(named.NAMED)})")
    for flag, owners in (("language", ["wikipedia"]), ("category", ["amazon"]), ("megabytes", list(named.DOWNLOADERS)), ("no_checksum", ["kant"])):
        if options.name not in owners and not any(getattr(options, flag) is nothing for nothing in (None, False)):  # 0 is something
            raise ValueError(f"--{flag.replace('_', '-')} belongs to {' and '.join(owners)}, not to {options.name}")
    if options.name == "pydocs":
        return {"name": "pydocs", "files": [], "note": "nothing to download: it is read from the installed packages"}
    if options.name == "kant":
        files = kant.fetch(options.out or named.CACHE / "kant", checksum=not options.no_checksum,
                                      show_progress=not options.json)
        return {"name": "kant", "files": [str(file) for file in files]}
    variant = options.language or options.category
    name = options.name + (f":{variant}" if variant else "")
    megabytes = named.DEFAULT_MEGABYTES if options.megabytes is None else options.megabytes
    if megabytes < 0:
        raise ValueError(f"--megabytes {megabytes}: a number from 0 (all of it)")
    files = named.fetch(name, options.out, megabytes, show_progress=not options.json)
    return {"name": name, "files": [str(file) for file in files], "bytes": sum(file.stat().st_size for file in files),
            "train_with": f"train.py --preset {options.name} --corpus {options.out or name}"}


def prepare_corpus(options):
    """Make a token file; return its meta."""
    from tokenizer import load_tokenizer
    inside = Path(options.tokenizer) / "tokenizer"  # of a run
    tokenizer = load_tokenizer(inside if holds_tokenizer(inside) and not holds_tokenizer(options.tokenizer) else options.tokenizer)
    corpus = _open(options, options.workers)
    corpus = FilteredCorpus(corpus, options.filters) if options.filters else corpus
    with sigterm_as_interrupt():
        tokens = prepare(corpus.documents(options.split), tokenizer, options.out, options.workers, not options.json)
    result = {"folder": str(options.out), "corpus": corpus.name, "split": options.split, **tokens.meta}
    return {**result, "filters": corpus.reports[options.split].report()} if options.filters else result


def filter_corpus(options):
    """Write what the filters keep; return their report."""
    filters = Filters(options.filters)
    if options.out.suffix != ".jsonl" or options.out.is_dir():
        raise ValueError(f"--out {options.out}: give the name of a .jsonl file; it is written as one JSON object a line")
    documents = tqdm(_open(options).documents("all"), desc="filter", unit=" documents", disable=options.json)
    with sigterm_as_interrupt():
        atomic_lines(options.out, (json.dumps({"text": text}, ensure_ascii=False) for text in filters.keep(documents)))
    return {"file": str(options.out), **filters.report()}


def inspect(options):
    """Look at a token file where the one source is the folder of one, else at a corpus."""
    folder = Path(options.source[0])
    if len(options.source) == 1 and ((folder / "meta.json").exists() or (folder / shard_name(0)).exists()):
        return inspect_tokens(folder, show_progress=not options.json)
    return inspect_corpus(_open(options), show_progress=not options.json)


def _open(options, workers=None):
    return open_corpus(options.source if len(options.source) > 1 else options.source[0], options.text_field, workers=workers)


if __name__ == "__main__":
    run(main)
