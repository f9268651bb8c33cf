"""The command line is made from the dataclasses, and a run never changes by accident."""
import json
import re
from pathlib import Path

import pytest

from minibert.config import BertConfig, TrainConfig, from_dict
from minibert.formats.run_folder import read_config, write_config
from minibert.presets import PRESETS
from minibert.training import cli as options


def parse(*words):
    return options.parser().parse_args(list(words))


def test_without_flags_it_is_the_quickstart_preset():
    assert options.configure(parse()) == PRESETS["quickstart"]


def test_warm_up_is_on_wherever_nobody_turned_it_off():
    assert TrainConfig().warmup > 0 and all(train.warmup > 0 for _, train in PRESETS.values())


def test_a_flag_goes_over_the_preset():
    model, train = options.configure(parse("--preset", "kant", "--hidden-size", "96", "--learning-rate", "3e-4", "--lowercase", "false"))
    assert (model.hidden_size, model.num_hidden_layers) == (96, 6)
    assert (train.learning_rate, train.batch_size, train.lowercase) == (3e-4, 64, False)


def test_a_length_on_the_command_line_replaces_the_presets_length():
    _, train = options.configure(parse("--max-steps", "20"))
    assert (train.max_steps, train.minutes) == (20, 0)


def test_every_field_has_a_flag_and_a_help_text():
    text = options.parser().format_help()
    for cls in (BertConfig, TrainConfig):
        for name in cls.__dataclass_fields__:
            assert "--" + name.replace("_", "-") in text
            assert cls.__dataclass_fields__[name].metadata["help"]


def test_every_field_of_the_training_stands_in_one_group_of_the_help():
    names = [name for group in options.GROUPS.values() for name in group]
    assert sorted(names) == sorted(TrainConfig.__dataclass_fields__)


def test_the_help_shows_the_values_of_the_default_preset_and_nothing_that_is_off():
    text = " ".join(options.parser().format_help().split())
    model, train = PRESETS["quickstart"]
    assert f"[{model.hidden_size}]" in text and f"[{train.learning_rate}]" in text and f"[{train.minutes}]" in text
    assert "in optimizer steps --epochs" in text and "run in epochs --minutes" in text  # no [0] where another length is given


def test_the_examples_and_pages_that_the_help_names_are_there():
    text = options.parser().format_help()
    for line in re.findall(r"^  train.py (.*?)  +\S.*$", text, re.M):
        parse(*line.split())
    for page in re.findall(r"docs/\S+\.md", text):
        assert (Path(__file__).parents[3] / page).is_file()


def test_an_unknown_flag_names_the_nearest(capsys):
    with pytest.raises(SystemExit) as stop:
        parse("--batchsize", "3")
    assert stop.value.code == 2 and "did you mean --batch-size?" in capsys.readouterr().err


def test_a_value_of_the_wrong_type_is_one_line(capsys):
    with pytest.raises(SystemExit):
        parse("--batch-size", "many")
    assert "--batch-size" in capsys.readouterr().err


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean quickstart"):
        options.configure(parse("--preset", "quikstart"))


@pytest.mark.parametrize("cls, values, message", [
    (TrainConfig, {"batch_size": 0}, "batch_size is 0: it must be positive"),
    (TrainConfig, {"learning_rate": float("nan")}, "learning_rate is nan"),
    (TrainConfig, {"mlm_probability": 1.5}, "mlm_probability is 1.5"),
    (TrainConfig, {"warmup": 1.0}, "warmup is 1.0"),
    (TrainConfig, {"schedule": "liner"}, "did you mean linear"),
    (TrainConfig, {"schedule": "stable", "warmup": 0.8, "decay": 0.5}, "must sum to at most 1"),
    (TrainConfig, {"max_steps": 5, "minutes": 1.0}, "one of max_steps"),
    (BertConfig, {"family": "robert"}, "did you mean roberta"),
    (BertConfig, {"hidden_size": 100, "num_attention_heads": 12}, "hidden_size 100 is not a multiple of num_attention_heads 12"),
    (BertConfig, {"family": "modernbert", "hidden_size": 12, "num_attention_heads": 4}, "even head size, not 3"),
    (BertConfig, {"family": "roberta", "max_position_embeddings": 2, "pad_token_id": 1}, "max_position_embeddings 2 leaves no position"),
    (BertConfig, {"pad_token_id": 99_999}, "outside the vocabulary of 30,522"),
    (BertConfig, {"hidden_dropout_prob": 1.0}, "hidden_dropout_prob"),
    (BertConfig, {"layer_norm_eps": 0.0}, "layer_norm_eps"),
    (BertConfig, {"initializer_range": float("nan")}, "initializer_range"),
    (BertConfig, {"num_layers": 2}, "unknown BertConfig key 'num_layers'"),
])
def test_impossible_values_are_refused_with_a_reason(cls, values, message):
    with pytest.raises(ValueError, match=message):
        from_dict(cls, values)


def started(tmp_path, *words):
    """A run directory that was configured with these flags."""
    arguments = parse("--preset", "kant", *words)
    write_config(tmp_path, "kant", *options.configure(arguments))
    return tmp_path


def test_a_resumed_run_takes_its_own_configuration(tmp_path):
    run = started(tmp_path, "--hidden-size", "96", "--max-steps", "7")
    preset, model, train = options.resumed(parse("--resume"), run)
    assert (preset, model.hidden_size, train.max_steps) == ("kant", 96, 7)


def test_other_flags_on_resume_are_listed_and_refused(tmp_path):
    run = started(tmp_path)
    with pytest.raises(ValueError, match=r"learning_rate: 0\.002 in the run, 0\.5 now; seed: 0 in the run, 3 now"):
        options.resumed(parse("--resume", "--learning-rate", "0.5", "--seed", "3"), run)


def test_a_change_that_is_named_is_allowed_and_harmless_ones_always_are(tmp_path):
    run = started(tmp_path)
    _, _, train = options.resumed(parse("--resume", "--max-steps", "9000", "--may-differ", "max-steps", "--save-every", "3"), run)
    assert (train.max_steps, train.save_every) == (9000, 3)
    with pytest.raises(ValueError, match="did you mean max_steps"):
        options.resumed(parse("--resume", "--may-differ", "max_step"), run)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not a run directory"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text('{"model": ')
    with pytest.raises(ValueError, match="is not the configuration of a run"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"preset": "kant", "model": {}, "train": {"bach_size": 3}}))
    with pytest.raises(ValueError, match="batch_size"):
        read_config(tmp_path)


def test_a_new_run_never_takes_a_name_in_use(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(options.run_folder(parse())) == "runs/quickstart"
    (tmp_path / "runs/quickstart").mkdir(parents=True)
    assert str(options.run_folder(parse())) == "runs/quickstart-2"
    (tmp_path / "runs/quickstart/config.json").write_text("{}")
    with pytest.raises(ValueError, match="--resume"):
        options.run_folder(parse("--out", "runs/quickstart"))
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty"):
        options.run_folder(parse("--out", "texts"))


def test_resume_without_a_name_takes_the_newest_run_of_the_preset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no run of preset quickstart"):
        options.run_folder(parse("--resume"))
    import os
    for age, name in ((30, "quickstart"), (10, "quickstart-2"), (0, "kant")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        path = tmp_path / "runs" / name / "config.json"
        path.write_text("{}")
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age))
    assert options.run_folder(parse("--resume")).name == "quickstart-2"
