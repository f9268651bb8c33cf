"""What a run prints: before the first step what to expect, then its progress, then the results."""
import math
import shlex
import sys
from dataclasses import replace
from functools import cache

from minibert.analysis.plots import plot_loss
from minibert.config import LENGTHS
from minibert.device import describe, peak_memory
from minibert.generation.span_corruption import NOISE
from minibert.masking import IGNORE_INDEX
from minibert.presets import PRESETS, QUICKSTART_RESULT
from minibert.training.failures import resume_command
from minibert.training.metrics import Metrics, TensorBoard
from minibert.training.progress import ProgressBar, stream_position
from minibert.training.samples import print_samples
from minibert.training.state import check_finite
from tokenizer.utils.cli import flag
from tokenizer.utils.terminal import TextStyle, display_width, padded, plural

EXAMPLE_COLUMNS = 96


class Report:
    """Prints, logs to metrics.jsonl and moves the progress bar; silent on ranks other than 0."""

    def __init__(self, trainer):
        self.trainer = trainer
        state, config, is_main = trainer.state, trainer.config, trainer.dist.is_main
        print_expectations(trainer)
        self.metrics = None
        if is_main:
            validation = trainer.data.validation
            header = {"label": trainer.model.config.family, **validation.expected}
            if config.objective == "masked":
                header |= {"mlm_probability": config.mlm_probability,
                           "eval_mlm_probability": validation.masker.mlm_probability}
            self.metrics = Metrics(trainer.run.folder / "metrics.jsonl", state.step, header)
        self.board = None
        if is_main and config.tensorboard:
            self.board = TensorBoard(trainer.run.folder, state.elapsed)
        self.bar = ProgressBar.of(trainer.total_steps, config.minutes, state, hidden=not is_main)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.bar.close()

    def update_bar(self, num_tokens):
        """Show a step on the bar; num_tokens: those of the step, over all ranks."""
        self.bar.advance(self.trainer.state, num_tokens)

    def show_skipped(self, scaler):
        """Show that steps were skipped."""
        scale = f", loss scale {scaler.get_scale():g}" if scaler.is_enabled() else ""
        self.bar.set_postfix_str(f"step skipped: inf or NaN in its gradient{scale}")

    def log(self, lr, grad_norm):
        """Write the mean losses since the last log, and show them on the bar."""
        trainer, state = self.trainer, self.trainer.state
        if not state.num_losses:
            return
        losses = state.mean_losses(trainer.dist)
        state.reset_losses()
        check_finite(sum(losses.values()), state.step)
        self.write({"step": state.step, **losses, "learning_rate": lr,
                    "grad_norm": float(grad_norm)})
        self.bar.show(state.step, losses, lr, state.data_state, trainer.cores)
        if state.step == 1:
            self.bar.write(first_loss_line(trainer, losses["loss"]))

    def evaluation(self, scores, final):
        """Write validation scores; print those before the first step."""
        step = self.trainer.state.step
        named = {f"eval_{name}": value for name, value in scores.items()}
        self.write({"step": step, **named} | ({"final": True} if final else {}))
        if not step and not final:
            print_scores(self.trainer, scores, "at step 0", self.bar.write)

    def write(self, values):
        line = {**values, "elapsed": round(self.trainer.state.elapsed, 3)}
        for log in (self.metrics, self.board):
            if log:
                log.write(line)

    def print_stopped(self):
        """Print how to resume."""
        step, folder = self.trainer.state.step, self.trainer.run.folder
        print(f"stopped at step {step:,}, checkpoint saved. {resume_command(folder)}")

    def results(self, scores):
        print_results(self.trainer, scores)


def print_expectations(trainer):
    """Print what a learner should know before the first loss appears."""
    config, model_config, state = trainer.config, trainer.model.config, trainer.state
    layers = plural(model_config.num_hidden_layers, "layer")
    heads = plural(model_config.num_attention_heads, "attention head")
    print(f"model       {model_config.family}: {layers} of {model_config.hidden_size}, {heads}, "
          f"{trainer.model.num_parameters():,} parameters")
    print(f"device      {describe(trainer.device, config.precision)}")
    epoch = "streamed"
    if trainer.steps_per_epoch:
        epoch = f"one epoch is {plural(math.ceil(trainer.steps_per_epoch), 'step')}"
    about = "about " if config.equal_tokens else ""
    print(f"step        {about}{config.batch_size} {config.examples} of up to {config.max_length} "
          f"tokens (at most {config.batch_size * config.max_length:,}), "
          f"{tokens_to_predict(config)}; {epoch}")
    style = TextStyle.of(sys.stdout)
    example = removed_spans_example if config.objective == "span-corruption" else masked_example
    inputs, targets = example(trainer.batches.peek(), trainer.tokenizer, style)
    print(f"input       {inputs}\nto predict  {targets}")
    length = run_length(config.minutes, trainer.total_steps, trainer.steps_per_epoch)
    print(f"length      {length}; {learning_rates(config)}, {config.schedule} schedule")
    print_expected_losses(trainer)
    if state.step:
        position = f", at {stream_position(state.data_state)} of the text" if config.stream else ""
        print(f"resuming    at step {state.step:,} after {duration(state.elapsed)}{position}")
        if trainer.progress() >= 1:
            length = next(name for name in LENGTHS if getattr(config, name))
            print("finished    this run has trained for its full length. It can train for longer. "
                  f"{resume_command(trainer.run.folder)} {flag(length)} LARGER")
        elif trainer.is_out_of_patience:
            print(f"finished    {early_stop(state)}. It can continue. "
                  f"{resume_command(trainer.run.folder)} --patience LARGER")


