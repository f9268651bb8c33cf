"""How fast the tokenizers train and encode, against tokenizers, rustbpe and tiktoken, on the same cores.

    python benchmarks/tokenizer_speed.py CORPORA --out benchmarks/results/tokenizer-speed.json     (make bench)
    python benchmarks/tokenizer_speed.py --table benchmarks/results/tokenizer-speed.json           the table from the file

CORPORA is a folder with the folders kant/ and books/ of .txt files. Two corpora are made up, of random words in Cyrillic letters and in
Chinese characters, the latter without spaces; the last one is the books repeated with variations (--megabytes). Every run is a process
of its own, so nothing is cached from before; contestants take turns, and a ratio is the median over the rounds of ours and theirs in the
same round. Timed is the work alone, not imports, nor the reading of texts that are encoded. Memory is the peak of the proportional set
sizes of a process with its children (Linux).
"""
import argparse
import json
import multiprocessing
import os
import platform
import random
import re
import statistics
import sys
import tempfile
import time
from collections import deque
from importlib import metadata
from operator import itemgetter
from pathlib import Path

from memory import measured

sys.path.insert(0, str(Path(__file__).parent.parent))
from tokenizer import ByteLevelBPE, WordPiece, load_tokenizer  # noqa: E402

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
BPE_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
SIZES = {"bpe": 52_000, "wordpiece": 30_522}
CONTESTANTS = {
    "train bpe": ("minibert", "tokenizers", "rustbpe"),
    "train wordpiece": ("minibert", "tokenizers"),
    "encode bpe": ("minibert", "tokenizers", "tokenizers fast", "tiktoken"),
    "encode wordpiece": ("minibert", "tokenizers", "tokenizers fast"),
}
COLUMNS = ("minibert", "tokenizers", "tokenizers fast", "tiktoken", "rustbpe")  # of the table


# In the process of one run: task, contestant -> a function that does the work

def training(kind, who, files):
    if who == "minibert":
        return lambda: (ByteLevelBPE if kind == "bpe" else WordPiece).train(files, SIZES[kind], show_progress=False)
    if who == "rustbpe":
        import rustbpe
        return lambda: rustbpe.Tokenizer().train_from_iterator(blocks(files), SIZES[kind] - len(BPE_SPECIAL), pattern=GPT2)
    import tokenizers
    if kind == "bpe":
        return lambda: tokenizers.ByteLevelBPETokenizer().train(files, SIZES[kind], 2, show_progress=False, special_tokens=BPE_SPECIAL)
    return lambda: tokenizers.BertWordPieceTokenizer().train(files, SIZES[kind], 2, show_progress=False)


def blocks(files):
    """The files in pieces of a megabyte: what suits rustbpe, which spreads the texts of a buffer over the cores."""
    for file in files:
        with open(file, encoding="utf-8", newline="") as source:
            yield from iter(lambda: "".join(source.readlines(1 << 20)), "")


def encoding(kind, who, documents, folder):
    """Encode all documents into arrays (ours), or into what the others return, which is not turned into arrays. Nothing is kept."""
    if who == "minibert":
        ours = load_tokenizer(folder)
        return lambda: deque(ours.encode_documents(documents), maxlen=0)
    batches = [documents[i:i + 4096] for i in range(0, len(documents), 4096)]
    if who == "tiktoken":
        import tiktoken
        ours = load_tokenizer(folder)
        ranks = {bytes(ours._byte_ids.index(byte) for byte in map(ours._ids.get, token)): i - len(BPE_SPECIAL)
                 for token, i in ours.get_vocab().items() if token not in ours.special_tokens}
        theirs = tiktoken.Encoding("same", pat_str=GPT2, mergeable_ranks=ranks, special_tokens={})

        def work():
            for batch in batches:
                theirs.encode_ordinary_batch(batch, num_threads=os.cpu_count())
        return work
    import tokenizers
    if kind == "bpe":
        theirs = tokenizers.ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    else:
        theirs = tokenizers.BertWordPieceTokenizer(str(folder / "vocab.txt"))
    encode = theirs._tokenizer.encode_batch_fast if who == "tokenizers fast" else theirs._tokenizer.encode_batch

    def work():
        for batch in batches:
            encode(batch, add_special_tokens=False)
    return work


