"""How fast the tokenizers train and encode, compared with libraries written in Rust.

    python benchmarks/tokenizer_speed.py CORPORA --out benchmarks/results/tokenizer-speed.json
    python benchmarks/tokenizer_speed.py --table benchmarks/results/tokenizer-speed.json

CORPORA is a folder with kant/ and books/, folders of .txt files. Three more corpora are made up of
random words: in Cyrillic letters, and in Chinese characters without spaces, where all words are
equally frequent ("Chinese") or words and characters follow Zipf's law ("Zipf Chinese"). Two are a
megabyte without a space, which is only encoded, with the vocabulary of the books: the letters of
the books ("no spaces") and random letters. The last corpus is the books repeated with variations
(--megabytes). Each run is a process of its own, so nothing is cached from before. The contestants
take turns, and a ratio is the median over the rounds of theirs to ours in the same round. Only the
work itself is timed, without imports and without reading the texts that are encoded. Memory is the
peak proportional set size of a process and its children (Linux).

--one-thread gives each contestant one thread and counts processor time, for a machine that does
other work at the same time.
"""
import argparse
import json
import multiprocessing
import os
import platform
import random
import re
import sys
import tempfile
import time
from collections import deque
from functools import partial
from importlib import metadata
from itertools import accumulate
from operator import itemgetter
from pathlib import Path
from statistics import median
from string import ascii_lowercase

from common import add_result_flags, markdown, markdown_row, print_table, read_json, write_json
from memory import measured

from tokenizer import ByteLevelBPE, WordPiece, load_tokenizer
from tokenizer.utils.cli import Parser, run

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
BPE_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
KINDS = {"bpe": ByteLevelBPE, "wordpiece": WordPiece}
VOCAB_SIZES = {"bpe": 52_000, "wordpiece": 30_522}
CONTESTANTS = {
    "train bpe": ("minibert", "tokenizers", "rustbpe", "gigabpe"),
    "train wordpiece": ("minibert", "tokenizers"),
    "encode bpe": ("minibert", "tokenizers", "tokenizers fast", "tiktoken", "tokie", "gigatoken"),
    "encode wordpiece": ("minibert", "tokenizers", "tokenizers fast"),
}
COLUMNS = ("minibert", "tokenizers", "tokenizers fast", "tiktoken", "tokie", "gigatoken", "rustbpe",
           "gigabpe")
MADE_UP_BYTES = 4_000_000
NO_SPACES_BYTES = 1_000_000
TRAINED_ON = {"no spaces": "books", "random letters": "books"}  # other corpora: on themselves
PACKAGES = ("numpy", "regex", "tokenizers", "tiktoken", "tokie", "gigatoken", "rustbpe", "gigabpe")


# The process of one run. Each function returns a function that does the work to be timed

# --one-thread sets this variable, which is that of the Rust libraries.
WORKERS = 1 if os.environ.get("RAYON_NUM_THREADS") == "1" else None  # None: one per core


def training(kind, contestant, files):
    vocab_size = VOCAB_SIZES[kind]
    if contestant == "minibert":
        return lambda: KINDS[kind].train(files, vocab_size, workers=WORKERS, show_progress=False)
    if contestant == "rustbpe":
        import rustbpe

        return lambda: rustbpe.Tokenizer().train_from_iterator(
            megabytes_of(files), vocab_size - len(BPE_SPECIAL), pattern=GPT2)
    if contestant == "gigabpe":
        import gigabpe

        return lambda: gigabpe.train_bpe(
            files, vocab_size, special_tokens=BPE_SPECIAL, min_frequency=2,
            pretokenizer="bytelevel", threads=WORKERS)
    import tokenizers

    if kind == "bpe":
        return lambda: tokenizers.ByteLevelBPETokenizer().train(
            files, vocab_size, 2, show_progress=False, special_tokens=BPE_SPECIAL)
    return lambda: tokenizers.BertWordPieceTokenizer().train(
        files, vocab_size, 2, show_progress=False)


def megabytes_of(files):
    """Yield the files in pieces of a megabyte, so that rustbpe can use all cores."""
    for file in files:
        with open(file, encoding="utf-8", newline="") as source:
            while lines := source.readlines(1 << 20):
                yield "".join(lines)


