"""Fine-tuning itself: a model with a head, labeled texts, a few epochs, and the epoch that was best on the dev set.

The recipe is BERT's (Devlin et al. 2018, appendix A.3): all weights learn, 2 to 4 epochs, batches of 16 or 32, AdamW at 2e-5 to
5e-5, dropout 0.1 after embeddings, attention and MLP, however the model was pre-trained; that of the attention weights stays as it was
then. A warm-up of a tenth and a fall to zero go with it. Small models bear, and need, higher rates.
"""
import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from minibert.batches import epoch_order
from minibert.config import TrainConfig, option
from minibert.device import autocast, choose_device, choose_precision
from minibert.examples import Examples
from minibert.finetuning.metrics import CLASSIFICATION, REGRESSION
from minibert.optim import lr_multiplier, make_optimizer
from tokenizer.utils.cli import suggestion
from tokenizer.utils.progress import slow_bar

DEFAULT_MAX_LENGTH = 128  # tokens; sentences are shorter
TEXTS_AT_ONCE = 512  # that are encoded between two looks of the progress bar


@dataclass(frozen=True)
class FinetuneConfig:
    """How a model is fine-tuned. Raises ValueError for values that cannot work, naming the field.

    >>> FinetuneConfig(task="regression").metric_name
    'pearson'
    """
    task: str = option("classification", "classification or regression")
    metric: str = option("", "which score on the dev set decides: accuracy (the default), f1 (of the second label, or the mean over more than two) "
                             "or matthews; of a regression pearson (the default) or spearman")
    epochs: int = option(3, "passes over the training file, at most")
    patience: int = option(2, "stop after so many epochs in a row that were not better")
    judge_every: int = option(1, "epochs between two looks at the dev set, for one that is large beside the training file; the last always has one")
    batch_size: int = option(32, "examples of one step")
    learning_rate: float = option(5e-5, "peak rate; small models need more (1e-4 to 1e-3), and so do the few weights of a --tune (its own default)")
    warmup: float = option(0.1, "fraction of the run in which the rate rises to its peak")
    weight_decay: float = option(0.01, "on matrices and embeddings")
    dropout: float = option(0.1, "of the head")
    hidden_dropout_prob: float = option(0.1, "after embeddings, attention and MLP while the encoder is fine-tuned, whatever it was pre-trained with; "
                                             "that of the attention weights stays as pre-trained; the fewer labels, the more of it (0.3) "
                                             "keeps from learning them by heart")
    max_length: int = option(0, "tokens of a text or pair; what is longer is cut; 0: 128, or as many as the model takes if that is less")
    examples: int = option(0, "learn from so many examples of the training file, drawn at random, always the same ones; 0: all")
    seeds: int = option(3, "how many times, each with another head, order and dropout")
    from_scratch: bool = option(False, "train the same model from fresh weights as well: what does pre-training gain?")
    device: str = option("auto", "auto, cuda, mps or cpu")
    precision: str = option("auto", "auto (bf16 where the hardware has it), fp32, bf16 or fp16")

    def __post_init__(self):
        tasks = {"classification": CLASSIFICATION, "regression": REGRESSION}
        if self.task not in tasks:
            raise ValueError(f"task is {self.task!r}: choose from {', '.join(tasks)}" + suggestion(self.task, tasks))
        if self.metric_name not in tasks[self.task]:
            raise ValueError(f"metric is {self.metric!r}: a {self.task} has {', '.join(tasks[self.task])}"
                             + suggestion(self.metric, tasks[self.task]))
        for name, smallest in (("epochs", 1), ("patience", 1), ("judge_every", 1), ("seeds", 1), ("examples", 0), ("max_length", 0)):
            if getattr(self, name) < smallest:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be at least {smallest}")
        for name in ("dropout", "hidden_dropout_prob"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must lie in [0, 1)")
        self.training(seed=0)  # checks the rest

    @property
    def metric_name(self):
        """The metric that decides."""
        return self.metric or {"classification": "accuracy", "regression": "pearson"}.get(self.task)

    @property
    def metrics(self):
        """All metrics of the task, name -> function."""
        return CLASSIFICATION if self.task == "classification" else REGRESSION

    def training(self, seed):
        """What the optimiser and the schedule take: a TrainConfig."""
        return TrainConfig(batch_size=self.batch_size, learning_rate=self.learning_rate, warmup=self.warmup, weight_decay=self.weight_decay,
                           adam_beta2=0.999, seed=seed, device=self.device, precision=self.precision)

    def on_this_machine(self):
        """The same with "auto" decided."""
        device = choose_device(self.device)
        return replace(self, device=device.type, precision=choose_precision(self.precision, device))


class EncodedTexts(Examples):
    """Texts as ids, encoded once, and batches of them. ``lengths`` (N,): tokens of each.

    EncodedTexts(tokenizer, ["a fine film"], config, 128, labels=np.array([1])).batch([0])
    -> {"input_ids": (1, 8), "attention_mask": (1, 8), "labels": (1,)}
    """

    def __init__(self, tokenizer, texts, model_config, max_length, labels=None):
        """texts: strings, or (text, pair); labels (N,) as ``tasks.numbered`` makes them, or None."""
        self.pad_token_id, self.max_length = tokenizer.pad_token_id, max_length
        with_types = model_config.segments > 1 and bool(texts) and isinstance(texts[0], tuple)
        self.ids, self.types = [], [] if with_types else None
        with slow_bar(len(texts), "encoding", "texts") as bar:
            for start in range(0, len(texts), TEXTS_AT_ONCE):
                some = tokenizer.encode_batch(texts[start : start + TEXTS_AT_ONCE], max_length=max_length)
                self.ids += [torch.tensor(encoding.ids) for encoding in some]
                if with_types:
                    self.types += [torch.tensor(encoding.type_ids) for encoding in some]
                bar.update(len(some))
        self.lengths = np.array([len(ids) for ids in self.ids])
        self.labels = None if labels is None else torch.from_numpy(labels)

    def __len__(self):
        return len(self.ids)

    def batch(self, numbers, device="cpu"):
        """The model's arguments by name, padded to the longest row, rounded up to a multiple of 8, but never past max_length."""
        lengths = torch.from_numpy(self.lengths[numbers])
        width = min(-(-int(lengths.max()) // 8) * 8, self.max_length)
        tensors = {"input_ids": self._padded(self.ids, numbers, width, self.pad_token_id),  # (B, T)
                   "attention_mask": (torch.arange(width) < lengths[:, None]).long()}  # (B, T)
        if self.types is not None:
            tensors["token_type_ids"] = self._padded(self.types, numbers, width, 0)  # (B, T)
        if self.labels is not None:
            tensors["labels"] = self.labels[numbers]  # (B,)
        return {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}

    def _padded(self, rows, numbers, width, filler):
        out = torch.full((len(numbers), width), filler)
        for b, n in enumerate(numbers):
            out[b, : len(rows[n])] = rows[n]
        return out


@torch.no_grad()
def predict(model, texts, config, batch_size=64):
    """The outputs of a model for EncodedTexts, (N, labels) float32 on the CPU, in the order of the texts. config: a FinetuneConfig on its machine."""
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    by_length = np.argsort(texts.lengths, kind="stable")  # little padding
    outputs = torch.empty(len(texts), model.classifier.out_features)
    with slow_bar(len(texts), "predicting", "texts") as bar:
        for start in range(0, len(texts), batch_size):
            numbers = by_length[start : start + batch_size]
            batch = {name: tensor for name, tensor in texts.batch(numbers, device).items() if name != "labels"}
            with autocast(device, config.precision):
                outputs[numbers] = model(**batch).logits.float().cpu()
            bar.update(len(numbers))
    model.train(was_training)
    return outputs


def compute_metrics(outputs, labels, metrics):
    """Outputs (N, labels) and right labels (N,) -> {metric: score}; of a regression, whose outputs are (N, 1), likewise."""
    given = outputs.squeeze(1) if outputs.shape[1] == 1 else outputs.argmax(dim=1)
    return {name: metric(labels.tolist(), given.tolist()) for name, metric in metrics.items()}


def fit(model, train, dev, config, seed, bar, stop, on_best=lambda score: None):
    """Fine-tune a model; at the end it has the weights of its best epoch -> list of {"epoch", "train_loss", metric: score, ...}, one for each
    epoch that was judged.

    train, dev: EncodedTexts with labels; config: a FinetuneConfig on its machine; bar: a tqdm that counts steps; stop: an object whose
    ``requested`` ends the training after a step; on_best is called with the score after each epoch that is the best so far.
    Raises ValueError where the loss is no number any more.
    """
    device, training = next(model.parameters()).device, config.training(seed)
    optimizer, scaler = make_optimizer(model, training), torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
    total = config.epochs * math.ceil(len(train) / config.batch_size)
    step, history, best, weights = 0, [], -math.inf, None
    for epoch in range(config.epochs):
        model.train()
        loss_sum, seen = 0.0, 0
        for numbers in epoch_order(train.lengths, config.batch_size, seed, epoch):
            factor = lr_multiplier((step + 0.5) / total, "linear", config.warmup, 0.0)
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * factor
            with autocast(device, config.precision):
                loss = model(**train.batch(numbers, device)).loss
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), training.max_grad_norm)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            loss_sum += loss.item() * len(numbers)
            seen += len(numbers)
            if not math.isfinite(loss_sum):
                raise ValueError(f"the loss is {loss.item()} at step {step}: try a lower --learning-rate than {config.learning_rate:g}")
            shown = f", {config.metric_name} {best:.3f}" if history else ""
            bar.set_postfix_str(f"seed {seed}, epoch {epoch + 1}, loss {loss_sum / seen:.3f}{shown}", refresh=False)
            bar.update()
            if stop.requested:
                break
        if stop.requested and history:  # with nothing to keep yet, part of an epoch is better than nothing
            break
        if (epoch + 1) % config.judge_every and epoch + 1 < config.epochs and not stop.requested:
            continue
        scores = compute_metrics(predict(model, dev, config), dev.labels, config.metrics)
        history.append({"epoch": epoch + 1, "train_loss": loss_sum / seen, **scores})
        if scores[config.metric_name] > best:
            best, weights = scores[config.metric_name], {name: tensor.clone() for name, tensor in model.state_dict().items()}
            on_best(best)
        if stop.requested or epoch + 1 - best_epoch(history, config.metric_name)["epoch"] >= config.patience:
            break
    bar.update(total - step)  # epochs that were not needed
    model.load_state_dict(weights)
    return history


def best_epoch(history, metric):
    """The epoch of a history with the highest score, the first of equals."""
    return max(history, key=lambda epoch: epoch[metric])
