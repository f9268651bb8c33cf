"""The facts of a run (``report.py``) as an HTML page: section after section, each left out where there is nothing to say."""
import shlex
from dataclasses import fields
from pathlib import Path

from minibert.analysis.plots import smooth
from minibert.analysis.report.html import coloured_tokens, document, joined, table, tag
from minibert.analysis.report.svg import attention_map, bars, chart
from minibert.config import BertConfig
from tokenizer.inspect import plural
from tokenizer.utils.terminal import TextStyle, visible

SCORES = {"eval_loss": ("loss, nats a masked token", "{:.3f}"), "eval_perplexity": ("perplexity", "{:,.1f}"),
          "eval_accuracy": ("masked accuracy", "{:.1%}"), "eval_bits_per_byte": ("bits a byte", "{:.3f}"),
          "eval_nsp_accuracy": ("pairs told right", "{:.1%}"), "eval_nsp_chance": ("pairs, by the more frequent answer", "{:.1%}"),
          "eval_nsp_loss": ("loss of pairs, nats", "{:.3f}"), "eval_masked": ("masked tokens asked", "{:,}"), "eval_pairs": ("pairs asked", "{:,}")}
SMALL_CURVES = (("eval_accuracy", "Masked accuracy, held out", "dots"), ("nsp_accuracy", "Pairs told right, training", "line"),
                ("learning_rate", "Learning rate", "line"), ("grad_norm", "Length of the gradient", "line"))


def page(facts, tokenizer=None):
    """Facts as ``report.gather`` finds them -> the HTML of a page, which loads nothing and runs nothing."""
    name = Path(facts["folder"]).resolve().name
    sections = (summary, curves, scores, masks, attention, samples, vocabulary, configuration)
    return document(f"{name} - minibert", tag("h1", name), *(tag("p", note, class_="note") for note in facts["notes"]),
                    *(section(facts, tokenizer) for section in sections),
                    tag("p", "made by ", tag("code", f"python -m minibert report {shlex.quote(facts['folder'])}"), class_="soft"))


def section(title, *children):
    """A part of the page; nothing where it has no content."""
    return tag("section", tag("h2", title), *children) if any(children) else ""


def summary(facts, _):
    """One line of what the model is, and its main numbers on tiles."""
    model, training = facts["model"], facts["training"]
    said = [f"{model['family']}: {model['num_hidden_layers']} layers of {model['hidden_size']}, {model['num_attention_heads']} heads, "
            f"{model['parameters']:,} parameters"] if model else []
    said += [f"preset {facts['preset']}"] * bool(facts["preset"])
    tiles = []
    if training:
        said.append("trained to its end" if training["finished"] else "training has not come to its end")
        last = training["evaluations"][-1] if training["evaluations"] else {}
        tiles = [(SCORES[key][1].format(last[key]), f"held-out {SCORES[key][0].split(',')[0]}")
                 for key in ("eval_loss", "eval_perplexity", "eval_accuracy", "eval_bits_per_byte") if key in last]
        tiles += [(f"{training['step']:,}", "steps"), (f"{training['seconds'] / 60:,.1f}", "minutes of training")]
    return joined((tag("p", "; ".join(said), class_="soft"),
                   tag("div", *(tag("div", tag("b", number), tag("span", what)) for number, what in tiles), class_="tiles") if tiles else ""))


def curves(facts, _):
    """The loss, large; what else was measured, small."""
    found = facts["training"].get("curves", {})
    entropy = facts["training"].get("expected", {}).get("unigram_entropy")
    loss = found.get("loss", [])
    smoothed = list(zip((step for step, _ in loss), smooth([value for _, value in loss])))
    main = chart("Loss, nats a masked token", [("training", "line", smoothed), ("held out", "dots", found.get("eval_loss", []))],
                 None if entropy is None else ("unigram entropy: context ignored", entropy))
    small = [chart(caption, [(caption, how, found[name])], small=True) for name, caption, how in SMALL_CURVES if len(found.get(name, [])) > 1]
    return section("Training", main, tag("div", *small, class_="pair") if any(small) else "")


def scores(facts, _):
    """The last evaluation in full, and what was fine-tuned."""
    evaluations, children = facts["training"].get("evaluations"), []
    if evaluations:
        last = evaluations[-1]
        loss, step = min((one["eval_loss"], one["step"]) for one in evaluations)
        rows = [(what, shape.format(last[key])) for key, (what, shape) in SCORES.items() if key in last]
        children = [tag("p", f"At step {last['step']:,}, on held-out text, with masks that never change. Lowest loss of "
                             f"{plural(len(evaluations), 'evaluation')}: {loss:.3f} at step {step:,}.", class_="soft"), table(rows)]
    if facts["finetuned"]:
        rows = [(one["folder"], one["tune"], one["metric"], f"{one['mean']:.4f} ± {one['deviation']:.4f}", f"{one['constant']:.4f}", one["train"])
                for one in facts["finetuned"]]
        head = ("folder", "what learned", "metric", "score over the seeds", "always the same answer", "examples")
        children += [tag("h3", "Fine-tuned"), table(rows, head)]
    return section("Evaluation", *children)


