"""Compute one vector per sentence, and find the sentences of a file nearest to a query.

    python -m minibert nearest runs/books sentences.txt "He broke the record."
    python -m minibert nearest runs/books sst2/dev.tsv "a fine film" --pooling cls --top-k 3

The vector of a sentence is the mean of the final vectors of all its tokens, special tokens
included and padding excluded, or the vector of the first token ([CLS]), as in Sentence-BERT
(Reimers and Gurevych 2019, section 3). Pre-training does not train these vectors (``embed.py``
does), so neighbors share words and form rather than meaning. Nearest means the largest cosine.
Without training, all sentences are close together: compare with the mean cosine of all sentences.
"""
import json

import torch
from torch.nn import functional as F

from data.lines import decoded_lines
from data.readers import format_of, text_lines
from minibert.analysis.command import analysis_parser, load_model
from minibert.checks import check_tokenizer
from minibert.evaluate import eval_mode
from minibert.finetuning.labeled_files import Layout, read_rows
from minibert.finetuning.loop import EncodedTexts
from minibert.heads import encoder_of, text_vectors
from tokenizer.utils.cli import at_least
from tokenizer.utils.progress import progress_bar
from tokenizer.utils.terminal import plural, render_table, visible

POOLINGS = ("mean", "cls")
CHUNK = 4096  # texts whose vectors are in memory at the same time
BATCH = 64  # texts per forward pass


def sentence_vectors(model, tokenizer, texts, pooling="mean", bar=None):
    """Return one vector per text, (N, H) float32 on the CPU, in the order of the texts.

    The model needs an encoder. Texts that are too long are truncated. pooling is "mean" or
    "cls"; bar is a tqdm that counts texts. Raises ValueError for another model's tokenizer.

        sentence_vectors(model, tokenizer, ["He broke it.", "a fine film"]).shape -> (2, 128)
    """
    if pooling not in POOLINGS:
        raise ValueError(f"pooling is {pooling!r}: choose from {', '.join(POOLINGS)}")
    check_tokenizer(model.config, tokenizer)
    encoder = encoder_of(model)
    device = next(model.parameters()).device
    encoded = EncodedTexts(tokenizer, texts, model.config, model.config.max_length)
    vectors = torch.empty(len(texts), model.config.hidden_size)
    with eval_mode(encoder):
        for indices, batch in encoded.batches(BATCH, device):
            vectors[indices] = text_vectors(encoder, batch, pooling).float().cpu()
            if bar:
                bar.update(len(indices))
    return vectors


def nearest(model, tokenizer, texts, queries, top_k=5, pooling="mean"):
    """Return the ``top_k`` texts with the largest cosine for each query, the nearest first.

    The result is a list of {"query", "mean": mean cosine of all texts, "nearest": [{"score",
    "index" in texts, "text"}, ...]}. Of equal texts the earlier one is first.

        nearest(model, tokenizer, ["a fine film", "rain"], ["a good film"], top_k=1)
        -> [{"query": "a good film", "mean": 0.8,
             "nearest": [{"score": 0.97, "index": 0, "text": "a fine film"}]}]
    """
    if not texts:
        raise ValueError("there are no texts to search")
    query_vectors = F.normalize(sentence_vectors(model, tokenizer, queries, pooling), dim=1)
    cosines = []
    with progress_bar(len(texts), "reading", "texts") as bar:
        for start in range(0, len(texts), CHUNK):
            chunk = texts[start : start + CHUNK]
            vectors = F.normalize(sentence_vectors(model, tokenizer, chunk, pooling, bar), dim=1)
            cosines.append(query_vectors @ vectors.T)  # (Q, chunk)
    cosines = torch.cat(cosines, dim=1)  # (Q, N)
    # A stable sort keeps the earlier of two equal texts first.
    order = cosines.argsort(dim=1, descending=True, stable=True)[:, :top_k]  # (Q, up to top_k)
    results = []
    for query, scores, indices in zip(queries, cosines, order.tolist()):
        neighbors = []
        for i in indices:
            neighbors.append({"score": round(scores[i].item(), 6), "index": i, "text": texts[i]})
        mean = round(scores.double().mean().item(), 6)
        results.append({"query": query, "mean": mean, "nearest": neighbors})
    return results


def rows_of_text(path, column):
    """Yield (line, text) of the lines of a .txt, or of a column of a table, that are not blank."""
    if format_of(path) == ".txt":
        rows = enumerate(text_lines(decoded_lines(path)), start=1)
    else:
        rows = ((i, row[column]) for i, row in read_rows(path, Layout(), {column: "--column"}))
    for i, text in rows:
        if text.strip():
            yield i, text.strip()


def read_texts(path, column):
    """Return {text: line of its first occurrence} for ``rows_of_text``."""
    texts = {}
    for i, text in rows_of_text(path, column):
        texts.setdefault(text, i)
    return texts


def main(args=None):
    """Print the nearest texts for each query, or one line of JSON per query."""
    parser = analysis_parser(
        "nearest",
        "Find the sentences of a file that are nearest to a query.",
        epilog="Each line is: cosine, line in the file, text. Duplicates are printed once.",
        device=True,
    )
    parser.add_argument("file", metavar="FILE",
                        help="sentences: .txt (one per line), .tsv, .csv, .jsonl, also .gz, .bz2")
    parser.add_argument("queries", metavar="QUERY", nargs="+", help="a text to look for")
    parser.add_argument("--column", default="sentence", help="column or field of the sentences")
    parser.add_argument("--pooling", default="mean", choices=POOLINGS,
                        help="vector of a sentence: the mean over its tokens, or the first token")
    parser.add_argument("--top-k", type=at_least(1), default=5, help="sentences for each query")
    args = parser.parse_args(args, rest="queries")
    lines = read_texts(args.file, args.column)
    model, tokenizer = load_model(args)
    results = nearest(model, tokenizer, list(lines), args.queries, args.top_k, args.pooling)
    for i, result in enumerate(results):
        for neighbor in result["nearest"]:
            neighbor["line"] = lines[neighbor["text"]]
        if args.json:
            print(json.dumps(result))
            continue
        if i > 0:
            print()
        mean = f"mean cosine of all {plural(len(lines), 'text')}: {result['mean']:.4f}"
        print(f"{visible(result['query'])}  ({mean})")
        rows = []
        for neighbor in result["nearest"]:
            score = f"{neighbor['score']:.4f}"
            rows.append([score, str(neighbor["line"]), neighbor["text"]])
        print(render_table(rows, align="rrl"))
