"""Adapters on disk, and the command that makes and uses them: what is written is what was scored, and another base is refused."""
import json
import re
import shutil

import numpy as np
import pytest
import torch
from finetune_helpers import flags, make_run, parts, sentences, silent

from minibert.config import FAMILIES
from minibert.finetuning import command
from minibert.finetuning.adapter_files import ADAPTER, ADAPTER_WEIGHTS, encoder_digest, load_finetuned, save_finetuned
from minibert.finetuning.adapters import DEFAULT_LR, Tuning, attach, is_head_parameter
from minibert.finetuning.command import finetune, new_classifier
from minibert.finetuning.loop import FinetuneConfig
from minibert.formats import safetensors
from minibert.formats.huggingface import WEIGHTS, from_pretrained, save_pretrained
from minibert.heads import BertForSequenceClassification

MODES = [mode for mode in DEFAULT_LR if mode != "all"]


@pytest.fixture(scope="module", params=FAMILIES)
def any_run(request, tmp_path_factory):
    return make_run(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run("modernbert", tmp_path_factory.mktemp("one"))


def saved(run, mode, folder):
    """An adapter with numbers that differ from those of its start, in ``folder`` -> (the model, its base's tokenizer)."""
    pretrained, tokenizer, *_ = parts(run)
    torch.manual_seed(0)
    model = attach(BertForSequenceClassification(pretrained.config, ("0", "1")).load_encoder_from(pretrained), Tuning(tune=mode, lora_rank=2, prefix_length=3))
    for p in model.parameters():
        if p.requires_grad:
            p.data += 0.1 * torch.randn(p.shape)
    save_finetuned(model, Tuning(tune=mode, lora_rank=2, prefix_length=3), folder, tokenizer, run, encoder_digest(pretrained))
    return model.eval()


def evaluate_file(model):
    with torch.no_grad():
        return model(torch.tensor([[5, 9, 11, 6, 8]])).logits


@pytest.mark.parametrize("mode", MODES)
def test_what_was_learned_comes_back_whole_and_as_an_adapter_alone(any_run, mode, tmp_path):
    model, folder = saved(any_run, mode, tmp_path / "a"), tmp_path / "a"
    names = set(safetensors.read(folder / ADAPTER_WEIGHTS))
    assert names == {name for name, p in model.named_parameters() if p.requires_grad} and "classifier.weight" in names
    assert (folder / WEIGHTS).exists() == (mode != "prefix")
    whole, _ = load_finetuned(folder)  # merged, where that can be
    assert not any(name.endswith("lora_a") for name, _ in whole.named_parameters())
    assert (evaluate_file(whole) - evaluate_file(model)).abs().max() < 1e-6
    (folder / WEIGHTS).unlink(missing_ok=True)  # the adapter alone, on the base that it names
    state = torch.get_rng_state()
    loaded, tokenizer = load_finetuned(folder)
    assert torch.equal(torch.get_rng_state(), state)
    assert loaded.labels == ("0", "1") and not loaded.training and tokenizer.vocab_size == model.config.vocab_size
    assert torch.equal(evaluate_file(loaded), evaluate_file(model))


def test_an_adapter_finds_its_base_after_both_have_moved(run, tmp_path):
    shutil.copytree(run, tmp_path / "here" / "run")
    model = saved(tmp_path / "here" / "run", "prefix", tmp_path / "here" / "run" / "finetuned")
    assert json.loads((tmp_path / "here" / "run" / "finetuned" / ADAPTER).read_text())["base"] == ".."
    (tmp_path / "here").rename(tmp_path / "there")
    assert torch.equal(evaluate_file(load_finetuned(tmp_path / "there" / "run" / "finetuned")[0]), evaluate_file(model))


def test_another_base_is_refused(run, tmp_path):
    saved(run, "lora", tmp_path / "a")
    other = tmp_path / "other"
    shutil.copytree(run, other)
    on_copy, _ = load_finetuned(tmp_path / "a", other)  # a copy is the same base, wherever it is; what else is in the folder does not count
    assert any(name.endswith("lora_a") for name, _ in on_copy.named_parameters())
    model = from_pretrained(other / "model")
    model.bert.blocks[0].mlp.down_proj.weight.data[0, 0] += 1e-6
    save_pretrained(model, other / "model")
    place = re.escape(str(run.resolve()))
    with pytest.raises(ValueError, match=rf"of another base: it was trained on [0-9a-f]{{12}}\.\.\. \({place}\), .*: name the run it belongs"):
        load_finetuned(tmp_path / "a", other)


def test_a_digest_is_of_the_encoder_alone(any_run):
    """It does not matter which head was on it, or whether the pooler of BERT has been trained."""
    pretrained, *_ = parts(any_run)
    assert encoder_digest(pretrained) == encoder_digest(pretrained.bert) == encoder_digest(BertForSequenceClassification(pretrained.config, ("a", "b")).load_encoder_from(pretrained))
    before = encoder_digest(pretrained)
    pretrained.bert.embeddings.token.weight.data[3, 2] += 1e-3
    assert encoder_digest(pretrained) != before and len(before) == 64


def test_a_base_that_is_gone_is_named(run, tmp_path):
    saved(run, "prefix", tmp_path / "a")
    values = json.loads((tmp_path / "a" / ADAPTER).read_text())
    (tmp_path / "a" / ADAPTER).write_text(json.dumps(values | {"base": "../gone"}))
    with pytest.raises(FileNotFoundError, match="its base is not at .*gone: name the run it belongs to, RUN --adapter"):
        load_finetuned(tmp_path / "a")


def test_tensors_that_do_not_fit_are_listed(run, tmp_path):
    saved(run, "lora", tmp_path)
    path = tmp_path / ADAPTER_WEIGHTS
    tensors = safetensors.read(path)
    name = "bert.blocks.0.attention.qkv.lora_a"
    changed = {"x.weight": torch.zeros(1), **tensors, name: tensors[name][:1]}
    del changed["classifier.bias"]
    safetensors.write(changed, path)
    with pytest.raises(ValueError) as error:
        load_finetuned(tmp_path, run)
    for part in ("3 tensors do not fit", "classifier.bias is missing", "x.weight has no place in the model",
                 f"{name} has the shape (1, 2, 16), the model (2, 2, 16)"):
        assert part in str(error.value)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="an adapter is a folder with adapter.json and adapter.safetensors$"):
        load_finetuned(tmp_path, run)


