"""The command line is made from the dataclasses, and a run never changes by accident."""
import json
import os
import re
from pathlib import Path

import pytest

from minibert.config import BertConfig, TrainConfig
from minibert.config_fields import from_dict
from minibert.formats.run_folder import read_config, write_config
from minibert.presets import PRESETS
from minibert.training import cli


def new_config(*flags):
    """Return (BertConfig, TrainConfig) of a new run."""
    _, model, train = cli.new_config(cli.parse(list(flags)))
    return model, train


def test_the_default_preset_is_quickstart():
    assert new_config() == PRESETS["quickstart"]


def test_a_flag_overrides_the_preset():
    model, train = new_config("--preset", "kant", "--hidden-size", "96", "--learning-rate", "3e-4",
                              "--tokenizer-kind", "wordpiece", "--no-lowercase")
    assert (model.hidden_size, model.num_hidden_layers) == (96, 6)
    assert (train.learning_rate, train.batch_size, train.lowercase) == (3e-4, 64, False)


@pytest.mark.parametrize("flags", [[], ["--corpus", "text.txt"]])
def test_a_corpus_that_is_not_read_is_not_recorded(flags):
    _, train = new_config("--data", "tokens", *flags)
    assert (train.data, train.corpus) == ("tokens", "")


@pytest.mark.parametrize("flags, reflow", [
    ("", "auto"), ("--examples documents", "auto"), ("--preset kant", "no"),
    ("--preset wikipedia", "no"), ("--preset wikipedia --sentences", "auto"),
    ("--preset small --corpus text.txt", "auto"),
    ("--examples lines --reflow yes", "yes"), ("--reflow no", "no"),
])
def test_lines_that_are_examples_are_not_joined_unless_asked(flags, reflow):
    assert new_config(*flags.split())[1].reflow == reflow


def test_a_run_from_before_reflow_keeps_its_lines(tmp_path):
    write_config(tmp_path, "quickstart", *PRESETS["quickstart"])
    path = tmp_path / "config.json"
    assert '"reflow": "auto"' in path.read_text()
    path.write_text(path.read_text().replace('"reflow": "auto",', ""))
    assert read_config(tmp_path)[2].reflow == "no"


@pytest.mark.parametrize("option, value, is_read", [
    ("tokenizer_criterion", "frequency", True), ("tokenizer_criterion", "likelihood", False),
    ("skip_unreadable", True, True),
])
def test_a_run_with_an_option_that_was_removed_is_read(option, value, is_read, tmp_path):
    write_config(tmp_path, "kant", *PRESETS["kant"])
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    config["train"][option] = value
    path.write_text(json.dumps(config))
    if is_read:
        assert read_config(tmp_path)[1:] == PRESETS["kant"]
    else:
        with pytest.raises(ValueError, match=f"unknown TrainConfig key '{option}'"):
            read_config(tmp_path)


def test_a_run_is_repeated_from_what_show_prints_or_from_its_config(tmp_path, capsys):
    flags = ["--preset", "kant", "--hidden-size", "96", "--seed", "5"]
    cli.print_config(cli.parse([*flags, "--show"]))
    shown, run = tmp_path / "shown.json", tmp_path / "run"
    shown.write_text(capsys.readouterr().out)
    run.mkdir()
    write_config(run, "kant", *new_config(*flags))
    for path in (shown, run / "config.json"):
        assert new_config("--config", str(path)) == new_config(*flags)
        assert run_folder("--config", str(path)) == "runs/kant"
        model, train = new_config("--config", str(path), "--seed", "6", "--minutes", "2")
        assert (model.hidden_size, train.seed, train.max_steps, train.minutes) == (96, 6, 0, 2)


