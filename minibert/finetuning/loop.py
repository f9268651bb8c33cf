"""The fine-tuning loop: train a classifier for a few epochs and keep the best one.

The model is a ``BertForSequenceClassification``. After each epoch it is evaluated on a dev set; the
weights of the best epoch are the result. The recipe and its settings are in ``config.py``.
"""
import math

import numpy as np
import torch
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from minibert.batches import epoch_order, round_up
from minibert.device import autocast
from minibert.examples import Examples
from minibert.optim import lr_multiplier, make_optimizer
from tokenizer.utils.progress import progress_bar

ENCODE_BATCH = 512  # texts per call of encode_batch, so that the progress bar moves


class EncodedTexts(Examples):
    """Texts as token ids, and padded batches of them. ``lengths`` (N,): the tokens of each text.

    EncodedTexts(tokenizer, ["a fine film"], model_config, 128, labels=np.array([1])).batch([0])
    -> {"input_ids": (1, 8), "attention_mask": (1, 8), "labels": (1,)}
    """

    def __init__(self, tokenizer, texts, model_config, max_length, labels=None):
        """texts: strings or (text, pair) tuples; labels: (N,) from ``encode_labels``, or None."""
        self.pad_token_id = tokenizer.pad_token_id
        self.max_length = max_length
        self.labels = None if labels is None else torch.from_numpy(labels)
        self.ids = []
        self.type_ids = []
        # Only BERT tells the two texts of a pair apart by segment embeddings.
        is_pair = bool(texts) and isinstance(texts[0], tuple)
        self.has_types = is_pair and model_config.segments > 1
        with progress_bar(len(texts), "encoding", "texts") as bar:
            for start in range(0, len(texts), ENCODE_BATCH):
                chunk = texts[start : start + ENCODE_BATCH]
                for encoding in tokenizer.encode_batch(chunk, max_length=max_length):
                    self.ids.append(torch.tensor(encoding.ids))
                    self.type_ids.append(torch.tensor(encoding.type_ids))
                bar.update(len(chunk))
        self.lengths = np.array([len(ids) for ids in self.ids])

    def __len__(self):
        return len(self.ids)

    def batch(self, indices, device="cpu"):
        """Return the model's arguments for these texts, padded to a common length T."""
        lengths = torch.from_numpy(self.lengths[indices])  # (B,)
        # GPUs prefer a T that is a multiple of 8.
        width = min(round_up(int(lengths.max()), 8), self.max_length)
        tensors = {
            "input_ids": pad([self.ids[i] for i in indices], width, self.pad_token_id),  # (B, T)
            "attention_mask": (torch.arange(width) < lengths[:, None]).long(),  # (B, T)
        }
        if self.has_types:
            tensors["token_type_ids"] = pad([self.type_ids[i] for i in indices], width, 0)  # (B, T)
        if self.labels is not None:
            tensors["labels"] = self.labels[indices]  # (B,)
        return {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}


def pad(rows, width, fill):
    """Stack 1-D tensors into (len(rows), width), padded at the end."""
    padded = pad_sequence(rows, batch_first=True, padding_value=fill)  # (B, longest)
    return F.pad(padded, (0, width - padded.shape[1]), value=fill)