def test_where_there_is_no_adapter_those_beside_it_are_named(run, tmp_path):
    saved(run, "lora", tmp_path / "second")
    (tmp_path / "first").mkdir()
    with pytest.raises(FileNotFoundError, match=r"first.adapter.json: no such file; .*\. Beside it there are \S*second$"):
        load_finetuned(tmp_path / "first", run)


@pytest.mark.parametrize("change", [{"tuning": {"tune": "lorra"}}, {"tuning": {"tune": "all"}}, {"tuning": {"rank": 3}}, {"tuning": []},
                                    {"labels": "01"}, {"labels": [0, 1]}, {"dropout": "a"}, {"base": None}, {"digest": 3}, None,
                                    {"dropout": True}, {"dropout": float("nan")}, {"tuning": {"tune": "lora", "lora_rank": 1.5}},
                                    {"tuning": {"tune": "lora", "lora_on": None}}, {"tuning": {"tune": ["lora"]}}])
def test_descriptions_that_are_damaged_are_refused(run, tmp_path, change):
    saved(run, "lora", tmp_path)
    path = tmp_path / ADAPTER
    path.write_text(json.dumps(json.loads(path.read_text()) | change) if change else "{")
    with pytest.raises(ValueError, match="^[^\n]*adapter.json is not the description of an adapter[^\n]*$"):
        load_finetuned(tmp_path, run)


# ------------------------------------------------------------------------------------------------ the command