def one_run(task, who, files, folder):
    """What a process of its own does: prepare, work, print the seconds."""
    what, kind = task.split()
    if what == "train":
        work = training(kind, who, files)
    else:
        work = encoding(kind, who, [document for file in files for document in documents_of(file)], folder)
    start = time.perf_counter()
    work()
    print(json.dumps({"seconds": time.perf_counter() - start}))


def documents_of(file):
    """Runs of lines between blank lines."""
    return [document for document in re.split(r"\n\s*\n", Path(file).read_text(encoding="utf-8")) if document]


# Rounds

def measure(task, who, files, folder):
    """One run in a new process -> {"seconds", "megabytes" at the peak, None where the system does not say}"""
    command = [sys.executable, __file__, "--run", task, who, str(folder), *map(str, files)]
    done = measured(command, env={**os.environ, "TOKENIZERS_PARALLELISM": "true"})
    return {**json.loads(done["output"]), "megabytes": done["megabytes"]}


def varied(files, megabytes, out):
    """The books again and again, in each copy every fiftieth word replaced by one that is not in the books (its letters turned about)."""
    text = "\n".join(Path(file).read_text(encoding="utf-8") for file in files)
    written, copy = 0, 0
    with open(out, "w", encoding="utf-8", newline="") as target:
        while written < megabytes * 1_000_000:
            rng = random.Random(copy)
            words = sorted(set(re.findall(r"[a-z]{4,}", text)))
            changed = {word: "".join(rng.sample(word, len(word))) for word in rng.sample(words, len(words) // 50)}
            part = " ".join(changed.get(word, word) for word in text.split(" ")) if copy else text
            target.write(part[:megabytes * 1_000_000 - written])
            written += len(part)
            copy += 1
    return out


def made_up(first, letters, longest, space, stop, out):
    """Four megabytes of sentences of random words: ``letters`` characters from ``first`` on, up to ``longest`` in a word."""
    rng, written = random.Random(first), 0
    words = ["".join(chr(first + rng.randrange(letters)) for _ in range(rng.randint(1, longest))) for _ in range(5000)]
    with open(out, "w", encoding="utf-8", newline="") as target:
        while written < 4_000_000:
            sentences = [space.join(rng.choices(words, k=rng.randint(4, 14))) + stop for _ in range(5)]
            written += target.write("".join(sentences) + "\n\n") * len(chr(first).encode())
    return out


def compare(corpora, rounds, tasks):
    """Yield, for each task and corpus, a row: seconds and megabytes of each contestant, and the ratios to ours."""
    for task in tasks:
        for name, files in corpora.items():
            names = [who for who in CONTESTANTS[task] if who != "tokenizers fast" or not name.endswith("MB")]  # minutes a run, and seen above
            with tempfile.TemporaryDirectory() as folder:
                kind = ByteLevelBPE if task.endswith("bpe") else WordPiece
                if task.startswith("encode"):
                    kind.train(files, SIZES[task.split()[1]], show_progress=False).save(folder)
                runs = {who: [] for who in names}
                for _ in range(rounds):
                    for who in runs:
                        runs[who].append(measure(task, who, files, Path(folder)))
            size = sum(Path(file).stat().st_size for file in files) / 1e6
            yield row(task, name, size, runs)


def row(task, corpus, size, runs):
    """Medians, and the medians of the ratios within a round: how many times as long, and as much memory, another takes."""
    result = {"task": task, "corpus": corpus, "date": time.strftime("%Y-%m-%d"), "megabytes": round(size, 2), "runs": runs,
              "median": {}, "slower": {}, "memory": {}}
    for who, theirs in runs.items():
        result["median"][who] = statistics.median(run["seconds"] for run in theirs)
        result["slower"][who] = statistics.median(b["seconds"] / a["seconds"] for a, b in zip(runs["minibert"], theirs))
        if all(run["megabytes"] for run in theirs):
            result["memory"][who] = statistics.median(run["megabytes"] for run in theirs)
    return result


def line(row):
    """A row of the table, in Markdown. | train bpe | kant (1.9 MB) | 0.53 s, 61 MB | 0.49 s (**1.03 x**), 55 MB | ... |"""
    def cell(who):
        if who not in row["median"]:
            return ""
        memory = f", {row['memory'][who]:,.0f} MB" if who in row["memory"] else ""
        times = "" if who == "minibert" else f" (**{row['slower'][who]:.2f} x**)"
        return f"{row['median'][who]:.2f} s{times}{memory}"
    return f"| {row['task']} | {row['corpus']} ({row['megabytes']:.1f} MB) | " + " | ".join(map(cell, COLUMNS)) + " |"


def head():
    """The two lines above the rows of the table."""
    return f"| task | corpus | {' | '.join(COLUMNS)} |\n" + "|---" * (2 + len(COLUMNS)) + "|"


def table(results):
    """The table of the documentation from a results file."""
    print(head(), *map(line, results["rows"]), sep="\n")


def machine(packages=("numpy", "regex", "tokenizers", "rustbpe", "tiktoken")):
    """What the numbers belong to."""
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "") \
        if os.path.exists("/proc/cpuinfo") else platform.processor()
    return {"date": time.strftime("%Y-%m-%d"), "processor": cpu, "cores": multiprocessing.cpu_count(), "python": platform.python_version(),
            "versions": {name: metadata.version(name) for name in packages}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", nargs="?", help="folder that holds kant/ and books/")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each contestant (default 5)")
    parser.add_argument("--megabytes", type=int, default=500, help="size of the third corpus; 0: none (default 500)")
    parser.add_argument("--tasks", nargs="*", choices=CONTESTANTS, default=list(CONTESTANTS), metavar="TASK", help=", ".join(CONTESTANTS))
    parser.add_argument("--only", nargs="*", default=None, metavar="CORPUS", help="only these corpora")
    parser.add_argument("--out", help="write the results here, as JSON")
    parser.add_argument("--table", metavar="FILE", help="print the table of a results file, and measure nothing")
    parser.add_argument("--run", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        task, who, folder, *files = args.run
        return one_run(task, who, files, Path(folder))
    if args.table:
        return table(json.loads(Path(args.table).read_text()))
    if not args.corpora:
        parser.error("name the folder that holds kant/ and books/")
    corpora = {name: sorted(Path(args.corpora, name).glob("*.txt")) for name in ("kant", "books")}
    with tempfile.TemporaryDirectory() as folder:
        corpora["Cyrillic"] = [made_up(0x430, 32, 9, " ", ". ", Path(folder, "cyrillic.txt"))]
        corpora["Chinese"] = [made_up(0x4E00, 2000, 3, "", "。", Path(folder, "chinese.txt"))]
        if args.megabytes:
            corpora[f"{args.megabytes} MB"] = [varied(corpora["books"], args.megabytes, Path(folder, "varied.txt"))]
        corpora = {name: files for name, files in corpora.items() if not args.only or name in args.only}
        command = f"python benchmarks/tokenizer_speed.py CORPORA --rounds {args.rounds} --megabytes {args.megabytes}"
        results = {"command": command, **machine(), "rows": []}
        print(head())
        for result in compare(corpora, args.rounds, args.tasks):
            print(line(result), flush=True)
            if args.out:  # after each row: an interruption loses one at most
                results["rows"] = placed(result, results["rows"] or begun(args.out, results))
                Path(args.out).write_text(json.dumps(results, indent=1) + "\n")


def begun(path, results):
    """The rows that the file at ``path`` has from the same machine and versions: those that are not measured again stay."""
    old = json.loads(Path(path).read_text()) if Path(path).is_file() else {}
    same = all(old.get(name) == results[name] for name in ("processor", "cores", "python", "versions"))
    return old["rows"] if same else []


def placed(new, rows):
    """The rows with a new one: in the place of that of the same task and corpus, else after the last of its task."""
    key = itemgetter("task", "corpus")
    if key(new) in map(key, rows):
        return [new if key(row) == key(new) else row for row in rows]
    return sorted([*rows, new], key=lambda row: list(CONTESTANTS).index(row["task"]))


if __name__ == "__main__":
    main()
