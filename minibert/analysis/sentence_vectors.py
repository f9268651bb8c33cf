"""One vector a sentence, and the sentences of a file that are nearest to a query.

    python -m minibert nearest runs/books sentences.txt "He broke the record."
    python -m minibert nearest runs/books sst2/dev.tsv "a fine film" --pooling cls --top-k 3

A sentence's vector is the mean of the final vectors of all its tokens, the frame included and padding left out, or the first token's ([CLS])
alone: as in Sentence-BERT (Reimers and Gurevych 2019, section 3), but not trained for it, so neighbours share words and form rather than
meaning. Near is a large cosine. In a model that was only pre-trained all sentences lie close together, hence the mean over the file beside it.
"""
import json
from argparse import HelpFormatter

import numpy as np
import torch
from torch.nn import functional as F

from data.readers import format_of, text_lines
from minibert.checks import check_tokenizer
from minibert.device import choose_device
from minibert.finetuning.labeled_files import Layout, read_examples
from minibert.finetuning.loop import EncodedTexts
from minibert.formats.run_folder import load_run
from minibert.heads import encoder_of, mean_of_tokens
from tokenizer.utils.cli import Parser, at_least
from tokenizer.utils.progress import progress_bar
from tokenizer.utils.terminal import visible

POOLINGS = ("mean", "cls")
CHUNK = 4096  # texts whose vectors are in memory at once
BATCH = 64  # texts that go through the model at once


@torch.no_grad()
def sentence_vectors(model, tokenizer, texts, pooling="mean", bar=None):
    """One vector a text, (N, H) float32 on the CPU, in the order of the texts. pooling: "mean" or "cls"; bar: a tqdm that counts texts.

    model: any with an encoder. A text that is too long for it is cut. Raises ValueError for another pooling, and a tokenizer that does not fit.

    sentence_vectors(model, tokenizer, ["He broke the record.", "a fine film"]).shape -> (2, 128)
    """
    if pooling not in POOLINGS:
        raise ValueError(f"pooling is {pooling!r}: choose from {', '.join(POOLINGS)}")
    check_tokenizer(model.config, tokenizer)
    encoder, device = encoder_of(model), next(model.parameters()).device
    encoded, vectors = EncodedTexts(tokenizer, texts, model.config, model.config.max_length), torch.empty(len(texts), model.config.hidden_size)
    was_training = encoder.training
    encoder.eval()
    by_length = np.argsort(encoded.lengths, kind="stable")  # little padding
    for start in range(0, len(texts), BATCH):
        numbers = by_length[start : start + BATCH]
        batch = encoded.batch(numbers, device)
        hidden = encoder(**batch)
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden  # (B, T, H); a pooler is not asked
        vectors[numbers] = (mean_of_tokens(hidden, batch["attention_mask"]) if pooling == "mean" else hidden[:, 0]).float().cpu()
        if bar is not None:
            bar.update(len(numbers))
    encoder.train(was_training)
    return vectors


def nearest(model, tokenizer, texts, queries, top_k=5, pooling="mean"):
    """For each query the ``top_k`` texts with the largest cosine, the nearest first; of equals the earlier one.

    -> list of {"query", "mean": the mean cosine of all texts, "nearest": [{"score", "number": place in texts, "text"}, ...]}
    Vectors of CHUNK texts are kept at a time, so memory does not grow with them.

    nearest(model, tokenizer, ["a fine film", "rain"], ["a good film"], top_k=1)
    -> [{"query": "a good film", "mean": 0.8, "nearest": [{"score": 0.97, "number": 0, "text": "a fine film"}]}]
    """
    if not texts or not queries:
        raise ValueError(f"{len(texts)} texts and {len(queries)} queries: there must be one of each at least")
    if not all(map(str.strip, queries)):
        raise ValueError("a query is empty: give a text that is looked for")
    asked = F.normalize(sentence_vectors(model, tokenizer, queries, pooling), dim=1)  # (Q, H)
    best, places, total = torch.empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.long), torch.zeros(len(queries), dtype=torch.float64)
    with progress_bar(len(texts), "reading", "texts") as bar:
        for start in range(0, len(texts), CHUNK):
            found = asked @ F.normalize(sentence_vectors(model, tokenizer, texts[start : start + CHUNK], pooling, bar), dim=1).T  # (Q, CHUNK)
            total += found.double().sum(dim=1)
            numbers = torch.arange(start, start + found.shape[1]).expand(found.shape)
            best, order = torch.cat((best, found), dim=1).sort(dim=1, descending=True, stable=True)
            best, places = best[:, :top_k], torch.cat((places, numbers), dim=1).gather(1, order[:, :top_k])
    return [{"query": query, "mean": round(mean, 6), "nearest": [{"score": round(score, 6), "number": number, "text": texts[number]}
                                                                 for score, number in zip(scores, numbers)]}
            for query, mean, scores, numbers in zip(queries, (total / len(texts)).tolist(), best.tolist(), places.tolist())]


def read_texts(path, column):
    """A file -> {text: line on which it first stands}: the lines of a .txt that are not empty; a column of .tsv, .csv, .jsonl.

    Raises FileNotFoundError, and ValueError for a file without any text, and as ``tasks.read_examples`` does.
    """
    if format_of(path) == ".txt":
        rows = ((number, line.strip()) for number, line in enumerate(text_lines(path), start=1))
    else:
        examples = read_examples(path, Layout(text=column), labeled=False, flag="--column")
        rows = zip(examples.lines, examples.texts)
    texts = {}
    for number, text in rows:
        if text:
            texts.setdefault(text, number)
    if not texts:
        raise ValueError(f"{path} has no text: a line that is not empty is one")
    return texts


def main(args=None):
    """The command: for each query the nearest texts, a line each; with --json one line a query."""
    parser = Parser(prog="python -m minibert nearest", formatter_class=HelpFormatter,
                    description="Which sentences of a file are nearest to a query?",
                    epilog="Each line is: cosine, line in the file, text. A text that stands in the file twice is shown once.")
    parser.add_argument("run", metavar="RUN", help="folder that train.py wrote, or one with a model and its tokenizer")
    parser.add_argument("file", metavar="FILE", help="sentences: a .txt with one a line, or .tsv, .csv, .jsonl (each also .gz or .bz2)")
    parser.add_argument("queries", metavar="QUERY", nargs="+", help="a text that is looked for")
    parser.add_argument("--column", default="sentence", help="the column or field of the sentences, where the file has some (default: sentence)")
    parser.add_argument("--pooling", default="mean", choices=POOLINGS, help="what a sentence's vector is: the mean over its tokens (the default), or "
                        "the first token's")
    parser.add_argument("--top-k", type=at_least(1), default=5, help="how many sentences for each query (default: 5)")
    parser.add_argument("--json", action="store_true", help="for programs: one line of JSON a query")
    args = parser.parse_args(args, rest="queries")
    texts = read_texts(args.file, args.column)
    model, tokenizer = load_run(args.run)
    results = nearest(model.to(choose_device("auto")), tokenizer, list(texts), args.queries, args.top_k, args.pooling)
    for place, result in enumerate(results):
        for found in result["nearest"]:
            found["line"] = texts[found["text"]]
        if args.json:
            print(json.dumps(result))
            continue
        print("\n" * (place > 0) + f"{visible(result['query'])}  (mean cosine of all {len(texts):,} texts: {result['mean']:.4f})")
        for found in result["nearest"]:
            print(f"{found['score']:.4f}  {found['line']:>7}  {visible(found['text'])}")
