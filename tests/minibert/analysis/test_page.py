"""The page of a run: what is on it, for every kind of folder; self-contained, and safe."""
import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from reading_models import LINES, model_for, saved

from data import prepare
from minibert.analysis.page import pack
from minibert.analysis.page.facts import collect_facts, main, word_statistics
from minibert.analysis.page.html import VOID_ELEMENTS
from minibert.analysis.page.layout import page
from minibert.analysis.page.svg import attention_map, chart, downsample, ticks
from minibert.config import BertConfig, TrainConfig
from minibert.formats.run_folder import write_config
from tokenizer import ByteLevelBPE, WordPiece
from tokenizer.pretokenize import byte_characters

SCRIPT = '<script>alert("x")</script>'
METRICS = [
    {"label": "modernbert", "ln_vocab": 6.0, "unigram_entropy": 4.5, "copying_loss": 4.0,
     "mlm_probability": 0.3, "eval_mlm_probability": 0.15},
    *({"step": step, "loss": 6 - step / 10, "learning_rate": 1e-3} for step in range(1, 21)),
    {"step": 10, "eval_loss": 4.0, "eval_accuracy": 0.25, "elapsed": 60.0},
    {"step": 20, "eval_loss": 3.5, "eval_accuracy": 0.5, "elapsed": 120.0, "final": True},
]
NO_SCRIPT = '<p class="note">JavaScript is off'
LOADING_ATTRIBUTES = ("src", "href", "srcset", "data", "action", "xlink:href")


class Page(HTMLParser):
    """Parse a page; fail if it is not well-formed, or could load or run anything but its script."""

    def __init__(self, html):
        super().__init__()
        self.open = []
        self.text = ""
        self.policy = ""
        self.scripts = []  # the attributes of each
        self.code = ""
        self.feed(html)
        self.close()
        assert not self.open
        assert "://" not in html and "url(" not in html and "@import" not in html
        policy = self.policy.split("; ")
        assert policy[:4] == ["default-src 'none'", "base-uri 'none'", "form-action 'none'",
                              "style-src 'unsafe-inline'"]
        data = [("type", "application/json"), ("id", "data")]
        assert self.scripts == ([data, []] if self.code else [])
        digest = base64.b64encode(hashlib.sha256(self.code.encode()).digest()).decode()
        assert policy[4:] == ([f"script-src 'sha256-{digest}'"] if self.code else [])

    def handle_starttag(self, name, attributes):
        assert name not in ("img", "iframe", "object", "link", "form")
        if name == "meta" and dict(attributes).get("http-equiv") == "Content-Security-Policy":
            self.policy = dict(attributes)["content"]
        if name == "script":
            self.scripts.append(attributes)
        for key, _ in attributes:
            assert key not in LOADING_ATTRIBUTES and not key.startswith("on")
        if name not in (*VOID_ELEMENTS, "input"):
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        if self.open[-1:] == ["script"]:
            self.code = data  # of the last script
        elif self.open[-1:] != ["style"]:
            self.text += data


def write_metrics(folder, lines=METRICS):
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def run(bpe, tmp_path):
    """A finished run without checkpoints."""
    model = model_for(bpe)
    folder = saved(tmp_path / "my run", model, bpe)
    train = TrainConfig(corpus="mine", examples="lines", max_length=24, max_steps=20)
    write_config(folder, "quickstart", model.config, train)
    for split in ("train", "eval"):
        prepare(LINES[:4], bpe, folder / "data" / split, workers=1)
    write_metrics(folder)
    return folder


def test_a_finished_run_has_all_sections(run, capsys):
    main([str(run)])
    assert capsys.readouterr().out.strip() == str(run / "page.html")
    html = (run / "page.html").read_text(encoding="utf-8")
    assert re.findall(r"<h2>(.*?)</h2>", html) == [
        "Try the model", "Attention", "From letters to tokens", "Training", "Evaluation",
        "Filled masks", "Vocabulary", "Configuration",
    ]
    text = Page(html).text
    for part in ("my run", "2 layers of 16, 2 heads", "training finished", "validation loss",
                 "3.500", "50.0%", "ln V", "unigram entropy", "copying", "validation words",
                 "batch_size"):
        assert part in text, part
    assert '<th scope="row">max_length</th><td>24</td>' in html
    assert html.count('<p class="note">') == html.count(NO_SCRIPT) == 1


def test_the_page_of_a_large_model_has_pictures_only_and_says_so(run, monkeypatch):
    monkeypatch.setattr(pack, "MAX_PARAMETERS", 1000)
    facts, tokenizer, packed = collect_facts(run)
    html = page(facts, tokenizer, packed)
    assert re.findall(r"<h2>(.*?)</h2>", html) == [
        "Training", "Evaluation", "Filled masks", "Attention", "Tokens of a text", "Vocabulary",
        "Configuration",
    ]
    text = Page(html).text
    assert "This page has pictures only: a page runs models of up to 1,000 parameters" in text
    assert "<script" not in html


def test_curves_are_labeled_with_their_shares_of_masked_tokens(run):
    text = Page(page(*collect_facts(run))).text
    assert "training, 30% masked" in text and "validation, 15% masked" in text


@pytest.mark.parametrize("deviation, shown", [(0.0, "0.5990"), (0.0142, "0.5990 ± 0.0142")])
def test_the_score_of_one_seed_has_no_deviation(run, deviation, shown):
    result = {"tuning": {"tune": "all"}, "metric": "accuracy", "train": 100, "constant": 0.5,
              "pretrained": {"mean": 0.599, "deviation": deviation}}
    (run / "finetune.json").write_text(json.dumps(result))
    assert f"<td>{shown}</td>" in page(*collect_facts(run))


