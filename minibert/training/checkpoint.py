"""Everything a run is, on disk: written whole or not at all, read without running code.

    RUN/checkpoints/step-0000500/
        config.json, model.safetensors    the model, in the layout of minibert.formats.huggingface
        optimizer.pt                      AdamW's moments       (torch.load with weights_only=True)
        random.pt                         states of torch's random generators: dropout goes on where it was
        state.json                        step, batches, skipped steps, elapsed seconds, best loss, tokenizer fingerprint, configuration, scaler

Masks and order need no state: they are functions of the seed and the batch number (minibert/batches.py).
"""
import io
import itertools
import json
import re
from pathlib import Path

import torch

from minibert.formats.huggingface import from_pretrained, save_pretrained
from minibert.formats.model_files import error_summary
from tokenizer.utils.files import atomic_folder, remove, remove_stale

FORMAT = "minibert-checkpoint-2"


def save(run, state, model, optimizer, scaler, keep):
    """Write RUN/checkpoints/step-N (N from state["step"]), then remove all but the newest ``keep``. Returns its folder.

    state: a dict of JSON values; the scaler's state is added. An older checkpoint is removed only after the new one is whole.
    """
    folder = Path(run) / "checkpoints" / f"step-{state['step']:07d}"
    with atomic_folder(folder) as temporary:
        save_pretrained(model, temporary)
        for name, value in (("optimizer.pt", optimizer.state_dict()), ("random.pt", _random_states())):
            buffer = io.BytesIO()  # torch writes to memory and Python to the disk: where that is full, it is an OSError that says so
            torch.save(value, buffer)
            (temporary / name).write_bytes(buffer.getbuffer())
        state = {"format": FORMAT, **state, "scaler": scaler.state_dict()}
        (temporary / "state.json").write_text(json.dumps(state, indent=1), encoding="utf-8")
    remove_stale(folder.parent, "step-*")
    for old in checkpoints(run)[:-keep]:
        if old != folder:
            remove(old)
    return folder


def checkpoints(run):
    """The checkpoint folders of a run, oldest first."""
    folders = (Path(run) / "checkpoints").glob("step-*")
    return sorted(folder for folder in folders if re.fullmatch(r"step-\d+", folder.name))


def load(folder, model, optimizer, scaler):
    """Fill model, optimiser, scaler and random generators from a checkpoint folder; returns its state (a dict).

    Raises ValueError, naming the file, where anything is missing, truncated or of another shape.
    """
    folder = Path(folder)
    device = next(model.parameters()).device
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        if state.get("format") != FORMAT:
            raise ValueError(f"state.json has format {state.get('format')!r}, expected {FORMAT!r}")
        moments = torch.load(folder / "optimizer.pt", map_location=device, weights_only=True)
        random_states = torch.load(folder / "random.pt", map_location="cpu", weights_only=True)
        weights = from_pretrained(folder).state_dict()
        model.load_state_dict(weights)
        settings = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
        optimizer.load_state_dict(moments)
        for group, own in zip(optimizer.param_groups, settings):
            group.update(own)  # rates and decays are the configuration's, which may have been changed on purpose
        if saved := state.pop("scaler"):  # {} where the run was not in fp16
            scaler.load_state_dict(saved)
    except (torch.OutOfMemoryError, MemoryError, PermissionError):
        raise  # says nothing about the checkpoint
    except Exception as error:  # whatever a broken file makes a parser raise: the reader needs the file and the reason
        raise ValueError(f"the checkpoint {folder} cannot be read ({error_summary(error)})") from error
    _set_random_states(random_states)
    return state


def load_newest(run, model, optimizer, scaler, warn=print):
    """Load the newest readable checkpoint of a run -> its state, or None where there is none.

    One that cannot be read is reported through ``warn`` and the one before it is tried; it is kept under another name, since
    the run will write a new one in its place. Where checkpoints exist and none can be read, ValueError: silently starting
    anew would overwrite a run.
    """
    folders, unreadable = checkpoints(run), []
    for folder in reversed(folders):
        try:
            state = load(folder, model, optimizer, scaler)
        except ValueError as error:
            warn(f"warning: {error}")
            unreadable.append(folder)
            continue
        for broken in unreadable:
            aside = next(path for n in itertools.count(1) if not (path := broken.with_name(f"unreadable-{broken.name}-{n}")).exists())
            broken.rename(aside)
            warn(f"warning: {broken.name} is kept as {aside}")
        return state
    if folders:
        raise ValueError(f"none of the {len(folders)} checkpoints in {Path(run) / 'checkpoints'} can be read: move them away to start anew")
    return None


def _random_states():
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def _set_random_states(states):
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
