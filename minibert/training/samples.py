"""What a trained model says at the end of a run: filled masks, continued texts or filled spans."""
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
    model, tokenizer, run = trainer.eval_model, trainer.tokenizer, trainer.run
    command, as_question, answers = SAMPLES[trainer.config.objective]
    mask, style = tokenizer.mask_token, TextStyle.of(sys.stdout)
    probes = (known_probes(run.preset, trainer.config.corpus, tokenizer)
              or masked_passages(trainer.data.validation.examples, tokenizer))
    room = model.config.max_length - (CONTINUATION_TOKENS if command == "generate" else 0)
    questions = [as_question(probe, mask) for probe in probes]
    questions = [q for q in questions if q and len(tokenizer.encode(q).ids) <= room]
    for question in questions:
        print(f"\n{question}")
        print("\n".join(answers(model, tokenizer, question, style)))
    first = questions[0] if questions else as_question(f"Return a new {mask} object.", mask)
    print(f"\nask it yourself:  python -m minibert {command} {shlex.quote(str(run.folder))} "
          f"{shlex.quote(first)}")


def filled_masks(model, tokenizer, text, style):
    return [answer_line(answer, style) for answer in fill_mask(model, tokenizer, text)]


def answer_line(answer, style):
    """Return one answer of ``fill_mask`` as a line; a line end is shown as a sign.

    {"score": 0.31, "token_str": " list", ...} -> '    31.0%  list'
    """
    text = answer["token_str"]
    return f"   {answer['score']:6.1%}  {style.visible(text.strip() or text)}"


def continuations(model, tokenizer, prompt, style):
    [text] = continue_texts(model, tokenizer, [prompt], CONTINUATION_TOKENS)
    return [f"   {style.visible(text)}"]


def filled_spans(model, tokenizer, text, style):
    spans = fill_spans(model, tokenizer, text)
    return [f"   {sentinel}  {style.visible(span)}" for sentinel, span in spans.items()]


SAMPLES = {  # objective -> (command, (text with a mask, mask) -> question, its answers as lines)
    "masked": ("fill-mask", lambda text, mask: text, filled_masks),
    "causal": ("generate", lambda text, mask: text.partition(mask)[0].rstrip(), continuations),
    "span-corruption": ("fill-spans", lambda text, mask: text.replace(mask, SENTINELS[0]),
                        filled_spans),
}
