"""What changes while a run trains: the counters that a checkpoint saves, and a step's losses."""
import math
import time
from dataclasses import dataclass, field, fields

MAX_SKIPPED_IN_A_ROW = 20  # the run gives up at the first check that finds this many


@dataclass
class TrainState:
    """The counters of a run. The fields are saved in state.json; other attributes are not.

    A step whose gradient is inf or NaN is skipped: it changes no weight and does not count. Only
    the device knows whether a gradient is finite, and reading that makes the CPU wait for a GPU.
    So ``record_step`` counts every step, and ``uncount_skipped_steps`` subtracts all steps that
    were skipped since its last call. With a GPU this happens at log steps only.

    >>> import torch
    >>> state = TrainState()
    >>> state.record_step({"loss": torch.tensor(2.0)}, torch.tensor(1.0), None)
    >>> state.record_step({"loss": torch.tensor(0.0)}, torch.tensor(math.nan), None)
    >>> state.step
    2
    >>> state.uncount_skipped_steps("bf16")
    True
    >>> state.step, state.skipped
    (1, 1)
    """

    step: int = 0                # optimizer steps taken, unread_skips included
    data_state: dict | None = None   # state_dict() of the batch iterator
    elapsed: float = 0.0         # seconds of training
    skipped: int = 0             # steps skipped because of an inf or NaN gradient
    # The next two are tensors on the device after a step, since adding to a tensor does not wait.
    unread_skips: int = 0        # steps skipped since the last uncount_skipped_steps
    skipped_in_a_row: int = 0
    loss_sums: dict = field(default_factory=dict)  # name -> sum over the steps since the last log
    num_losses: int = 0          # steps in loss_sums
    # With --patience: the lowest validation loss, its step, and the evaluations since then
    best_loss: float | None = None
    best_step: int = 0
    evals_since_best: int = 0
    tokenizer: str = ""          # fingerprint of the tokenizer
    data: str = ""               # fingerprint of the training tokens

    def __post_init__(self):
        self.start_clock()

    def start_clock(self):
        self.clock_start = time.monotonic() - self.elapsed

    def read_clock(self):
        self.elapsed = time.monotonic() - self.clock_start

    def record_step(self, losses, grad_norm, data_state):
        """Count a step and add up its losses, without reading a value from the device.

        losses: {name: scalar tensor}, empty if the step has no masked token.
        """
        self.read_clock()
        is_skipped = ~grad_norm.isfinite()
        self.step += 1
        self.data_state = data_state
        self.unread_skips = self.unread_skips + is_skipped
        self.skipped_in_a_row = (self.skipped_in_a_row + 1) * is_skipped
        self.num_losses += bool(losses)
        for name, loss in losses.items():
            loss = loss.masked_fill(is_skipped, 0.0)
            self.loss_sums[name] = self.loss_sums.get(name, 0.0) + loss

    def uncount_skipped_steps(self, precision):
        """Subtract the steps that were skipped since the last call. Return whether any was.

        Waits for the device. Evaluating and saving do not call this: how often they happen must
        not change the learning rate of a step.
        Raises ValueError after MAX_SKIPPED_IN_A_ROW skipped steps in a row.
        """
        skipped = int(self.unread_skips)
        self.unread_skips = 0
        self.step -= skipped
        self.num_losses -= skipped
        self.skipped += skipped
        self.skipped_in_a_row = int(self.skipped_in_a_row)
        if self.skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            remedy = "try a longer --warmup or"
            if precision == "fp16":
                remedy = "use --precision bf16 or fp32, or"
            raise ValueError(f"the gradient was inf or NaN for {self.skipped_in_a_row} {precision} "
                             f"steps in a row: {remedy} a lower --learning-rate")
        return skipped > 0

    def record_evaluation(self, loss):
        """Return whether this validation loss is the lowest so far, and count those that are not.

        >>> state = TrainState()
        >>> [(state.record_evaluation(loss), state.evals_since_best) for loss in (3.0, 3.1, 2.9)]
        [(True, 0), (False, 1), (True, 0)]
        """
        if loss < (math.inf if self.best_loss is None else self.best_loss):
            self.best_loss = loss
            self.best_step = self.step
            self.evals_since_best = 0
            return True
        self.evals_since_best += 1
        return False

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
        self.loss_sums = {}
        self.num_losses = 0

    def to_dict(self, dist):
        """Return the fields as JSON values, with losses summed over the ranks."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in ("unread_skips", "skipped_in_a_row"):
            values[name] = int(values[name])
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
        self.totals = {}  # name -> sum over the micro-batches so far

    def add(self, out, batch, nsp_weight):
        """Add a micro-batch's losses; return its share of the joint loss for backward()."""
        # out.mlm_loss is a mean over this micro-batch's masked tokens: make it a share of the
        # mean over the step's masked tokens.
        mlm_loss = out.mlm_loss * (batch.num_masked / max(self.step_masked, 1))
        joint_loss = mlm_loss
        losses = {"loss": mlm_loss}  # what is logged as "loss" has no NSP in it
        if out.nsp_loss is not None:
            share = batch.num_examples / self.step_examples
            losses["nsp_loss"] = out.nsp_loss * share
            correct = out.nsp_logits.argmax(1) == batch.next_sentence_label
            losses["nsp_accuracy"] = correct.float().mean() * share
            joint_loss = mlm_loss + nsp_weight * losses["nsp_loss"]
        if self.step_masked:  # without a masked token there is no loss to log
            for name, loss in losses.items():
                self.totals[name] = self.totals.get(name, 0.0) + loss.detach()
        return joint_loss


def check_finite(loss, step):
    """Raise ValueError if a loss is inf or NaN: its weights must not be saved."""
    if not math.isfinite(loss):
        raise ValueError(f"the loss is {loss} at step {step:,}: try a lower --learning-rate or a "
                         "longer --warmup. The last checkpoint, if any, is untouched")
