"""Minimal pairs: how often does a model prefer the acceptable sentence to the unacceptable one?

    python -m minibert pairs runs/books docs/samples/minimal_pairs.jsonl
    python -m minibert pairs runs/books path/to/blimp --limit 100

The score of a sentence is its pseudo-log-likelihood (see ``pseudo_likelihood``). For a causal
model it is the log-likelihood, without the first token if there is no start token, as in GPT-2.
Both are sums, not means, as in BLiMP (Warstadt et al. 2020). A tie is wrong, and 50% is chance.
Two models that only count the tokens of the training text are scored as well: what they get right
needs no BERT.
"""
import itertools
import json
import re
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data import TokenFile
from data.corpus_files import format_of, select_files
from data.lines import decoded_lines
from data.readers import json_records, table_records
from minibert.analysis.command import analysis_parser, load_model
from minibert.analysis.ngram import NGramModel
from minibert.analysis.pseudo_likelihood import PLL, encode_to_score, log_likelihoods
from minibert.examples import make_examples
from tokenizer.utils.cli import at_least
from tokenizer.utils.terminal import plural, render_table

SENTENCES = ("sentence_good", "sentence_bad")
LEVELS = ("field", "linguistics_term", "UID")  # BLiMP's groups, from large to small
HEADER = re.compile(r"\w+([\t,]\w+)+", re.ASCII)  # single words: no sentences
TIE = 1e-4  # nats; scores that are closer differ only by rounding
NGRAM_TOKENS = 20_000_000  # of the training text; counting them takes about 4 GB


@dataclass(frozen=True)
class Pair:
    """An acceptable and an unacceptable sentence, and the group of each of the LEVELS."""
    sentences: tuple
    groups: dict
    source: str  # "blimp/causative.jsonl:3"


def read_pairs(path):
    """Yield the pairs of a .jsonl, .csv or .tsv file. UID is the file's name where there is none.

    A table may lack the first row with the names of its columns, if these are the SENTENCES.
    Raises ValueError, with file and line, for a pair without one of its sentences.
    """
    lines = decoded_lines(path)
    if format_of(path) in (".jsonl", ".json"):
        records = json_records(path, lines)
    else:
        first = next(lines, (1, ""))
        columns = () if SENTENCES[0] in first[1] else SENTENCES

        def on_bad_row(message):
            names = " and ".join(SENTENCES)
            hint = f" Without a first row that names the columns, they are {names}."
            raise ValueError(message + (hint if columns else ""))

        records = table_records(path, itertools.chain([first], lines), SENTENCES, columns,
                                on_bad_row)
        if columns and HEADER.fullmatch(first[1].strip()):
            raise ValueError(f"{path}:1: {first[1].strip()!r} looks like the names of columns: "
                             f"for the sentences they are {' and '.join(SENTENCES)}")
    for line, record in records:
        source = f"{path}:{line}"
        for name in SENTENCES:
            if not isinstance(record.get(name), str) or not record[name].strip():
                raise ValueError(f"{source}: no text in {name!r}; each line needs "
                                 f"{' and '.join(SENTENCES)}")
        record.setdefault("UID", Path(path).name.split(".")[0])
        groups = {level: str(record[level]) for level in LEVELS if level in record}
        yield Pair(tuple(record[name].strip() for name in SENTENCES), groups, source)


def first_of_each_uid(pairs, limit):
    """Return the first ``limit`` pairs of each UID."""
    by_uid = defaultdict(list)
    for pair in pairs:
        by_uid[pair.groups["UID"]].append(pair)
    return [pair for group in by_uid.values() for pair in group[:limit]]


def encode_pairs(model, tokenizer, pairs):
    """Return the ids of all sentences: good, bad, good, bad, ..."""
    sequences = []
    for pair in pairs:
        try:
            sequences += [encode_to_score(model, tokenizer, text) for text in pair.sentences]
        except ValueError as error:
            raise ValueError(f"{pair.source}: {error}") from None
    return sequences


def leave_out_unknown(tokenizer, pairs, sequences):
    """Return the pairs and their sequences without those that have an unknown token.

    It has no probability, so the sentence that has it would seem likelier. Prints a warning; raises
    ValueError if no pair is left.
    """
    known, unknown = [], []  # indices of pairs
    for i in range(len(pairs)):
        has_unknown = tokenizer.unk_token_id in (*sequences[2 * i], *sequences[2 * i + 1])
        (unknown if has_unknown else known).append(i)
    if unknown:
        text = (f"{plural(len(unknown), 'pair')} with unknown tokens, such as that of "
                f"{pairs[unknown[0]].source}")
        if not known:
            raise ValueError(f"nothing to score but {text}")
        print(f"warning: left out {text}", file=sys.stderr)
    return [pairs[i] for i in known], [ids for i in known for ids in sequences[2 * i : 2 * i + 2]]


