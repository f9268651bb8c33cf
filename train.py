"""Pre-train a BERT: from raw text to a filled mask. The whole story, top to bottom.

    python train.py                                           # a small one on the documentation of this machine, five minutes
    python train.py --preset kant --corpus PATH --out runs/kant --max-steps 2672
    python train.py --init FOLDER --corpus PATH --epochs 1    # goes on from a model that somebody has published
    python train.py --resume --out runs/kant                  # goes on where it stopped, bit for bit

    text -> tokenizer -> token file -> examples -> masked batches -> model -> loss -> step -> ... -> a filled mask

A run directory holds all of it: config.json, tokenizer/, data/, checkpoints/, metrics.jsonl, model/, loss.png.
On several GPUs: torchrun --nproc-per-node N train.py ... (minibert/training/distributed.py).
"""
import contextlib
import json
import math
import sys
import time
from collections import defaultdict
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch

from data import TokenFile, open_corpus, prepare
from data.corpora import take_characters
from data.quality.filters import FilteredCorpus
from data.sentences import SentenceCorpus
from data.sources.named import CACHE
from data.stream import Stream
from minibert.batches import Batches, StreamBatches, prefetch
from minibert.checks import check_length, check_not_past
from minibert.device import autocast, choose_device, choose_precision, compile_model, keep_freed_memory
from minibert.evaluate import EVAL_SEED, bytes_per_token, check_eval_set, evaluate, expected_losses
from minibert.examples import make_examples, max_ids
from minibert.formats.huggingface import save_pretrained
from minibert.formats.run_folder import write_config
from minibert.masking import Masker
from minibert.model import BertForMaskedLM, BertForPreTraining
from minibert.optim import grad_accum_steps_at, lr_multiplier, make_optimizer
from minibert.training import checkpoint
from minibert.training import cli as options
from minibert.training import profiling as profile
from minibert.training import reporting as screen
from minibert.training.distributed import Ranks
from minibert.training.failures import Skips, go_on, how_to_go_on_told, lost_ranks_told, out_of_memory_told, refuse_nan, whole_or_gone
from minibert.training.init_from import start_from
from minibert.training.progress import Metrics, ProgressBar, Screen, alone
from tokenizer import ByteLevelBPE, WordPiece, load_tokenizer
from tokenizer.utils.cli import run
from tokenizer.utils.progress import StopRequest
from tokenizer.word_starts import WordStarts

TOKENIZER_CHARACTERS = 200_000_000  # of a stream, which the tokenizer is trained on
HELD_OUT_CHARACTERS = 5_000_000  # of a stream, which are held out and prepared


def main(argv=None):
    """One run from the command line: a new one, or one that goes on. Returns the exit code: 0 done, 130 stopped and saved.

    Raises ValueError and OSError, in one line, for what cannot work; before training begins that leaves no run behind.
    """
    with Ranks() as ranks:
        return one_of(ranks, options.parser().parse_args(argv))


def one_of(ranks, arguments):
    """A run, or one rank of it."""
    folder = Path(ranks.text_of_first(str(options.run_folder(arguments))))
    if arguments.resume:
        preset, model_config, config = options.resumed(arguments, folder)
    else:
        preset = options.preset_of(arguments)
        model_config, config = options.configure(arguments)
    if arguments.show:
        print(json.dumps({"preset": preset, "model": vars(model_config), "train": vars(config)}, indent=1))
        return 0
    device = ranks.checked(choose_device(config.device))
    config = replace(config, precision=choose_precision(config.precision, device))  # kept: a resumed run goes on in the same
    torch.manual_seed(config.seed)
    with lost_ranks_told(ranks, folder), ranks.in_turn():
        made = not folder.exists()  # by this process: False for all ranks but the first
        folder.mkdir(parents=True, exist_ok=True)  # at once, so that no other run takes the name
    with alone(folder, ranks.first), contextlib.redirect_stdout(Screen(sys.stdout, silent=not ranks.first)), \
            lost_ranks_told(ranks, folder), out_of_memory_told(folder):
        print(f"run         {folder} ({f'from {config.init}' if config.init else f'preset {preset}'})")
        with whole_or_gone(folder, new=not arguments.resume and ranks.first, made=made):
            with ranks.in_turn():  # the others find what the first has made
                fitted, tokenizer, *files = prepare_data(folder, preset, model_config, config, arguments.resume or not ranks.first)
            if device.type == "cpu" and config.keep_freed_memory:
                keep_freed_memory()
            trainer = Trainer(folder, preset, fitted, config, tokenizer, *files, device, ranks)
            with ranks.in_turn():
                trainer.load()
            if ranks.first:
                write_config(folder, preset, model_config, config)  # once it is known that a resumed run can go on so
        with how_to_go_on_told(folder):
            return profile.show(trainer) if arguments.profile else trainer.run()


