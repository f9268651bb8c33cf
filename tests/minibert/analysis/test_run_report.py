"""The page of a run: whole, self-contained, safe whatever a run holds; and of everything that can be called a run."""
import json
import math
import re
import shutil
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from reading_models import LINES, model_for, saved, tokenizer_of

from data import prepare
from minibert.analysis.report.facts import gather, held_out_words, main
from minibert.analysis.report.html import EMPTY, as_text, coloured_tokens, table, tag
from minibert.analysis.report.page import page
from minibert.analysis.report.svg import attention_map, bars, chart, downsample, ticks
from minibert.config import BertConfig, TrainConfig
from minibert.formats.huggingface import save_pretrained
from minibert.formats.run_folder import write_config
from minibert.heads import BertForSequenceClassification
from tokenizer import ByteLevelBPE, WordPiece
from tokenizer.pretokenize import byte_characters

EVIL = '<script>alert("x")</script>'
METRICS = [{"label": "modernbert", "ln_vocab": 6.0, "unigram_entropy": 4.5},
           *({"step": step, "loss": 6 - step / 10, "learning_rate": 1e-3, "grad_norm": 1.0, "elapsed": 6.0 * step} for step in range(1, 21)),
           {"step": 10, "eval_loss": 4.0, "eval_perplexity": math.exp(4), "eval_accuracy": 0.25, "eval_masked": 90, "elapsed": 60.0},
           {"step": 20, "eval_loss": 3.5, "eval_perplexity": math.exp(3.5), "eval_accuracy": 0.5, "eval_masked": 90, "eval_bits_per_byte": 1.25,
            "elapsed": 120.0, "final": True}]


LOADS = ("src", "href", "srcset", "data", "action", "xlink:href")


class Page(HTMLParser):
    """Parses a page, and fails where an element is not closed, or closed in the wrong place."""

    def __init__(self, html):
        super().__init__()
        self.open, self.seen, self.loads, self.metas, self.text = [], [], [], {}, ""
        self.feed(html)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, name, attributes):
        self.seen.append(name)
        self.loads += [(key, value) for key, value in attributes if key in LOADS or key[:2] == "on"]
        if name == "meta" and "content" in dict(attributes):
            values = dict(attributes)
            self.metas[values.get("name") or values["http-equiv"]] = values["content"]
        if name not in EMPTY:
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text += data


def checked(html):
    """A page that is well formed, loads nothing, runs nothing, and forbids the browser to."""
    parsed = Page(html)
    assert not parsed.loads and not {"script", "img", "iframe", "object", "link", "form"} & set(parsed.seen)
    assert html.startswith("<!DOCTYPE html>") and "url(" not in html and "@import" not in html and "://" not in html
    assert parsed.metas["Content-Security-Policy"] == "default-src 'none'; style-src 'unsafe-inline'"
    assert parsed.metas["viewport"].startswith("width=device-width") and "prefers-color-scheme: dark" in html
    return parsed


@pytest.fixture(scope="module")
def bpe():
    return tokenizer_of()


@pytest.fixture
def run(bpe, tmp_path):
    """A run that came to its end, but for its checkpoints."""
    folder = saved(tmp_path / "my run", model_for(bpe), bpe)
    config = TrainConfig(corpus="mine", examples="lines", max_length=24, max_steps=20)
    write_config(folder, "quickstart", model_for(bpe).config, config)
    for name in ("train", "eval"):
        prepare(LINES[:4], bpe, folder / "data" / name, workers=1)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in METRICS))
    return folder


# Of what


def test_a_whole_run_has_all_sections(run, capsys):
    main([str(run)])
    assert capsys.readouterr().out.strip() == str(run / "report.html")
    html = (run / "report.html").read_text(encoding="utf-8")
    parsed = checked(html)
    headings = re.findall(r"<h2>(.*?)</h2>", html)
    assert headings == ["Training", "Evaluation", "Filled masks", "Attention", "A text in its tokens", "Vocabulary", "Configuration"]
    for part in ("my run", "2 layers of 16, 2 heads", "trained to its end", "held-out loss", "3.500", "33.1", "50.0%", "1.250", "2.0", "20",
                 "unigram entropy", "preset quickstart", "whole words", "batch_size", "layer 1: its 2 heads"):
        assert part in parsed.text, part
    assert "class=\"note\"" not in html


def test_a_model_folder_alone_has_a_page(run, bpe, tmp_path):
    save_pretrained(model_for(bpe), tmp_path / "bare", bpe)
    for folder in (run / "model", tmp_path / "bare"):
        facts, tokenizer = gather(folder)
        parsed = checked(page(facts, tokenizer))
        assert "no metrics.jsonl" in parsed.text and "Attention" in parsed.text and "The training" not in parsed.text
        assert facts["masks"][0]["text"] == "Human thinking involves human <mask>."