@pytest.mark.parametrize("content, flags, message", [
    ("{", "", "shown.json is not the configuration of a run"),
    ('{"preset": "kant", "model": {}, "train": {"sed": 3}}', "", "did you mean seed"),
    ('{"preset": "kant", "model": {}, "train": {}, "trian": {}}', "", "did you mean train"),
    ("[1]", "", "it is no JSON object.*train.py --show prints one"),
    ("{}", "--preset kant", "--config .*shown.json and --preset: each has a configuration"),
    ("{}", "--resume", "shown.json and --resume: each has"),
])
def test_a_config_that_cannot_be_used_is_refused(tmp_path, content, flags, message):
    (tmp_path / "shown.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        run_folder("--config", str(tmp_path / "shown.json"), *flags.split())


def test_a_length_replaces_the_presets_length():
    _, train = new_config("--max-steps", "20")
    assert (train.max_steps, train.minutes) == (20, 0)


def test_every_field_has_a_flag_and_a_help_text():
    text = cli.parser().format_help()
    for cls in (BertConfig, TrainConfig):
        for name, field in cls.__dataclass_fields__.items():
            if name == "causal":
                continue  # --objective causal sets it
            assert "--" + name.replace("_", "-") in text
            assert field.metadata["help"]


def test_every_training_field_is_in_one_group_of_the_help():
    names = [name for group in cli.GROUPS.values() for name in group]
    assert sorted(names) == sorted(TrainConfig.__dataclass_fields__)


def test_the_help_shows_the_default_presets_values_but_no_unset_length():
    text = " ".join(cli.parser().format_help().split())
    model, train = PRESETS["quickstart"]
    for value in (model.hidden_size, train.learning_rate, train.minutes):
        assert f"[{value}]" in text
    lengths = text.partition("length of the run")[2].partition("batch size and memory")[0]
    assert "--epochs" in lengths and "[0" not in lengths


def test_the_commands_and_pages_in_the_help_exist():
    text = cli.parser().format_help()
    for line in re.findall(r"^  train.py (.*?)  +\S.*$", text, re.M):
        cli.parse(line.split())
    for page in re.findall(r"docs/\S+\.md", text):
        assert (Path(__file__).parents[3] / page).is_file()


def test_an_unknown_flag_names_the_nearest(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.parse(["--batchsize", "3"])
    assert stop.value.code == 2 and "did you mean --batch-size?" in capsys.readouterr().err


def test_an_unknown_preset_lists_the_presets(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.parse(["--preset", "quikstart"])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and "wikipedia" in error and "did you mean quickstart?" in error


@pytest.mark.parametrize("values, message", [
    ({"batch_size": 0}, "batch_size is 0: it must be at least 1"),
    ({"learning_rate": float("nan")}, "learning_rate is nan"),
    ({"epochs": float("inf")}, "epochs is inf: it must be at most 1,000,000,000"),
    ({"weight_decay": float("inf")}, "weight_decay is inf: it must be at most"),
    ({"seed": 2**64}, f"seed is {2**64}: it must be at most"),
    ({"minutes": 1e30}, "minutes is 1e.30: it must be at most"),
    ({"max_steps": 10**23}, "max_steps is 10*: it must be at most"),
    ({"limit_alphabet": 0}, "limit_alphabet is 0: it must be at least 1"),
    ({"seed": -1}, "seed is -1"),
    ({"mlm_probability": 1.5}, "mlm_probability is 1.5"),
    ({"warmup": 1.0}, "warmup is 1.0"),
    ({"schedule": "liner"}, "did you mean linear"),
    ({"schedule": "stable", "warmup": 0.8, "decay": 0.5}, "must sum to at most 1"),
    ({"max_steps": 5, "minutes": 1.0}, "one of max_steps"),
])
def test_impossible_training_values_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        from_dict(TrainConfig, values)


@pytest.mark.parametrize("values, message", [
    ({"family": "robert"}, "did you mean roberta"),
    ({"hidden_size": 100, "num_attention_heads": 12}, "not a multiple of num_attention_heads"),
    ({"family": "modernbert", "hidden_size": 12, "num_attention_heads": 4}, "even head size"),
    ({"family": "roberta", "max_position_embeddings": 2, "pad_token_id": 1}, "leaves no position"),
    ({"pad_token_id": 99_999}, "outside the vocabulary of 30,522"),
    ({"hidden_dropout_prob": 1.0}, "hidden_dropout_prob"),
    ({"layer_norm_eps": 0.0}, "layer_norm_eps"),
    ({"initializer_range": float("nan")}, "initializer_range"),
    ({"num_layers": 2}, "unknown BertConfig key 'num_layers'"),
])
def test_impossible_models_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        from_dict(BertConfig, values)


@pytest.mark.parametrize("flags, message", [
    ("--examples pairs --max-steps 2", "--family bert --type-vocab-size 2"),
    ("--stream --epochs 1", "use --max-steps or --minutes"),
    ("--stream --max-steps 2 --data x", "leave out --data x"),
    ("--preset kant --init x", "--preset kant starts from fresh weights, --init x from trained"),
    ("--ramp-from 8", "--ramp-from has no effect without --batch-ramp$"),
    ("--decay 0.1 --schedule linear", "--decay has no effect without --schedule stable"),
    ("--tokenizer t --vocab-size 500", "--vocab-size has no effect with --tokenizer"),
    ("--data d --min-frequency 3", "--min-frequency has no effect with --data"),
    ("--preset wikipedia --tokenizer t --no-lowercase", "--lowercase has no effect with --tok"),
    ("--data d --tokenizer-kind bpe", "--tokenizer-kind has no effect with --data"),
    ("--preset wikipedia --tokenizer t --limit-alphabet 9", "--limit-alphabet has no effect w"),
    ("--data d --text-field body", "--text-field has no effect with --data, which is prepared"),
    ("--data d --text-suffix .md", "--text-suffix has no effect with --data"),
    ("--data d --encoding-errors replace", "--encoding-errors has no effect with --data"),
    ("--data d --filters latin", "--filters has no effect with --data"),
    ("--data d --sentences", "--sentences has no effect with --data"),
    ("--data d --reflow yes", "--reflow has no effect with --data"),
    ("--batch-ramp 0.5", "batch.ramp needs --ramp.from"),
    ("--batch-ramp 0.5 --ramp-from 3", "batch.ramp"),
    ("--batch-ramp 2 --ramp-from 2", "batch.ramp"),
])
def test_flags_that_do_not_fit_each_other_are_refused(flags, message):
    with pytest.raises(ValueError, match=message):
        new_config(*flags.split())


def test_a_preset_may_set_what_the_tokenizer_in_a_folder_decides():
    _, train = new_config("--preset", "wikipedia", "--tokenizer", "t", "--data", "d")
    assert (train.tokenizer, train.tokenizer_kind) == ("t", "wordpiece")


def start_run(folder, *flags):
    """Write the config.json of a new kant run."""
    write_config(folder, *cli.new_config(cli.parse(["--preset", "kant", *flags])))


def resume_config(folder, *flags):
    return cli.resume_config(cli.parse(["--resume", *flags]), folder)


def test_a_resumed_run_takes_its_own_configuration(tmp_path):
    with pytest.raises(ValueError, match="is not a run directory: it has no config.json"):
        resume_config(tmp_path)
    start_run(tmp_path, "--hidden-size", "96", "--max-steps", "7")
    preset, model, train = resume_config(tmp_path)
    assert (preset, model.hidden_size, train.max_steps) == ("kant", 96, 7)


def test_resuming_refuses_other_values_and_lists_them(tmp_path):
    start_run(tmp_path)
    with pytest.raises(ValueError, match=r"0\.002 in the run, 0\.5 now; .*0 in the run, 3 now"):
        resume_config(tmp_path, "--learning-rate", "0.5", "--seed", "3")


def test_may_differ_allows_a_change_and_harmless_changes_are_always_allowed(tmp_path):
    start_run(tmp_path)
    flags = ["--seed", "7", "--may-differ", "seed", "--save-every", "3"]
    _, _, train = resume_config(tmp_path, *flags)
    assert (train.seed, train.save_every) == (7, 3)
    with pytest.raises(ValueError, match="did you mean max_steps"):
        resume_config(tmp_path, "--may-differ", "max_step")


def test_may_differ_refuses_what_would_change_nothing(tmp_path):
    start_run(tmp_path)
    flags = "--corpus other.txt --vocab-size 400 --may-differ corpus,vocab-size".split()
    _, model, train = resume_config(tmp_path, *flags)  # nothing has been prepared yet
    assert (model.vocab_size, train.corpus) == (400, "other.txt")
    for part in ("tokenizer", "data/train", "data/eval"):
        (tmp_path / part).mkdir(parents=True)
    for change in ("--vocab-size 400 --may-differ vocab-size",
                   "--corpus other.txt --may-differ corpus"):
        name, value, *_ = change.split()
        with pytest.raises(ValueError, match="Leave these flags out$"):  # no advice to allow it
            resume_config(tmp_path, name, value)
        with pytest.raises(ValueError, match=f"^{name} has no effect on {tmp_path}, where"):
            resume_config(tmp_path, *change.split())
    with pytest.raises(ValueError, match="^--nsp-weight has no effect without --examples"):
        resume_config(tmp_path, "--nsp-weight", "0.5", "--may-differ", "nsp-weight")
    with pytest.raises(ValueError, match="^--may-differ has no effect without --resume"):
        cli.configure(cli.parse(["--may-differ", "seed"]), tmp_path)


def run_folder(*flags):
    return str(cli.run_folder(cli.parse(list(flags))))


def test_a_new_run_never_takes_a_name_in_use(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_folder() == "runs/quickstart"
    (tmp_path / "runs/quickstart").mkdir(parents=True)
    assert run_folder() == "runs/quickstart-2"
    (tmp_path / "runs/quickstart/config.json").write_text("{}")
    with pytest.raises(ValueError, match="--resume"):
        run_folder("--out", "runs/quickstart")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty"):
        run_folder("--out", "texts")


def test_resume_takes_the_newest_run_of_the_preset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no run of preset kant"):
        run_folder("--resume", "--preset", "kant")
    for age, name in ((30, "kant"), (20, "kant-2"), (10, "kant-small"), (0, "quickstart")):
        path = tmp_path / "runs" / name / "config.json"
        path.parent.mkdir(parents=True)
        path.write_text("{}")
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age))
    assert run_folder("--resume", "--preset", "kant") == "runs/kant-2"
    assert run_folder("--resume", "--preset", "kant-small") == "runs/kant-small"


def test_a_new_model_has_positions_for_its_examples():
    """RoBERTa's first two rows serve no token. An explicit number of positions is not changed."""
    def num_positions(*flags):
        _, model, _ = cli.new_config(cli.parse(list(flags)))
        return model.max_position_embeddings

    assert num_positions() == 128
    assert num_positions("--family", "roberta") == 130
    assert num_positions("--max-length", "300") == 300
    assert num_positions("--max-length", "300", "--max-position-embeddings", "64") == 64
