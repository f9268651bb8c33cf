"""Score texts by pseudo-perplexity: mask each token in turn and predict it from all others.

    python -m minibert perplexity runs/books "He broke the record." "Record the broke he."
    python -m minibert perplexity runs/books --tokens "He broke the record."

A left-to-right model has the perplexity of a text. A BERT sees both sides, so the product of its
predictions is not a probability of the text. It still compares texts, or models with the same
vocabulary (Salazar et al. 2020, "Masked Language Model Scoring", section 2):

    pseudo-log-likelihood   PLL = sum over the tokens of ln p(token | all others)     nats
    pseudo-perplexity       e^(-PLL / tokens): 1 if each token is certain, V if the model
                            knows nothing (V = vocabulary size)

A word of several tokens is predicted from its own other pieces, so it scores too well: between
"so" and "##ir", "##uven" is certain. Kauf and Ivanova 2023 ("A Better Way to Do Masked Language
Model Scoring") therefore also mask the later pieces of its word (word-l2r).

For a model trained with --objective causal, the command prints the perplexity.
"""
import json
import math
import sys
from collections import defaultdict

import numpy as np
import torch

from minibert.analysis.command import add_texts, analysis_parser, load_model, texts_or_stdin
from minibert.analysis.mask_filling import check_fills_masks
from minibert.checks import check_length
from minibert.evaluate import eval_mode
from tokenizer.utils.progress import progress_bar
from tokenizer.utils.terminal import TextStyle, render_table
from tokenizer.word_starts import WordStarts

BATCH_TOKENS = 2048  # input tokens per forward pass
PLL = ("word-l2r", "original")  # what is masked with a token: see above


def pseudo_perplexity(model, tokenizer, texts, batch_tokens=BATCH_TOKENS):
    """Return {"text", "tokens", "pseudo_log_likelihood", "pseudo_perplexity"} for each text.

    "tokens" is a list of {"token", "id", "log_likelihood"}. Special and unknown tokens are
    context but are not predicted, as in training. Raises ValueError for a text that is too long
    or has no token to predict, and for a model without an MLM head. For a causal model, each
    token is predicted from those before it, and the perplexity is a true one.

        pseudo_perplexity(model, tokenizer, ["He broke the record."])
        -> [{"text": "He broke the record.", "pseudo_perplexity": 8.3, ...}]
    """
    sequences = [encode_to_score(model, tokenizer, text) for text in texts]
    results = []
    likelihoods = log_likelihoods(model, tokenizer, sequences, "original", batch_tokens)
    for text, ids, values in zip(texts, sequences, likelihoods):
        tokens = [{"token": tokenizer.id_to_token(i), "id": i, "log_likelihood": value}
                  for i, value in zip(ids, values.tolist()) if not math.isnan(value)]
        values = [token["log_likelihood"] for token in tokens]
        results.append({"text": text, "tokens": tokens, "pseudo_log_likelihood": sum(values),
                        "pseudo_perplexity": perplexity(values)})
    return results


def encode_to_score(model, tokenizer, text):
    """Return the ids of a text. Raise ValueError if it is too long or has nothing to predict."""
    ids = tokenizer.encode(text).ids
    check_length(model.config, len(ids))
    if set(ids[int(model.config.causal):]) <= set(tokenizer.special_ids):
        raise ValueError(f"the text {text!r} has no token to predict")
    return ids


def is_predicted(model, tokenizer, ids):
    """Return which of ids (..., T) have a likelihood, as a bool array: no special token has one."""
    predicted = ~np.isin(ids, list(tokenizer.special_ids))
    if model.config.causal:
        predicted[..., :1] = False  # nothing comes before the first token
    return predicted


def log_likelihoods(model, tokenizer, sequences, pll="word-l2r", batch_tokens=BATCH_TOKENS):
    """Return ln p of each token: an array (T,) for each list of ids, NaN for special tokens.

    pll is "original", where a token is predicted from all others, or "word-l2r", where the later
    tokens of its word are masked, too. A causal model predicts each token from those before it.
    """
    if pll not in PLL:
        raise ValueError(f"pll is {pll!r}: choose from {', '.join(PLL)}")
    if model.config.causal:
        batches = causal_batches
    else:
        check_fills_masks(model, tokenizer)
        batches = masked_batches
    # All sequences of a batch have one length, so there is no padding.
    by_length = defaultdict(list)
    for i, ids in enumerate(sequences):
        by_length[len(ids)].append(i)
    groups = [(indices, np.array([sequences[i] for i in indices]))  # ids (N, T)
              for _, indices in sorted(by_length.items())]
    num_tokens = sum(int(is_predicted(model, tokenizer, ids).sum()) for _, ids in groups)
    words_of = WordStarts(tokenizer) if pll == "word-l2r" else None
    results = [None] * len(sequences)
    with eval_mode(model), progress_bar(num_tokens, "predicting", "tokens") as bar:
        for indices, ids in groups:
            values = np.full(ids.shape, np.nan)  # (N, T)
            for rows, positions, logits in batches(model, tokenizer, ids, words_of, batch_tokens):
                answers = torch.from_numpy(ids[rows, positions]).to(logits.device)  # (M,)
                log_probs = logits.float().log_softmax(dim=-1)  # (M, V)
                log_probs = log_probs.gather(1, answers[:, None]).squeeze(1)
                values[rows, positions] = log_probs.cpu()
                bar.update(len(rows))
            for i, row in zip(indices, values):
                results[i] = row
    return results


