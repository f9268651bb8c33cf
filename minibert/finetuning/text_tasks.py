"""Tasks with an answer for each text or pair of texts: a label, several labels, or a number."""
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import chain

import numpy as np
import torch

from minibert.finetuning.labeled_files import (
    class_labels,
    encode_labels,
    has_label_column,
    rarest_class,
    read_examples,
    read_label,
    read_labels,
    read_number,
)
from minibert.finetuning.loop import EncodedTexts
from minibert.finetuning.metrics import CLASSIFICATION, REGRESSION, f1, multilabel_scores
from minibert.finetuning.task import Task
from minibert.heads import BertForMultiLabelClassification, BertForSequenceClassification
from tokenizer.utils.terminal import plural, visible


class TextTask(Task):
    """What the tasks of this file have in common."""
    model_class = BertForSequenceClassification
    layout_flags = ("text", "pair", "label", "columns", "skip_bad_rows", "encoding_errors")
    parse_label = staticmethod(read_label)

    def read(self, path, layout, labeled=True, keep_empty=False):
        return read_examples(path, layout, self.parse_label, labeled, keep_empty)

    def file_has_labels(self, path, layout):
        return has_label_column(path, layout)

    def encode(self, tokenizer, examples, labels, model_config, max_length):
        targets = None if examples.labels is None else self.targets(examples, labels)
        return EncodedTexts(tokenizer, examples.texts, model_config, max_length, targets, examples)

    def targets(self, examples, labels):
        """Return the labels as the model's loss needs them, an array (N, ...)."""
        raise NotImplementedError


class Classification(TextTask):
    """One of several labels for each text."""
    metrics = tuple(CLASSIFICATION)
    has_class_weights = True
    split_name = "a random tenth of each label"

    def labels(self, examples):
        return tuple(class_labels(examples))

    def complete(self, config, examples):
        return replace(config, f1_class=rarest_class(examples))

    def notes(self, train, dev, labels):
        """Return the shares of the labels. ValueError if the training examples have only one."""
        counts = Counter(train.labels)
        if len(counts) < 2:
            raise ValueError(f"the subset of {plural(len(train), 'example')} has only one label: "
                             "raise --examples")
        listed = [f"{visible(label)}: {counts[label] / len(train):.0%}" for label in labels[:10]]
        lines = [f"labels       {', '.join(listed)}"]
        if len(set(dev.labels)) < 2:
            lines.append(f"warning      the dev set has only the label {visible(dev.labels[0])}: "
                         "its scores cannot show whether the model tells labels apart; give "
                         "another --dev")
        return lines

    def targets(self, examples, labels):
        return encode_labels(examples, labels)

    def answers(self, outputs, encoded, labels, config):
        probabilities, classes = torch.stack(outputs).softmax(dim=1).max(dim=1)  # (N,), (N,)
        return [{"prediction": labels[c], "probability": p}
                for c, p in zip(classes.tolist(), probabilities.tolist())]

    def score(self, answers, examples, labels, config):
        truth = encode_labels(examples, labels).tolist()
        predictions = [labels.index(answer["prediction"]) for answer in answers]
        f1_of_labels = partial(f1, positive=config.f1_class, num_classes=len(labels))
        metrics = CLASSIFICATION | {"f1": f1_of_labels}
        return {name: metric(truth, predictions) for name, metric in metrics.items()}

    def baseline(self, train, dev):
        most_frequent = Counter(train.labels).most_common(1)[0][0]
        return [{"prediction": most_frequent}] * len(dev)

    def score_name(self, metric, labels, config):
        """Name the label that an F1 belongs to: "f1 (neg)"."""
        is_of_label = metric == "f1" and len(labels) == 2
        return f"f1 ({visible(labels[config.f1_class])})" if is_of_label else metric


class Regression(TextTask):
    """A number for each text."""
    metrics = tuple(REGRESSION)
    has_label_names = False
    parse_label = staticmethod(read_number)

    def targets(self, examples, labels):
        return np.array(examples.labels, dtype=np.float32)

    def answers(self, outputs, encoded, labels, config):
        return [{"prediction": value} for value in torch.cat(outputs).tolist()]

    def score(self, answers, examples, labels, config):
        predictions = [answer["prediction"] for answer in answers]
        return {name: metric(examples.labels, predictions) for name, metric in REGRESSION.items()}

    def baseline(self, train, dev):
        return [{"prediction": 0.0}] * len(dev)  # the metrics are correlations: any constant does


class MultiLabel(TextTask):
    """Any number of labels for each text: those with a probability of at least a half."""
    model_class = BertForMultiLabelClassification
    metrics = ("micro_f1", "macro_f1")
    parse_label = staticmethod(read_labels)

    def labels(self, examples):
        names = sorted({*chain(*examples.labels)})
        if len(names) < 2:
            raise ValueError(f"{examples.path}: there must be at least two different labels, it "
                             f"has {len(names)}: is it the right --label column?")
        return tuple(names)

    def notes(self, train, dev, labels):
        counts = Counter(chain(*train.labels))
        listed = [f"{visible(label)}: {counts[label] / len(train):.0%}" for label in labels[:10]]
        return [f"labels       {', '.join(listed)}"]

    def targets(self, examples, labels):
        rows = np.repeat(np.arange(len(examples)), [*map(len, examples.labels)])
        flat = replace(examples, labels=[*chain(*examples.labels)],
                       lines=[examples.lines[row] for row in rows])
        targets = np.zeros((len(examples), len(labels)), np.float32)
        targets[rows, encode_labels(flat, labels)] = 1
        return targets

    def answers(self, outputs, encoded, labels, config):
        return [{"prediction": [name for name, p in zip(labels, row) if p >= 0.5],
                 "probabilities": dict(zip(labels, row))}
                for row in torch.stack(outputs).sigmoid().tolist()]

    def score(self, answers, examples, labels, config):
        predicted = replace(examples, labels=[answer["prediction"] for answer in answers])
        return multilabel_scores(self.targets(examples, labels), self.targets(predicted, labels))

    def baseline(self, train, dev):
        most_frequent = Counter(map(tuple, map(sorted, train.labels))).most_common(1)[0][0]
        return [{"prediction": most_frequent}] * len(dev)

    def render(self, answers, path, layout):
        columns = [{"prediction": ",".join(answer["prediction"])}
                   | {f"p({name})": p for name, p in answer["probabilities"].items()}
                   for answer in answers]
        return super().render(columns, path, layout)
