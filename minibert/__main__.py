"""Use a trained model: ``python -m minibert COMMAND ...``. Each command has its own --help."""
import sys

from minibert.analysis import (
    attention_maps,
    compare,
    contextual_vectors,
    embed,
    mask_filling,
    minimal_pairs,
    plots,
    pseudo_likelihood,
    sentence_vectors,
)
from minibert.analysis.page import facts as page
from minibert.finetuning import command as finetune
from minibert.generation import command as generation
from tokenizer.utils.cli import run, suggestion

COMMANDS = {  # name -> (main function, one line of help)
    "fill-mask": (mask_filling.main, "fill the masks of a text"),
    "generate": (generation.main, "continue a text with a causal model"),
    "fill-spans": (generation.main_spans, "fill the spans of a text with an encoder-decoder"),
    "finetune": (finetune.main, "train for a task: labels of texts, tags of words, answers"),
    "compare": (compare.main, "fill the same masks with several models"),
    "attention": (attention_maps.main, "show where each layer or head looks"),
    "contexts": (contextual_vectors.main, "compare the vectors of one word in two sentences"),
    "embed": (embed.main, "train sentence vectors, or write those of a file"),
    "nearest": (sentence_vectors.main, "find the sentences nearest to a text"),
    "perplexity": (pseudo_likelihood.main, "score sentences by pseudo-perplexity"),
    "pairs": (minimal_pairs.main, "score minimal pairs: which of two sentences is likelier"),
    "plot": (plots.main, "plot the loss curves of runs"),
    "page": (page.main, "write an HTML page of a run, with the model in it"),
}


def main(args=None):
    """Run the command that the first argument names. Return its exit code."""
    args = sys.argv[1:] if args is None else args
    if not args or args[0] in ("-h", "--help"):
        print("usage: python -m minibert COMMAND ...\n")
        for name, (_, description) in COMMANDS.items():
            print(f"  {name:12}{description}")
        print("\npython -m minibert COMMAND --help describes a command.")
        return 0
    if args[0] not in COMMANDS:
        message = f"error: unknown command {args[0]}{suggestion(args[0], COMMANDS)}"
        print(f"{message}\n(python -m minibert --help lists the commands)", file=sys.stderr)
        return 2
    command, _ = COMMANDS[args[0]]
    return command(args[1:])


def cli():
    """The console script ``minibert``: ``main`` with one-line errors and an exit code."""
    run(main)


if __name__ == "__main__":
    cli()