def tokens_to_predict(config):
    """Return in words which of a batch's tokens the model predicts."""
    if config.objective == "causal":
        return "each to predict from those before it"
    if config.objective == "span-corruption":
        return f"{NOISE:.0%} of them removed in spans, which the decoder writes"
    grouping = {"tokens": "", "words": ", whole words", "spans": ", in spans of words"}
    return f"{config.mlm_probability:.0%} of them to predict{grouping[config.masking]}"


def early_stop(state):
    return (f"this run stopped early: {plural(state.evals_since_best, 'evaluation')} without a "
            f"better loss since step {state.best_step:,}")


def run_length(minutes, steps, steps_per_epoch):
    """Return the length of a run, by the clock or in steps. steps_per_epoch: 0 if unknown.

    >>> run_length(1, 0, 8), run_length(2.5, 0, 8)
    ('1 minute', '2.5 minutes')
    >>> run_length(0, 2672, 2226.7), run_length(0, 1, 500), run_length(0, 9, 0)
    ('2,672 steps (1.2 epochs)', '1 step (less than 0.1 epochs)', '9 steps')
    """
    if minutes:
        return "1 minute" if minutes == 1 else f"{minutes:g} minutes"
    text = plural(steps, "step")
    if not steps_per_epoch:
        return text
    epochs = steps / steps_per_epoch
    return f"{text} ({f'{epochs:.1f}' if epochs >= 0.1 else 'less than 0.1'} epochs)"


def duration(seconds):
    """Return a time in words.

    >>> duration(0.8), duration(59), duration(90)
    ('1 second', '59 seconds', '1.5 minutes')
    """
    return f"{seconds / 60:.1f} minutes" if seconds >= 60 else plural(round(seconds), "second")


def learning_rates(config):
    """Return the peak learning rates of the run's optimizer."""
    text = f"learning rate {config.learning_rate:g}"
    return text + (f", Muon {config.muon_learning_rate:g}" if config.optimizer == "muon" else "")


def print_expected_losses(trainer):
    """Print the losses that mark the way from guessing to reading context."""
    config, vocab_size = trainer.config, trainer.model.config.vocab_size
    expected = trainer.data.validation.expected
    start = f"near ln({vocab_size:,}) = {math.log(vocab_size):.2f} nats"
    entropy = expected.get("unigram_entropy")
    indent = "\n            "
    if config.init:
        below = "low" if entropy is None else f"far below the unigram entropy {entropy:.2f}"
        print(f"expect      a first loss {below}, if the model knows such text.{indent}With a "
              f"fresh head it starts {start}.")
    elif entropy is None:
        print(f"expect      a first loss {start} (every token equally likely).")
    else:
        copying = f".{indent}"
        if config.objective == "masked":
            copying = (f",{indent}or {expected['copying_loss']:.2f} with copying of unmasked "
                       "tokens. ")
        print(f"expect      a first loss {start} (every token equally likely),{indent}then a "
              f"plateau near the unigram entropy {entropy:.2f} (token frequencies are known)"
              f"{copying}Below that, the model reads context.")
    for line in recorded_result(trainer.run, trainer.data.corpus_notes):
        print(f"            {line}")
    if config.examples == "pairs":
        weight = f", weighted by {config.nsp_weight:g}" if config.nsp_weight != 1 else ""
        print(f"            The next-sentence loss starts at ln 2 = {math.log(2):.2f}{weight}.")


def recorded_result(run, corpus_notes):
    """Return lines with the result that is on record, if these are the settings of quickstart."""
    settings = (run.model_config, replace(run.config, device="auto", precision="auto"))
    if settings != PRESETS["quickstart"] or not corpus_notes:
        return []
    result = QUICKSTART_RESULT
    lines = [f"At the end about {result['loss']:.2f} nats and a masked accuracy of "
             f"{result['accuracy']:.1%}: the result of {result['steps']:,} steps",
             f"on {result['machine']} ({result['date']}). More steps give a lower loss."]
    if corpus_notes["text_fingerprint"] != result["text_fingerprint"]:
        versions = zip(corpus_notes["made_from"].split(", "), result["made_from"].split(", "))
        differences = [f"{own} instead of {recorded.split()[-1]}" for own, recorded in versions
                       if own != recorded]
        lines.append("Your text differs slightly, and so will your result: "
                     + (", ".join(differences) or "the same versions with other files") + ".")
    return lines


