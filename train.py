"""Pre-train a BERT, RoBERTa or ModernBERT: from raw text to a model that fills masks.

    python train.py                                             # a small model in five minutes
    python train.py --preset kant --out runs/kant               # RoBERTa on three books by Kant
    python train.py --init FOLDER --corpus PATH --epochs 1      # continue a published model
    python train.py --resume --out runs/kant                    # continue where it stopped
    torchrun --nproc-per-node 2 train.py --preset kant          # on two GPUs

    text -> tokenizer -> token file -> examples -> masked batches -> model -> loss -> step

This file is the training loop. The corpus, the tokenizer and the batches are prepared in
minibert/training/preparation.py; the losses are weighted in minibert/training/state.py; the
schedule is in minibert/optim.py; the flags are the fields of minibert/config.py.
"""
import tokenizer.utils.interrupt  # noqa: F401 (Ctrl-C during the slow imports prints one word)

import copy
import math
from contextlib import closing
from itertools import islice

import torch

from minibert.batches import prefetch
from minibert.device import SharedCores, autocast, compile_model
from minibert.optim import (
    batches_per_step,
    lr_multiplier,
    make_optimizer,
    relative_rates,
    update_average,
    weight_scales,
)
from minibert.training import checkpoint, cli, profiling
from minibert.training.init_from import load_initial_weights
from minibert.training.objective import make_model
from minibert.training.preparation import prepare_data
from minibert.training.reporting import Report
from minibert.training.run import open_run
from minibert.training.state import StepLosses, TrainState
from tokenizer.utils.cli import run as run_command
from tokenizer.utils.signals import StopRequest


def main(argv=None):
    """Run one training from the command line. Return 0 if it finished, 130 if it was stopped."""
    args = cli.parse(argv)
    if args.show:
        return cli.print_config(args)
    with open_run(args) as run:
        trainer = Trainer(run, prepare_data(run))
        trainer.restore()
        return profiling.show(trainer) if args.profile else trainer.fit()


