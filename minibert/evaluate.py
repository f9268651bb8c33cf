"""The validation loss, with masks that never change, and the losses to compare it with.

Masks are drawn as in training, but always for 15 % of the tokens and always from the same seed. So
two evaluations of a checkpoint agree exactly, and all models answer the same questions. The result
is a mean over masked tokens, not a mean of batch means: the batch size does not matter.
"""
import math
from collections import Counter
from contextlib import contextmanager

import numpy as np
import torch

from data.token_file.reader import entropy
from minibert.batches import collate
from minibert.masking import IGNORE_INDEX, MASK_SHARE, RANDOM_SHARE
from tokenizer.utils.terminal import plural

EVAL_SEED = 15  # for the masks and the choice of examples; no flag changes it


@contextmanager
def eval_mode(model):
    """Within the block, the model has no dropout and computes no gradients."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def eval_subset(examples, limit):
    """Return indices of at most ``limit`` examples from all over the set, always the same ones."""
    indices = np.random.default_rng(EVAL_SEED).permutation(len(examples))[:limit]
    return np.sort(indices)


def check_eval_set(examples, masker, limit):
    """Raise ValueError, before training, if an evaluation would have nothing to measure."""
    indices = eval_subset(examples, limit)

    def has_masked_token(i):
        _, labels = masker(examples[i][None], EVAL_SEED, 0, [i])  # (1, T)
        return (labels != IGNORE_INDEX).any()

    if not any(has_masked_token(i) for i in indices):  # usually the first one has
        raise ValueError(f"the validation split has {plural(len(indices), 'example')} and not "
                         "one masked token: use a larger corpus")
    nsp_labels = examples.nsp_labels
    if nsp_labels is not None and len(examples) > 20 and len(np.unique(nsp_labels)) == 1:
        raise ValueError("no pair of the validation split has a sentence that follows, since each "
                         "document is a single line: cut lines into sentences (--sentences)")


def evaluate(model, examples, masker, pad_token_id, batch_size=32, limit=512, autocast=None,
             bytes_per_token=None, unknown_share=0.0):
    """Return the validation metrics of a model on at most ``limit`` examples.

    examples           see minibert.examples, for pairs ``at(EVAL_SEED, 0)``
    masker             a Masker, by convention with probability 0.15
    autocast           a function that returns a context manager; None: float32
    bytes_per_token    mean number of UTF-8 bytes of text that a token represents
    unknown_share      share of these bytes that the tokenizer replaced by [UNK]

    loss, perplexity          nats per masked token, e^loss
    accuracy                  share of the masked tokens that are predicted correctly
    bits_per_byte             loss in bits per byte of text, to compare vocabularies; a byte of
                              [UNK], about which the model says nothing, costs 8 more
    masked                    number of masked tokens
    nsp_loss, nsp_accuracy    of pairs: nats per pair, share of correct answers
    nsp_chance, pairs         of pairs: share of the more frequent answer, number of pairs

    Raises ValueError if no token is masked.
    """
    check_eval_set(examples, masker, limit)
    device = next(model.parameters()).device
    indices = eval_subset(examples, limit)
    chunks = [indices[i : i + batch_size] for i in range(0, len(indices), batch_size)]
    sums = Counter()
    with eval_mode(model):
        for chunk in chunks:
            batch = collate(examples, chunk, masker, pad_token_id, EVAL_SEED, 0).to(device)
            with autocast() if autocast else torch.autocast(device.type, enabled=False):
                sums.update(batch_sums(model, batch, len(masker.is_special)))

    loss = sums["loss"] / sums["masked"]
    metrics = {
        "loss": loss,
        "perplexity": math.exp(min(loss, 700)),  # e^710 would overflow
        "accuracy": sums["correct"] / sums["masked"],
        "masked": sums["masked"],
    }
    if pairs := sums["pairs"]:
        metrics["nsp_loss"] = sums["nsp_loss"] / pairs
        metrics["nsp_accuracy"] = sums["nsp_correct"] / pairs
        # Guessing the more frequent answer each time: an accuracy below this is worthless.
        metrics["nsp_chance"] = max(sums["nsp_random"], pairs - sums["nsp_random"]) / pairs
        metrics["pairs"] = pairs
    if bytes_per_token:
        # What [UNK] replaced is not free: each of its bytes costs 8 bits, a uniform guess.
        metrics["bits_per_byte"] = loss / math.log(2) / bytes_per_token + 8 * unknown_share
        if unknown_share:
            metrics["unknown_share"] = unknown_share
    return metrics


def batch_sums(model, batch, num_tokens):
    """Return the losses and the correct answers of a batch as {name: sum}.

    num_tokens: of the tokenizer. The rows of a padded vocabulary beyond it are never predicted.
    """
    out = model(**batch.model_inputs())
    # Means become sums, so that each token has the same weight whatever the batch size.
    # No logits (M, V) are kept: memory does not grow with the set.
    sums = {
        "loss": out.mlm_loss.item() * batch.num_masked,
        # The labels of fillers are -100, which no prediction equals.
        "correct": (out.logits[:, :num_tokens].argmax(-1) == out.labels).sum().item(),
        "masked": batch.num_masked,
    }
    if out.nsp_loss is not None:
        answers = out.nsp_logits.argmax(1)  # (B,)
        sums["nsp_loss"] = out.nsp_loss.item() * len(batch)
        sums["nsp_correct"] = (answers == batch.next_sentence_label).sum().item()
        sums["nsp_random"] = batch.next_sentence_label.sum().item()
        sums["pairs"] = len(batch)
    return sums


def mean_bytes_per_token(token_file, tokenizer, kind):
    """Return the mean number of bytes of text for each token of examples of this kind."""
    if kind in ("lines", "pairs"):  # they contain no line ends, which the file counts as bytes
        text_bytes = token_file.num_bytes - token_file.num_segments
        return text_bytes / max(token_file.num_tokens, 1)
    # Where lines are joined, byte-level BPE also has a token for each line end.
    has_line_end = len(tokenizer.encode_ids("\n")) > 0
    num_line_ends = (token_file.num_segments - token_file.num_documents) * has_line_end
    return token_file.num_bytes / max(token_file.num_tokens + num_line_ends, 1)


def token_counts(examples, is_special, limit):
    """Return the count of each ordinary token in ``eval_subset``, (V,); is_special: (V,) bool."""
    counts = np.zeros(len(is_special), dtype=np.int64)  # (V,)
    for i in eval_subset(examples, limit):
        counts += np.bincount(examples[i], minlength=len(counts))
    counts[is_special] = 0  # special tokens are never predicted
    return counts


def copying_loss(counts, num_ordinary):
    """Return the lowest loss without context: of a model that looks at the masked position only.

    A lower loss shows that a model uses the other tokens.

        copying loss = H - 0.2 I                   H: the unigram entropy
        I = entropy(seen) - entropy(seen, if the true token is known)

    counts: (V,) from ``token_counts``; num_ordinary: how many tokens a random one is drawn from.

    >>> round(copying_loss(np.array([2, 2]), 2), 3)  # 0.693 - 0.2 x (0.693 - 0.562)
    0.667
    """
    # One in five selected tokens is not replaced by [MASK] but visible: unchanged or random,
    # equally often. Seeing a token there says something about the true one: I nats on average
    # (the mutual information of the two).
    visible = 1 - MASK_SHARE  # 0.2
    if visible == 0:
        return entropy(counts)
    is_random = RANDOM_SHARE / visible  # 0.5: the probability that a visible token is random
    each_random = is_random / num_ordinary

    # How often each token is seen: as the true one in proportion to its count, or at random.
    present = counts[counts > 0]
    absent = np.zeros(num_ordinary - len(present))  # these are seen only at random
    seen = (1 - is_random) * np.append(present / present.sum(), absent) + each_random
    # The same if the true token is known (the first one here): that one, or any at random.
    seen_given_true = np.full(num_ordinary, each_random)
    seen_given_true[0] += 1 - is_random

    information = entropy(seen) - entropy(seen_given_true)
    return entropy(counts) - visible * information


def expected_losses(examples, is_special, limit=4096):
    """Return losses in nats to compare a training loss with.

    ln_vocab           the model knows nothing
    unigram_entropy    it knows how frequent each token is (a a b b -> ln 2 = 0.693) and ignores its
                       input: the plateau where a first BERT often stays
    copying_loss       it also uses what it sees at the masked positions; below, it uses context
    """
    counts = token_counts(examples, is_special, limit)
    return {
        "ln_vocab": math.log(len(is_special)),
        "unigram_entropy": entropy(counts),
        "copying_loss": copying_loss(counts, int(np.count_nonzero(~is_special))),
    }