@torch.no_grad()
def predict(model, texts, config, batch_size=64):
    """Return the logits (N, num_labels) for EncodedTexts, float32 on the CPU, in their order.

    config: a FinetuneConfig with its device resolved.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    by_length = np.argsort(texts.lengths, kind="stable")  # texts of similar length: little padding
    logits = torch.empty(len(texts), model.classifier.out_features)
    with progress_bar(len(texts), "predicting", "texts") as bar:
        for start in range(0, len(texts), batch_size):
            indices = by_length[start : start + batch_size]
            batch = texts.batch(indices, device)
            batch.pop("labels", None)
            with autocast(device, config.precision):
                logits[indices] = model(**batch).logits.float().cpu()
            bar.update(len(indices))
    model.train(was_training)
    return logits


def compute_metrics(logits, labels, metrics):
    """Return {metric: score} for logits (N, num_labels), or (N, 1) for a regression."""
    is_regression = logits.shape[1] == 1
    predictions = logits.squeeze(1) if is_regression else logits.argmax(dim=1)  # (N,)
    return {name: metric(labels.tolist(), predictions.tolist()) for name, metric in metrics.items()}


class EpochLoss:
    """The mean training loss of an epoch.

    ``add`` keeps each loss as a tensor on the device. Only ``mean`` reads the values, which makes
    the CPU wait for the GPU; calling ``loss.item()`` at every step would wait at every step.
    """

    def __init__(self, first_step):
        self.next_step = first_step  # the first one whose loss has not been read
        self.total = 0.0
        self.num_examples = 0
        self.unread = []  # (loss on the device, batch size)

    def add(self, loss, batch_size):
        self.unread.append((loss.detach(), batch_size))

    def mean(self):
        """Return the mean loss per example. ValueError if a loss is not finite."""
        losses = torch.stack([loss for loss, _ in self.unread]).tolist() if self.unread else []
        for loss, (_, batch_size) in zip(losses, self.unread):
            if not math.isfinite(loss):
                raise ValueError(f"the loss is {loss} at step {self.next_step}: "
                                 "lower --learning-rate")
            self.next_step += 1
            self.total += loss * batch_size
            self.num_examples += batch_size
        self.unread = []
        return self.total / self.num_examples


def training_step(model, batch, optimizer, scaler, precision, max_grad_norm):
    """Update the model once. Return the loss as a tensor on the device."""
    device = batch["input_ids"].device
    with autocast(device, precision):
        loss = model(**batch).loss
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    return loss


def fit(model, train, dev, config, seed, bar, stop, on_best=lambda score: None):
    """Fine-tune a model and leave it with the weights of its best epoch.

    train, dev: EncodedTexts with labels; config: a FinetuneConfig with its device resolved; bar: a
    tqdm that counts steps; stop: an object whose ``requested`` ends the training after a step;
    on_best: called with the score after each epoch that is the best so far.

    Return a list of {"epoch", "train_loss", metric: score, ...}, one for each evaluated epoch.
    Raise ValueError if the loss is not finite.
    """
    device = next(model.parameters()).device
    train_config = config.train_config(seed)
    optimizer = make_optimizer(model, train_config)
    scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
    total_steps = config.epochs * math.ceil(len(train) / config.batch_size)
    step, history, best_score, best_weights = 0, [], -math.inf, None
    for epoch in range(1, config.epochs + 1):
        model.train()
        epoch_loss = EpochLoss(first_step=step + 1)
        for indices in epoch_order(train.lengths, config.batch_size, seed, epoch - 1):
            multiplier = lr_multiplier((step + 0.5) / total_steps, "linear", config.warmup, 0.0)
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * multiplier
            loss = training_step(model, train.batch(indices, device), optimizer, scaler,
                                 config.precision, train_config.max_grad_norm)
            epoch_loss.add(loss, len(indices))
            step += 1
            if bar.update():  # the bar was redrawn: read the loss for its next line
                best = f", {config.metric_name} {best_score:.3f}" if history else ""
                line = f"seed {seed}, epoch {epoch}, loss {epoch_loss.mean():.3f}{best}"
                bar.set_postfix_str(line, refresh=False)
            if stop.requested:
                break
        if stop.requested and history:  # drop the partial epoch, unless there is nothing else
            break
        train_loss = epoch_loss.mean()
        is_last = epoch == config.epochs or stop.requested
        if epoch % config.judge_every and not is_last:
            continue
        scores = compute_metrics(predict(model, dev, config), dev.labels, config.metrics)
        history.append({"epoch": epoch, "train_loss": train_loss, **scores})
        if scores[config.metric_name] > best_score:
            best_score = scores[config.metric_name]
            best_weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            on_best(best_score)
        epochs_without_gain = epoch - best_epoch(history, config.metric_name)["epoch"]
        if is_last or epochs_without_gain >= config.patience:
            break
    bar.update(total_steps - step)  # epochs that were not needed
    model.load_state_dict(best_weights)
    return history


def best_epoch(history, metric):
    """Return the entry of a history with the highest score, the first one of equals."""
    return max(history, key=lambda entry: entry[metric])