def encoding(kind, contestant, documents, folder):
    """Encode all documents: ours into arrays, the others into their own results."""
    if contestant == "minibert":
        tokenizer = load_tokenizer(folder)
        return lambda: deque(tokenizer.encode_documents(documents, WORKERS), maxlen=0)
    batches = [documents[i : i + 4096] for i in range(0, len(documents), 4096)]
    encode = batch_encoder(kind, contestant, folder)

    def work():
        for batch in batches:
            encode(batch)
    return work


def batch_encoder(kind, contestant, folder):
    """Return the function of another library that encodes a list of texts."""
    if contestant == "tiktoken":
        encoder = tiktoken_encoding(load_tokenizer(folder))
        return partial(encoder.encode_ordinary_batch, num_threads=WORKERS or os.cpu_count())
    if contestant == "tokie":
        import tokie

        encoder = tokie.Tokenizer.from_json(str(folder / "tokenizer.json"))
        return partial(encoder.encode_batch_flat, add_special_tokens=False)
    if contestant == "gigatoken":
        import gigatoken

        encoder = gigatoken.Tokenizer(folder / "tokenizer.json")
        return partial(encoder.encode_batch, parallel=WORKERS != 1)
    import tokenizers

    if kind == "bpe":
        wrapper = tokenizers.ByteLevelBPETokenizer(str(folder / "vocab.json"),
                                                   str(folder / "merges.txt"))
    else:
        wrapper = tokenizers.BertWordPieceTokenizer(str(folder / "vocab.txt"))
    encode = wrapper._tokenizer.encode_batch
    if contestant == "tokenizers fast":
        encode = wrapper._tokenizer.encode_batch_fast  # without offsets
    return partial(encode, add_special_tokens=False)


def tiktoken_encoding(tokenizer):
    """Return a tiktoken.Encoding with the same vocabulary."""
    import tiktoken

    ranks = {}
    for token, i in tokenizer.get_vocab().items():
        if token not in tokenizer.special_tokens:
            byte_ids = [tokenizer._ids[symbol] for symbol in token]
            token_bytes = bytes(tokenizer._byte_ids.index(byte_id) for byte_id in byte_ids)
            ranks[token_bytes] = i - len(BPE_SPECIAL)
    return tiktoken.Encoding("same", pat_str=GPT2, mergeable_ranks=ranks, special_tokens={})


def worker(task, contestant, folder, *files):
    """Be the process of a run: prepare, work, print the seconds."""
    clock = time.process_time if WORKERS == 1 else time.perf_counter
    action, kind = task.split()
    if action == "train":
        work = training(kind, contestant, list(files))
    else:
        documents = [document for file in files for document in documents_of(file)]
        work = encoding(kind, contestant, documents, Path(folder))
    start = clock()
    work()
    print(json.dumps({"seconds": clock() - start}))


def documents_of(file):
    """Return the runs of lines between blank lines."""
    documents = re.split(r"\n\s*\n", Path(file).read_text(encoding="utf-8"))
    return [document for document in documents if document]


# The corpora


