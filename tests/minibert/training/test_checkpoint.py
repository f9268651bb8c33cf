"""A damaged checkpoint is found and named; a whole one is never blamed for another mistake."""
import json
import shutil
from pathlib import Path

import pytest
import torch
from train_helpers import (
    assert_same_runs,
    checkpoint_names,
    failing_in_step,
    last_state,
    resume,
    run,
)

from minibert.formats.model_files import check_checksums, write_checksums
from minibert.formats.run_folder import load_run
from minibert.training.checkpoint import FILES, checkpoints
from tokenizer import ByteLevelBPE


@pytest.fixture(scope="module")
def trained(text, tmp_path_factory):
    """A run with checkpoints at steps 2 and 4."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    run(text, folder, "--max-steps", "4", "--save-every", "2")
    return folder


@pytest.fixture
def copy(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def flip_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x40
    path.write_bytes(data)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edit(path, *keys, value):
    """Set content[key][key]... of a JSON file."""
    content = inner = json.loads(path.read_text())
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(content))


def update_checksums(checkpoint):
    """Make the checksums of a checkpoint those of its files, as if it had been saved like this."""
    (checkpoint / "checksums.json").unlink()
    write_checksums(checkpoint)


# --------------------------------------------------------------------------------- damaged files


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named_and_the_checkpoint_before_is_used(trained, copy, capsys, name):
    flip_bit(copy / "checkpoints/step-0000004" / name)
    assert resume(copy) == 0
    error = capsys.readouterr().err
    assert f"step-0000004/{name}" in error and "step-0000004 cannot be read" in error
    assert_same_runs(trained, copy)  # steps 3 and 4 were repeated


@pytest.mark.parametrize("damage", [flip_bit, truncate, Path.unlink])
@pytest.mark.parametrize("name", [*FILES, "checksums.json"])
def test_a_run_whose_only_checkpoint_is_damaged_does_not_train(copy, capsys, name, damage):
    shutil.rmtree(copy / "checkpoints/step-0000002")
    checkpoint = copy / "checkpoints/step-0000004"
    damage(checkpoint / name)
    with pytest.raises(ValueError, match="no checkpoint in .* can be read.*from a copy"):
        resume(copy)
    assert f"cannot be read: {checkpoint / name}" in capsys.readouterr().err
    assert checkpoint_names(copy) == ["step-0000004"]


def test_checkpoints_are_in_the_order_of_their_steps(tmp_path):
    for step in (9_999_500, 10_000_000, 500):
        (tmp_path / f"checkpoints/step-{step:07d}").mkdir(parents=True)
    assert checkpoint_names(tmp_path) == ["step-0000500", "step-9999500", "step-10000000"]


def test_a_flipped_bit_in_any_byte_of_the_checksums_is_noticed(trained):
    folder = checkpoints(trained)[0]
    path = folder / "checksums.json"
    content = path.read_bytes()
    try:
        for i in range(len(content)):
            changed = bytearray(content)
            changed[i] ^= 1 << i % 8
            path.write_bytes(changed)
            with pytest.raises(ValueError, match=r"checksums\.json"):
                check_checksums(folder, FILES)
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("name, value", [
    ("optimizer.pt", 3), ("optimizer.pt", {}), ("random.pt", [1]), ("random.pt", {}),
    ("random.pt", {"cpu": "x"}), ("random.pt", {"cpu": torch.zeros(3)})])
def test_a_file_of_other_values_is_named(trained, copy, capsys, name, value):
    checkpoint = copy / "checkpoints/step-0000004"
    torch.save(value, checkpoint / name)
    update_checksums(checkpoint)
    assert resume(copy) == 0
    assert "step-0000004 cannot be read" in capsys.readouterr().err
    assert_same_runs(trained, copy)


def test_a_checkpoint_of_another_version_is_named(copy, capsys):
    checkpoint = copy / "checkpoints/step-0000004"
    edit(checkpoint / "state.json", "format", value="minibert-checkpoint-2")
    update_checksums(checkpoint)
    assert resume(copy) == 0
    assert "state.json: format is 'minibert-checkpoint-2', expected" in capsys.readouterr().err


def test_a_damaged_checkpoint_is_not_used_as_a_model(copy):
    shutil.rmtree(copy / "model")
    load_run(copy)
    flip_bit(copy / "checkpoints/step-0000004/model.safetensors")
    with pytest.raises(ValueError, match="step-0000004/model.safetensors was changed or is damag"):
        load_run(copy)


# ------------------------------------------------------------------------ a changed configuration


def test_an_edit_of_the_configuration_is_used_and_named(copy, capsys):
    edit(copy / "config.json", "train", "weight_decay", value=0.5)
    edit(copy / "config.json", "train", "save_every", value=3)  # of no consequence
    assert resume(copy, "--max-steps", "5") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("changed")]
    assert lines == ["changed     weight_decay: 0.01 in the checkpoint, 0.5 now",
                     "changed     max_steps: 4 in the checkpoint, 5 now"]
    assert last_state(copy)["config"]["train"]["weight_decay"] == 0.5


def test_an_allowed_change_is_remembered_before_the_next_checkpoint(copy):
    flags = ["--max-steps", "8"]
    with pytest.raises(KeyboardInterrupt):
        resume(copy, *flags, trainer=failing_in_step(6, KeyboardInterrupt()))
    assert resume(copy) == 0
    assert last_state(copy)["step"] == 8


@pytest.mark.parametrize("flags, change", [
    ("--hidden-size 32", "hidden_size: 16 in the checkpoint, 32 now"),
    ("--optimizer adamw", "optimizer: muon in the checkpoint, adamw now"),
    ("--stream", "stream: False in the checkpoint, True now"),
])
def test_a_change_that_does_not_fit_the_checkpoint_does_not_blame_the_checkpoint(
        copy, flags, change):
    name = flags.split()[0][2:]
    with pytest.raises(ValueError, match=f"does not fit the changed configuration: {change}"):
        resume(copy, *flags.split(), "--may-differ", name)
    assert checkpoint_names(copy) == ["step-0000002", "step-0000004"]


def test_another_tokenizer_does_not_blame_the_checkpoint(text, copy):
    ByteLevelBPE.train([text], vocab_size=290).save(copy / "tokenizer")
    shutil.rmtree(copy / "data")
    with pytest.raises(ValueError, match="trained with another tokenizer than"):
        resume(copy)