class Trainer:
    """The model, the optimizer and the state of one run."""

    def __init__(self, run, data):
        self.run = run
        self.config = run.config
        self.dist = run.dist
        self.device = run.device
        self.data = data
        self.batches = data.train_batches
        self.tokenizer = data.tokenizer
        # A run by the clock leaves cores to other programs that need them. A run by steps keeps its
        # threads, and so the last bits of its results.
        on_cpu = self.device.type == "cpu"
        self.cores = SharedCores(adapt=on_cpu and self.config.minutes > 0)
        self.stopped = False  # by Ctrl-C, SIGTERM or SIGHUP
        self.model = make_model(data.model_config, self.config)
        self.model.to(self.device)
        self.model.bert.gradient_checkpointing = self.config.gradient_checkpointing
        # The model that is evaluated and saved: with --average its weights are averages.
        self.eval_model = copy.deepcopy(self.model) if self.config.average else self.model
        # The model that a step calls: the same weights, optionally compiled, wrapped in DDP if
        # world_size > 1.
        step_model = compile_model(self.model, self.config) if self.config.compile else self.model
        self.step_model = self.dist.wrap(step_model)
        self.optimizer = make_optimizer(self.model, self.config)
        # fp16 gradients underflow, so GradScaler scales the loss up and the gradients back down.
        # For bf16 and fp32 it is disabled and does nothing.
        is_fp16 = self.config.precision == "fp16"
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=is_fp16)
        self.state = TrainState(tokenizer=self.tokenizer.fingerprint, data=data.fingerprint)
        self.is_saved = False  # whether the newest checkpoint has all steps

    def restore(self):
        """Continue from the newest checkpoint, else load --init's weights, else start fresh."""
        init = self.config.init
        with self.dist.main_process_first():
            saved = checkpoint.restore(self)
            self.batches.peek()  # make the first batch: an empty corpus is an error now, not later
            self.compute_length()
            if saved:
                self.is_saved = True
                checkpoint.check_changes(self, saved)
            elif init:
                weights = load_initial_weights(init, self.model, self.tokenizer)
                self.eval_model.load_state_dict(self.model.state_dict())
                if self.config.relative_rates:
                    relative_rates(self.optimizer, weight_scales(self.model))
                print(f"weights     from {weights}")
                self.save_checkpoint()  # step 0: resuming does not need --init's folder

    def compute_length(self):
        """Set steps_per_epoch and total_steps."""
        config = self.config
        # Unknown (0): steps_per_epoch when streaming, total_steps with --minutes.
        examples_per_epoch = (self.batches.batches_per_epoch or 0) * config.loader_batch_size
        self.steps_per_epoch = examples_per_epoch / config.batch_size
        self.total_steps = config.max_steps or math.ceil(config.epochs * self.steps_per_epoch)

    def fit(self):
        """Train until the schedule ends or a stop is requested. Return the exit code."""
        config, state = self.config, self.state
        self.run.start()
        report = Report(self)
        self.model.train()
        state.start_clock()
        # closing: end the prefetching thread even if the loop raises
        with (StopRequest() as stop, report, closing(self.step_batches(stop)) as steps,
              self.run.explain_lost_rank()):
            if config.init and not state.step:
                self.evaluate(report)  # what the model knows before it continues
            for micro_batches, data_state in steps:
                lr = self.set_learning_rate()
                losses, grad_norm = self.step(micro_batches)
                state.record_step(losses.totals, grad_norm, data_state)
                self.is_saved = False
                report.update_bar(losses.num_tokens)
                if self.uncount_skipped_steps():
                    report.show_skipped(self.scaler)
                    continue  # state.step went back: what is due now will be due again
                if self.is_log_step():
                    self.cores.update()
                    report.log(lr, grad_norm)
                if is_due(state.step, config.eval_every):
                    self.evaluate(report)
                if is_due(state.step, config.save_every):
                    self.save_checkpoint()
                state.read_clock()  # --minutes includes logging, evaluating and saving
        if not self.is_saved:
            self.save_checkpoint()
        if self.stopped:
            report.print_stopped()
            return 130
        self.finish(report)
        return 0

    def step(self, micro_batches):
        """Take one optimizer step. Return (losses, gradient norm)."""
        losses, grad_norm = training_step(self.step_model, self.optimizer, self.scaler,
                                          micro_batches, self.config, self.dist)
        if self.config.average:
            update_average(self.eval_model, self.model, self.config.average, self.state.step,
                           is_finite=grad_norm.isfinite())
        return losses, grad_norm

    def step_batches(self, stop):
        """Yield (micro-batches, data state) for each optimizer step until the run is finished."""
        # A background thread prepares the next batches while the model trains, and splits each
        # into micro-batches: as many examples as go through the model at once.
        prefetched = prefetch(self.batches, self.device, self.config.micro_batch_size_of)
        with closing(prefetched):
            while not self.sync_and_check_done(stop):
                # Usually one batch per step. With --batch-ramp, batches have ramp_from examples
                # and a step takes more and more of them.
                num_batches = batches_per_step(self.progress(), self.config)
                batches = stop.interruptible(list, islice(prefetched, num_batches))
                # None: a stop was requested while a stream was reading.
                if self.dist.any(batches is None):
                    continue
                micro_batches = []
                for parts, _ in batches:
                    micro_batches += parts
                _, data_state = batches[-1]  # where the data continues after this step
                yield micro_batches, data_state

    def progress(self):
        """Return the fraction of the run done, 0 to 1: by clock with --minutes, else by steps."""
        if self.config.minutes:
            return self.state.elapsed / (60 * self.config.minutes)
        # + 0.5: the middle of the next step, so that no step has a learning rate of exactly 0
        return (self.state.step + 0.5) / self.total_steps

    def sync_and_check_done(self, stop):
        """All-reduce the clock and the stop flag. Return True when training should end."""
        state = self.state
        self.stopped, state.elapsed = self.dist.agree_on_stop(stop.requested, state.elapsed)
        if self.stopped:
            return True
        if self.progress() < 1 and not self.is_out_of_patience:
            return False
        # Training by steps continues if some of the last ones were skipped.
        any_skipped = state.uncount_skipped_steps(self.config.precision)
        return bool(self.config.minutes) or not any_skipped or self.is_out_of_patience

    @property
    def is_out_of_patience(self):
        return self.state.evals_since_best >= self.config.patience > 0

    def set_learning_rate(self):
        """Set the learning rate of every group. Return AdamW's for logging (Muon has its own)."""
        config = self.config
        multiplier = lr_multiplier(self.progress(), config.schedule, config.warmup, config.decay)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * multiplier
        return config.learning_rate * multiplier

    def is_log_step(self):
        return self.state.step == 1 or is_due(self.state.step, self.config.log_every)

    def uncount_skipped_steps(self):
        """Subtract skipped steps from state.step. Return whether there were any."""
        # A step whose gradient is inf or NaN is skipped: it changes no weight and does not count.
        # Only the device knows whether a gradient is finite. Reading that is free on a CPU, but
        # makes the CPU wait for a GPU, so with a GPU it is read at log steps only.
        if self.device.type != "cpu" and not self.is_log_step():
            return False
        return self.state.uncount_skipped_steps(self.config.precision)

    def evaluate(self, report, final=False):
        """Compute and log the validation scores on rank 0; the others wait at the next step."""
        scores = None
        if self.dist.is_main:
            scores = self.data.validation.evaluate(self.eval_model, final)
            report.evaluation(scores, final)
        if self.config.patience and not final:
            self.keep_best(scores)
        return scores

    def keep_best(self, scores):
        """Save the model if its validation loss, which rank 0 tells the others, is the lowest."""
        [loss] = self.dist.sum(scores["loss"] if self.dist.is_main else 0.0)
        if self.state.record_evaluation(loss) and self.dist.is_main:
            checkpoint.save_best(self, scores)

    def save_checkpoint(self):
        """Save everything that resuming needs; rank 0 writes."""
        checkpoint.save_trainer(self)
        self.is_saved = True

    def finish(self, report):
        """Save the model in the Hugging Face layout and print the results."""
        if self.dist.is_main:
            checkpoint.save_model(self)
            report.results(self.evaluate(report, final=True))