def prepare_data(folder, preset, model_config, config, resume):
    """Corpus -> (model configuration that fits, tokenizer, training token file, held-out token file), each made once and kept in the run.

    With --stream there is no training token file, but a ``Stream`` in its place.
    """
    own_tokenizer = folder / "tokenizer" if resume and (folder / "tokenizer").is_dir() else config.tokenizer or options.tokenizer_of(config.data)
    places = [Path(config.data or folder / "data") / split for split in ("train", "eval")]
    there = [bool(config.data) or (resume and place.is_dir()) for place in places]
    corpus = None
    if config.data and (config.filters or config.sentences):
        raise ValueError(f"--filters and --sentences would change nothing: {config.data} is prepared already (python -m data prepare --filters ...)")
    if config.stream or not (own_tokenizer and all(there)):
        corpus = open_corpus(config.corpus or missing_corpus(preset), text_field=config.text_field, cache=CACHE)
        corpus = SentenceCorpus(corpus) if config.sentences else corpus
        corpus = FilteredCorpus(corpus, config.filters, HELD_OUT_CHARACTERS if config.stream else None) if config.filters else corpus
        print(f"corpus      {corpus.description}")
    tokenizer = load_tokenizer(own_tokenizer) if own_tokenizer else train_tokenizer(corpus, model_config, config)
    tokenizer.require("cls", "sep", "pad", "mask")
    print(f"tokenizer   {tokenizer.training_summary or f'vocabulary: {tokenizer.vocab_size:,} entries, loaded'}")
    # The ids come from the tokenizer alone, so the model is built to its size (a small corpus has fewer entries than were asked for).
    fitted = replace(model_config, vocab_size=tokenizer.vocab_size, pad_token_id=tokenizer.pad_token_id)
    check_length(fitted, config.max_length)  # before anything that takes long
    max_ids(config.examples, tokenizer, config.max_length)
    if not resume:
        write_config(folder, preset, model_config, config)
    if not (folder / "tokenizer").is_dir():
        tokenizer.save(folder / "tokenizer")
    if config.stream:
        held_out = TokenFile(places[1]) if there[1] else prepare(take_characters(corpus.documents("eval"), HELD_OUT_CHARACTERS), tokenizer, places[1])
        print(f"tokens      a stream for training, {held_out.num_tokens:,} held out; {held_out.num_bytes / held_out.num_tokens:.2f} bytes a token")
        return fitted, tokenizer, Stream(corpus, tokenizer), held_out
    files = [TokenFile(place) if ready else prepare(corpus.documents(place.name), tokenizer, place) for place, ready in zip(places, there)]
    print(f"tokens      {files[0].num_tokens:,} for training, {files[1].num_tokens:,} held out; "
          f"{files[0].num_bytes / max(files[0].num_tokens, 1):.2f} bytes a token")
    if config.filters and not there[0]:
        print(f"filters     {corpus.reports['train'].summary()}")
    return fitted, tokenizer, *files


def missing_corpus(preset):
    raise ValueError(f"preset {preset} needs a text: --corpus FILE_OR_FOLDER (or --corpus pydocs for the documentation on this machine)")


def train_tokenizer(corpus, model_config, config):
    texts = take_characters(corpus.documents("train"), TOKENIZER_CHARACTERS) if config.stream else corpus.documents("train")
    sizes = {"vocab_size": model_config.vocab_size, "min_frequency": config.min_frequency}
    if config.tokenizer_kind == "wordpiece":
        return WordPiece.train_from_iterator(texts, lowercase=config.lowercase, criterion=config.tokenizer_criterion, **sizes)
    return ByteLevelBPE.train_from_iterator(texts, **sizes)