def test_a_run_that_has_no_model_yet_has_a_page(run):
    (run / "model" / "model.safetensors").unlink()
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in METRICS[:-1]) + '{"step": 21, "lo')
    facts, tokenizer = gather(run)
    parsed = checked(page(facts, tokenizer))
    assert "No model is shown" in parsed.text and "training has not come to its end" in parsed.text and "Vocabulary" in parsed.text
    assert facts["training"]["step"] == 20 and "4.000" in parsed.text and "Filled masks" not in parsed.text


def test_a_run_that_has_only_begun_says_so(run, bpe):
    shutil.rmtree(run / "model")
    assert gather(run)[0]["notes"] == ["No model is shown: no checkpoint was written yet."]


def test_the_configuration_of_a_family_has_no_fields_of_another(tmp_path):
    for family, there in (("bert", False), ("modernbert", True)):
        tokenizer = tokenizer_of()
        facts, _ = gather(saved(tmp_path / family, model_for(tokenizer, family), tokenizer))
        text = checked(page(facts, tokenizer)).text
        assert ("global_rope_theta" in text) == ("local_attention" in text) == there and "type_vocab_size" in text
        assert "global_rope_theta" in facts["model"]


def test_metrics_without_anything_else_have_a_page(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in METRICS))
    facts, tokenizer = gather(tmp_path)
    assert len(facts["notes"]) == 3 and "3.500" in checked(page(facts, tokenizer)).text


def test_a_model_that_was_fine_tuned_has_a_page(bpe, tmp_path):
    save_pretrained(BertForSequenceClassification(model_for(bpe).config, ("bad", "good")), tmp_path, bpe)
    result = {"tuning": {"tune": "lora"}, "metric": "accuracy", "train": 90, "constant": 0.5, "pretrained": {"mean": 0.8125, "deviation": 0.01}}
    (tmp_path / "finetune.json").write_text(json.dumps(result))
    facts, tokenizer = gather(tmp_path)
    parsed = checked(page(facts, tokenizer))
    assert "loraaccuracy0.8125 ± 0.01000.500090" in parsed.text  # the cells of a row
    assert "No mask is filled" in parsed.text and "Attention" in parsed.text


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        gather(tmp_path / "none")
    with pytest.raises(ValueError, match="not a run directory"):
        gather(tmp_path)


def test_a_wordpiece_run_has_a_page(tmp_path):
    tokenizer = tokenizer_of("wordpiece")
    facts, _ = gather(saved(tmp_path, model_for(tokenizer, "bert"), tokenizer), ["the <mask> eats x7 fish"])
    parsed = checked(page(facts, tokenizer))
    assert facts["masks"][0]["text"] == "the [MASK] eats x7 fish" and 'class="unknown' in page(facts, tokenizer) and "WordPiece" in parsed.text


@pytest.mark.parametrize("name, content, note", [
    ("metrics.jsonl", '{"step": 1, "loss": 1' + "0" * 400 + "}", "Left out of the curves: 1 value"),
    ("metrics.jsonl", '{"step": 1' + "0" * 400 + ', "loss": 1}', "Left out of the curves: 1 value"),
    ("metrics.jsonl", "[" * 100_000, ""),
    ("metrics.jsonl", '{"step": 1, "eval_loss": 1e308}\n{"step": 2, "eval_loss": -1e308}\n{"step": 1e308, "loss": 1}', "curves: 3 values"),
    ("metrics.jsonl", '{"unigram_entropy": 1e308}\n{"step": 1, "loss": 1}\n{"step": 2, "loss": -1e99}', ""),
    ("finetune.json", "[" * 100_000, "Nothing is shown of "),
    ("finetune.json", '{"tuning": {"tune": 1}, "metric": 2, "train": 9, "constant": 1, "pretrained": {"deviation": 0, "mean": 1' + "0" * 400 + "}}",
     "Nothing is shown of "),
    ("config.json", "[" * 100_000, "No configuration of the training is shown"),
])
def test_a_hostile_file_of_a_run_does_not_stop_the_page(tmp_path, name, content, note):
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in METRICS))
    (tmp_path / name).write_text(content)
    facts, tokenizer = gather(tmp_path)
    assert note in checked(page(facts, tokenizer)).text


