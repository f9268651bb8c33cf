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
from minibert.optim import lr_multiplier, make_optimizer
from tokenizer.utils.progress import progress_bar

ENCODE_BATCH = 512  # texts per call of encode_batch, so that the progress bar moves


class EncodedTexts:
    """Texts as token ids, and padded batches of them. ``lengths`` (N,): the tokens of each text.

    EncodedTexts(tokenizer, ["a fine film"], model_config, 128, labels=np.array([1])).batch([0])
    -> {"input_ids": (1, 8), "attention_mask": (1, 8), "labels": (1,)}
    """

    def __init__(self, tokenizer, texts, model_config, max_length, labels=None):
        """texts: strings or (text, pair) tuples; labels: (N,) from ``encode_labels``, or None."""
        self.pad_token_id = tokenizer.pad_token_id
        self.max_length = max_length
        self.labels = None if labels is None else torch.from_numpy(labels)
        self.class_weights = None  # (labels,) float32, if labels count differently
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

    def batches(self, batch_size, device):
        """Yield (indices, batch). Texts of similar length share a batch: little padding."""
        by_length = np.argsort(self.lengths, kind="stable")
        for start in range(0, len(self), batch_size):
            indices = by_length[start : start + batch_size]
            yield indices, self.batch(indices, device)

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
        if self.class_weights is not None:
            tensors["class_weights"] = self.class_weights
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
    logits = torch.empty(len(texts), model.classifier.out_features)
    with progress_bar(len(texts), "predicting", "texts") as bar:
        for indices, batch in texts.batches(batch_size, device):
            batch.pop("labels", None)
            with autocast(device, config.precision):
                logits[indices] = model(**batch).logits.float().cpu()
            bar.update(len(indices))
    model.train(was_training)
    return logits


def compute_metrics(logits, labels, metrics):
    """Return {metric: score} for logits (N, num_labels), or (N, 1) for a regression."""
    predictions = logits.argmax(dim=1) if logits.shape[1] > 1 else logits.squeeze(1)  # (N,)
    return {name: metric(labels.tolist(), predictions.tolist()) for name, metric in metrics.items()}


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


def fit(model, train, dev, config, seed, bar, stop, on_best=lambda score: None):
    """Fine-tune a model and leave it with the weights of its best epoch.

    train, dev: EncodedTexts with labels; config: a FinetuneConfig with its device resolved; bar: a
    tqdm that counts steps; stop: its ``requested`` ends the training after a step; on_best: called
    with the score after each epoch that is the best so far.

    Return a list of {"epoch", "train_loss", metric: score, ...}, one for each evaluated epoch.
    Raise ValueError if the loss is not finite.
    """
    device = next(model.parameters()).device
    train_config = config.train_config(seed)
    optimizer = make_optimizer(model, train_config)
    scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
    total_steps = config.epochs * math.ceil(len(train) / config.batch_size)
    step = 0
    history = []
    for epoch in range(1, config.epochs + 1):
        model.train()
        loss_sum = 0.0  # a tensor on the device: reading it at every step would be a wait
        num_examples = 0
        for indices in epoch_order(train.lengths, config.batch_size, seed, epoch - 1):
            multiplier = lr_multiplier((step + 0.5) / total_steps, "linear", config.warmup, 0.0)
            batch = train.batch(indices, device)
            loss = training_step(model, batch, optimizer, scaler, train_config, multiplier)
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
        scores = compute_metrics(predict(model, dev, config), dev.labels, config.metrics)
        history.append({"epoch": epoch, "train_loss": train_loss, **scores})
        best = best_epoch(history, config.metric_name)
        if best is history[-1]:
            best_weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            on_best(best[config.metric_name])
        if is_last or epoch - best["epoch"] >= config.patience:
            break
    bar.update(total_steps - step)  # epochs that were not needed
    model.load_state_dict(best_weights)
    return history


def mean_loss(loss_sum, num_examples):
    """Return the mean loss per example. ValueError if it is not finite."""
    mean = float(loss_sum) / num_examples
    if not math.isfinite(mean):
        raise ValueError(f"the loss is {mean}: lower --learning-rate")
    return mean


def best_epoch(history, metric):
    """Return the entry of a history with the highest score, the first one of equals."""
    return max(history, key=lambda entry: entry[metric])
