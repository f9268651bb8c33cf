"""One smoke test for each benchmark script, on tiny models, without a GPU.

kant_against_trainer.py is tested in tests/docs/test_recipes.py.
"""
import json
import random
import runpy
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from finetune_helpers import make_run, sentences, table

from data.quality.near_duplicates import jaccard
from data.token_file.reader import entropy
from tokenizer import ByteLevelBPE
from tokenizer.word_starts import WordStarts

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import added_tokens  # noqa: E402
import busy_cores  # noqa: E402
import by_sentence  # noqa: E402
import contest  # noqa: E402
import domain_vocabulary  # noqa: E402
import finetuning  # noqa: E402
import gpu_suite  # noqa: E402
import induction  # noqa: E402
import nanogpt  # noqa: E402
import near_duplicates  # noqa: E402
import objectives  # noqa: E402
import plateau  # noqa: E402
import scaling  # noqa: E402
import speedrun  # noqa: E402
import step_time  # noqa: E402
import three_objectives  # noqa: E402
import tokenizer_speed  # noqa: E402

COMMANDS = sorted(path for path in BENCHMARKS.glob("*.py")
                  if "ArgumentParser" in path.read_text(encoding="utf-8")
                  or "Parser(" in path.read_text(encoding="utf-8"))
TINY = ("--hidden-size 16 --intermediate-size 16 --num-hidden-layers 1 --num-attention-heads 2 "
        "--batch-size 4 --device cpu --eval-examples 4")


def load(path):
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """A folder with kant/book.txt: 600 one-line paragraphs."""
    rng = random.Random(0)
    words = "human thinking involves reason and a pure or practical law of nature".split()
    folder = tmp_path_factory.mktemp("corpora")
    (folder / "kant").mkdir()
    text = "\n\n".join(" ".join(rng.choices(words, k=9)) for _ in range(600))
    (folder / "kant" / "book.txt").write_text(text)
    return folder


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """A run with random weights, and folders sst2/ and cola/ with a few examples."""
    folder = make_run("modernbert", tmp_path_factory.mktemp("tasks"))
    for name, seed in (("train", 1), ("dev", 2)):
        for task in ("sst2", "cola"):
            (folder / task).mkdir(exist_ok=True)
        rows = sentences(24, seed)
        (folder / "sst2" / f"{name}.tsv").write_text(table(rows))
        cola = "".join(f"x\t{label}\t\t{text}\n" for text, label in rows)
        (folder / "cola" / f"{name}.tsv").write_text(cola)
    return folder


@pytest.mark.parametrize("script", COMMANDS, ids=lambda path: path.stem)
def test_every_script_has_a_help_page(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(script), run_name="__main__")
    assert done.value.code in (0, None)
    assert capsys.readouterr().out.startswith(f"usage: {script.name}")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_counts_shared_pages_once():
    """A parent with 60 MB and its fork with 40 MB more have 100 MB together, not 160."""
    program = """
import os, time
shared = bytearray(b"x") * 60_000_000
if os.fork() == 0:
    more = bytearray(b"x") * 40_000_000
    time.sleep(1.5)
    os._exit(0)
os.wait()
"""
    # In a process of its own: pytest would be counted as the parent's memory.
    measuring = (f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r}); import memory; "
                 f"done = memory.measured([sys.executable, '-c', {program!r}]); "
                 "print(done['megabytes'])")
    done = subprocess.run([sys.executable, "-c", measuring], capture_output=True, text=True)
    assert 100 < float(done.stdout) < 150, done.stderr


def test_by_sentence_keeps_phrases_of_dev_sentences_out_of_train(tmp_path):
    counting = ["one two three four five six seven", "two three four five six",
                "four five six seven eight nine", "three four five six seven eight"]
    colors = ["red green blue white black gray", "green blue white black gray"]
    short = ["six seven", "blue white black gray", "six red"]
    # The first and the third share no five words; the fourth joins them.
    assert by_sentence.sentences([*counting, *colors, *short]) == [[0, 1, 2, 3], [4, 5]]
    for name, texts in (("train", counting), ("dev", [*colors, *short])):
        (tmp_path / f"{name}.tsv").write_text(table([(text, "1") for text in texts]))
    by_sentence.main([str(tmp_path), str(tmp_path / "new"), "--dev", "1"])
    train = by_sentence.rows_of(tmp_path / "new" / "train.tsv")
    dev = by_sentence.rows_of(tmp_path / "new" / "dev.tsv")
    train_texts = {text for text, _ in train}
    if dev[0][0] == colors[0]:
        assert train_texts == {*counting, "six seven", "six red"}
    else:
        assert dev[0][0] == counting[0] and train_texts == {*colors, *short[1:]}