@pytest.mark.parametrize("change, note", [
    ({"preset": None}, "preset is of type NoneType"), ({"preset": []}, "preset is of type list"), ({"preset": 5}, "preset is of type int"),
    ({"train": {"corpus": []}}, "corpus is '[]', a value of the wrong type"), ({"train": {"data": 1.5}}, "data is '1.5', a value of the wrong type"),
    ({"train": 5}, "train is of type int"),
])
def test_a_configuration_with_values_of_the_wrong_type_is_a_note(run, change, note):
    stored = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(stored | change))
    facts, _ = gather(run)
    assert len(facts["notes"]) == 1 and note in facts["notes"][0] and facts["train"] == {} and facts["masks"]


# What it says


def test_the_texts_that_are_asked_can_be_given(run):
    texts = ["He broke the [MASK].", "The <mask> eats <mask>.", "no mask"]
    facts, tokenizer = gather(run, texts)
    assert [(asked["text"], len(asked["answers"])) for asked in facts["masks"]] == [("He broke the <mask>.", 1), ("The <mask> eats <mask>.", 2)]
    assert facts["attention"]["text"] == "He broke the <mask>."
    assert facts["samples"][1:] == ["He broke the <mask>.", "The <mask> eats <mask>.", "no mask"]
    assert "(mask 2)" in checked(page(facts, tokenizer)).text
    with pytest.raises(ValueError, match="the text has 62 tokens"):
        gather(run, ["<mask>" + " cat" * 59])


def test_without_texts_held_out_passages_are_asked_or_what_the_preset_knows(run, bpe):
    facts, _ = gather(run)
    assert all("<mask>" in asked["text"] for asked in facts["masks"]) and len(facts["masks"]) == 2
    write_config(run, "kant", model_for(bpe).config, TrainConfig(corpus="kant", max_steps=1))
    assert [asked["text"] for asked in gather(run)[0]["masks"]] == ["Human thinking involves human <mask>.", "The Critique of <mask> Reason."]


def test_values_that_are_not_the_presets_are_told(run, bpe):
    facts, tokenizer = gather(run)
    assert {"max_length", "hidden_size", "examples"} <= set(facts["unlike_preset"]) and "family" not in facts["unlike_preset"]
    assert '<tr><th scope="row">max_length</th><td><b>24</b></td></tr>' in page(facts, tokenizer)


