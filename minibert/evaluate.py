"""The held-out loss, with masks that never change.

Masks are drawn as in training, but always 15 % and always from the same seed, so two evaluations of one checkpoint agree
exactly and two models are asked the same questions. Sums are kept, never logits: memory does not grow with the set, and
the result is a mean over masked tokens (not a mean of batch means), so the batch size does not matter.
"""
import math

import numpy as np
import torch

from data.token_file.reader import entropy
from minibert.batches import collate
from minibert.masking import IGNORE_INDEX

EVAL_SEED = 15  # of the masks and of the choice of examples; no training flag changes it


def eval_subset(examples, limit):
    """The numbers of at most ``limit`` examples, spread over the whole set, the same ones each time, ascending."""
    numbers = np.random.default_rng(EVAL_SEED).permutation(len(examples))[:limit]
    return np.sort(numbers)


def check_eval_set(examples, masker, limit):
    """ValueError where an evaluation of ``limit`` examples would ask for no token at all, or of pairs for one answer only: known before training."""
    numbers = eval_subset(examples, limit)
    if not any((masker(examples[n][None], EVAL_SEED, 0, [n])[1] != IGNORE_INDEX).any() for n in numbers):
        raise ValueError(f"the held-out part has {len(numbers)} example(s) and not one masked token: give a larger corpus")
    if examples.nsp_labels is not None and len(examples) > 20 and len(set(examples.nsp_labels.tolist())) == 1:
        raise ValueError("no pair of the held-out part has a sentence that follows: its documents are of one line each, and nothing follows a "
                         "document's only line. Cut them into sentences: --sentences")


@torch.no_grad()
def evaluate(model, examples, masker, pad_token_id, batch_size=32, limit=512, autocast=None, bytes_per_token=None):
    """Held-out loss of a model.

    examples: as minibert.examples makes them, ``at(EVAL_SEED, 0)``; masker: a Masker, by rule with probability 0.15; limit: examples at most;
    autocast: a function that returns a context manager (as train.py uses), or None for float32;
    bytes_per_token: UTF-8 bytes of text that a token stands for on average.
    Returns {"loss": nats per masked token, "perplexity": e^loss, "accuracy": share of masked tokens guessed right,
    "bits_per_byte": loss in bits a byte of text, comparable between vocabularies (only with bytes_per_token), "masked": tokens asked}; of pairs
    also {"nsp_loss": nats a pair, "nsp_accuracy": share told right, "nsp_chance": share of the more frequent answer, "pairs": how many}.
    Raises ValueError where no token is masked.
    """
    check_eval_set(examples, masker, limit)
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    total, correct, count = 0.0, 0, 0
    nsp_total, nsp_correct, followers = 0.0, 0, 0
    numbers = eval_subset(examples, limit)
    try:
        for start in range(0, len(numbers), batch_size):
            some = numbers[start : start + batch_size]
            batch = collate(examples, some, masker, pad_token_id, EVAL_SEED, 0).to(device)
            with autocast() if autocast else torch.autocast(device.type, enabled=False):
                out = model(**batch.model_inputs())
            if out.nsp_loss is not None:
                nsp_total += out.nsp_loss.item() * len(batch)
                nsp_correct += (out.nsp_logits.argmax(1) == batch.next_sentence_label).sum().item()
                followers += (batch.next_sentence_label == 0).sum().item()
            total += out.mlm_loss.item() * batch.num_masked
            correct += (out.logits.argmax(-1) == out.labels).sum().item()
            count += batch.num_masked
    finally:
        model.train(was_training)
    loss = total / count
    result = {"loss": loss, "perplexity": math.exp(min(loss, 700)), "accuracy": correct / count, "masked": count}
    if examples.segment_b_starts is not None and hasattr(model, "nsp"):
        pairs = len(numbers)
        result.update(nsp_loss=nsp_total / pairs, nsp_accuracy=nsp_correct / pairs, nsp_chance=max(followers, pairs - followers) / pairs, pairs=pairs)
    if bytes_per_token:
        result["bits_per_byte"] = loss / math.log(2) / bytes_per_token
    return result


def bytes_per_token(token_file, tokenizer, kind):
    """Bytes of text for each token of such examples. Where lines are joined, their ends are tokens (byte-level BPE) and bytes; lines have neither."""
    if kind in ("lines", "pairs"):
        return (token_file.num_bytes - token_file.num_segments) / max(token_file.num_tokens, 1)
    line_ends = (token_file.num_segments - token_file.num_documents) * len(tokenizer.encode_ids("\n")[-1:])
    return token_file.num_bytes / max(token_file.num_tokens + line_ends, 1)


def token_counts(examples, is_special, limit=4096):
    """How often each ordinary token stands in the examples that an evaluation would use: (V,) int64. is_special: (V,) bool."""
    counts = np.zeros(len(is_special), dtype=np.int64)
    for n in eval_subset(examples, limit):
        counts += np.bincount(examples[n], minlength=len(counts))
    counts[is_special] = 0
    return counts


def unigram_entropy(examples, is_special, limit=4096):
    """Entropy in nats of the ordinary tokens of the examples: the loss of a model that knows how frequent each token is, and does not look at its
    input. On this plateau so many first BERTs stay. Tokens a a b b -> ln 2 = 0.693.
    """
    return entropy(token_counts(examples, is_special, limit))


def copying_loss(counts, ordinary):
    """The lowest loss of a model that sees what stands at an asked place, but no neighbour: below it, and only there, context was read.

    A tenth of the asked tokens stand there unchanged, another tenth is random (``masking.py``): who sees y there believes in y with a
    probability that follows from its frequency p (Bayes), and saves a fifth of I, what y says of the token that is asked for:

        unigram entropy H(p) - 0.2 I,   I = H(q) - h,   q = (p + 1 / n) / 2 how often a token is seen there,
        h: entropy of what is seen, given the token: itself with 1/2 + 1/2n, each of the n - 1 others with 1/2n

    counts: (V,) as token_counts makes them; ordinary: n, how many tokens a random one is drawn from.

    >>> round(copying_loss(np.array([2, 2]), 2), 3)     # H = 0.693; seen itself with 3/4: h = 0.562, I = 0.693 - 0.562
    0.667
    """
    seen = (counts / counts.sum() + (counts > 0) / ordinary) / 2  # q; each of the tokens that never stand in the text is seen with 1 / 2n
    unseen = (ordinary - np.count_nonzero(counts)) / (2 * ordinary)
    seen_entropy = -np.sum(seen[seen > 0] * np.log(seen[seen > 0])) + unseen * math.log(2 * ordinary)
    itself, others = (1 + 1 / ordinary) / 2, (1 - 1 / ordinary) / 2
    given_the_token = -itself * math.log(itself) + others * math.log(2 * ordinary)
    return float(entropy(counts) - 0.2 * (seen_entropy - given_the_token))


def expected_losses(examples, is_special, limit=4096):
    """Where a loss may stand, in nats, and what that means -> {"ln_vocab": nothing is known, "unigram_entropy": frequencies are known,
    "copying_loss": so is what stands at the asked places themselves; what is lower has read context}."""
    counts = token_counts(examples, is_special, limit)
    return {"ln_vocab": math.log(len(is_special)), "unigram_entropy": entropy(counts),
            "copying_loss": copying_loss(counts, int(np.count_nonzero(~is_special)))}