@pytest.mark.parametrize("mode, options", [("lora", {"lora_rank": 4, "lora_on": "query,value,mlp"}), ("prefix", {"prefix_length": 8})])
def test_a_little_of_it_learns_an_easy_task_and_predicts_it(run, tmp_path, capsys, mode, options):
    out = tmp_path / "out"
    files = ["--train", str(run / "train.tsv"), "--dev", str(run / "dev.tsv"), "--out", str(out)]
    command.main([str(run), *files, *flags(tune=mode, epochs=6, patience=6, learning_rate=3e-2, **options)])
    shown = capsys.readouterr().out
    results = json.loads((out / "finetune.json").read_text())
    learning = results["learning"]
    line = f"learns       {mode}: {learning['trained']:,} numbers, {100 * learning['share']:.2f} % of the {learning['parameters']:,} of the model"
    assert line in shown and shown.index(line) < shown.index("pre-trained  seed 0")
    assert f"adapter      {out / ADAPTER_WEIGHTS}" in shown
    assert results["pretrained"]["mean"] >= 0.75 and results["tuning"] == {**results["tuning"], "tune": mode, **options}
    right = [label for _, label in sentences(40, 2)]
    for asked in ([str(out)], [str(run), "--adapter", str(out)]):
        command.main([*asked, "--predict", str(run / "dev.tsv"), "--json"])
        given = [json.loads(line)["prediction"] for line in capsys.readouterr().out.splitlines()]
        assert np.mean([a == b for a, b in zip(given, right)]) == results["pretrained"]["mean"]


@pytest.mark.parametrize("mode", ["lora", "prefix", "bias", "head"])
def test_the_encoder_is_as_it_was_when_training_is_over(run, mode):
    pretrained, tokenizer, train, dev = parts(run)
    config = FinetuneConfig(epochs=1, batch_size=32, learning_rate=1e-2, seeds=1, device="cpu", precision="fp32")
    kept = []
    finetune(pretrained, tokenizer, train, dev, config, say=silent, on_best=lambda model, score: kept.append(model), tuning=Tuning(tune=mode))
    state, before = kept[0].state_dict(), pretrained.state_dict()
    changed = [name for name in before if name.startswith("bert.") and not torch.equal(before[name], state[name])]
    assert all(name.endswith("norm.weight") for name in changed) and bool(changed) == (mode == "bias")
    assert all(not torch.equal(value, new_classifier(pretrained, ("0", "1"), config, Tuning(tune=mode), 0).state_dict()[name])
               for name, value in state.items() if is_head_parameter(name))


def test_each_mode_has_a_rate_of_its_own_unless_one_is_given(run, tmp_path, monkeypatch):
    found = []

    def asked(model, tokenizer, train, dev, config, *rest):
        found.append((rest[-1].tune, config.learning_rate))
        raise ValueError("seen")

    monkeypatch.setattr(command, "finetune", asked)
    for options in ([], ["--tune", "lora"], ["--tune", "prefix", "--learning-rate", "0.25"]):
        with pytest.raises(ValueError, match="seen"):
            command.main([str(run), "--train", str(run / "train.tsv"), "--out", str(tmp_path / "out"), *options])
    assert found == [("all", 5e-5), ("lora", DEFAULT_LR["lora"]), ("prefix", 0.25)]


def test_what_cannot_be_done_with_an_adapter_is_said_and_leaves_nothing_behind(run, tmp_path):
    saved(run, "prefix", tmp_path / "a")
    train, out = ["--train", str(run / "train.tsv")], tmp_path / "out"
    for args, message in (
            ([run, *train, "--lora-rank", "4"], "lora_rank belongs to --tune lora, and --tune is all"),
            ([run, *train, "--tune", "lora", "--prefix-length", "4"], "prefix_length belongs to --tune prefix, and --tune is lora"),
            ([run, *train, "--tune", "lora", "--from-scratch"], "from_scratch with tune lora"),
            ([run, *train, "--tune", "low"], "tune is 'low': choose from all, lora, prefix, bias, head"),
            ([run, *train, "--tune", "lora", "--lora-rank", "99"], "lora_rank 99 is more than a matrix of 16 x 16"),
            ([run, *train, "--adapter", tmp_path / "a"], "is for --predict"),
            ([run, *train, "--out", tmp_path / "a"], "holds a model already"),
            ([run, "--adapter", run, "--predict", run / "dev.tsv"], "adapter.json: no such file")):
        extra = [] if "--out" in args else ["--out", str(out)]
        with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
            command.main([*map(str, args), *extra])
        assert not out.exists()
