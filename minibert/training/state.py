"""What changes while a run trains: the counters that a checkpoint saves, and a step's losses."""
import math
import time
from dataclasses import dataclass, field, fields

MAX_SKIPPED_IN_A_ROW = 20  # steps with an inf or NaN gradient, before the run gives up


@dataclass
class TrainState:
    """The counters of a run. The fields are saved in state.json; other attributes are not.

    A step with an inf or NaN gradient changes no weight and must not count. Whether the gradient
    was finite is known on the device only, and asking a GPU makes it stop. So steps are counted
    at once and corrected later: ``drop_skipped_steps`` reads the flags of all steps since its
    last call in one sync.

    >>> import torch
    >>> state = TrainState()
    >>> state.finish_step({"loss": torch.tensor(2.0)}, torch.tensor(1.0), None)
    >>> state.finish_step({"loss": torch.tensor(0.0)}, torch.tensor(math.nan), None)
    >>> state.step, state.drop_skipped_steps("bf16"), state.step, state.skipped
    (2, 1, 1, 1)
    """

    step: int = 0                # optimizer steps taken
    data_state: dict | None = None   # of the batch iterator: where the next batch comes from
    elapsed: float = 0.0         # seconds of training
    skipped: int = 0             # steps skipped because of an inf or NaN gradient
    skipped_in_a_row: int = 0
    schedule_lag: int = 0        # skipped steps that the learning-rate schedule still counts
    best_eval_loss: float | None = None
    loss_sums: dict = field(default_factory=dict)  # name -> sum over the steps since the last log
    num_losses: int = 0          # steps in loss_sums
    tokenizer: str = ""          # fingerprint of the tokenizer

    def __post_init__(self):
        self.start_clock()
        self.unchecked_skips = 0  # a tensor on the device after the first step: no sync
        self.unchecked_steps = 0

    def start_clock(self):
        self.clock_start = time.monotonic() - self.elapsed

    def read_clock(self):
        self.elapsed = time.monotonic() - self.clock_start

    def finish_step(self, losses, grad_norm, data_state):
        """Count a step and add up its losses, without reading a value from the device.

        losses: {name: scalar tensor}; empty if the step had no masked token.
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

    def drop_skipped_steps(self, precision, sync_schedule=False):
        """Uncount the steps that were skipped since the last call; return how many (a sync).

        sync_schedule: subtract them from the learning-rate schedule too. This happens only at
        log steps and at the end, so that evaluating or saving never changes training.
        Raises ValueError after MAX_SKIPPED_IN_A_ROW skipped steps in a row.
        """
        skipped, steps = int(self.unchecked_skips), self.unchecked_steps
        self.unchecked_skips = self.unchecked_steps = 0
        self.step -= skipped
        self.num_losses -= skipped
        self.skipped += skipped
        self.skipped_in_a_row = self.skipped_in_a_row + skipped if skipped == steps else 0
        self.schedule_lag = 0 if sync_schedule else self.schedule_lag + skipped
        if self.skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            remedy = "try a longer --warmup or"
            if precision == "fp16":
                remedy = "use --precision bf16 or fp32, or"
            raise ValueError(f"the gradient was inf or NaN for {MAX_SKIPPED_IN_A_ROW} {precision} "
                             f"steps in a row: {remedy} a lower --learning-rate")
        return skipped

    def note_eval_loss(self, loss):
        best = self.best_eval_loss
        self.best_eval_loss = loss if best is None else min(best, loss)

    def mean_losses(self, dist):
        """Return {name: mean since the last log} over all ranks (a sync)."""
        sums = self.sum_losses(dist)
        return {name: total / self.num_losses for name, total in sums.items()}

    def sum_losses(self, dist):
        sums = dist.sum(*(float(total) for total in self.loss_sums.values()))
        return dict(zip(self.loss_sums, sums))

    def reset_losses(self):
        self.loss_sums, self.num_losses = {}, 0

    def to_dict(self, dist):
        """Return the fields as JSON values, with losses summed over the ranks (a sync)."""
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
        self.num_masked, self.num_examples, self.num_tokens = dist.sum(*counts)
        self.totals = {}

    def add(self, out, batch, nsp_weight):
        """Add a micro-batch's losses; return its share of the joint loss, to call backward on."""
        losses = {"loss": out.mlm_loss * (batch.num_masked / max(self.num_masked, 1))}
        joint = losses["loss"]
        if out.nsp_loss is not None:
            share = batch.num_examples / self.num_examples
            losses["nsp_loss"] = out.nsp_loss * share
            correct = out.nsp_logits.argmax(1) == batch.next_sentence_label
            losses["nsp_accuracy"] = correct.float().mean() * share
            joint = joint + nsp_weight * losses["nsp_loss"]
        for name, loss in losses.items():
            self.totals[name] = self.totals.get(name, 0.0) + loss.detach()
        return joint

    def items(self):
        return self.totals.items()

    def __bool__(self):
        return self.num_masked > 0  # a step without a masked token has no loss to log


def check_finite(loss, step):
    """Raise ValueError if a loss is inf or NaN: its weights must not be saved."""
    if not math.isfinite(loss):
        raise ValueError(f"the loss is {loss} at step {step:,}: try a lower --learning-rate or a "
                         "longer --warmup. The last checkpoint, if any, is untouched")