def masked_batches(model, tokenizer, ids, words_of, batch_tokens):
    """Yield (rows, positions, logits (M, V)) for all tokens to predict in ids (N, T).

    words_of: a ``WordStarts`` if the later tokens of the same word are masked, too.
    """
    T = ids.shape[1]
    device = next(model.parameters()).device
    starts = words_of(ids) if words_of else np.ones(ids.shape, bool)  # else each token is a word
    words = starts.cumsum(axis=1)  # (N, T): the index of each token's word
    all_rows, all_positions = is_predicted(model, tokenizer, ids).nonzero()
    size = max(1, batch_tokens // T)
    for start in range(0, len(all_rows), size):
        rows = all_rows[start : start + size]  # (M,)
        positions = all_positions[start : start + size]
        same_word = words[rows] == words[rows, positions][:, None]  # (M, T)
        masked = same_word & (np.arange(T) >= positions[:, None])
        inputs = np.where(masked, tokenizer.mask_token_id, ids[rows])  # (M, T)
        flat = np.arange(len(rows)) * T + positions
        out = model(torch.from_numpy(inputs).to(device),
                    masked_positions=torch.from_numpy(flat).to(device))
        yield rows, positions, out.logits


def causal_batches(model, tokenizer, ids, words_of, batch_tokens):
    """Yield the same for a causal model: one forward pass predicts all tokens of a text."""
    device = next(model.parameters()).device
    size = max(1, batch_tokens // ids.shape[1])
    for start in range(0, len(ids), size):
        chunk = ids[start : start + size]
        rows, positions = is_predicted(model, tokenizer, chunk).nonzero()
        logits = model(torch.from_numpy(chunk).to(device)).logits  # (B, T, V)
        yield rows + start, positions, logits[rows, positions - 1]


def perplexity(log_likelihoods):
    """Return e^(-mean).

    >>> perplexity([math.log(1 / 2), math.log(1 / 8)])
    4.0
    """
    mean = sum(log_likelihoods) / len(log_likelihoods)
    return round(math.exp(min(-mean, 700)), 6)  # e^710 overflows a float


def main(args=None):
    """Print the pseudo-perplexity of each text and of all; or one line of JSON per text."""
    parser = analysis_parser(
        "perplexity",
        "Score texts by pseudo-perplexity: mask and predict each token in turn.",
        epilog="1: every token was certain. The vocabulary size: the model knows nothing.\n"
        "Compare only models with the same vocabulary.",
        device=True,
    )
    add_texts(parser, "a text")
    parser.add_argument("--tokens", action="store_true", help="print the probability of each token")
    args = parser.parse_args(args, rest="text")
    model, tokenizer = load_model(args)
    texts = [text for _, text in texts_or_stdin(args.text)]
    results = pseudo_perplexity(model, tokenizer, texts)
    if args.json:
        for result in results:
            print(json.dumps(result))
    else:
        print(results_table(results, tokenizer, TextStyle.of(sys.stdout), args.tokens))


def results_table(results, tokenizer, style, with_tokens):
    """Return the perplexity of each text, and with_tokens the probability of each token."""
    rows = [["perplexity", "text"]]
    if with_tokens:
        rows.append(["probability", "token"])
    for result in results:
        text = style.visible(result["text"]).replace(style.signs.white[0], " ")
        rows.append([f"{result['pseudo_perplexity']:,.2f}", text])
        if with_tokens:
            for token in result["tokens"]:
                token_text = style.visible(tokenizer.token_text(token["token"]))
                rows.append([f"{100 * math.exp(token['log_likelihood']):.3g}%", token_text])
    if len(results) > 1:
        values = [token["log_likelihood"] for result in results for token in result["tokens"]]
        rows.append([f"{perplexity(values):,.2f}", f"all {len(results):,} texts, token by token"])
    return render_table(rows, align="rl")
