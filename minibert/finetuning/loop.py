"""The fine-tuning loop: train an encoder with a head for a few epochs and keep the best one.

After each epoch the model is evaluated on a dev set; the weights of the best epoch are the result.
The recipe and its settings are in ``config.py``, what depends on the task in ``task.py``.
"""
import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from minibert.batches import epoch_order, pad, round_up
from minibert.device import autocast
from minibert.evaluate import eval_mode
from minibert.finetuning.adapters import finetuning_scales
from minibert.finetuning.labeled_files import LabeledTexts
from minibert.finetuning.metrics import score_to_compare
from minibert.masking import IGNORE_INDEX
from minibert.optim import lr_multiplier, make_optimizer, relative_rates
from tokenizer.utils.progress import progress_bar

ENCODE_BATCH = 512  # texts per call of encode_batch, so that the progress bar moves


@dataclass(eq=False)
class EncodedRows:
    """Rows of token ids, and padded batches of them. ``lengths`` (N,): the tokens of each row."""
    ids: list  # of sequences of ints, one for each row
    pad_token_id: int
    max_length: int
    type_ids: list | None = None  # like ids; None if the model has none
    labels: torch.Tensor | list | None = None  # (N, ...), or a label for each token of each row
    examples: LabeledTexts | None = None  # what the rows were made from
    class_weights: torch.Tensor | None = None  # (labels,) float32, if labels count differently
    may_be_truncated = False

    def __post_init__(self):
        self.lengths = np.array([len(row) for row in self.ids])

    def __len__(self):
        return len(self.ids)

    def batches(self, batch_size, device):
        """Yield (indices, batch). Rows of similar length share a batch: little padding."""
        by_length = np.argsort(self.lengths, kind="stable")
        for start in range(0, len(self), batch_size):
            indices = by_length[start : start + batch_size]
            yield indices, self.batch(indices, device)

    def batch(self, indices, device="cpu"):
        """Return the model's arguments for these rows, padded to a common length T."""
        lengths = torch.from_numpy(self.lengths[indices])  # (B,)
        # GPUs prefer a T that is a multiple of 8.
        width = min(round_up(int(lengths.max()), 8), self.max_length)

        def padded(rows, fill):
            return torch.from_numpy(pad([rows[i] for i in indices], fill, width))  # (B, T)

        tensors = {
            "input_ids": padded(self.ids, self.pad_token_id),
            "attention_mask": (torch.arange(width) < lengths[:, None]).long(),  # (B, T)
        }
        if self.type_ids is not None:
            tensors["token_type_ids"] = padded(self.type_ids, 0)
        if isinstance(self.labels, list):
            tensors["labels"] = padded(self.labels, IGNORE_INDEX)
        elif self.labels is not None:
            tensors["labels"] = self.labels[indices]  # (B, ...)
        if self.class_weights is not None:
            tensors["class_weights"] = self.class_weights
        return {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}


class EncodedTexts(EncodedRows):
    """A row for each text.

    EncodedTexts(tokenizer, ["a fine film"], model_config, 128, labels=np.array([1])).batch([0])
    -> {"input_ids": (1, 8), "attention_mask": (1, 8), "labels": (1,)}
    """
    may_be_truncated = True

    def __init__(self, tokenizer, texts, model_config, max_length, labels=None, examples=None):
        """texts: strings or (text, pair) tuples; labels: an array (N, ...), or None."""
        ids, type_ids = [], []
        with progress_bar(len(texts), "encoding", "texts") as bar:
            for start in range(0, len(texts), ENCODE_BATCH):
                chunk = texts[start : start + ENCODE_BATCH]
                for encoding in tokenizer.encode_batch(chunk, max_length=max_length):
                    ids.append(np.array(encoding.ids))
                    type_ids.append(np.array(encoding.type_ids))
                bar.update(len(chunk))
        # Only BERT tells the two texts of a pair apart by segment embeddings.
        is_pair = bool(texts) and isinstance(texts[0], tuple)
        has_types = is_pair and model_config.segments > 1
        super().__init__(ids, tokenizer.pad_token_id, max_length, type_ids if has_types else None,
                         None if labels is None else torch.from_numpy(labels), examples)


def predict(model, encoded, config, batch_size=64):
    """Return the logits for each row of EncodedRows, float32 on the CPU.

    A text has logits (num_labels,); a row of tokens (T, num_labels), of which those after its own
    tokens belong to padding. config: a FinetuneConfig with its device resolved.
    """
    device = next(model.parameters()).device
    outputs = [None] * len(encoded)
    with eval_mode(model), progress_bar(len(encoded), "predicting", "texts") as bar:
        for indices, batch in encoded.batches(batch_size, device):
            batch.pop("labels", None)
            with autocast(device, config.precision):
                logits = model(**batch).logits.float().cpu()
            for i, row in zip(indices, logits):
                outputs[i] = row
            bar.update(len(indices))
    return outputs


