"""What a trained model says at the end of a run: filled masks, or continued texts."""
import shlex
import sys

from minibert.analysis.mask_filling import fill_mask
from minibert.analysis.probes import known_probes, masked_passages
from minibert.generation.command import continue_texts, fill_spans
from minibert.generation.span_corruption import SENTINELS
from tokenizer.utils.terminal import TextStyle

CONTINUATION_TOKENS = 24


def print_samples(trainer):
    """Ask the model a few sentences: those of a known corpus, else validation passages."""
    tokenizer, run = trainer.tokenizer, trainer.run
    probes = (known_probes(run.preset, trainer.config.corpus, tokenizer)
              or masked_passages(trainer.data.validation.examples, tokenizer))
    show, command, new_tokens = print_filled_masks, "fill-mask", 0
    default = f"Return a new {tokenizer.mask_token} object."
    if trainer.config.objective == "causal":
        show, command, new_tokens = print_continuations, "generate", CONTINUATION_TOKENS
        # The text before the mask is a prompt.
        probes = [probe.partition(tokenizer.mask_token)[0].rstrip() for probe in probes]
        probes = [probe for probe in probes if probe]
        default = "Return a new"
    if trainer.config.objective == "span-corruption":
        show, command = print_filled_spans, "fill-spans"
        probes = [probe.replace(tokenizer.mask_token, SENTINELS[0]) for probe in probes]
        default = f"Return a new {SENTINELS[0]} object."
    room = trainer.model.config.max_length - new_tokens
    probes = [probe for probe in probes if len(tokenizer.encode(probe).ids) <= room]
    show(trainer.model, tokenizer, probes)
    question = probes[0] if probes else default
    print(f"\nask it yourself:  python -m minibert {command} {shlex.quote(str(run.folder))} "
          f"{shlex.quote(question)}")


def print_filled_masks(model, tokenizer, probes):
    """Print each sentence and the likeliest tokens for its mask."""
    style = TextStyle.of(sys.stdout)
    for probe in probes:
        print(f"\n{probe}")
        for answer in fill_mask(model, tokenizer, probe):
            print(answer_line(answer, style))


def answer_line(answer, style):
    """Return one answer of ``fill_mask`` as a line; a line end is shown as a sign.

    {"score": 0.31, "token_str": " list", ...} -> '    31.0%  list'
    """
    text = answer["token_str"]
    return f"   {answer['score']:6.1%}  {style.visible(text.strip() or text)}"


def print_continuations(model, tokenizer, prompts):
    """Print each prompt and what the model writes after it."""
    style = TextStyle.of(sys.stdout)
    for prompt in prompts:
        text, = continue_texts(model, tokenizer, [prompt], CONTINUATION_TOKENS)
        print(f"\n{prompt} ...\n   {style.visible(text)}")


def print_filled_spans(model, tokenizer, texts):
    """Print each text with a removed span, and what the model writes for it."""
    style = TextStyle.of(sys.stdout)
    for text in texts:
        spans = fill_spans(model, tokenizer, text)
        print(f"\n{text}")
        for sentinel, span in spans.items():
            print(f"   {sentinel}  {style.visible(span)}")
