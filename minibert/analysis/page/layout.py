"""Lay out the facts of a run (``facts.py``) as an HTML page; empty sections are left out."""
import shlex
from pathlib import Path

import numpy as np

from minibert.analysis.attention_maps import SHARES
from minibert.analysis.page.html import (
    Markup,
    colored_tokens,
    document,
    join,
    read_file,
    table,
    tag,
)
from minibert.analysis.page.svg import attention_map, bars, chart
from minibert.analysis.plots import curve_names, smooth
from tokenizer.utils.terminal import TextStyle, plural

METRICS = {  # key in metrics.jsonl -> (name, format)
    "eval_loss": ("loss, nats per token to predict", "{:.3f}"),
    "eval_perplexity": ("perplexity", "{:,.1f}"),
    "eval_accuracy": ("accuracy", "{:.1%}"),
    "eval_bits_per_byte": ("bits per byte", "{:.3f}"),
    "eval_nsp_accuracy": ("accuracy of sentence pairs", "{:.1%}"),
    "eval_nsp_chance": ("accuracy of the more frequent answer", "{:.1%}"),
    "eval_nsp_loss": ("loss of sentence pairs, nats", "{:.3f}"),
    "eval_masked": ("tokens to predict", "{:,}"),
    "eval_pairs": ("sentence pairs", "{:,}"),
}
TILES = ("eval_loss", "eval_perplexity", "eval_accuracy", "eval_bits_per_byte")
SMALL_CURVES = (
    ("eval_accuracy", "Accuracy, validation", "dots"),
    ("nsp_accuracy", "Accuracy of sentence pairs, training", "line"),
    ("learning_rate", "Learning rate", "line"),
    ("grad_norm", "Gradient norm", "line"),
)
GUIDES = {  # losses that are known before training: key in metrics.jsonl -> name
    "ln_vocab": "ln V",
    "unigram_entropy": "unigram entropy",
    "copying_loss": "copying",
}
GUIDES_NOTE = (
    "Dashed: the loss if all tokens were equally likely (ln V); if the model knew only how "
    "frequent each token is (unigram entropy); and if it also looked at the token to predict, "
    "which masking leaves visible in one case of five (copying). Below these, it reads context."
)
KINDS = {  # kind -> (name, unit of the length of a token)
    "bpe": ("byte-level BPE", "bytes, with the space before a word"),
    "wordpiece": ("WordPiece", "characters"),
}
MAX_LENGTHS = 24  # bars of the histogram of token lengths


def page(facts, tokenizer=None, packed=None):
    """Return the HTML of a page for what ``collect_facts`` returns.

    With ``packed``, the model runs in the page, and views of it take the place of the pictures of
    its attention and its tokens.
    """
    name = Path(facts["folder"]).resolve().name
    command = f"python -m minibert page {shlex.quote(facts['folder'])}"
    return document(
        f"{name} - minibert",
        tag("h1", name),
        *(tag("p", note, class_="note") for note in facts["notes"]),
        summary(facts),
        Markup(read_file("views.html")) if packed else "",
        curves(facts["training"]),
        evaluation(facts["training"], facts["finetuned"]),
        masks(facts["masks"]),
        *(() if packed else (attention(facts["attention"]), samples(facts["samples"], tokenizer))),
        vocabulary(facts["vocabulary"], facts["validation_words"], tokenizer),
        configuration(facts),
        soft(join(["made by ", tag("code", command)])),
        data=packed,
    )


def section(title, *children):
    """Return a part of the page, or "" if it has no content."""
    return tag("section", tag("h2", title), *children) if any(children) else ""


def soft(*children):
    return tag("p", *children, class_="soft")


