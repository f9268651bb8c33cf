"""Fine-tune a model once per seed and summarize the scores.

With small training sets the score depends much on the seed (the new head, the order of the data and
dropout), so the mean and the standard deviation over several seeds are reported.
"""
import itertools
import math
from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch

from minibert.device import describe
from minibert.finetuning.adapters import Tuning, attach, count_parameters
from minibert.finetuning.loop import best_epoch, fit
from minibert.finetuning.metrics import listed, mean_and_std, score_to_compare
from tokenizer.utils.progress import progress_bar
from tokenizer.utils.terminal import plural

NAMES = {"pretrained": "pre-trained ", "from_scratch": "from scratch"}
SUBSET_SEED = 11  # of the subset that --examples draws; the same for every run
NEVER_STOP = SimpleNamespace(requested=False)
ALL_WEIGHTS = Tuning()


def finetune(pretrained, tokenizer, train, dev, config, stop=NEVER_STOP, say=print,
             on_best=lambda model, score, chosen: None, tuning=ALL_WEIGHTS):
    """Fine-tune a model with each seed; with ``config.from_scratch`` also from random weights.

    pretrained: any model with an encoder; train, dev: LabeledTexts; stop: its ``requested`` ends
    the training; say: called with each line of the report; on_best: called with (model, score,
    chosen) after each epoch of a pre-trained model that is the best so far over all seeds, chosen:
    see ``Task.choose``; tuning: which weights to train.

    Return {"metric": "accuracy", "labels": ["0", "1"], "train": 2000, "dev": 872, "constant": 0.51,
    "constant_scores": {"accuracy": 0.51, ...}, "learning": see ``count_parameters``,
    "pretrained": see ``summarize``, "from_scratch": the same, "gain": 0.1}.
    Raise ValueError, with file and line, for labels that cannot be learned.
    """
    if config.from_scratch and tuning.tune != "all":
        raise ValueError(f"from_scratch with tune {tuning.tune}: a frozen random encoder cannot "
                         "learn: leave out one of the two")
    config = config.resolve_device().resolve_learning_rate(pretrained.config, tuning.tune)
    labels = config.task_object.labels(train)
    train, dev = encode_files(pretrained.config, tokenizer, train, dev, labels, config, say)

    def create(seed, use_pretrained):
        return new_model(pretrained, labels, config, tuning, seed, use_pretrained)

    counts = count_parameters(create(seed=0, use_pretrained=True))
    say(f"trained      {tuning.tune}: {counts['trained']:,} of {counts['parameters']:,} parameters "
        f"({counts['share']:.2%}), {counts['head']:,} of them in the head")
    constant = baseline_scores(train.examples, dev.examples, labels, config)
    results = {"metric": config.metric_name, "labels": list(labels),
               "train": len(train.examples), "dev": len(dev.examples),
               "constant": constant[config.metric_name], "constant_scores": constant,
               "learning": counts}
    histories = train_seeds(create, train, dev, config, stop, say, on_best)
    for variant, of_variant in histories.items():
        results[variant] = summarize(of_variant, config.metric_name)
    if "from_scratch" in results:
        means = [results[variant]["mean"] for variant in NAMES]
        if None not in means:
            gain = means[0] - means[1]
            results["gain"] = round(gain, 6)
    if stop.requested:
        results["stopped"] = True
    return results


def train_seeds(create, train, dev, config, stop, say, on_best):
    """Run ``fit`` for every variant and seed. Return {variant: [history of each seed]}.

    create: (seed, use_pretrained) -> a model to train.
    """
    variants = ["pretrained", "from_scratch"] if config.from_scratch else ["pretrained"]
    steps = math.ceil(len(train) / config.batch_size)
    say(f"length       {plural(config.epochs, 'epoch')} of {plural(steps, 'step')}, "
        f"{plural(config.batch_size, 'example')} each; learning rate {config.learning_rate:g}, "
        f"{plural(config.seeds, 'seed')}")
    histories = defaultdict(list)
    best_score = -math.inf
    total_steps = steps * config.epochs * config.seeds * len(variants)
    with progress_bar(total_steps, "fine-tuning", "steps") as bar:
        for variant, seed in itertools.product(variants, range(config.seeds)):
            model = create(seed, variant == "pretrained")

            def keep_best(score, chosen, model=model, variant=variant):
                nonlocal best_score
                if variant == "pretrained" and score_to_compare(score) > best_score:
                    best_score = score_to_compare(score)
                    on_best(model, score, chosen)

            history = fit(model, train, dev, config, seed, bar, stop, keep_best)
            if stop.requested and histories["pretrained"]:
                break  # a seed that was cut short would distort the mean
            histories[variant].append(history)
            best = best_epoch(history, config.metric_name)
            scores = listed_scores(best, config, model.labels)
            say(f"{NAMES[variant]} seed {seed}: {scores} in epoch {best['epoch']} of "
                f"{history[-1]['epoch']}")
            if stop.requested:
                break
    return histories