def test_near_duplicates_computes_true_similarities(tmp_path, capsys):
    """Two identical texts, and one that shares one of three shingles with them."""
    (tmp_path / "a.txt").write_text("a b c d e f\n\nA, b, c, d, e, f!\n\na b c d e g\n\nx")
    near_duplicates.main([str(tmp_path / "a.txt"), "--documents", "3"])
    expected = "3 documents: 1 near duplicates, 1 found; 0 judged otherwise\n"
    assert capsys.readouterr().out == expected
    texts = ["a b c d e f", "a b c d e g"]
    results = list(near_duplicates.evaluate_file(texts, show_progress=False))
    assert results[1] == (jaccard(*texts), False)


def test_plateau_has_the_entropy_of_its_texts_and_starts_at_ln_v():
    expected = plateau.expected()
    counts = np.bincount(plateau.rows(20_000, np.random.default_rng(0)).ravel())
    assert expected["unigram_entropy"] == pytest.approx(entropy(counts), abs=0.01)
    curve = plateau.curve("modernbert", steps=2, every=2)
    assert [step for step, _ in curve] == [0, 2]
    assert curve[0][1] == pytest.approx(expected["ln_vocab"], abs=0.2)


def test_finetuning_trains_each_row_once(tasks, tmp_path, capsys):
    out = tmp_path / "out.json"
    words = [str(tasks), "--tasks", str(tasks), "--out", str(out), "--epochs", "10:3,all:1",
             "--extra", "--batch-size 8 --device cpu --precision fp32 --lora-rank 2",
             "--modes", "lora", "from scratch", "--mode-size", "10", "--seeds", "1"]
    finetuning.main(words)
    printed = capsys.readouterr().out
    rows = load(out)["rows"]
    assert list(rows) == ["sst2, 10, lora", "sst2, 10, from scratch", "cola, all, lora",
                          "cola, all, from scratch"]
    assert [row["config"]["epochs"] for row in rows.values()] == [3, 3, 1, 1]
    assert rows["cola, all, lora"]["metric"] == "matthews"
    finetuning.main(words)
    assert load(out)["rows"] == rows  # the seconds too: nothing was trained again
    finetuning.main(["--table", str(out)])
    table_lines = capsys.readouterr().out.splitlines()
    assert len({*table_lines}) == 5 and "| LoRA |" in printed  # printed twice
    with pytest.raises(ValueError, match="choose another --out"):
        finetuning.main([*words, "--rates", "lora:1e-3"])


def test_objectives_trains_each_row_once(corpora, tasks, tmp_path, monkeypatch, capsys):
    text = "\n\n".join(f"The film {i} was good.\nThe plot of film {i} was bad, and the actor slept."
                       for i in range(120))
    (tmp_path / "story.txt").write_text(text)
    words = ["--corpus", str(tmp_path / "story.txt"), "--tasks", str(tasks), "--steps", "1",
             "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out.json"), "--seeds", "2",
             "--examples", "8", "--epochs", "1", "--extra", TINY + " --precision fp32",
             "--only", "masked tokens", "pairs and NSP", "pairs without NSP"]
    objectives.main(words)
    rows = load(tmp_path / "out.json")["rows"]
    assert list(rows) == ["masked tokens", "from scratch", "pairs and NSP", "pairs without NSP"]
    assert all(len(row["sst2"]) == 2 for row in rows.values())
    with_nsp = [name for name, row in rows.items() if row.get("nsp_accuracy") is not None]
    assert with_nsp == ["pairs and NSP"]
    monkeypatch.setattr(objectives, "pretrain_objective", None)
    objectives.main(words)
    assert load(tmp_path / "out.json")["rows"] == rows
    objectives.main(["--table", str(tmp_path / "out.json")])
    assert "| pairs without NSP |" in capsys.readouterr().out