class Trainer:
    """One run: built from its parts, then run: expectations, the loop, the result."""

    def __init__(self, folder, preset, model_config, config, tokenizer, train_source, eval_file, device, ranks=None):
        self.folder, self.preset, self.config, self.tokenizer, self.device = folder, preset, config, tokenizer, device
        self.ranks, self.train_source = ranks or Ranks(), train_source
        for file in (eval_file,) if config.stream else (train_source, eval_file):
            file.unigram_counts(tokenizer.vocab_size)  # every id is checked against the vocabulary, once
        self.examples_of = partial(make_examples, config.examples, tokenizer=tokenizer, max_length=config.max_length)
        masker = partial(Masker, tokenizer.vocab_size, tokenizer.mask_token_id, tokenizer.special_ids)
        word_starts = None if config.masking == "tokens" else WordStarts(tokenizer)
        how = masker(config.mlm_probability, config.masking, word_starts), config.batch_unit, tokenizer.pad_token_id, config.seed
        where = {"shard": self.ranks.share, "pad_to_multiple_of": 1 if device.type == "cpu" else 8,
                 "static_mask_rate": config.mlm_probability * config.compile}  # for blocks all shapes are fixed then
        self.make_batches = partial(StreamBatches, train_source, self.examples_of, *how, **where) if config.stream else \
            partial(Batches, self.examples_of(train_source), *how, **where)
        self.eval_examples, self.eval_masker = self.examples_of(eval_file).at(EVAL_SEED, 0), masker(0.15)  # all models are asked the same
        check_eval_set(self.eval_examples, self.eval_masker, config.eval_examples)
        self.expected = expected_losses(self.eval_examples, self.eval_masker.is_special, limit=8 * config.eval_examples)
        self.bytes_per_token = bytes_per_token(eval_file, tokenizer, config.examples)

        self.autocast = partial(autocast, device, config.precision)
        self.model = (BertForPreTraining if config.examples == "pairs" else BertForMaskedLM)(model_config).to(device)
        self.model.bert.gradient_checkpointing = config.gradient_checkpointing
        step_model = compile_model(self.model, config) if config.compile else self.model
        self.parallel = self.ranks.wrap(step_model)  # the same weights: calling it adds up the gradients of all ranks
        self.optimizer = make_optimizer(self.model, config)
        # fp16 has 5 bits of exponent: small gradients would vanish, so the loss is scaled up and the gradients down again.
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
        self.state = {"step": 0, "batches": 0, "skipped": 0, "skipped_in_a_row": 0, "ahead": 0, "elapsed": 0.0, "best_eval_loss": None,
                      "data_state": None, "window": {}, "window_batches": 0, "tokenizer": tokenizer.fingerprint}

    def load(self):
        """Take everything from the newest checkpoint, if there is one; else, with --init, the weights from that folder."""
        loaded = checkpoint.load_newest(self.folder, self.model, self.optimizer, self.scaler, warn=lambda line: print(line, file=sys.stderr))
        if loaded:
            if loaded["tokenizer"] != self.tokenizer.fingerprint:
                raise ValueError(f"the checkpoint is one of another tokenizer than {self.folder / 'tokenizer'}: the ids would mean other words")
            self.state = {name: ({"ahead": 0} | loaded)[name] for name in self.state}  # which older checkpoints lack
        if not self.ranks.first:  # the first rank goes on with the sum of all losses and its dropout, the others begin theirs anew
            self.state["window"] = dict.fromkeys(self.state["window"], 0.0)
            torch.manual_seed(self.config.seed + 1_000_003 * self.ranks.rank + self.state["step"])
        self.skips = Skips(self.state, self.folder)
        self.saved = self.state["step"] if loaded else None
        self.batches = self.make_batches()
        if loaded:
            self.batches.load_state_dict(self.state["data_state"])
        self.batches.peek()  # refuse a corpus without examples before anything is written
        self.steps_per_epoch = (self.batches.batches_per_epoch or 0) * self.config.batch_unit / self.config.batch_size  # 0: a stream's is not known
        self.total_steps = self.config.max_steps or math.ceil(self.config.epochs * self.steps_per_epoch)  # 0: the clock decides
        check_not_past(self.folder, loaded, self.total_steps, self.config.minutes)
        if self.config.init and not loaded:
            print(f"weights     from {start_from(self.config.init, self.model)}")
            self.save(window={})  # step 0: from here on the run goes on without the folder

    def run(self):
        """Train to the end or to a stop, and show the result -> exit code."""
        screen.expectations(self)
        if self.ranks.first:
            self.metrics = Metrics(self.folder / "metrics.jsonl", self.state["step"], header={"label": self.model.config.family, **self.expected})
        with StopRequest() as stop, contextlib.closing(self.batches):
            stopped = self.loop(stop)
        if stopped:
            print(f"stopped at step {self.state['step']:,}, all of it saved. {go_on(self.folder)}")
            return 130
        if not self.ranks.first:
            return 0
        save_pretrained(self.model, self.folder / "model", self.tokenizer)
        screen.result(self, self.evaluate(8 * self.config.eval_examples, final=True))
        return 0

    def progress(self):
        """How much of the run is done, 0 to 1: by the clock, or by steps (the middle of the step that comes)."""
        if self.config.minutes:
            return self.state["elapsed"] / (60 * self.config.minutes)
        return (self.state["step"] + self.state["ahead"] + 0.5) / self.total_steps

    def loop(self, stop):
        """Steps until the run is done or ``stop.requested``; then a checkpoint. This is all that training is. -> whether it was stopped

        A CPU is asked at once whether a step was taken, a GPU, which would stop for the answer, where a line of metrics, an evaluation or a
        checkpoint is due. Until a line is due the rate may run ahead by the steps not taken, so that the other two change no training."""
        config, state = self.config, self.state
        clock = time.monotonic() - state["elapsed"]
        self.model.train()
        with ProgressBar.of(self.total_steps, config.minutes, state, hidden=not self.ranks.first) as bar, \
                contextlib.closing(prefetch(self.batches, self.device, config.micro_batch)) as batches, \
                lost_ranks_told(self.ranks, self.folder):
            while True:
                stopped, state["elapsed"] = self.ranks.agree(stop.requested, state["elapsed"])
                if stopped or (self.progress() >= 1 and not self.skips.tell(config.precision)):
                    break
                factor = lr_multiplier(self.progress(), config.schedule, config.warmup, config.decay)
                for group in self.optimizer.param_groups:
                    group["lr"] = group["peak_lr"] * factor
                some = stop.interruptible(lambda: [next(batches) for _ in range(grad_accum_steps_at(self.progress(), config))])
                if self.ranks.agree(not some, 0.0)[0]:
                    continue  # asked to stop while a stream was reading on: there is nothing to finish
                losses, norm, broken = self.optimiser_step([micro for micros, _ in some for micro in micros])
                state["batches"], state["data_state"] = state["batches"] + len(some), some[-1][1]
                state["elapsed"] = time.monotonic() - clock
                state["step"] += 1
                self.add_up(bar, losses)
                self.skips.add(broken)
                log, evaluates, saves = (every and state["step"] % every == 0 for every in (config.log_every, config.eval_every, config.save_every))
                turn = self.device.type == "cpu" or self.line_is_due(state["step"] + state["ahead"])
                if (turn or log or evaluates or saves) and self.skips.look(config.precision, turn):  # the schedule waits
                    bar.set_postfix_str(f"step skipped: inf or NaN in its gradient, loss scale {self.scaler.get_scale():g}")
                    continue
                self.log(bar, norm, config.learning_rate * factor)
                if evaluates:
                    self.evaluate(config.eval_examples)
                if saves:
                    self.save()
                state["elapsed"] = time.monotonic() - clock
        if state["step"] != self.saved:
            self.save()
        return stopped

    def optimiser_step(self, micros):
        """One step on some micro-batches -> ({loss by name, and how many "tokens" it saw and "masked" ones it asked for}, gradient norm, whether
        that is inf or NaN: nothing has changed then, losses are 0).

        The loss is a sum over masked tokens divided by the masked tokens of the whole step. A mean of the micro-batches' means
        would weigh a token more where its micro-batch has fewer masked ones, and those counts always differ. With pairs BERT's second
        task is added, a mean over the pairs, nsp_weight times. The gradient is the mean of what the ranks compute, hence the factor ``world``.
        Nothing here asks a GPU for a value, which would make it stop: what is returned is on the device.
        """
        masked, examples, tokens = self.ranks.sum(*map(sum, zip(*((some.num_masked, some.num_examples, some.num_tokens) for some in micros))))
        losses = defaultdict(lambda: torch.zeros((), device=self.device), tokens=tokens / self.ranks.world, masked=masked)
        for left, micro in zip(range(len(micros) - 1, -1, -1), micros):
            micro = micro.to(self.device)
            with out_of_memory_told(self.folder, len(micro), self.config.gradient_checkpointing):
                with self.ranks.gradients_stay(self.parallel) if left else contextlib.nullcontext():
                    with self.autocast():
                        out = self.parallel(**micro.model_inputs())
                        parts = {"loss": out.mlm_loss * (micro.num_masked / max(masked, 1))}
                        if out.nsp_loss is not None:
                            parts["nsp_loss"] = out.nsp_loss * (micro.num_examples / examples)
                    joint = parts["loss"] + self.config.nsp_weight * parts.get("nsp_loss", 0)
                    self.scaler.scale(joint * self.ranks.world).backward()
            if out.nsp_loss is not None:
                parts["nsp_accuracy"] = (out.nsp_logits.argmax(1) == micro.next_sentence_label).sum() * (micro.num_examples / len(micro) / examples)
            for name, part in parts.items():
                losses[name] += part.detach()
        self.scaler.unscale_(self.optimizer)  # clipping measures true gradients
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm or math.inf)
        broken = ~norm.isfinite()
        self.optimizer.found_inf = broken.float()  # where it is 1 the step leaves all as it is; a scaler sets it itself, and halves its scale
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return {name: loss if name in ("tokens", "masked") else loss.masked_fill(broken, 0.0) for name, loss in losses.items()}, norm, broken

    def add_up(self, bar, losses):
        """The losses of a step into the window's sums, on the device: no waiting for them."""
        state = self.state
        bar.advance(state, self.ranks.world * losses.pop("tokens"))
        state["window_batches"] += losses.pop("masked") > 0  # a step that asked for nothing has no loss
        state["window"] = {name: state["window"].get(name, 0.0) + loss for name, loss in losses.items()}

    def line_is_due(self, step):
        return step == 1 or step % self.config.log_every == 0

    def log(self, bar, norm, rate):
        """Every log_every steps a line of metrics, with the means of the losses, and a new text on the bar."""
        state, first = self.state, self.state["step"] == 1
        if self.line_is_due(state["step"]) and state["window_batches"]:
            means = {name: total / state["window_batches"] for name, total in self.window().items()}
            state["window"], state["window_batches"] = {}, 0
            refuse_nan(sum(means.values()), state["step"], self.folder)
            if self.ranks.first:
                self.metrics.write({"step": state["step"], **means, "learning_rate": rate, "grad_norm": float(norm),
                                    "elapsed": round(state["elapsed"], 3)})
            bar.show(state["step"], means, rate, state["data_state"])
            if first:
                bar.write(screen.first_loss(self, means["loss"]))

    def window(self):
        """The losses since the last line of metrics, added up over steps and ranks -> {name: float}"""
        return dict(zip(self.state["window"], self.ranks.sum(*map(float, self.state["window"].values()))))

    def evaluate(self, limit, **mark):
        """Held-out scores, by the first rank: the others wait where they need it next."""
        if not self.ranks.first:
            return None
        with out_of_memory_told(self.folder, size := min(32, self.config.micro_batch)):
            scores = evaluate(self.model, self.eval_examples, self.eval_masker, self.tokenizer.pad_token_id, size, limit,
                              autocast=self.autocast, bytes_per_token=self.bytes_per_token)
        best = self.state["best_eval_loss"]
        self.state["best_eval_loss"] = scores["loss"] if best is None else min(best, scores["loss"])
        self.metrics.write({"step": self.state["step"], **{f"eval_{name}": value for name, value in scores.items()},
                            "elapsed": round(self.state["elapsed"], 3), **mark})
        return scores

    def save(self, window=None):
        """A checkpoint of everything, by the first rank. window: what ``window()`` would find, where the other ranks do not ask as well."""
        self.skips.look(self.config.precision)
        window = self.window() if window is None else window
        refuse_nan(sum(window.values()), self.state["step"], self.folder)
        if self.ranks.first:
            state = {**self.state, "window": window, "config": {"model": asdict(self.model.config), "train": asdict(self.config)}}
            checkpoint.save(self.folder, state, self.model, self.optimizer, self.scaler, self.config.keep_checkpoints)
        self.saved = self.state["step"]


if __name__ == "__main__":
    run(main)