def masks(facts, _):
    """Each text with its masks filled."""
    children = []
    for asked in facts["masks"]:
        for number, answers in enumerate(asked["answers"], start=1):
            which = f" (mask {number})" if len(asked["answers"]) > 1 else ""
            rows = [(f"{answer['score']:.1%}", visible(answer["token_str"].strip() or answer["token_str"]), answer["score"]) for answer in answers]
            children += [tag("h3", asked["text"] + which), bars(rows)]
    return section("Filled masks", *children)


def attention(facts, _):
    """A map for each layer with the tokens beside it; its heads behind a line that opens."""
    seen = facts["attention"]
    if not seen:
        return ""
    shown, cut = len(seen["tokens"]), f" Shown are the first {len(seen['tokens'])} of {seen['length']} tokens."
    children = [tag("p", "Each row's token looks at the columns' tokens: a full square is all of its attention, one half as full a quarter. "
                         "Each layer is the mean of its heads. Weights show what is read, not why." + cut * (seen["length"] > shown), class_="soft"),
                tag("p", seen["text"], class_="mono")]
    maps, details = [], []
    for number, heads in enumerate(seen["layers"], start=1):
        mean = [[sum(weights) / len(heads) for weights in zip(*rows)] for rows in zip(*(head["weights"] for head in heads))]
        maps.append(attention_map(f"layer {number}", mean, seen["tokens"]))
        each = [attention_map(f"head {head}: {habit(one)}", one["weights"]) for head, one in enumerate(heads, start=1)]
        details.append(tag("details", tag("summary", f"layer {number}: its {plural(len(heads), 'head')}"), tag("div", *each, class_="heads")))
    return section("Attention", *children, tag("div", *maps, class_="maps"), *details)


def habit(head):
    """What a head does most, where it does one thing with half of its attention or more; else how broadly it looks.

    >>> habit({"itself": 0.1, "previous": 0.8, "next": 0.0, "first": 0.1, "last": 0.0, "spread": 1.6})
    'previous, 80%'
    """
    name = max(("itself", "previous", "next", "first", "last"), key=head.get)
    return f"{name}, {head[name]:.0%}" if head[name] >= 0.5 else f"over {head['spread']:.1f}"


def samples(facts, tokenizer):
    """Some texts cut into tokens, in colours."""
    return section("A text in its tokens", *([tag("p", "Spaces are ·, line ends ↵; bytes of a character that was cut are spelled.", class_="soft")]
                                             if facts["samples"] else []), *(coloured_tokens(tokenizer, text) for text in facts["samples"]))


def vocabulary(facts, tokenizer):
    """What the vocabulary holds: sizes, lengths, the longest tokens."""
    found, words = facts["vocabulary"], facts["held_out_words"]
    if not found:
        return ""
    count = sum(found["lengths"].values())
    rows = [("kind", {"bpe": "byte-level BPE", "wordpiece": "WordPiece"}[found["kind"]]), ("tokens", f"{found['vocab_size']:,}"),
            ("special tokens", ", ".join(f"{token} {number}" for token, number in found["special_tokens"].items())),
            ("made of", ", ".join(f"{number:,} {what}" for what, number in found["made_of"].items())),
            ("begin a word", f"{found['begin_a_word']:,}" + (f" ({found['begin_a_word'] / count:.0%})" if count else ""))]
    if words:
        rows.append(("whole words", f"{words['whole']:.1%} of {words['words']:,} held-out words are one token; "
                                    f"{words['tokens_per_word']:.2f} tokens a word"))
    rows.append(("fingerprint", found["fingerprint"][:16]))
    unit = "bytes, with the space before a word" if found["kind"] == "bpe" else "characters"
    most = max(found["lengths"].values(), default=1)
    histogram = [(f"{number:,}", length, number / most) for length, number in list(found["lengths"].items())[:24]]
    longest = [(tokenizer.token_to_id(token), tag("code", TextStyle().visible(tokenizer.token_text(token))))
               for token in found["longest_of_letters"] or found["longest_tokens"]]
    return section("Vocabulary", table(rows), tag("div", tag("div", tag("h3", f"How many tokens are how long ({unit})"), bars(histogram)),
                                                  tag("div", tag("h3", "The longest tokens of letters"), table(longest)), class_="pair"))


def configuration(facts, _):
    """Every number of the model and of the training; those in bold are not the preset's."""
    others = {"modernbert", "roberta", "bert"} - {facts["model"].get("family")}
    other = {f.name for f in fields(BertConfig) if f.metadata["help"].partition(":")[0] in others}  # fields of other families alone

    def rows(values):
        return [(name, tag("b", value) if name in facts["unlike_preset"] else value) for name, value in values.items()
                if value != "" and name not in other]
    titles = {"model": "The model", "train": "The training"}
    parts = [tag("div", tag("h3", title), table(rows(facts[name]))) for name, title in titles.items() if facts[name]]
    note = [tag("p", "In bold: what is not as the preset has it.", class_="soft")] if facts["unlike_preset"] else []
    return section("Configuration", *note, tag("div", *parts, class_="pair") if parts else "")