def summary(facts):
    """Return one line about the model, and tiles with its main numbers."""
    model = facts["model"]
    training = facts["training"]
    parts = []
    tiles = []
    if model:
        parts.append(
            f"{model['family']}: {plural(model['num_hidden_layers'], 'layer')} "
            f"of {model['hidden_size']}, {plural(model['num_attention_heads'], 'head')}, "
            f"{model['parameters']:,} parameters"
        )
    if facts["preset"]:
        parts.append(f"preset {facts['preset']}")
    if training:
        parts.append("training finished" if training["finished"] else "training not finished")
        last = training["evaluations"][-1] if training["evaluations"] else {}
        for key in TILES:
            if key in last:
                name, shape = METRICS[key]
                tiles.append((shape.format(last[key]), f"validation {name.split(',')[0]}"))
        tiles.append((f"{training['step']:,}", "steps"))
        tiles.append((f"{training['seconds'] / 60:,.1f}", "minutes of training"))
    boxes = [tag("div", tag("b", value), tag("span", name)) for value, name in tiles]
    return join([soft("; ".join(parts)), tag("div", *boxes, class_="tiles") if boxes else ""])


def curves(training):
    """Return the loss curves, large, and other curves, small."""
    found = training.get("curves", {})
    losses = found.get("loss", [])
    smoothed = smooth([value for _, value in losses])
    expected = training.get("expected", {})
    guides = [(name, expected[key]) for key, name in GUIDES.items() if key in expected]
    train_name, eval_name = curve_names(expected)
    lines = [
        ("", "raw", losses),
        (train_name, "line", [(step, mean) for (step, _), mean in zip(losses, smoothed)]),
        (eval_name, "dots", found.get("eval_loss", [])),
    ]
    small = []
    for name, caption, kind in SMALL_CURVES:
        if len(found.get(name, [])) > 1:
            small.append(chart(caption, [(caption, kind, found[name])], small=True))
    loss = chart("Loss, nats per token to predict", lines, guides)
    note = soft(GUIDES_NOTE) if loss and guides else ""
    return section("Training", loss, note, tag("div", *small, class_="pair") if small else "")


def evaluation(training, finetuned):
    """Return the last evaluation, and the results of fine-tuning."""
    children = []
    evaluations = training.get("evaluations")
    if evaluations:
        last = evaluations[-1]
        best = min(evaluations, key=lambda line: line["eval_loss"])
        children.append(soft(
            f"Step {last['step']:,}, validation text, fixed masks. The lowest loss of "
            f"{plural(len(evaluations), 'evaluation')} is {best['eval_loss']:.3f} at step "
            f"{best['step']:,}."
        ))
        shown = [(name, shape, last[key]) for key, (name, shape) in METRICS.items() if key in last]
        children.append(table([(name, shape.format(value)) for name, shape, value in shown]))
    if finetuned:
        rows = []
        for one in finetuned:
            score, constant = ("undefined" if value is None else f"{value:.4f}"
                               for value in (one["mean"], one["constant"]))
            if one["deviation"]:  # 0 for one seed
                score += f" ± {one['deviation']:.4f}"
            rows.append((one["folder"], one["tune"], one["metric"], score,
                         constant, one["train"]))
        head = ("folder", "tuned", "metric", "mean over seeds", "constant answer", "examples")
        children += [tag("h3", "Fine-tuned"), table(rows, head)]
    return section("Evaluation", *children)


def masks(filled):
    """Return each text with bars for the answers to its masks."""
    children = []
    for one in filled:
        for i, answers in enumerate(one["answers"], start=1):
            title = one["text"] + (f" (mask {i})" if len(one["answers"]) > 1 else "")
            rows = []
            for answer in answers:
                token = TextStyle().visible(answer["token_str"].strip() or answer["token_str"])
                rows.append((f"{answer['score']:.1%}", token, answer["score"]))
            children += [tag("h3", title), bars(rows)]
    return section("Filled masks", *children)


