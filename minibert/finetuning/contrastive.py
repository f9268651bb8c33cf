"""Train sentence vectors with pairs of texts and in-batch negatives (SimCSE, Gao et al. 2021).

Pair i of a batch has the vectors a_i and b_i, the means over the tokens of its two texts. They
should be similar, and b_j of the other pairs less so. The loss is the mean over i of (equation 1)

    -ln( e^(cos(a_i, b_i) / t) / sum over j of e^(cos(a_i, b_j) / t) ),    temperature t = 0.05

A pair is two consecutive sentences of a paragraph, or the same sentence twice, whose two vectors
differ by their dropout masks (section 3).
"""
import math
import random
from itertools import chain, count, islice

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from data.sentences import SentenceCorpus
from minibert.batches import epoch_order
from minibert.finetuning.loop import (
    EncodedTexts,
    finetuning_optimizer,
    mean_loss,
    training_step,
)
from minibert.finetuning.seeds import NEVER_STOP
from minibert.heads import encoder_of, text_vectors
from minibert.model import ModelOutput
from minibert.optim import lr_multiplier
from tokenizer.utils.progress import progress_bar

POSITIVES = ("paragraph", "dropout")


def sentence_pairs(corpus, split, positives="paragraph"):
    """Return the pairs of a split as a list of (text, text). No sentence is in two of them.

    A repeated sentence would be a negative of itself. The paragraph "A. B. C. D." has the pairs
    (A., B.) and (C., D.), or with positives "dropout" (A., A.), (B., B.), ...
    """
    pairs = []
    seen = set()
    for document in SentenceCorpus(corpus).documents(split):
        sentences = document.split("\n")
        is_twin = positives == "dropout"
        candidates = zip(sentences, sentences) if is_twin else zip(sentences[::2], sentences[1::2])
        for pair in candidates:
            if seen.isdisjoint(pair):
                pairs.append(pair)
            seen.update(pair)
    return pairs


def similarities(first, second):
    """Return the cosine of each of first (..., B, H) with each of second: (..., B, B), float32."""
    with torch.autocast(first.device.type, enabled=False):  # bf16 has only two or three digits
        return F.normalize(first.float(), dim=-1) @ F.normalize(second.float(), dim=-1).mT


def contrastive_loss(first, second, temperature):
    """Return the loss of the pairs with the vectors first[i] and second[i], each (B, H)."""
    logits = similarities(first, second) / temperature  # (B, B)
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def retrieval_accuracy(first, second, candidates):
    """Return how often second[i] is the nearest to first[i] among ``candidates`` of second.

    first, second: (N, H). A smaller last group would be easier, and is left out.
    """
    num_pairs = len(first) // candidates * candidates
    shape = (-1, candidates, first.shape[1])
    nearest = similarities(first[:num_pairs].view(shape), second[:num_pairs].view(shape)).argmax(2)
    return (nearest == torch.arange(candidates)).double().mean().item()


class PairMatcher(nn.Module):
    """An encoder with the contrastive loss. A batch has the first texts, then the second ones."""

    def __init__(self, encoder, temperature, dropout):
        super().__init__()
        self.encoder = encoder
        self.temperature = temperature
        for module in encoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout

    def forward(self, **batch):
        first, second = text_vectors(self.encoder, batch).chunk(2)  # each (B, H)
        return ModelOutput(None, contrastive_loss(first, second, self.temperature))


def train_vectors(model, tokenizer, pairs, config, temperature=0.05, max_steps=0, seed=0,
                  stop=NEVER_STOP):
    """Train the encoder of a model on pairs of texts. Return (steps, mean loss).

    config: a FinetuneConfig with its device resolved; max_steps 0: one pass over the pairs;
    stop: its ``requested`` ends the training after a step.
    """
    config = config.resolve_learning_rate(model.config)
    torch.manual_seed(seed)
    if 0 < max_steps * config.batch_size < len(pairs):  # encode only what is needed
        pairs = random.Random(seed).sample(pairs, max_steps * config.batch_size)
    num_pairs = len(pairs)
    texts = [first for first, _ in pairs] + [second for _, second in pairs]
    encoded = EncodedTexts(tokenizer, texts, model.config, config.resolve_max_length(model.config))
    lengths = encoded.lengths[:num_pairs] + encoded.lengths[num_pairs:]
    epochs = (epoch_order(lengths, config.batch_size, seed, epoch) for epoch in count())
    total_steps = max_steps or math.ceil(num_pairs / config.batch_size)

    matcher = PairMatcher(encoder_of(model), temperature, config.hidden_dropout_prob).train()
    train_config = config.train_config(seed)
    optimizer = finetuning_optimizer(matcher, train_config)
    scaler = torch.amp.GradScaler(config.device, enabled=config.precision == "fp16")
    loss_sum = 0.0  # a tensor on the device: reading it in each step would make the CPU wait
    with progress_bar(total_steps, "training", "steps") as bar:
        for step, indices in enumerate(islice(chain.from_iterable(epochs), total_steps), start=1):
            multiplier = lr_multiplier((step - 0.5) / total_steps, "linear", config.warmup, 0.0)
            batch = encoded.batch(np.concatenate([indices, indices + num_pairs]), config.device)
            loss_sum += training_step(matcher, batch, optimizer, scaler, train_config, multiplier)
            if bar.update():  # the bar was redrawn: give it a new text
                bar.set_postfix_str(f"loss {mean_loss(loss_sum, step):.3f}", refresh=False)
            if stop.requested:
                break
    matcher.eval()
    return step, mean_loss(loss_sum, step)
