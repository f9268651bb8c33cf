"""python -m data list | download | prepare | inspect"""
import json
from pathlib import Path

from tokenizer.cli import Parser, run, suggestion

from . import corpora
from .prepare import prepare
from .report import inspect_corpus, inspect_tokens


def main(arguments=None):
    """Run one command; its result goes to the screen, or as JSON to stdout with --json."""
    parser = Parser(prog="python -m data", description="Text -> documents -> token file.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)

    command = commands.add_parser("list", help="the named corpora and where they are")
    command.set_defaults(call=list_corpora)

    command = commands.add_parser("download", help="fetch a named corpus from its public home")
    command.add_argument("name", help=", ".join(corpora.NAMED))
    command.add_argument("--out", type=Path, default=None, help="folder for its files (default: where training looks for it)")
    command.add_argument("--language", default=None, help="wikipedia: the language, as in en.wikipedia.org (default: simple)")
    command.add_argument("--category", default=None, help="amazon: the category of the reviews (default: Digital_Music)")
    command.add_argument("--megabytes", type=int, default=None,
                         help=f"wikipedia and amazon: how much of the packed files, 0 for all (default: {corpora.MEGABYTES})")
    command.add_argument("--no-checksum", action="store_true", help="kant: take the text as it comes, a newer edition say")
    command.set_defaults(call=download)

    command = commands.add_parser("prepare", help="tokenize a corpus into a token file")
    command.add_argument("source", nargs="+", metavar="FILE_OR_NAME", help="files, folders, or the name of a corpus")
    command.add_argument("--tokenizer", required=True, metavar="FOLDER", help="made by python -m tokenizer train")
    command.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="where the token file goes")
    command.add_argument("--split", choices=("train", "eval", "all"), default="all", help="which part of the corpus")
    command.add_argument("--text-field", default="text", help="the field or column of .jsonl, .csv, .tsv with the text")
    command.add_argument("--workers", type=int, default=None, help="processes (default: one a core)")
    command.set_defaults(call=prepare_corpus)

    command = commands.add_parser("inspect", help="what is in a token file or a corpus: counts, duplicates, entropy")
    command.add_argument("source", nargs="+", metavar="FOLDER_OR_FILES", help="a token file's folder; or files, folders, a name")
    command.add_argument("--text-field", default="text", help="the field or column of .jsonl, .csv, .tsv with the text")
    command.set_defaults(call=inspect)

    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="print the result for programs")
    options = parser.parse_args(arguments)
    result = options.call(options)
    print(json.dumps(result) if options.json else as_text(result))


def list_corpora(options):
    """Name, description and place of each corpus."""
    return [{"name": name, "description": description, "where": corpora.place_of(name)}
            for name, description in corpora.NAMED.items()]


def download(options):
    """Fetch a corpus; say where its files are."""
    if options.name not in corpora.NAMED:
        raise ValueError(f"no corpus is named {options.name}{suggestion(options.name, list(corpora.NAMED))} "
                         f"(there are: {', '.join(corpora.NAMED)})")
    for flag, owners in (("language", ["wikipedia"]), ("category", ["amazon"]), ("megabytes", list(corpora.VARIED)), ("no_checksum", ["kant"])):
        if options.name not in owners and not any(getattr(options, flag) is nothing for nothing in (None, False)):  # 0 is something
            raise ValueError(f"--{flag.replace('_', '-')} belongs to {' and '.join(owners)}, not to {options.name}")
    if options.name == "pydocs":
        return {"name": "pydocs", "files": [], "note": "nothing to download: it is read from the installed packages"}
    if options.name == "kant":
        files = corpora.download_kant(options.out or corpora.CACHE / "kant", checksum=not options.no_checksum,
                                      show_progress=not options.json)
        return {"name": "kant", "files": [str(file) for file in files]}
    variant = options.language or options.category
    name = options.name + (f":{variant}" if variant else "")
    megabytes = corpora.MEGABYTES if options.megabytes is None else options.megabytes
    if megabytes < 0:
        raise ValueError(f"--megabytes {megabytes}: a number from 0 (all of it)")
    files = corpora.fetch(name, options.out, megabytes, show_progress=not options.json)
    return {"name": name, "files": [str(file) for file in files], "bytes": sum(file.stat().st_size for file in files),
            "train_with": f"train.py --preset {options.name} --corpus {options.out or name}"}


def prepare_corpus(options):
    """Make a token file; return its meta."""
    from tokenizer import load_tokenizer
    tokenizer = load_tokenizer(options.tokenizer)
    corpus = _open(options, options.workers)
    tokens = prepare(corpus.documents(options.split), tokenizer, options.out, options.workers, not options.json)
    return {"folder": str(options.out), "corpus": corpus.name, "split": options.split, **tokens.meta}


def inspect(options):
    """Look at a token file where the one source is the folder of one, else at a corpus."""
    folder = Path(options.source[0])
    if len(options.source) == 1 and ((folder / "meta.json").exists() or (folder / "ids.bin").exists()):
        return inspect_tokens(folder)
    return inspect_corpus(_open(options))


def _open(options, workers=None):
    return corpora.open_corpus(options.source if len(options.source) > 1 else options.source[0], options.text_field, workers=workers)


def as_text(result):
    """A dict as lines "name: value"; a list of dicts as one block each.

    >>> print(as_text({"num_tokens": 12345, "files": ["a", "b"]}))
    num tokens: 12,345
    files:
      a
      b
    """
    if isinstance(result, list):
        return "\n\n".join(map(as_text, result))
    lines = []
    for name, value in result.items():
        lines.append(f"{name.replace('_', ' ')}: {'' if isinstance(value, list) else _value(value)}".rstrip())
        lines += [f"  {_value(item)}" for item in value] if isinstance(value, list) else []
    return "\n".join(lines)


def _value(value):
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_value(item)}" for name, item in value.items())
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


if __name__ == "__main__":
    run(main)