def attention(facts):
    """Return a map for each layer, and its heads in a part that opens."""
    if not facts:
        return ""
    tokens = facts["tokens"]
    explanation = (
        "Each row's token looks at the columns' tokens, the more the fuller the square. Each layer "
        "is the mean of its heads. Weights show what is read, not why."
    )
    if facts["length"] > len(tokens):
        explanation += f" The first {len(tokens)} of {facts['length']} tokens are shown."
    maps = []
    details = []
    for i, heads in enumerate(facts["layers"], start=1):
        mean = np.mean([head["weights"] for head in heads], axis=0).tolist()  # (T, T)
        maps.append(attention_map(f"layer {i}", mean, tokens))
        head_maps = []
        for j, head in enumerate(heads, start=1):
            head_maps.append(attention_map(f"head {j}: {habit(head)}", head["weights"]))
        title = f"layer {i}: {plural(len(heads), 'head')}"
        body = tag("div", *head_maps, class_="heads")
        details.append(tag("details", tag("summary", title), body))
    text = tag("p", facts["text"], class_="mono")
    return section("Attention", soft(explanation), text, tag("div", *maps, class_="maps"), *details)


def habit(head):
    """Return where a head looks with at least half of its attention, or how broadly it looks.

    >>> habit({"itself": 0.1, "previous": 0.8, "next": 0, "first": 0.1, "last": 0, "spread": 1.6})
    'previous, 80%'
    """
    name = max(SHARES, key=head.get)
    return f"{name}, {head[name]:.0%}" if head[name] >= 0.5 else f"over {head['spread']:.1f}"


def samples(texts, tokenizer):
    """Return texts split into colored tokens."""
    if not texts:
        return ""
    explanation = "Spaces are ·, line ends ↵; the bytes of a split character are escaped."
    tokens = [colored_tokens(tokenizer, text) for text in texts]
    return section("Tokens of a text", soft(explanation), *tokens)


def vocabulary(facts, words, tokenizer):
    """Return the size of the vocabulary, the lengths of its tokens, and the longest ones."""
    if not facts:
        return ""
    kind, unit = KINDS[facts["kind"]]
    total = sum(facts["lengths"].values())
    share = f" ({facts['begin_a_word'] / total:.0%})" if total else ""
    special = [f"{token} {token_id}" for token, token_id in facts["special_tokens"].items()]
    rows = [
        ("kind", kind),
        ("tokens", f"{facts['vocab_size']:,}"),
        ("special tokens", ", ".join(special)),
        ("made of", ", ".join(f"{count:,} {name}" for name, count in facts["made_of"].items())),
        ("begin a word", f"{facts['begin_a_word']:,}{share}"),
    ]
    if words:
        rows.append((
            "validation words",
            f"{words['whole']:.1%} of {words['words']:,} are one token; "
            f"{words['tokens_per_word']:.2f} tokens per word",
        ))
    rows.append(("fingerprint", facts["fingerprint"][:16]))
    most = max(facts["lengths"].values(), default=1)
    histogram = []
    for length, count in list(facts["lengths"].items())[:MAX_LENGTHS]:
        histogram.append((f"{count:,}", length, count / most))
    longest = []
    for token in facts["longest_of_letters"] or facts["longest_tokens"]:
        shown = TextStyle().visible(tokenizer.token_text(token))
        longest.append((tokenizer.token_to_id(token), tag("code", shown)))
    lengths = tag("div", tag("h3", f"Tokens by length ({unit})"), bars(histogram))
    tokens = tag("div", tag("h3", "Longest tokens of letters"), table(longest))
    return section("Vocabulary", table(rows), tag("div", lengths, tokens, class_="pair"))


def configuration(facts):
    """Return all fields of both configurations."""
    parts = []
    for key, title in (("model", "Model"), ("train", "Training")):
        rows = [(name, value) for name, value in facts[key].items() if value != ""]
        if rows:
            parts.append(tag("div", tag("h3", title), table(rows)))
    return section("Configuration", tag("div", *parts, class_="pair") if parts else "")