def masked_example(batch, tokenizer, style):
    """Return a piece of a batch as two aligned lines: the input, and below it the labels.

    In a causal batch, each label is the token itself, which the tokens before it predict. The
    piece shows as many as possible of the three cases: [MASK], a random token, and the
    unchanged token (80, 10 and 10 % of the tokens to predict).

        [CLS] the [MASK] sat blue the mat [SEP]
                  cat        on   the
    """
    @cache
    def shown(token_id):
        token = tokenizer.id_to_token(token_id)
        return style.visible(tokenizer.token_text(token) if tokenizer.kind == "bpe" else token)

    pieces = []  # each: list of (input cell, label cell, case)
    for ids, labels in zip(batch.input_ids[:64].tolist(), batch.labels[:64].tolist()):
        room = 0  # columns left in the current piece
        for token_id, label in zip(ids, labels):
            if token_id == tokenizer.pad_token_id:
                break
            above = shown(token_id)
            below, case = "", None
            if label != IGNORE_INDEX:
                below = shown(label)
                unmasked = "unchanged" if token_id == label else "random"
                case = "mask" if token_id == tokenizer.mask_token_id else unmasked
            width = max(display_width(above), display_width(below))
            if width > room:
                pieces.append([])
                room = EXAMPLE_COLUMNS
            pieces[-1].append((padded(above, width), padded(below, width), case))
            room -= width + 1
    best = max(pieces, key=lambda piece: len({case for _, _, case in piece if case}))
    inputs = " ".join(above for above, _, _ in best)
    targets = " ".join(below for _, below, _ in best)
    return inputs.rstrip(), targets.rstrip()


def removed_spans_example(batch, tokenizer, style):
    """Return the beginnings of an input and of its target, which are not aligned."""
    lines = []
    for ids in (batch.input_ids[0].tolist(), batch.labels[0].tolist()):
        text = tokenizer.decode([i for i in ids if i != IGNORE_INDEX], skip_special_tokens=False)
        lines.append(style.visible(text)[:EXAMPLE_COLUMNS])
    return lines


def first_loss_line(trainer, loss):
    """Return the line that shows whether a run starts as it should."""
    ln_vocab = trainer.data.validation.expected["ln_vocab"]
    expected = "" if trainer.config.init else f" (expected about {ln_vocab:.2f})"
    memory = peak_memory(trainer.device) / 2**30
    return f"first loss  {loss:.2f}{expected}; peak memory {memory:.2f} GiB"


def print_results(trainer, scores):
    """Print the validation scores, draw the loss curve, and show samples."""
    state, config, folder = trainer.state, trainer.config, trainer.run.folder
    skipped = f", {state.skipped} skipped" if state.skipped else ""
    position = f", to {stream_position(state.data_state)} of the text" if config.stream else ""
    print(f"trained     {plural(state.step, 'step')} in {duration(state.elapsed)}{skipped}"
          f"{position}")
    if trainer.is_out_of_patience and trainer.progress() < 1:
        print(f"            {early_stop(state)}")
    print_scores(trainer, scores, "validation")
    if config.stream:
        corpus = trainer.data.train_source.corpus
        if config.filters:
            summary = corpus.reports["train"].summary()
            print(f"filters     {summary} in this pass over the text so far")
        if "replaced" in corpus.notes:
            print(f"replaced    {corpus.notes['replaced']}")
    try:
        plot_loss([folder], folder / "loss.png")
        print(f"loss curve  {folder / 'loss.png'}")
    except ImportError:
        print("loss curve  none, without matplotlib. See it in a browser:  python -m minibert page "
              + shlex.quote(str(folder)))
    print(f"model       {folder / 'model'}")
    if config.patience and state.best_loss is None:
        print("best        none: --eval-every left no evaluation before the final one")
    elif config.patience:
        print(f"best        {folder / 'best'}, of step {state.best_step:,} with a validation loss "
              f"of {state.best_loss:.3f}")
    print_samples(trainer)


def print_scores(trainer, scores, heading, write=print):
    """Print the validation loss and where it lies relative to the expected losses."""
    loss, expected = scores["loss"], trainer.data.validation.expected
    accuracy_name = "masked accuracy" if trainer.config.objective == "masked" else "accuracy"
    bits = ""
    if "bits_per_byte" in scores:
        bits = f", {scores['bits_per_byte']:.3f} bits per byte"
        bits += " (8 for each byte of [UNK])" if scores.get("unknown_share") else ""
    distance = ""
    if "unigram_entropy" in expected:
        entropy, copying = expected["unigram_entropy"], expected["copying_loss"]
        side = "below" if loss < entropy else "above"
        distance = f" ({abs(entropy - loss):.2f} {side} the unigram entropy"
        if loss < copying:
            distance += f", {copying - loss:.2f} of it from reading context"
        distance += ")"
    write(f"{heading:<11} loss {loss:.3f} nats{distance}, perplexity {scores['perplexity']:.1f}, "
          f"{accuracy_name} {scores['accuracy']:.1%}{bits}")
    if "nsp_accuracy" in scores:
        write(f"NSP         accuracy {scores['nsp_accuracy']:.1%} on {scores['pairs']:,} pairs "
              f"(the more frequent answer: {scores['nsp_chance']:.1%}), "
              f"loss {scores['nsp_loss']:.3f}")
