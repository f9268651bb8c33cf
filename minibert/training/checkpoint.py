"""Checkpoints: the complete state of a run, written atomically and read without running code.

    RUN/best/                             the model of the best evaluation, with --patience
    RUN/checkpoints/step-0000500/
        config.json, model.safetensors    the model, in the Hugging Face layout
        optimizer.pt                      AdamW's moments and Muon's momentum; with --average also
                                          the trained weights, as the model has their average
        random.pt                         states of torch's random generators, for dropout
        state.json                        the fields of TrainState, the configuration, the scaler
        checksums.json                    the CRC-32 of each of these files

Masks and the order of examples need no saved state: they are functions of (seed, epoch, example,
position) and (seed, epoch). ``data_state`` says where in the epoch the run is.
"""
import io
import json
import re
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from minibert.config import LENGTHS, TrainConfig
from minibert.formats.huggingface import from_pretrained, save_pretrained
from minibert.formats.model_files import (
    CONFIG,
    STATE,
    WEIGHTS,
    check_checksums,
    error_summary,
    read_json_object,
    write_checksums,
)
from minibert.optim import relative_rates
from minibert.training.state import check_finite
from tokenizer.utils.files import (
    atomic_folder,
    atomic_write,
    remove,
    remove_stale,
)
from tokenizer.utils.terminal import plural

FORMAT = "minibert-checkpoint-3"
# These fields may always change when a run is resumed: they do not change what is computed
# (micro_batch_size changes rounding and dropout's random numbers).
RESUME_MAY_CHANGE = ("eval_every", "save_every", "keep_checkpoints", "log_every",
                     "micro_batch_size", "keep_freed_memory", "patience", "tensorboard")
# The batches of an epoch depend on these fields.
CUTS_BATCHES = ("data", "examples", "max_length", "batch_size", "batch_ramp", "ramp_from",
                "equal_tokens", "seed", "device")
# Fields of state.json that checkpoints of older versions lack
NEW_FIELDS = {"best_loss": None, "best_step": 0, "evals_since_best": 0}
FILES = (CONFIG, WEIGHTS, "optimizer.pt", "random.pt", STATE)


class CheckpointMismatch(ValueError):
    """A checkpoint is whole but does not fit the run. Another checkpoint would not, either."""


