"""What changes while a run trains: the counters that a checkpoint saves, and a step's losses."""
import math
import time
from dataclasses import dataclass, field, fields

MAX_SKIPPED_IN_A_ROW = 20  # the run gives up at the first check that finds this many


@dataclass
class TrainState:
    """The counters of a run. The fields are saved in state.json; other attributes are not.

    Skipped steps: a step with an inf or NaN gradient changes no weight and must not count. Only
    the device knows whether a gradient was finite, and reading that from a GPU waits for all its
    queued work. So ``record_step`` counts every step immediately, and ``drop_skipped_steps``
    later uncounts those that were skipped since its last call, with one wait for all of them.
    Until then the learning-rate schedule is ahead by the skipped steps.

    >>> import torch
    >>> state = TrainState()
    >>> state.record_step({"loss": torch.tensor(2.0)}, torch.tensor(1.0), None)
    >>> state.record_step({"loss": torch.tensor(0.0)}, torch.tensor(math.nan), None)
    >>> state.step
    2
    >>> state.drop_skipped_steps("bf16")
    1
    >>> state.step, state.skipped
    (1, 1)
    """

    step: int = 0                # optimizer steps taken
    data_state: dict | None = None   # state_dict() of the batch iterator
    elapsed: float = 0.0         # seconds of training
    skipped: int = 0             # steps skipped because of an inf or NaN gradient
    skipped_in_a_row: int = 0
    schedule_lead: int = 0       # skipped steps that the learning-rate schedule still counts
    loss_sums: dict = field(default_factory=dict)  # name -> sum over the steps since the last log
    num_losses: int = 0          # steps in loss_sums
    tokenizer: str = ""          # fingerprint of the tokenizer
    data: str = ""               # fingerprint of the training tokens

    def __post_init__(self):
        self.start_clock()
        # From the first step on a tensor on the device: adding to it does not wait.
        self.unchecked_skips = 0
        self.unchecked_steps = 0

    def start_clock(self):
        self.clock_start = time.monotonic() - self.elapsed

    def read_clock(self):
        self.elapsed = time.monotonic() - self.clock_start

    def record_step(self, losses, grad_norm, data_state):
        """Count a step and add up its losses, without reading a value from the device.

        losses: a StepLosses, or a dict {name: scalar tensor}; false without a masked token.
        """
        self.read_clock()
        found_inf = ~grad_norm.isfinite()
        self.step += 1
        self.data_state = data_state
        self.unchecked_skips = self.unchecked_skips + found_inf
        self.unchecked_steps += 1
        self.num_losses += bool(losses)
        for name, loss in losses.items():
            loss = loss.masked_fill(found_inf, 0.0)
            self.loss_sums[name] = self.loss_sums.get(name, 0.0) + loss

    def drop_skipped_steps(self, precision, correct_schedule=False):
        """Uncount the steps that were skipped since the last call; return how many.

        Waits for the device. correct_schedule: uncount them in the learning-rate schedule, too.
        This happens only at log steps and at the end, so that evaluating or saving more often
        never changes training.
        Raises ValueError after MAX_SKIPPED_IN_A_ROW skipped steps in a row.
        """
        skipped, steps = int(self.unchecked_skips), self.unchecked_steps
        self.unchecked_skips = self.unchecked_steps = 0
        self.step -= skipped
        self.num_losses -= skipped
        self.skipped += skipped
        all_skipped = skipped == steps  # one good step since the last check restarts the count
        self.skipped_in_a_row = self.skipped_in_a_row + skipped if all_skipped else 0
        self.schedule_lead = 0 if correct_schedule else self.schedule_lead + skipped
        if self.skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            remedy = "try a longer --warmup or"
            if precision == "fp16":
                remedy = "use --precision bf16 or fp32, or"
            raise ValueError(f"the gradient was inf or NaN for {self.skipped_in_a_row} {precision} "
                             f"steps in a row: {remedy} a lower --learning-rate")
        return skipped

    def mean_losses(self, dist):
        """Return {name: mean over the steps since the last log}. Waits for the device.

        A rank's loss is its share of the step's mean, so the ranks are summed.
        """
        sums = self.sum_losses(dist)
        return {name: total / self.num_losses for name, total in sums.items()}

    def sum_losses(self, dist):
        sums = dist.sum(*(float(total) for total in self.loss_sums.values()))
        return dict(zip(self.loss_sums, sums))

    def reset_losses(self):
        self.loss_sums, self.num_losses = {}, 0

    def to_dict(self, dist):
        """Return the fields as JSON values, with losses summed over the ranks."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return values | {"loss_sums": self.sum_losses(dist)}

    def load_dict(self, saved, is_main):
        """Take the fields of a checkpoint's state.json.

        Only the main process keeps the loss sums, which are over all ranks.
        """
        for f in fields(self):
            setattr(self, f.name, saved[f.name])
        if not is_main:
            self.loss_sums = dict.fromkeys(self.loss_sums, 0.0)


class StepLosses:
    """The losses of one optimizer step, added up over its micro-batches on the device.

    The MLM loss is a sum over masked tokens divided by the masked tokens of the *whole* step:
    all micro-batches, all ranks. A mean of micro-batch means would overweight the tokens of
    micro-batches with few masked ones. The NSP loss is a mean over all sentence pairs.
    """

    def __init__(self, micro_batches, dist):
        counts = [sum(batch.num_masked for batch in micro_batches),
                  sum(batch.num_examples for batch in micro_batches),
                  sum(batch.num_tokens for batch in micro_batches)]
        self.step_masked, self.step_examples, self.num_tokens = dist.sum(*counts)
        self.totals = {}

    def add(self, out, batch, nsp_weight):
        """Add a micro-batch's losses; return its share of the joint loss for backward()."""
        # out.mlm_loss is a mean over this micro-batch's masked tokens: make it a share of the
        # mean over the step's masked tokens.
        joint = out.mlm_loss * (batch.num_masked / max(self.step_masked, 1))
        losses = {"loss": joint}  # logged as "loss": the MLM loss, without NSP
        if out.nsp_loss is not None:
            share = batch.num_examples / self.step_examples
            losses["nsp_loss"] = out.nsp_loss * share
            correct = out.nsp_logits.argmax(1) == batch.next_sentence_label
            losses["nsp_accuracy"] = correct.float().mean() * share
            joint = joint + nsp_weight * losses["nsp_loss"]
        for name, loss in losses.items():
            self.totals[name] = self.totals.get(name, 0.0) + loss.detach()
        return joint

    def items(self):
        """As a dict's: TrainState.record_step takes either."""
        return self.totals.items()

    def __bool__(self):
        return self.step_masked > 0  # a step without a masked token has no loss to log


def check_finite(loss, step):
    """Raise ValueError if a loss is inf or NaN: its weights must not be saved."""
    if not math.isfinite(loss):
        raise ValueError(f"the loss is {loss} at step {step:,}: try a lower --learning-rate or a "
                         "longer --warmup. The last checkpoint, if any, is untouched")
