"""The settings of fine-tuning: a dataclass whose fields are also the command-line flags.

The recipe is BERT's (Devlin et al. 2018, appendix A.3): train all weights for 2 to 4 epochs in
batches of 16 or 32 with AdamW at 2e-5 to 5e-5, with a warmup over the first tenth of the steps and
a linear decay to zero. Dropout is 0.1 after the embeddings, attention and MLP even if the model was
pre-trained without it. The learning rate is ours: it is relative to the size of the weights
(``optim.relative_rates``) and by default follows from the size of the model.
"""
from dataclasses import dataclass, replace

from minibert.config import DEVICES, PRECISIONS, TrainConfig
from minibert.config_fields import (
    check_at_least,
    check_at_most,
    check_choice,
    check_choices,
    check_fraction,
    option,
)
from minibert.device import choose_device, choose_precision
from minibert.finetuning.adapters import RATE_FACTORS
from minibert.finetuning.questions import QuestionAnswering
from minibert.finetuning.text_tasks import Classification, MultiLabel, Regression
from minibert.finetuning.token_tags import Tokens
from minibert.optim import default_rate

TASKS = {"classification": Classification(), "multilabel": MultiLabel(),
         "regression": Regression(), "tokens": Tokens(), "qa": QuestionAnswering()}


@dataclass(frozen=True)
class FinetuneConfig:
    """How to fine-tune a model. Raise ValueError for values that cannot work, naming the field.

    >>> FinetuneConfig(task="regression").metric_name
    'pearson'
    """
    task: str = option("classification", "what to predict for each text: a label, any number of "
                       "labels, a number, a tag for each word (tokens), or the part of "
                       "it that answers a question (qa)", TASKS)
    metric: str = option("", "score on the dev set that selects the best epoch: accuracy (the "
                         "default), f1 (of the rarer of two labels, or the mean over more) or "
                         "matthews; regression: pearson (the default) or spearman; multilabel: "
                         "micro_f1 (the default) or macro_f1; tokens: f1 (the default), precision "
                         "or recall of entities, or accuracy; qa: f1 (the default) or exact_match")
    class_weights: str = option("none", "balanced: the rarer a label is in the training "
                                "file, the more it counts in the loss", ("none", "balanced"))
    epochs: int = option(3, "passes over the training file, at most")
    patience: int = option(2, "stop after this many epochs in a row without a better score")
    eval_every: int = option(1, "epochs between two evaluations on the dev set; the last epoch is "
                              "always evaluated")
    batch_size: int = option(32, "examples per step")
    learning_rate: float = option(0.0, "peak learning rate for weights with a root mean square of "
                                  "0.02; larger ones get more in proportion. 0: by the size of the "
                                  "model and by what is trained")
    warmup: float = option(0.1, "fraction of the steps in which the learning rate rises")
    weight_decay: float = option(0.01, "for matrices and embeddings")
    dropout: float = option(0.1, "dropout of the head")
    hidden_dropout_prob: float = option(0.1, "dropout after embeddings, attention and MLP while "
                                        "fine-tuning, whatever it was in pre-training (that of the "
                                        "attention weights stays as pre-trained); with few labels "
                                        "more of it (0.3) reduces overfitting")
    max_length: int = option(0, "maximum tokens of a text or pair; longer ones are truncated, or "
                             "read in windows (tokens, qa); 0: 128 (qa: 384), or the model's "
                             "maximum if that is less")
    examples: int = option(0, "train on a random subset of this many examples, the same one for "
                           "every seed; 0: all")
    seeds: int = option(3, "number of runs, each with its own head, data order and dropout")
    from_scratch: bool = option(False, "also train the same model from random weights, to show "
                                "what pre-training gains")
    device: str = option("auto", "auto: cuda, else mps, else cpu", DEVICES)
    precision: str = option("auto", "auto (bf16 if the hardware has it), fp32, bf16 or fp16",
                            PRECISIONS)
    f1_class: int = 1  # the class, of two, whose F1 is reported: the rarer one in training
    no_answer_threshold: float | None = None  # see ``questions.py``; None: none is needed

    def __post_init__(self):
        check_choices(self)
        if self.metric:
            check_choice(self, "metric", self.task_object.metrics)
        if self.class_weights != "none" and not self.task_object.has_class_weights:
            raise ValueError("class_weights balanced belongs to --task classification")
        check_at_least(self, 1, "epochs", "patience", "eval_every", "seeds")
        check_at_least(self, 0, "examples", "max_length")
        if 0 < self.max_length < self.task_object.min_length:
            raise ValueError(f"max_length {self.max_length} has room for special tokens only: "
                             f"at least {self.task_object.min_length} (0: the default)")
        check_at_most(self, 10**9, "epochs", "seeds")
        check_fraction(self, "dropout", "hidden_dropout_prob")
        if self.learning_rate:
            self.train_config(seed=0)  # checks the other fields
        else:
            replace(self, learning_rate=1.0)  # checks them too

    @property
    def task_object(self):
        """The ``Task``: how files are read, the model, and the scores."""
        return TASKS[self.task]

    @property
    def metric_name(self):
        return self.metric or self.task_object.metrics[0]

    def train_config(self, seed):
        """Return what the optimizer and the schedule read, as a TrainConfig."""
        return TrainConfig(
            batch_size=self.batch_size, learning_rate=self.learning_rate, warmup=self.warmup,
            weight_decay=self.weight_decay, adam_beta2=0.999, seed=seed,
            device=self.device, precision=self.precision)

    def resolve_device(self):
        """Return the config with each "auto" replaced by what this machine has."""
        device = choose_device(self.device)
        precision = choose_precision(self.precision, device)
        return replace(self, device=device.type, precision=precision)

    def resolve_learning_rate(self, model_config, tune="all"):
        """Return the config with a learning rate above 0.

        The default is ``optim.default_rate``, times the factor of ``tune``.

        >>> from minibert.config import BertConfig
        >>> FinetuneConfig().resolve_learning_rate(BertConfig()).learning_rate
        3.8e-05
        """
        if self.learning_rate:
            return self
        return replace(self, learning_rate=default_rate(model_config, RATE_FACTORS[tune]))

    def resolve_max_length(self, model_config):
        """Return the maximum tokens of a text. ValueError for more than the model supports."""
        limit = model_config.max_length
        if self.max_length > limit:
            raise ValueError(f"max_length {self.max_length} is more than the {limit} tokens that "
                             "the model supports")
        return self.max_length or min(self.task_object.max_length, limit)