def test_three_objectives_trains_each_row_once(corpora, tasks, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out.json"
    words = ["--corpus", str(corpora / "kant"), "--tasks", str(tasks), "--minutes", "0.003",
             "--runs", str(tmp_path / "runs"), "--out", str(out), "--seeds", "2",
             "--examples", "8", "--extra", TINY + " --max-length 32", "--vocab-size", "420"]
    three_objectives.main(words)
    rows = load(out)["rows"]
    assert list(rows) == ["span-corruption", "masked", "causal"]
    assert [name for name, row in rows.items() if row["bits_per_byte"]] == ["causal"]
    assert all(len(row["sst2"]) == 2 for row in rows.values())
    monkeypatch.setattr(three_objectives, "measure", None)
    three_objectives.main(words)
    assert load(out)["rows"] == rows
    assert "| causal |" in capsys.readouterr().out


def test_domain_vocabulary_has_a_curve_for_each_start(corpora, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(domain_vocabulary, "SIZES", f"{TINY} --vocab-size 290")
    monkeypatch.setattr(domain_vocabulary, "MODELS", {"BERT, x": "--family bert"})
    (tmp_path / "domain.txt").write_text("volts, ohms and a rheostat\n" * 200)
    out = tmp_path / "out.json"
    words = ["--corpus", str(corpora / "kant"), "--domain", str(tmp_path / "domain.txt"), "--add",
             "4", "--runs", str(tmp_path / "runs"), "--out", str(out), "--steps", "1",
             "--domain-steps", "2", "--extra", "--eval-examples 4 --device cpu --precision fp32"]
    domain_vocabulary.main(words)
    row, = load(out)["rows"].values()
    assert row["vocabulary"] == [290, 294]
    own, mean, rows_at_random = row["curves"].values()
    assert [step for step, _ in own] == [0, 1, 2]
    assert mean[0] != rows_at_random[0] and mean[0] != own[0]
    domain_vocabulary.main([*words, "--base", str(tmp_path / "runs" / "bert" / "base")])
    assert list(load(out)["rows"]) == ["BERT, x", "base"]
    assert "| BERT, x | extended, random rows |" in capsys.readouterr().out


def test_random_rows_replace_only_the_new_ones():
    values = torch.ones(5, 2)  # three old rows, one of padding, and one beyond the new token
    rows = domain_vocabulary.random_rows(values, {3: [0, 1]})
    assert torch.equal(rows[[0, 1, 2, 4]], values[:4]) and not rows[3].isnan().any()
    assert (rows[3].abs() < 0.2).all()


def test_scaling_predicts_before_it_measures(corpora, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scaling, "SIZES", ((1, 32), (2, 32), (1, 64)))
    monkeypatch.setattr(scaling, "PREDICTED", (2, 64))
    out = tmp_path / "out.json"
    words = ["--corpus", str(corpora / "kant"), "--steps", "2", "--runs", str(tmp_path / "runs"),
             "--out", str(out), "--extra", "--max-length 32 --eval-examples 4",
             "--vocab-size", "300"]
    scaling.main(words)
    result = load(out)
    for name, row in result["rows"].items():
        layers, hidden = map(int, name.split("x"))
        assert row["parameters"] == scaling.block_parameters(layers, hidden)
    E, A, a = result["fit"].values()
    assert result["prediction"] == pytest.approx(E + A / scaling.block_parameters(2, 64)**a)
    assert f"predicted {result['prediction']:.3f}" in capsys.readouterr().out
    result["rows"].popitem()
    with pytest.raises(ValueError, match="not finished"):
        scaling.table(result)


def test_windows_are_scored_after_the_token_before_them():
    """A model that predicts "one more than the last id" is sure of all but the first token."""
    ids = np.arange(2 * nanogpt.WINDOW + 5)  # the last 5 fill no window

    def logits_of(asked):
        return 50.0 * torch.nn.functional.one_hot(asked + 1, 300)

    before = torch.tensor([[-1], [nanogpt.WINDOW - 1]])
    assert nanogpt.mean_loss(logits_of, ids, before) == pytest.approx(0, abs=1e-6)
    before = torch.tensor([[7], [nanogpt.WINDOW - 1]])
    wrong = 50 / (2 * nanogpt.WINDOW)  # one token, 50 nats below the likeliest
    assert nanogpt.mean_loss(logits_of, ids, before) == pytest.approx(wrong, rel=1e-6)


NANOGPT_TRAIN = """
import array, pathlib, pickle, shutil, sys
flags = dict(word[2:].split("=") for word in sys.argv[2:])
folder = pathlib.Path("data") / flags["dataset"]
size = pickle.loads((folder / "meta.pkl").read_bytes())["vocab_size"]
assert max(array.array("H", (folder / "train.bin").read_bytes())) < size == 300
print("iter 0: loss 5.7, time 100.00ms" * 20)
out = pathlib.Path(flags["out_dir"])
out.mkdir(parents=True)
shutil.copy("ckpt.pt", out)
"""
NANOGPT_MODEL = """
from dataclasses import dataclass
import torch
@dataclass
class GPTConfig:
    size: int
class GPT(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(config.size))
    def forward(self, ids, targets):
        return self.bias.expand(*ids.shape, -1), None
"""


def test_nanogpt_trains_for_the_same_minutes_and_is_scored_on_the_same_text(
        corpora, tmp_path, capsys):
    """With a fake run whose model takes all tokens to be equally likely."""
    (tmp_path / "train.py").write_text(NANOGPT_TRAIN)
    (tmp_path / "model.py").write_text(NANOGPT_MODEL)
    checkpoint = {"model": {"bias": torch.zeros(300)}, "model_args": {"size": 300}}
    torch.save(checkpoint, tmp_path / "ckpt.pt")
    out = tmp_path / "out.json"
    nanogpt.main(["--nanogpt", str(tmp_path), "--corpus", str(corpora / "kant"), "--minutes",
                  "0.01", "--runs", str(tmp_path / "runs"), "--out", str(out),
                  "--vocab-size", "300", "--prompt", "pure", "--extra", "--eval-examples 4"])
    rows = load(out)["rows"]
    assert rows["nanoGPT"]["steps"] == 6  # of 100 ms each in 0.6 seconds
    assert rows["nanoGPT"]["loss"] == pytest.approx(np.log(300), abs=1e-5)
    assert 0 < rows["minibert"]["loss"] < 7
    assert "| nanoGPT |" in capsys.readouterr().out


def test_the_head_of_induction_is_found_where_it_is_put():
    """Weights that look at the token after the earlier copy are found, whatever the others do."""
    model = induction.train(layers=1, steps=1)
    ids, lengths = induction.repeated(4, torch.Generator().manual_seed(0))
    for row, length in zip(ids, lengths.tolist()):
        assert torch.equal(row[:length], row[length:2 * length]) and not row[2 * length:].any()
    by_copy = induction.losses_by_copy(model)
    assert by_copy["first"] == pytest.approx(by_copy["second"], abs=0.1)  # nothing is learned yet
    assert 0 <= induction.strongest_head(model)["weight"] < 0.2


def test_speedrun_adds_a_row_for_each_run(corpora, tmp_path, capsys):
    out = tmp_path / "out.json"
    words = ["--corpus", str(corpora / "kant"), "--minutes", "0.003", "--out", str(out),
             "--extra", TINY + " --vocab-size 300"]
    speedrun.main(words)
    for _ in range(2):  # the second call finds all rows finished
        speedrun.main([*words, "--ablation", "--only", "linear schedule", "the recipe"])
    speedrun.main([*words, "--steps", "2", "--seeds", "0", "1"])
    speedrun.main([*words, "--steps", "2", "--convolutions"])
    rows = load(out)["rows"]
    labels = [(row["name"], row["length"], row["seed"]) for row in rows]
    assert labels == [("the recipe", "0.003 minutes", 0), ("linear schedule", "0.003 minutes", 0),
                      ("the recipe", "2 steps", 0), ("the recipe", "2 steps", 1),
                      ("the recipe with convolutions", "2 steps", 0)]
    # of one layer: two convolutions, two neighbors, 16 dimensions
    assert rows[4]["parameters"] == rows[2]["parameters"] + 2 * 2 * 16
    assert all(row["steps"] > 0 and 0 < row["loss"] < 7 for row in rows)
    # seven passes ask each token and each word once; a word has more nats than a token
    assert rows[0]["masked"] > rows[0]["words"] > 0
    assert rows[0]["loss_per_word"] > rows[0]["loss"]
    assert rows[2]["loss"] != rows[3]["loss"]
    assert "--schedule linear" in rows[1]["flags"]
    speedrun.main(["--table", str(out)])
    assert capsys.readouterr().out.count("| linear schedule --hidden") == 2


@pytest.mark.parametrize("masking", ["tokens", "words"])
def test_the_passes_of_speedrun_ask_for_each_token_once(masking):
    tokenizer = ByteLevelBPE.train_from_iterator(["low lower lowest " * 9], 265)
    ids = np.array([tokenizer.encode_ids("low lowest lower")] * 2)
    masks = [speedrun.OnePass(group, tokenizer, masking)(ids, 0, 0, [0, 1])
             for group in range(speedrun.NUM_PASSES)]
    labels = np.array([labels for _, labels in masks])
    asked = labels != -100  # (passes, B, T)
    is_ordinary = ~masks_nothing(ids, tokenizer)
    assert (asked.sum(0) == is_ordinary).all()
    assert (np.where(asked, labels, 0).sum(0)[is_ordinary] == ids[is_ordinary]).all()
    for (corrupted, _), asked_now in zip(masks, asked):
        assert (corrupted == ids)[~asked_now].all()
    if masking == "words":
        starts = WordStarts(tokenizer)(ids, cut_long=True)
        same_word = ~starts[:, 1:]
        assert same_word.any()
        assert (asked[:, :, 1:] == asked[:, :, :-1])[:, same_word].all()


def masks_nothing(ids, tokenizer):
    return np.isin(ids, list(tokenizer.special_ids))


def test_speedrun_compares_recipes_by_paired_seeds():
    def rows(name, losses):
        return [{"name": name, "length": "9 steps", "seed": seed, "extra": "", "commit": "abc",
                 "date": "2026-01-01", "steps": 9, "masked": 7, "loss": loss}
                for seed, loss in enumerate(losses)]

    table = speedrun.table({"rows": rows("old", [3.1, 3.2, 3.3, 3.4])
                            + rows("new", [3.0, 3.2, 3.1, 3.3]) + rows("one", [3.0])
                            + rows("worse", [3.2, 3.2, 3.3, 3.5])})
    # differences -0.1, 0, -0.2, -0.1: mean -0.1, deviation 0.0816, t = -0.1 / 0.0408
    old, new, one, worse = table.splitlines()[2:]
    assert "| old | 9 steps | 4 | 9 ± 0 | 7 ± 0 | 3.250 ± 0.129 |  |  |" in old
    assert "| -0.100 (t = -2.45, critical: -2.35) |" in new
    assert "| one | 9 steps | 1 | 9 | 7 | 3.000 |  |  |" in one
    assert "| 0.150 (t = 3.00, critical: -2.35) |" in worse  # than new, which is the record so far
    table = speedrun.table({"rows": rows("old", [3.0] * 9) + rows("same", [3.0] * 9)
                            + rows("new", [2.0] * 8 + [2.9])})
    same, new = table.splitlines()[3:]
    assert "| 0.000 |" in same  # no division by a deviation of 0
    assert "| -0.900 (t = -9.00, critical: -1.89) |" in new  # the value of eight seeds


@pytest.mark.parametrize("flags", [["--steps", "0"], ["--steps", "-1"], ["--minutes", "0"]])
def test_speedrun_refuses_a_run_without_a_length(flags):
    with pytest.raises(ValueError, match="--minutes and --steps must be above 0"):
        speedrun.parse(flags)


@pytest.mark.parametrize("extra", ["--init runs/large", "--decay 0 --max-steps=9999"])
def test_speedrun_refuses_flags_that_make_another_track(extra):
    with pytest.raises(ValueError, match="the benchmark sets this itself"):
        speedrun.parse(["--extra", extra])


@pytest.mark.parametrize("content", ["{", "[1]", '{"rows": [{}]}'])
def test_a_results_file_of_another_script_is_one_clear_error(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ValueError, match="a.json has no results of this script"):
        speedrun.main(["--table", str(tmp_path / "a.json")])


def test_step_time_measures_in_rounds(corpora, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(contest, "PRODUCTS", {})  # slow on a CPU without bf16 units
    out = tmp_path / "out.json"
    step_time.main([str(corpora), "--shapes", "tiny", "--rounds", "2", "--out", str(out),
                    "--contestants", "minibert"])
    row = load(out)["rows"][0]
    assert row["tokens"] > 48 * 9 and row["operations"] > 0
    assert len(row["seconds"]["minibert"]) == 2 and 10 < row["megabytes"]["minibert"] < 4000
    assert "| minibert |" in capsys.readouterr().out


def fake_measure(shape, folder, names, *_):
    """48 examples of 10 tokens: a second for minibert, two for the next contestant, and so on."""
    last = {name: {"megabytes": 9, "torch": "2", "threads": 1} for name in names}
    seconds = {name: [i] for i, name in enumerate(names, start=1)}
    return contest.result_row(shape, [10] * 48, "fp32", "cpu", seconds, last, {})


def test_gpu_suite_runs_its_parts_without_a_gpu(tmp_path, monkeypatch, capsys):
    documents = gpu_suite.made_up_text(lines=400)
    tokenizer = ByteLevelBPE.train_from_iterator(documents, vocab_size=600, show_progress=False)
    gpu_suite.make_data("tiny", documents, tmp_path, tokenizer)
    monkeypatch.setattr(gpu_suite, "RECIPES", {"AdamW, fp16": gpu_suite.RECIPES["AdamW, fp16"]})
    monkeypatch.setattr(gpu_suite, "WATCHED", (2, 4))
    monkeypatch.setattr(gpu_suite, "measure", fake_measure)
    modes = []
    cpu = torch.device("cpu")
    assert gpu_suite.stops("tiny", tmp_path, cpu, modes.append) == {"AdamW, fp16": "none"}
    assert modes == ["error", "default"]
    losses = gpu_suite.precision("tiny", tmp_path, cpu, max_steps=4, log_every=1)
    assert losses["bf16"] != losses["fp16"] and abs(losses["fp16"] - losses["bf16"]) < 0.05
    out = tmp_path / "gpu.json"
    gpu_suite.main(["--device", "cpu", "--shape", "tiny", "--parts", "small", "--rounds", "1",
                    "--contestants", "minibert", "minibert, muon", "--lines", "2000",
                    "--out", str(out)])
    assert load(out)["parts"]["small"]["shape"] == "tiny"
    shown = capsys.readouterr().out
    assert "| minibert | 83.3 | 480 |" in shown  # in milliseconds, for 12 steps in a second
    assert "| minibert, muon | 166.7 | 240 | **2.00 x** (2.00 to 2.00) |" in shown


def test_added_tokens_prints_ratios(tmp_path, capsys):
    text = tmp_path / "tiny.txt"
    text.write_text("Flour and water, sugar and butter.\n" * 20, encoding="utf-8")
    added_tokens.main([str(text), "wordpiece", "--terms", "words", "--rounds", "1"])
    assert "| wordpiece | tiny | words | encode_batch |" in capsys.readouterr().out


def test_tokenizer_speed_prints_a_table(capsys):
    tokenizer_speed.main(["--table", str(BENCHMARKS / "results" / "tokenizer-speed.json")])
    assert "| train bpe | kant (" in capsys.readouterr().out


def test_busy_cores_measures_each_way_to_wait_beside_neighbors(tmp_path, monkeypatch, capsys):
    """Fake runs of 10 tokens a step; a busy machine takes a second more for each step."""
    def fake_train(corpus, out, environment, *flags):
        seconds = 1 + len(neighbors)
        out.mkdir()
        lines = [{"ln_vocab": 9.0}, *({"step": step, "loss": 1.0, "elapsed": step * seconds}
                                      for step in (1, 2, 3, 4, 5, 25))]
        (out / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (out / "config.json").write_text('{"train": {"batch_size": 2, "max_length": 5}}')

    neighbors = []

    @contextmanager
    def fake_neighbor():
        neighbors.append(1)
        yield
        neighbors.pop()

    monkeypatch.setattr(busy_cores, "train", fake_train)
    monkeypatch.setattr(busy_cores, "busy_process", fake_neighbor)
    out = tmp_path / "results.json"
    busy_cores.main([str(tmp_path), "--neighbors", "0", "1", "--rounds", "2", "--out", str(out)])
    assert "| ... asleep at once | 10 | 5 |" in capsys.readouterr().out
    busy_cores.main(["--table", str(out)])
    assert "| ... asleep at once | 10 | 5 |" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        busy_cores.main([])
    assert "name a text to train on" in capsys.readouterr().err