def floor_scores(tokenizer, token_file, sequences):
    """Return {"unigram": scores, "5-gram": scores} from counts of a token file."""
    stream = make_examples("blocks", token_file, tokenizer, max_length=512).stream
    ids = stream.read(0, min(len(stream), NGRAM_TOKENS))
    sequences = [[i for i in ids if i not in tokenizer.special_ids] for ids in sequences]
    scores = {}
    for name, order in (("unigram", 1), ("5-gram", 5)):
        model = NGramModel(ids, tokenizer.sep_token_id, tokenizer.vocab_size, order)
        scores[name] = model.log_likelihoods(sequences)
    return scores


def group_accuracies(pairs, scores):
    """Return {"level", "name", "pairs", "accuracy"} for all pairs and for each group.

    scores: {name: scores of all sentences (2 * pairs,)}; "accuracy" has the same names. The
    accuracy of a group is the mean over its UIDs, as in BLiMP.
    """
    members = {("all", ""): range(len(pairs))}
    for level in LEVELS:
        names = [pair.groups.get(level) for pair in pairs]
        for name in sorted({*names} - {None}):
            members[level, name] = [i for i, other in enumerate(names) if other == name]
    is_correct = {name: values[0::2] - values[1::2] > TIE for name, values in scores.items()}
    results = []
    for (level, name), indices in members.items():
        by_uid = defaultdict(list)
        for i in indices:
            by_uid[pairs[i].groups["UID"]].append(i)
        accuracy = {scorer: float(np.mean([correct[group].mean() for group in by_uid.values()]))
                    for scorer, correct in is_correct.items()}
        results.append({"level": level, "name": name, "pairs": len(indices), "accuracy": accuracy})
    return results


def score_pairs(model, tokenizer, pairs, pll="word-l2r", floors=None):
    """Return the ``group_accuracies`` of a model, and of the floors if there is a token file."""
    pairs, sequences = leave_out_unknown(tokenizer, pairs, encode_pairs(model, tokenizer, pairs))
    # The floors first: an error in their token file should not come after the long part.
    counted = floor_scores(tokenizer, TokenFile(floors), sequences) if floors else {}
    scorer = "log-likelihood" if model.config.causal else pll
    values = log_likelihoods(model, tokenizer, sequences, pll)
    scores = {scorer: np.array([np.nansum(value) for value in values]), **counted}
    return group_accuracies(pairs, scores)


def main(args=None):
    """Print the accuracy for all pairs and for each group, or one line of JSON for each."""
    parser = analysis_parser(
        "pairs",
        "Score minimal pairs: how often is the acceptable sentence the likelier one?",
        epilog="example: python -m minibert pairs runs/books docs/samples/minimal_pairs.jsonl\n\n"
        "A pair has the fields (of .jsonl) or columns (of .tsv, .csv) sentence_good and\n"
        "sentence_bad, and may have UID, linguistics_term and field, which group the pairs:\n"
        "BLiMP's files as they are.",
        device=True,
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="files or folders of pairs")
    parser.add_argument("--pll", choices=PLL, default="word-l2r",
                        help="mask a token and the later pieces of its word, or the token alone")
    parser.add_argument("--limit", metavar="N", type=at_least(1),
                        help="score only the first N pairs of each UID")
    parser.add_argument("--floors", metavar="TOKENS",
                        help="token file whose counts are scored too (default: RUN/data/train)")
    args = parser.parse_args(args, rest="files")
    pairs = [pair for path in select_files(args.files).files for pair in read_pairs(path)]
    if not pairs:
        raise ValueError(f"{args.files[0]}: no pairs")
    if args.limit:
        pairs = first_of_each_uid(pairs, args.limit)
    model, tokenizer = load_model(args)
    floors = Path(args.floors or Path(args.run, "data", "train"))
    if not (args.floors or floors.is_dir()):
        print(f"no floors: there is no {floors}; --floors names a token file", file=sys.stderr)
        floors = None
    results = score_pairs(model, tokenizer, pairs, args.pll, floors)
    if args.json:
        for result in results:
            print(json.dumps(result))
    else:
        print(accuracy_table(results))


def accuracy_table(results):
    rows = [[*results[0]["accuracy"], "pairs", "group"]]
    for result in results:
        cells = [f"{accuracy:.1%}" for accuracy in result["accuracy"].values()]
        rows.append([*cells, f"{result['pairs']:,}", f"{result['level']} {result['name']}"])
    num_numbers = len(rows[0]) - 1
    return render_table(rows, align="r" * num_numbers + "l")
