"""Score texts by pseudo-perplexity: mask each token in turn and predict it from all others.

    python -m minibert perplexity runs/books "He broke the record." "Record the broke he."
    python -m minibert perplexity runs/books --tokens "He broke the record."

A left-to-right model has the perplexity of a text. A BERT sees both sides, so the product of its
predictions is not a probability of the text. It still compares texts, or models with the same
vocabulary (Salazar et al. 2020, "Masked Language Model Scoring", section 2):

    pseudo-log-likelihood   PLL = sum over the tokens of ln p(token | all others)     nats
    pseudo-perplexity       e^(-PLL / tokens): 1 if each token is certain, V if the model
                            knows nothing (V = vocabulary size)

A word of several tokens is predicted from its own other pieces, so it scores too well (Kauf and
Ivanova 2023).

Of a model trained with --objective causal, the command prints the perplexity.
"""
import json
import math
import sys

import torch

from minibert.analysis.command import analysis_parser, load_model, texts_or_stdin
from minibert.analysis.mask_filling import check_fills_masks
from minibert.checks import check_length
from minibert.masking import IGNORE_INDEX
from tokenizer.utils.progress import progress_bar
from tokenizer.utils.terminal import TextStyle, render_table

BATCH = 64  # sequences per forward pass; a text gives one sequence for each of its tokens


@torch.no_grad()
def pseudo_perplexity(model, tokenizer, texts, batch_size=BATCH):
    """Return {"text", "tokens", "pseudo_log_likelihood", "pseudo_perplexity"} for each text.

    "tokens" is a list of {"token", "id", "log_likelihood"}. Special and unknown tokens are
    context but are not predicted, as in training. Raises ValueError for a text that is too long
    or has no token to predict, and for a model without an MLM head. For a causal model, each
    token is predicted from those before it, and the perplexity is a true one.

        pseudo_perplexity(model, tokenizer, ["He broke the record."])
        -> [{"text": "He broke the record.", "pseudo_perplexity": 8.3, ...}]
    """
    causal = model.config.causal
    if not causal:
        check_fills_masks(model, tokenizer)
    sequences = [torch.tensor(tokenizer.encode(text).ids) for text in texts]
    queries = []  # (index of a text, position of a token to predict)
    for i, ids in enumerate(sequences):
        check_length(model.config, len(ids))
        # In a causal model nothing comes before the first token, so it is not predicted.
        positions = [p for p in range(int(causal), len(ids))
                     if int(ids[p]) not in tokenizer.special_ids]
        if not positions:
            raise ValueError(f"the text {texts[i]!r} has no token to predict")
        queries += [(i, position) for position in positions]
    # Texts of similar length share a batch, so there is little padding.
    queries.sort(key=lambda query: len(sequences[query[0]]))
    score = next_token_log_likelihoods if causal else log_likelihoods

    results = [{"text": text, "tokens": []} for text in texts]
    was_training = model.training
    model.eval()
    with progress_bar(len(queries), "predicting", "tokens") as bar:
        for start in range(0, len(queries), batch_size):
            batch = queries[start : start + batch_size]
            rows = [sequences[i] for i, _ in batch]
            positions = [position for _, position in batch]
            values = score(model, rows, positions, tokenizer)
            for (i, position), value in zip(batch, values):
                token_id = sequences[i][position].item()
                token = tokenizer.id_to_token(token_id)
                results[i]["tokens"].append(
                    {"token": token, "id": token_id, "log_likelihood": value})
            bar.update(len(batch))
    model.train(was_training)
    for result in results:
        values = [token["log_likelihood"] for token in result["tokens"]]
        result["pseudo_log_likelihood"] = sum(values)
        result["pseudo_perplexity"] = perplexity(values)
    return results


def log_likelihoods(model, sequences, positions, tokenizer):
    """Return ln p of the token at one position of each sequence, given the other tokens.

    sequences: B tensors (T_i,); positions: B ints; returns B floats
    """
    device = next(model.parameters()).device
    ids, attention_mask = pad(sequences, model.config.pad_token_id)  # (B, T) each
    rows = torch.arange(len(ids))
    positions = torch.tensor(positions)
    labels = torch.full_like(ids, IGNORE_INDEX)  # (B, T)
    labels[rows, positions] = ids[rows, positions]
    ids[rows, positions] = tokenizer.mask_token_id
    # With labels, the model computes the logits of the masked positions only: (B, V).
    out = model(ids.to(device), attention_mask.to(device), labels=labels.to(device))
    log_probs = out.logits.float().log_softmax(dim=-1)  # (B, V)
    return log_probs.gather(1, out.labels[:, None]).squeeze(1).tolist()


def next_token_log_likelihoods(model, sequences, positions, tokenizer):
    """Return the same for a causal model: ln p of each token, given the tokens before it."""
    device = next(model.parameters()).device
    distinct = {id(sequence): sequence for sequence in sequences}  # many queries are about one text
    rows = [list(distinct).index(id(sequence)) for sequence in sequences]
    ids, attention_mask = pad(list(distinct.values()), model.config.pad_token_id)
    logits = model(ids.to(device), attention_mask.to(device)).logits  # (texts, T, V)
    positions = torch.tensor(positions)
    log_probs = logits[rows, positions - 1].float().log_softmax(dim=-1)  # (B, V)
    return log_probs.gather(1, ids[rows, positions][:, None].to(device)).squeeze(1).tolist()


def pad(sequences, pad_token_id):
    """Return ids and attention mask, each (B, T), of sequences (T_i,)."""
    ids = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True, padding_value=pad_token_id)
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    return ids, (torch.arange(ids.shape[1]) < lengths[:, None]).long()


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
    parser.add_argument("text", metavar="TEXT", nargs="*", default=[],
                        help="a text; '-' or none: each line of standard input")
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
