"""What differs between the tasks of fine-tuning.

The training loop (``loop.py``), the runs over seeds (``seeds.py``) and the command are the same for
all tasks. What they need to know of a task is in one object, in the order of its use:

    task.read(path, layout)                  a file -> examples (``LabeledTexts``)
    task.labels(examples)                    what the outputs of the model mean: ("neg", "pos")
    task.encode(tokenizer, examples, ...)    examples -> rows of ids and labels (``EncodedRows``)
    task.model_class(config, labels, p)      the encoder with the head and the loss of the task
    task.answers(outputs, encoded, ...)      outputs of the model -> one dict for each example
    task.score(answers, examples, ...)       {"accuracy": 0.8, ...}
    task.render(answers, path, layout)       the lines of a file of predictions

The objects are listed in ``config.TASKS``.
"""


class Task:
    """The base class. A task defines these values, and the methods without a body here."""
    model_class = None
    max_length = 128  # the default of --max-length
    min_length = 3  # [CLS], a token and [SEP]
    metrics = ()  # names of the scores; the first is the default of --metric
    layout_flags = ()  # the fields of ``Layout`` that the task's files have
    has_class_weights = False  # whether its loss has --class-weights
    baseline_name = "always the same answer"
    empty_name = "without text"  # what is missing in the examples that ``read`` may leave out
    split_name = "a random tenth"  # of the training file, if there is no dev file
    has_label_names = True  # whether the outputs have names

    def read(self, path, layout, labeled=True, keep_empty=False):
        """Return the LabeledTexts of a file.

        labeled: with their labels. keep_empty: also the examples without text, so that there is a
        prediction for each. Raise ValueError, with file and line, for what cannot be read.
        """
        raise NotImplementedError

    def file_has_labels(self, path, layout):
        """Return whether a file to predict has labels too, so that the predictions are scored."""
        raise NotImplementedError

    def labels(self, examples):
        """Return the names of the outputs, a tuple of str. ValueError if nothing can be learned."""
        return ()

    def complete(self, config, examples):
        """Return the FinetuneConfig with what depends on the training examples."""
        return config

    def notes(self, train, dev, labels):
        """Return lines for the screen about the labels. ValueError if they cannot be learned."""
        return []

    def warnings(self, examples, labels):
        """Return lines for the screen about examples with labels that the model cannot answer."""
        return []

    def encode(self, tokenizer, examples, labels, model_config, max_length):
        """Return examples as EncodedRows; with labels if the examples have them.

        The rows have the attribute ``examples``. An example may be several rows.
        """
        raise NotImplementedError

    def choose(self, outputs, encoded):
        """Return {field of the FinetuneConfig: value} of what is chosen on a dev set."""
        return {}

    def answers(self, outputs, encoded, labels, config):
        """Return a dict for each example, as --json prints it.

        outputs: for each row of ``encoded`` the model's logits, without the batch dimension.
        """
        raise NotImplementedError

    def score(self, answers, examples, labels, config):
        """Return {metric: score} of the answers to examples that have labels."""
        raise NotImplementedError

    def baseline(self, train, dev):
        """Return answers to the examples ``dev`` that take no model, to compare the scores with."""
        raise NotImplementedError

    def score_name(self, metric, labels, config):
        """Return the name of a metric for the screen."""
        return metric

    def predictions_suffix(self, path):
        """Return how the name of the file of predictions for ``path`` ends."""
        return ".tsv"

    def render(self, answers, path, layout):
        """Return the lines of the file of predictions for the texts of ``path``."""
        lines = ["\t".join(["index", *answers[0]])]  # an index from 0, as GLUE expects
        for i, answer in enumerate(answers):
            values = [f"{v:.4f}" if isinstance(v, float) else v for v in answer.values()]
            lines.append("\t".join([str(i), *values]))
        return lines