def test_an_undefined_score_is_shown_as_such(run):
    result = {"tuning": {"tune": "all"}, "metric": "pearson", "train": 100, "constant": None,
              "pretrained": {"mean": None, "deviation": None}}
    (run / "finetune.json").write_text(json.dumps(result))
    assert page(*collect_facts(run)).count("<td>undefined</td>") == 2


def test_parts_that_are_missing_are_named(run, bpe, tmp_path):
    write_metrics(tmp_path)
    for folder, note in ((run / "model", "no metrics.jsonl"), (tmp_path, "No model is shown")):
        assert note in Page(page(*collect_facts(folder))).text
    (run / "model" / "model.safetensors").unlink()
    text = Page(page(*collect_facts(run))).text
    assert "No model is shown" in text and "Vocabulary" in text and "Filled masks" not in text
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="not a run directory"):
        collect_facts(tmp_path / "empty")


def test_texts_are_shown_instead_of_the_probes_and_json_has_the_facts(run, capsys):
    long_text = "<mask>" + " cat" * 36
    main([str(run), "--text", long_text, "--text", "The [MASK] <mask>.", "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert [len(one["answers"]) for one in facts["masks"]] == [1, 2]
    assert facts["attention"]["length"] == 39
    assert len(facts["attention"]["layers"][0][0]["weights"]) == 32
    assert facts["training"]["curves"]["eval_loss"] == [[10, 4.0], [20, 3.5]]
    facts, tokenizer, packed = collect_facts(run, [long_text])
    assert packed["examples"][0] == long_text
    assert "first 32 of 39 tokens" in Page(page(facts, tokenizer)).text


def test_nothing_in_a_run_is_taken_for_markup(tmp_path):
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = WordPiece([*special, SCRIPT, "<b>", "a", "\x1b", "\u202e"])
    model = model_for(tokenizer)
    model.head.bias.data[5] = 50  # the answer to every mask
    folder = saved(tmp_path / "<img src=x onerror=alert(1)>", model, tokenizer)
    write_config(folder, SCRIPT, BertConfig(), TrainConfig(corpus=SCRIPT, max_steps=1))
    write_metrics(folder, [
        {"label": SCRIPT, "ln_vocab": SCRIPT, "unigram_entropy": SCRIPT},
        {"step": SCRIPT, "loss": SCRIPT},
        {"step": 2, "eval_loss": 10**400}, {"step": 2, "eval_loss": 3.0, "eval_accuracy": True},
        {"step": 1, "loss": 3.0, SCRIPT: 1.0, "elapsed": "x"}, {"step": 2, "eval_loss": 1e308}])
    finetune = {"tuning": {"tune": SCRIPT}, "metric": SCRIPT, "train": SCRIPT, "constant": 0,
                "pretrained": {"mean": 1, "deviation": 0}}
    (folder / "finetune.json").write_text(json.dumps(finetune))
    facts, _, packed = collect_facts(folder, [f"a [MASK] {SCRIPT} <b> \x1b\u202e"])
    assert facts["training"]["evaluations"] == [{"step": 2, "eval_loss": 3.0}]
    json.dumps(facts, allow_nan=False)
    facts["folder"] += "\udc80"  # half a character
    for packed_or_not in (packed, None):
        html = page(facts, tokenizer, packed_or_not)
        assert Page(html).text.count(SCRIPT) > 3
        assert "\x1b" not in html and "\u202e" not in html and html.encode("utf-8")
    assert SCRIPT in packed["tokenizer"]["tokens"] and SCRIPT in packed["examples"][0]


def test_word_statistics_worked_by_hand():
    """The words are ab, " c", ab and bc (two tokens), whose line begins at b."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    vocab = [*special, *sorted(byte_characters()), "ab", "Ġc"]
    tokenizer = ByteLevelBPE(vocab, [("a", "b"), ("Ġ", "c")])
    ids = np.array([tokenizer.token_to_id(token) for token in ("ab", "Ġc", "ab", "b", "c")])
    file = SimpleNamespace(ids=ids, segments=np.array([0, 2, 3, 5]))
    expected = {"words": 4, "whole": 0.75, "tokens_per_word": 1.25}
    assert word_statistics(file, tokenizer) == expected


@pytest.mark.parametrize("low, high", [(0, 0), (1e-9, 3e-9), (-5, 5), (-1e15, 1e15), (0, 5e-324)])
def test_ticks_span_the_values(low, high):
    values = ticks(low, high)
    assert 2 <= len(values) <= 7 and values[0] <= low and values[-1] >= high


def test_the_name_of_a_curve_does_not_cover_a_dot_that_is_later():
    html = chart("loss", [("training", "line", [(0, 9.0), (90, 4.0)]),
                          ("validation", "dots", [(50, 5.0), (95, 4.0)])], [("entropy", 6.0)])
    assert html.count("left:95.0%;") == 2 and html.count("left:100.0%;bottom") == 1


def test_curves_and_maps_are_drawn_to_scale():
    html = chart("loss", [("a", "line", [(0, 2.0), (5, 3.0), (7, float("nan")), (10, 4.0)])])
    assert 'd="M0.0 1000.0L500.0 500.0L1000.0 0.0"' in html
    assert chart("empty", [("a", "line", [(1, float("inf"))])]) == ""
    html = attention_map("head 1", [[1.0, 0.015], [0.25, 0.49]], ["<s>", "a" * 30])
    assert '<path d="M0 1h1v1h-1z" fill-opacity="0.5">' in html and "M1 0" not in html
    assert html.count("&lt;s&gt;</text>") == 2 and html.count("a" * 11 + "…</text>") == 2
    points = [(i, i) for i in range(100_001)]
    assert len(downsample(points)) < 600 and downsample(points)[-1] == points[-1]