def test_whole_words_of_held_out_text_by_hand():
    """ab is a token, b and c are; of the words ab, ' c', ab and bc (two tokens) three are whole; a line begins with a word."""
    tokenizer = ByteLevelBPE(["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(byte_characters()), "ab", "Ġc"], [("a", "b"), ("Ġ", "c")])

    ids = np.array([tokenizer.token_to_id(token) for token in ("ab", "Ġc", "ab", "b", "c")])
    file = SimpleNamespace(ids=ids, segments=np.array([0, 2, 3, 5]))
    assert held_out_words(file, tokenizer) == {"words": 4, "whole": 0.75, "tokens_per_word": 1.25}
    assert held_out_words(SimpleNamespace(ids=ids[:0], segments=np.array([0])), tokenizer) == {}


def test_a_long_text_is_drawn_in_part(run):
    facts, tokenizer = gather(run, ["cat " * 36])
    assert facts["attention"]["length"] == 39 and len(facts["attention"]["layers"][0][0]["weights"]) == 32
    assert "Shown are the first 32 of 39 tokens" in checked(page(facts, tokenizer)).text


def test_json_has_the_facts(run, tmp_path, capsys):
    main([str(run), "--out", str(tmp_path / "a.html"), "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["training"]["finished"] and facts["training"]["curves"]["eval_loss"] == [[10, 4.0], [20, 3.5]]
    assert facts["out"] == str(tmp_path / "a.html") and checked((tmp_path / "a.html").read_text(encoding="utf-8"))


# Safe


def test_nothing_in_a_run_is_taken_for_markup(bpe, tmp_path):
    """A token, a label, a preset, a name of a metric, a folder that look like a script are shown, and do not run."""
    tokenizer = WordPiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", EVIL, "<b>", "a", "\x1b", "\u202e"])
    model = model_for(tokenizer)
    model.head.bias.data[5] = 50  # the likeliest answer to all
    folder = saved(tmp_path / "<img src=x onerror=alert(1)>", model, tokenizer)
    write_config(folder, EVIL, BertConfig(), TrainConfig(corpus=EVIL, max_steps=1))
    lines = [{"label": EVIL, "unigram_entropy": EVIL}, {"step": 1, "loss": 3.0, EVIL: 1.0, "elapsed": "x"}, {"step": EVIL, "loss": EVIL},
             {"step": 2, "eval_loss": float("nan"), "elapsed": 1.0}, {"step": 2, "eval_loss": 3.0, "eval_accuracy": EVIL, "eval_perplexity": True}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "finetune.json").write_text(json.dumps({"tuning": {"tune": EVIL}, "metric": EVIL, "train": EVIL, "constant": 0,
                                                      "pretrained": {"mean": 1, "deviation": 0}}))
    facts, _ = gather(folder, [f"a [MASK] {EVIL} <b> \x1b\u202e"])
    assert facts["training"]["evaluations"] == [{"step": 2, "eval_loss": 3.0}]  # no text, no bool, no NaN
    json.dumps(facts, allow_nan=False)
    html = page(facts, tokenizer)
    parsed = checked(html)
    assert parsed.text.count(EVIL) > 3 and "<script" not in html and "<img" not in html and "\x1b" not in html and "\u202e" not in html


def test_half_a_character_does_not_stop_the_page(run):
    facts, tokenizer = gather(run)
    facts["folder"] = "half \udc80"
    checked(page(facts, tokenizer)).text.encode("utf-8")


@pytest.mark.parametrize("value, html", [("a & b", "a &amp; b"), ('"', "&quot;"), ("\x00\ud800\n", "\\u0000\\ud800\n"), (3, "3")])
def test_texts_are_escaped(value, html):
    assert as_text(value) == html and tag("p", value, title=value) == f'<p title="{html}">{html}</p>'
    assert table([(value, value)]).count(html) == 2


# Drawings


def test_tokens_are_coloured_as_in_a_terminal():
    tokenizer = ByteLevelBPE(["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(byte_characters()), "ab"], [("a", "b")])
    assert coloured_tokens(tokenizer, "ab<\n") == (
        '<p class="tokens"><span class="special a">&lt;s&gt;</span><span class="token b">ab</span><span class="token a">&lt;</span>'
        '<span class="token b">↵</span>\n<span class="special a">&lt;/s&gt;</span></p>')


def test_ticks_are_round_numbers_around_what_is_shown():
    assert ticks(0, 20) == [0, 5, 10, 15, 20] and ticks(3.5, 6) == [3.5, 4, 4.5, 5, 5.5, 6] and ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    for low, high in ((0, 0), (1e-9, 3e-9), (-5, 5), (0.1, 0.1), (1e12, 2e12), (-1e100, 1e100), (0, 5e-324), (-3, -2.9), (0, 1_000_000), (2.9, 9.02)):
        found = ticks(low, high)
        assert 2 <= len(found) <= 7 and found[0] <= low and found[-1] >= high and len(set(found)) == len(found)


def test_a_curve_is_where_its_values_are():
    """Steps 0 to 10 over the whole width; 2 at the bottom, 4 at the top; what is no number is left out."""
    html = chart("loss", [("a", "line", [(0, 2.0), (5, 3.0), (7, math.nan), (10, 4.0)]), ("b", "dots", [(5, 4.0)])], guide=("level", 3.0))
    assert '<path class="line" d="M0.0 1000.0L500.0 500.0L1000.0 0.0">' in html and '<path class="dots" d="M500.0 0.0h0">' in html
    assert '<path class="guide" d="M0 500.0H1000">' in html and 'style="bottom:50.0%">3</span>' in html and "level" in html
    assert chart("nothing", [("a", "line", [(1, math.inf), (2, 1e308), (3, 10**400)])]) == "" and Page(chart("one", [("a", "line", [(1, 0.0)])]))


def test_long_curves_are_thinned_but_for_their_end():
    points = [(n, n) for n in range(100_001)]
    assert len(downsample(points)) < 600 and downsample(points)[-1] == (100_000, 100_000) and downsample(points[:400]) == points[:400]


def test_an_attention_map_has_a_square_for_each_weight_that_can_be_seen():
    html = attention_map("head 1", [[1.0, 0.015], [0.25, 0.49]])
    assert 'viewBox="0 0 2 2"' in html and "<text" not in html
    assert '<path d="M0 0h1v1h-1z" fill-opacity="1">' in html and '<path d="M0 1h1v1h-1z" fill-opacity="0.5">' in html
    assert '<path d="M1 1h1v1h-1z" fill-opacity="0.7">' in html and "M1 0" not in html
    assert '<path d="M0 0h2v1h-2zM0 1h2v1h-2z" fill-opacity="0.7">' in attention_map("alike", [[0.5, 0.5], [0.5, 0.5]])
    labelled = attention_map("layer 1", [[1.0, 0.0], [0.3, 0.7]], ["<s>", "a" * 30])
    assert labelled.count("&lt;s&gt;</text>") == 2 and labelled.count("a" * 11 + "…</text>") == 2 and Page(labelled)


def test_bars_are_as_long_as_their_share():
    assert bars([("9", "a", 0.25)]) == ('<div class="bars"><span>9</span><span class="mono">a</span><i style="width:25.0%"></i></div>')