def new_model(pretrained, labels, config, tuning, seed, use_pretrained):
    """Return the model that a seed starts with, on the device of ``config``.

    use_pretrained: start from the weights of ``pretrained`` rather than from random ones.
    """
    torch.manual_seed(seed)
    shape = replace(pretrained.config, hidden_dropout_prob=config.hidden_dropout_prob)
    model = config.task_object.model_class(shape, labels, config.dropout)
    if use_pretrained:
        model.load_encoder_from(pretrained)
    return attach(model, tuning).to(config.device)


def encode_files(model_config, tokenizer, train, dev, labels, config, say):
    """Return two LabeledTexts as EncodedRows, train reduced to ``config.examples``."""
    task = config.task_object
    max_length = config.resolve_max_length(model_config)
    if config.examples > len(train):
        say(f"examples     {config.examples:,} were requested, but there are only {len(train):,}")
    train = train.subset(choose_examples(len(train), config.examples))
    notes = task.notes(train, dev, labels)
    encoded = [task.encode(tokenizer, examples, labels, model_config, max_length)
               for examples in (train, dev)]
    if config.class_weights == "balanced":
        encoded[0].class_weights = balanced_weights(encoded[0].labels.numpy(), len(labels))
    for name, rows in zip(("train", "dev"), encoded):
        kind = "window" if len(rows) > len(rows.examples) else "example"
        line = (f"{name:<12} {plural(len(rows), kind)} of {rows.lengths.mean():.0f} tokens on "
                "average")
        if kind == "window":
            line += f", from {plural(len(rows.examples), 'example')}"
        num_full = int((rows.lengths == max_length).sum())
        if num_full and rows.may_be_truncated:
            line += f"; {num_full:,} have the maximum of {max_length} and may have been truncated"
        say(line)
    for line in notes:
        say(line)
    say(f"device       {describe(torch.device(config.device), config.precision)}")
    return encoded


def choose_examples(num_examples, limit):
    """Return up to ``limit`` indices of examples, ascending, always the same ones; 0: all."""
    if not 0 < limit < num_examples:
        return np.arange(num_examples)
    return np.sort(np.random.default_rng(SUBSET_SEED).permutation(num_examples)[:limit])


def balanced_weights(train_labels, num_labels):
    """Return a weight for each label, so that all labels together count the same. -> (labels,)

    >>> balanced_weights(np.array([0, 1, 1, 1]), num_labels=2)  # 1 x 2.0 = 3 x 0.6667
    tensor([2.0000, 0.6667])
    """
    counts = np.bincount(train_labels, minlength=num_labels).clip(min=1)
    return torch.tensor(len(train_labels) / (num_labels * counts), dtype=torch.float32)


def baseline_scores(train, dev, labels, config):
    """Return the dev scores, {metric: score}, of answers that take no model."""
    task = config.task_object
    return task.score(task.baseline(train, dev), dev, labels, config)


def listed_scores(scores, config, labels):
    """Return all scores as text, the one that selects the epoch first.

    {"accuracy": 0.9, "f1": 0.5, "matthews": 0.4}
    -> "accuracy 0.9000, f1 (neg) 0.5000, matthews 0.4000"
    """
    task = config.task_object
    names = [config.metric_name, *(name for name in task.metrics if name != config.metric_name)]
    return listed({task.score_name(name, labels, config): scores[name]
                   for name in names if name in scores})


def summarize(histories, metric):
    """Return {"mean", "deviation", "scores": one per seed, "epochs": the histories}."""
    scores = [best_epoch(history, metric)[metric] for history in histories]
    mean, std = mean_and_std(scores)
    return {"mean": mean, "deviation": std, "scores": scores, "epochs": histories}