def varied(files, megabytes, out):
    """Write the books repeatedly. Each copy shuffles the letters of every fiftieth word."""
    size = megabytes * 1_000_000
    text = "\n".join(Path(file).read_text(encoding="utf-8") for file in files)
    words = sorted(set(re.findall(r"[a-z]{4,}", text)))
    num_written = 0
    copy = 0
    with open(out, "w", encoding="utf-8", newline="") as target:
        while num_written < size:
            part = text
            if copy:
                rng = random.Random(copy)
                changed = {word: "".join(rng.sample(word, len(word)))
                           for word in rng.sample(words, len(words) // 50)}
                part = " ".join(changed.get(word, word) for word in text.split(" "))
            target.write(part[: size - num_written])
            num_written += len(part)
            copy += 1
    return out


def made_up(first, num_letters, max_length, space, stop, out):
    """Write sentences of random words of ``num_letters`` characters, beginning with ``first``."""
    rng = random.Random(first)
    words = ["".join(chr(first + rng.randrange(num_letters))
                     for _ in range(rng.randint(1, max_length))) for _ in range(5000)]
    num_written = 0
    with open(out, "w", encoding="utf-8", newline="") as target:
        while num_written < MADE_UP_BYTES:
            sentences = [space.join(rng.choices(words, k=rng.randint(4, 14))) + stop
                         for _ in range(5)]
            num_characters = target.write("".join(sentences) + "\n\n")
            num_written += num_characters * len(chr(first).encode())
    return out


def zipf_chinese(out):
    """Write clauses of random words, in which the n-th word and the n-th character have a
    probability proportional to about 1/n. A word has one to four of 4,000 characters."""
    rng = random.Random(1)
    characters = [chr(0x4E00 + i) for i in rng.sample(range(20_000), 4_000)]
    character_weights = list(accumulate(1 / (rank + 10) for rank in range(4_000)))
    words = {}
    while len(words) < 20_000:
        length = rng.choices([1, 2, 3, 4], [1, 6, 2, 1])[0]
        words["".join(rng.choices(characters, cum_weights=character_weights, k=length))] = None
    words = list(words)
    word_weights = list(accumulate(1 / (rank + 5) for rank in range(20_000)))
    num_written = 0
    with open(out, "w", encoding="utf-8", newline="") as target:
        while num_written < MADE_UP_BYTES:
            clause = "".join(rng.choices(words, cum_weights=word_weights, k=rng.randint(3, 12)))
            stop = rng.choice(["，", "，", "，", "。\n\n"])
            target.write(clause + stop)
            num_written += len((clause + stop).encode())
    return out


def without_spaces(files, out):
    """Write the letters a to z of files, in lower case, without anything between them."""
    text = "".join(Path(file).read_text(encoding="utf-8") for file in files)
    out.write_text(re.sub("[^a-z]", "", text.lower())[:NO_SPACES_BYTES], encoding="utf-8")
    return out


def random_letters(out):
    """Write equally frequent letters a to z, without a space."""
    letters = random.Random(1).choices(ascii_lowercase, k=NO_SPACES_BYTES)
    out.write_text("".join(letters), encoding="utf-8")
    return out


def make_corpora(folder, megabytes, out):
    """Return {name: files}, those of ``folder`` and those that are written to ``out``."""
    corpora = {name: sorted((folder / name).glob("*.txt")) for name in ("kant", "books")}
    corpora["Cyrillic"] = [made_up(0x430, 32, 9, " ", ". ", out / "cyrillic.txt")]
    corpora["Chinese"] = [made_up(0x4E00, 2000, 3, "", "。", out / "chinese.txt")]
    corpora["Zipf Chinese"] = [zipf_chinese(out / "zipf-chinese.txt")]
    corpora["no spaces"] = [without_spaces(corpora["books"][:3], out / "no-spaces.txt")]
    corpora["random letters"] = [random_letters(out / "random-letters.txt")]
    if megabytes:
        corpora[f"{megabytes} MB"] = [varied(corpora["books"], megabytes, out / "varied.txt")]
    return corpora


# The rounds


def compare(task, corpus, corpora, rounds, one_thread):
    """Run all contestants of a task in turns. Return a row of the results."""
    files = corpora[corpus]
    contestants = CONTESTANTS[task]
    if corpus.endswith("MB"):  # it takes minutes, and the smaller corpora show the difference
        contestants = [name for name in contestants if name != "tokenizers fast"]
    action, kind = task.split()
    runs = {name: [] for name in contestants}
    with tempfile.TemporaryDirectory() as folder:
        if action == "encode":
            train_files = corpora[TRAINED_ON.get(corpus, corpus)]
            KINDS[kind].train(train_files, VOCAB_SIZES[kind], show_progress=False).save(folder)
        for _ in range(rounds):
            for name in contestants:
                runs[name].append(measure(task, name, files, folder, one_thread))
    size = sum(Path(file).stat().st_size for file in files) / 1e6
    return result_row(task, corpus, size, runs)


def measure(task, contestant, files, folder, one_thread):
    """Run in a new process. Return {"seconds", "megabytes"}; megabytes may be None."""
    command = [sys.executable, __file__, "--run", task, contestant, folder, *map(str, files)]
    env = {**os.environ, "TOKENIZERS_PARALLELISM": "true"}
    if one_thread:
        env["RAYON_NUM_THREADS"] = "1"
    done = measured(command, env=env)
    return {**json.loads(done["output"]), "megabytes": done["megabytes"]}


def result_row(task, corpus, size, runs):
    """Return medians, and the medians of the ratios of theirs to ours within a round."""
    row = {"task": task, "corpus": corpus, "date": time.strftime("%Y-%m-%d"),
           "megabytes": round(size, 2), "runs": runs, "median": {}, "slower": {}, "memory": {}}
    for name, theirs in runs.items():
        row["median"][name] = median(run["seconds"] for run in theirs)
        row["slower"][name] = median(their_run["seconds"] / our_run["seconds"]
                                     for our_run, their_run in zip(runs["minibert"], theirs))
        if all(run["megabytes"] for run in theirs):
            row["memory"][name] = median(run["megabytes"] for run in theirs)
    return row


def table(rows):
    """Return the rows as Markdown, without columns that are empty in all of them."""
    names = [name for name in COLUMNS if any(name in row["median"] for row in rows)]
    return markdown(["task", "corpus", *names], (cells(row, names) for row in rows))


def cells(row, names=COLUMNS):
    """Return the cells of a row: "train bpe", "kant (1.9 MB)", "0.53 s, 61 MB", ..."""
    return [row["task"], f"{row['corpus']} ({row['megabytes']:.1f} MB)",
            *(cell(row, name) for name in names)]


def cell(row, name):
    if name not in row["median"]:
        return ""
    ratio = "" if name == "minibert" else f" (**{row['slower'][name]:.2f} x**)"
    memory = f", {row['memory'][name]:,.0f} MB" if name in row["memory"] else ""
    return f"{row['median'][name]:.2f} s{ratio}{memory}"


def machine(packages=PACKAGES):
    """Return what the results depend on."""
    processor = platform.processor()
    if os.path.exists("/proc/cpuinfo"):
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
        processor = found[1].strip() if found else ""
    return {"date": time.strftime("%Y-%m-%d"), "processor": processor,
            "cores": multiprocessing.cpu_count(), "python": platform.python_version(),
            "versions": {name: metadata.version(name) for name in packages}}


def main(args=None):
    args = parse(args)
    if args.run:
        return worker(*args.run)
    if args.table:
        return print_table(args.table, lambda results: table(results["rows"]))
    command = (f"python benchmarks/tokenizer_speed.py CORPORA --rounds {args.rounds} "
               f"--megabytes {args.megabytes}" + " --one-thread" * args.one_thread)
    results = {"command": command, **machine(), "rows": []}
    results["rows"] = rows_so_far(args.out, results)
    print(markdown(["task", "corpus", *COLUMNS], []), end="")
    with tempfile.TemporaryDirectory() as folder:
        corpora = make_corpora(args.corpora, args.megabytes, Path(folder))
        for task in args.tasks:
            for corpus in corpora:
                if args.only and corpus not in args.only:
                    continue
                if corpus in TRAINED_ON and task != "encode bpe":
                    continue
                row = compare(task, corpus, corpora, args.rounds, args.one_thread)
                print(markdown_row(cells(row)), flush=True)
                results["rows"] = with_row(results["rows"], row)
                write_json(args.out, results)  # an interruption loses one row at most


def parse(args):
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", nargs="?", type=Path, help="folder with kant/ and books/")
    parser.add_argument("--rounds", type=int, default=5,
                        help="runs of each contestant (default 5)")
    parser.add_argument("--megabytes", type=int, default=500,
                        help="size of the repeated books; 0: none (default 500)")
    parser.add_argument("--tasks", nargs="*", choices=CONTESTANTS, default=list(CONTESTANTS),
                        metavar="TASK", help=", ".join(CONTESTANTS))
    parser.add_argument("--only", nargs="*", metavar="CORPUS", help="only these corpora")
    parser.add_argument("--one-thread", action="store_true",
                        help="one thread for each contestant, and processor time")
    add_result_flags(parser)
    parser.add_argument("--run", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args(args)
    if not (args.run or args.table or args.corpora):
        parser.error("name the folder that holds kant/ and books/")
    return args


def rows_so_far(path, results):
    """Return the rows of a file if they are from the same machine and versions."""
    if not (path and path.is_file()):
        return []
    stored = read_json(path)
    is_same = all(stored.get(name) == results[name]
                  for name in ("processor", "cores", "python", "versions"))
    return stored["rows"] if is_same else []


def with_row(rows, new):
    """Return the rows with a new one, which replaces one of the same task and corpus."""
    key = itemgetter("task", "corpus")
    if key(new) in map(key, rows):
        return [new if key(row) == key(new) else row for row in rows]
    order = list(CONTESTANTS)
    return sorted([*rows, new], key=lambda row: order.index(row["task"]))


if __name__ == "__main__":
    run(main)