def evaluate(outputs, labels, encoded, config):
    """Return (answers, scores) from what ``predict`` returned; no scores for rows without labels.

    labels: those of the model.
    """
    task = config.task_object
    answers = task.answers(outputs, encoded, labels, config)
    if encoded.labels is None:
        return answers, {}
    return answers, task.score(answers, encoded.examples, labels, config)


def finetuning_optimizer(model, train_config):
    """Return the optimizer of a TrainConfig, with rates relative to the size of the weights."""
    optimizer = make_optimizer(model, train_config)
    relative_rates(optimizer, finetuning_scales(model))
    return optimizer


def training_step(model, batch, optimizer, scaler, train_config, multiplier):
    """Update the model once. Return the loss as a tensor on the device."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * multiplier
    with autocast(batch["input_ids"].device, train_config.precision):
        loss = model(**batch).loss
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), train_config.max_grad_norm)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()
    return loss.detach()


def fit(model, train, dev, config, seed, bar, stop, on_best=lambda score, chosen: None):
    """Fine-tune a model and leave it with the weights of its best epoch.

    train, dev: EncodedRows with labels; config: a FinetuneConfig with its device resolved; bar: a
    tqdm that counts steps; stop: its ``requested`` ends the training after a step; on_best: called
    with the score, and what was chosen for it, after each epoch that is the best so far.
    Return a list of {"epoch", "train_loss", metric: score, ...}, one for each evaluated epoch.
    Raise ValueError if the loss is not finite.
    """
    device = next(model.parameters()).device
    train_config = config.train_config(seed)
    optimizer = finetuning_optimizer(model, train_config)
    scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
    total_steps = config.epochs * math.ceil(len(train) / config.batch_size)
    step = 0
    history = []
    for epoch in range(1, config.epochs + 1):
        model.train()
        loss_sum = 0.0  # a tensor on the device: reading it in each step would make the CPU wait
        num_examples = 0
        for indices in epoch_order(train.lengths, config.batch_size, seed, epoch - 1):
            multiplier = lr_multiplier((step + 0.5) / total_steps, "linear", config.warmup, 0.0)
            loss = training_step(model, train.batch(indices, device), optimizer, scaler,
                                 train_config, multiplier)
            loss_sum += loss * len(indices)
            num_examples += len(indices)
            step += 1
            if bar.update():  # the bar was redrawn: give it a new text
                text = f"seed {seed}, epoch {epoch}, loss {mean_loss(loss_sum, num_examples):.3f}"
                bar.set_postfix_str(text, refresh=False)
            if stop.requested:
                break
        if stop.requested and history:  # drop the partial epoch, unless there is nothing else
            break
        train_loss = mean_loss(loss_sum, num_examples)
        is_last = epoch == config.epochs or stop.requested
        if epoch % config.eval_every and not is_last:
            continue
        scores, chosen = score_dev(model, dev, config)
        history.append({"epoch": epoch, "train_loss": train_loss, **scores, **chosen})
        best = best_epoch(history, config.metric_name)
        if best is history[-1]:
            best_weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            on_best(best[config.metric_name], chosen)
        if is_last or epoch - best["epoch"] >= config.patience:
            break
    if not stop.requested:
        bar.update(total_steps - step)  # epochs that were not needed
    model.load_state_dict(best_weights)
    return history


def score_dev(model, dev, config):
    """Return (scores on the dev set, what was chosen for them: see ``Task.choose``).

    Raise ValueError if an output is not finite: the last step may have made the weights inf or NaN.
    """
    outputs = predict(model, dev, config)
    if not all(output.isfinite().all() for output in outputs):
        raise ValueError("the model's outputs are not finite: lower --learning-rate")
    chosen = config.task_object.choose(outputs, dev)
    _, scores = evaluate(outputs, model.labels, dev, replace(config, **chosen))
    return scores, chosen


def mean_loss(loss_sum, num_examples):
    """Return the mean loss per example. ValueError if it is not finite."""
    mean = float(loss_sum) / num_examples
    if not math.isfinite(mean):
        raise ValueError(f"the loss is {mean}: lower --learning-rate")
    return mean


def best_epoch(history, metric):
    """Return the entry of a history with the highest score, the first one of equals."""
    return max(history, key=lambda entry: score_to_compare(entry[metric]))