def training_step(model, optimizer, scaler, micro_batches, config, dist):
    """Forward, backward, clip, step. Return (losses, gradient norm), both still on the device."""
    # No .item() here: it would make the CPU wait for the GPU.
    device = next(model.parameters()).device
    losses = StepLosses(micro_batches, dist)
    for i, batch in enumerate(micro_batches):  # gradient accumulation
        is_last = i == len(micro_batches) - 1
        batch = batch.to(device)
        with dist.gradient_sync(model, enabled=is_last):  # all-reduce on the last one only
            with autocast(device, config.precision):
                out = model(**batch.model_inputs())  # forward
                # Each micro-batch is weighted by its share of the step's masked tokens.
                loss = losses.add(out, batch, config.nsp_weight)
            # backward: adds to the gradients of the earlier micro-batches. DDP averages gradients
            # over ranks, but our loss is already a share of the global mean, so multiply it by
            # world_size.
            scaler.scale(loss * dist.world_size).backward()
    scaler.unscale_(optimizer)  # clip the true gradients, not the scaled ones
    # clip; max_grad_norm 0: clip at infinity, which only measures the norm
    grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm or math.inf)
    # torch's fused AdamW (and our Muon) read this attribute and skip the step if it is 1. In fp16
    # the GradScaler sets it itself.
    optimizer.found_inf = (~grad_norm.isfinite()).float()
    scaler.step(optimizer)  # step: update the weights
    scaler.update()  # fp16: halve the scale after an overflow, double it after 2,000 good steps
    optimizer.zero_grad(set_to_none=True)
    return losses, grad_norm


def is_due(step, every):
    """Return whether an action repeated every ``every`` steps is due; 0 means never."""
    return every > 0 and step % every == 0


if __name__ == "__main__":
    run_command(main)