def save_trainer(trainer):
    """Write RUN/checkpoints/step-N; keep the newest --keep-checkpoints.

    All ranks must call this; only the main process writes.
    """
    state = trainer.state.to_dict(trainer.dist)
    check_finite(sum(state["loss_sums"].values()), trainer.state.step)
    if not trainer.dist.is_main:
        return
    state["format"] = FORMAT
    state["config"] = {"model": asdict(trainer.model.config), "train": asdict(trainer.config)}
    state["scaler"] = trainer.scaler.state_dict()
    tensors = {"optimizer.pt": trainer.optimizer.state_dict(), "random.pt": _random_states()}
    if trainer.config.average:
        tensors["optimizer.pt"]["weights"] = trainer.model.state_dict()
    folder = trainer.run.folder / "checkpoints" / f"step-{state['step']:07d}"
    with atomic_folder(folder) as temporary:
        save_pretrained(trainer.eval_model, temporary)
        for name, value in tensors.items():
            # torch.save to memory, Python to disk: a full disk is then an OSError that says so
            buffer = io.BytesIO()
            torch.save(value, buffer)
            (temporary / name).write_bytes(buffer.getbuffer())
        (temporary / STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")
        write_checksums(temporary)
    remove_stale(folder.parent, "step-*")
    # The new checkpoint is complete: remove the oldest ones.
    for old in checkpoints(trainer.run.folder)[:-trainer.config.keep_checkpoints]:
        if old != folder:
            remove(old)


def save_model(trainer):
    """Write RUN/model, the trained model in the Hugging Face layout with its tokenizer."""
    save_pretrained(trainer.eval_model, trainer.run.folder / "model", trainer.tokenizer)


def save_best(trainer, scores):
    """Write RUN/best, a model as ``save_model`` writes it, with the scores of its evaluation.

    Each file is replaced on its own, because results of other commands may be in the folder too.
    """
    folder = trainer.run.folder / "best"
    save_pretrained(trainer.eval_model, folder, trainer.tokenizer)
    evaluation = json.dumps({"step": trainer.state.step, **scores}, indent=1)
    atomic_write(folder / "evaluation.json", evaluation + "\n")


def restore(trainer):
    """Load the newest readable checkpoint into a trainer; return its state.json, or None."""
    dist, state = trainer.dist, trainer.state
    saved = load_newest(trainer)
    if saved:
        same_folder = saved["config"]["train"]["data"] == trainer.config.data  # else on purpose
        if same_folder and saved["data"] != state.data:
            raise ValueError(f"the token file {trainer.data.train_source.folder} is not the one "
                             "that the checkpoint was trained on: bring that back, or start a "
                             "new run")
        state.load_dict(saved | {"data": state.data}, dist.is_main)
        if state.data_state:  # None at step 0 of a run with --init
            before, now = saved["config"]["train"], asdict(trainer.config)
            batches_differ = any(before.get(name, getattr(TrainConfig, name)) != now[name]
                                 for name in CUTS_BATCHES)
            trainer.batches.load_state_dict(state.data_state, batches_differ)
    if not dist.is_main:  # the main process continues its own dropout, the others start theirs
        seed = trainer.config.seed + 1_000_003 * dist.rank + state.step
        torch.manual_seed(seed % 2**64)
    return saved


def check_changes(trainer, saved):
    """Print which values differ from those of the checkpoint that a run continues from.

    Raises ValueError if the run has already trained for longer than it is asked to now: its
    learning rate would never fall. A run by the clock ends a little after its minutes.
    """
    folder, state, total_steps = trainer.run.folder, trainer.state, trainer.total_steps
    if 0 < total_steps < state.step:
        asked = plural(total_steps, "step")
        raise ValueError(f"{folder} is at step {state.step:,}, past the {asked} asked for: ask for "
                         f"at least {state.step:,}, leave the length out, or start a new run with "
                         "another --out")
    done, minutes = state.elapsed / 60, trainer.config.minutes
    if 0 < minutes < done and minutes != saved["config"]["train"]["minutes"]:
        raise ValueError(f"{folder} has trained for {done:.2f} minutes, more than the "
                         f"{minutes:g} asked for: ask for more, or leave the length out")
    before = saved["config"]["model"] | saved["config"]["train"]
    for change in list_changes(before, trainer.model.config, trainer.config):
        print(f"changed     {change}")
    has_new_length = any(before[name] != getattr(trainer.config, name) for name in LENGTHS)
    if has_new_length and trainer.progress() < 1:
        print("            The schedule is that of a run of the new length: step "
              f"{state.step + 1:,} has the learning rate {trainer.set_learning_rate():.2g}.")


def checkpoints(run):
    """The checkpoint folders of a run, oldest first."""
    folders = (Path(run) / "checkpoints").glob("step-*")
    found = [folder for folder in folders if re.fullmatch(r"step-\d+", folder.name)]
    return sorted(found, key=lambda folder: int(folder.name.removeprefix("step-")))


def read_state(folder):
    """Return the state.json of a checkpoint; ValueError if any of its files is damaged."""
    check_checksums(folder, FILES)
    state = NEW_FIELDS | read_json_object(folder / STATE)
    if state.get("format") != FORMAT:
        raise ValueError(f"{folder / STATE}: format is {state.get('format')!r:.60}, expected "
                         f"{FORMAT!r}")
    return state


def list_changes(saved, model_config, config):
    """Return a line for each field whose value differs from that in ``saved``, {field: value}."""
    now = asdict(model_config) | asdict(config)
    return [f"{name}: {saved[name]} in the checkpoint, {value} now" for name, value in now.items()
            if name not in RESUME_MAY_CHANGE and saved.get(name, value) != value]


def load(folder, trainer):
    """Fill model, optimizer, scaler and random generators from a checkpoint; return its state.

    Raises ValueError, naming the file, if anything is missing or damaged; CheckpointMismatch if
    all is whole but the run has another tokenizer or configuration.
    """
    state = read_state(folder)
    if state["tokenizer"] != trainer.tokenizer.fingerprint:
        raise CheckpointMismatch(
            f"{folder} was trained with another tokenizer than "
            f"{trainer.run.folder / 'tokenizer'}: bring that one back, or start a new run")
    weights = from_pretrained(folder).state_dict()
    try:
        random_states = torch.load(folder / "random.pt", map_location="cpu", weights_only=True)
        _set_random_states(random_states)
        moments = torch.load(folder / "optimizer.pt", map_location=trainer.device,
                             weights_only=True)
        _fill(trainer, state, weights, moments)
    except (torch.OutOfMemoryError, MemoryError, PermissionError):
        raise  # not the checkpoint's fault
    except Exception as error:  # unexpected content can make torch raise anything
        saved = state["config"]["model"] | state["config"]["train"]
        if changes := list_changes(saved, trainer.model.config, trainer.config):
            raise CheckpointMismatch(
                f"{folder} does not fit the changed configuration: {'; '.join(changes)}. Change "
                "these values back, or start a new run") from error
        raise ValueError(f"{folder} is damaged or of another version "
                         f"({error_summary(error)})") from error
    return state


def _fill(trainer, state, weights, moments):
    optimizer, data_state = trainer.optimizer, state["data_state"]
    if data_state and data_state.keys() != trainer.batches.STATE_KEYS:
        raise ValueError("a stream has other positions than token files")
    trainer.eval_model.load_state_dict(weights)
    trainer.model.load_state_dict(moments.pop("weights", weights))  # two if they are averaged
    if trainer.config.relative_rates:
        scales = [group["scale"] for group in moments["param_groups"]]  # at the start of the run
        parameters = (p for group in optimizer.param_groups for p in group["params"])
        relative_rates(optimizer, dict(zip(parameters, scales)))
    # Learning rates and weight decay come from the configuration, which may have been
    # changed on purpose with --may-differ; load_state_dict would overwrite them.
    settings = [dict(group) for group in optimizer.param_groups]
    optimizer.load_state_dict(moments)
    for group, own in zip(optimizer.param_groups, settings):
        del own["params"]
        group.update(own)
    if saved := state.pop("scaler"):  # {} unless the run is in fp16
        trainer.scaler.load_state_dict(saved)


def load_newest(trainer):
    """Load the newest readable checkpoint of a run; return its state, or None if it has none.

    An unreadable checkpoint is reported, and the previous one is tried. Raises ValueError if there
    are checkpoints but none can be read: starting from scratch would overwrite the run.
    """
    folders = checkpoints(trainer.run.folder)
    for folder in reversed(folders):
        try:
            return load(folder, trainer)
        except CheckpointMismatch:
            raise
        except ValueError as error:
            print(f"warning: the checkpoint {folder.name} cannot be read: {error}", file=sys.stderr)
    if folders:
        raise ValueError(f"no checkpoint in {folders[0].parent} "
                         "can be read. Bring the files named above back from a copy")
    return None


def _random_states():
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def _set_random_states(states):
    torch.set_rng_state(states["cpu"])
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if num_gpus and len(states.get("cuda", ())) == num_gpus:
        torch.cuda.set_rng_state_all(states["cuda"])
