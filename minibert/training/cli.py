"""The command line of train.py, made from the dataclasses in minibert/config.py: one field, one flag, one line of help.

Precedence: a flag, else the preset, else the field's default. A resumed run takes its configuration from its own
config.json; a flag that says otherwise is refused unless --may-differ names it, so a run never changes by accident.
With --init the model's configuration is that of a folder, and a flag that says otherwise is refused as well.
"""
import re
from argparse import RawDescriptionHelpFormatter
from dataclasses import fields, replace
from pathlib import Path

from minibert.config import LENGTHS, BertConfig, TrainConfig, override
from minibert.formats.run_folder import read_config
from minibert.presets import PRESETS
from minibert.training.init_from import configuration
from tokenizer.formats.vocab_files import holds_tokenizer
from tokenizer.utils.cli import Parser, add_flags, explicit_flags, suggestion

# What may always differ when a run goes on: none of it changes what is computed (micro-batches: but for rounding, and dropout's draws).
HARMLESS = ("eval_every", "save_every", "keep_checkpoints", "log_every", "micro_batch_size",
            "keep_freed_memory")

GROUPS = {  # of --help: title -> fields of TrainConfig
    "where it begins": ("init",),
    "the text": ("corpus", "text_field", "filters", "sentences", "stream", "data"),
    "the tokenizer (its size is --vocab-size)": ("tokenizer", "tokenizer_kind", "tokenizer_criterion", "lowercase", "min_frequency"),
    "examples and masks": ("examples", "max_length", "masking", "mlm_probability", "nsp_weight"),
    "the length of the run: one of these": LENGTHS,
    "a step, and the memory it takes": ("batch_size", "micro_batch_size", "batch_ramp", "ramp_from", "gradient_checkpointing", "compile"),
    "optimiser and learning rate": ("optimizer", "learning_rate", "muon_learning_rate", "muon_momentum", "schedule", "warmup", "decay",
                                    "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm"),
    "the machine": ("device", "precision", "keep_freed_memory", "seed"),
    "what is written, and how often": ("log_every", "eval_every", "eval_examples", "save_every", "keep_checkpoints"),
}
EPILOG = """\
Values in brackets are those of quickstart; `--preset NAME --show` prints all of another preset. With --init the model's come from its
folder, and the training's are plain: adamw at 1e-4, 15 % masked, a length that is given.

  train.py --minutes 1                             a first look
  train.py --corpus my_texts/ --out runs/mine      your own text, the same recipe
  train.py --preset kant --max-steps 20            a published recipe, its first steps
  train.py --resume --out runs/mine                go on after Ctrl-C or a crash

What warm-up, clipping, accumulation and precision do: docs/book/09-loop.md. Which values were tried: docs/log.md."""


def parser():
    """The parser of train.py: --preset, --out, --resume, --may-differ, and a flag for each field of the two configurations."""
    out = Parser(prog="train.py", formatter_class=RawDescriptionHelpFormatter,
                 usage="train.py [--preset NAME | --init FOLDER] [--corpus TEXT] [--out DIR] [--minutes M | --max-steps N | --epochs E] [--resume] "
                 "[FLAG VALUE ...]",
                 description="Pre-train a BERT from raw text. Without any flag: a small one, on the documentation "
                 "that is on this machine, in five minutes on a CPU.",
                 epilog=EPILOG)
    out.add_argument("--preset", default=None, help=f"where values come from that are not given: {', '.join(PRESETS)} (default: quickstart)")
    out.add_argument("--out", default=None, help="folder of the run (default: runs/PRESET, or the next free name)")
    out.add_argument("--resume", action="store_true", help="go on with the run in --out (default: the newest run of the preset)")
    out.add_argument("--may-differ", default="", metavar="NAMES", help="with --resume: fields that may differ from the run's own, with commas")
    out.add_argument("--profile", action="store_true", help="train a few steps, show where their time goes beside what they compute, and stop")
    out.add_argument("--show", action="store_true", help="print the configuration and stop")
    model, train = PRESETS["quickstart"]
    add_flags(out.add_argument_group("the model"), BertConfig, shown=model)
    for title, names in GROUPS.items():
        add_flags(out.add_argument_group(title), TrainConfig, names, train, unset_at_zero=LENGTHS)
    return out


def configure(arguments):
    """(BertConfig, TrainConfig) of a new run: the preset, or what --init begins with, and the given flags laid over it."""
    preset, of_model, of_training = preset_of(arguments), explicit_flags(arguments, BertConfig), explicit_flags(arguments, TrainConfig)
    model, train = configuration(arguments.init, of_model | of_training) if arguments.init else PRESETS[preset]
    model, train = replace(model, **of_model), override(train, of_training)
    if train.stream and (train.epochs or train.data):
        raise ValueError("--stream cannot know how long an epoch is: give --max-steps or --minutes" if train.epochs else
                         f"--stream tokenizes the text itself: leave out --data {train.data}")
    if train.examples == "pairs" and model.segments < 2:
        raise ValueError(f"--examples pairs needs a model that tells two sentences apart, this {model.family} has {model.segments} segment type(s): "
                         "take --family bert with --type-vocab-size 2, or other examples")
    return model, with_length(train)


def preset_of(arguments):
    """The name of the preset that was asked for: quickstart where none was, and init where a model's folder stands for it."""
    if arguments.init:
        if arguments.preset:
            raise ValueError(f"--preset {arguments.preset} is a model that begins with fresh weights, --init {arguments.init} one that has some: "
                             "leave out one of them (a preset's --corpus and its other flags can be given alone)")
        return "init"
    preset = arguments.preset or "quickstart"
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}, there are {', '.join(PRESETS)}" + suggestion(preset, PRESETS))
    return preset


def tokenizer_of(data):
    """The tokenizer of prepared token files: RUN/tokenizer for RUN/data; "" where there are none. ValueError where it is not there."""
    if not data:
        return ""
    beside = Path(data).parent / "tokenizer"
    if not holds_tokenizer(beside):
        raise ValueError(f"--data {data} needs the tokenizer that it was made with, and there is no {beside}: add --tokenizer FOLDER")
    return str(beside)


def with_length(train):
    """The TrainConfig itself; ValueError where it says nothing of how long to train."""
    if not (train.max_steps or train.epochs or train.minutes):
        raise ValueError("how long? give one of --max-steps, --epochs and --minutes")
    return train


def resumed(arguments, run):
    """(preset, BertConfig, TrainConfig) with which the run in ``run`` goes on.

    Raises ValueError listing every field in which the command line differs from the run, unless --may-differ names it.
    """
    preset, model, train = read_config(run)
    allowed = {name.strip().replace("-", "_") for name in arguments.may_differ.split(",") if name.strip()}
    known = [f.name for cls in (BertConfig, TrainConfig) for f in fields(cls)]
    for name in allowed:
        if name not in known:
            raise ValueError(f"--may-differ names no field: {name!r}" + suggestion(name, known))
    if arguments.preset and arguments.preset != preset:
        raise ValueError(f"{run} was started with --preset {preset}, not {arguments.preset}")
    changes, refused = {BertConfig: {}, TrainConfig: {}}, []
    for cls, stored in ((BertConfig, model), (TrainConfig, train)):
        for name, value in explicit_flags(arguments, cls).items():
            if value in (getattr(stored, name), "auto"):  # "auto" was decided when the run began
                continue
            if name in allowed or name in HARMLESS:
                changes[cls][name] = value
            else:
                refused.append(f"{name}: {getattr(stored, name)} in the run, {value} now")
    if refused:
        raise ValueError(f"{run} was started otherwise: " + "; ".join(refused) +
                         ". Leave these flags out, or allow the change with --may-differ NAME,...")
    if changes[TrainConfig].keys() & set(LENGTHS):
        changes[TrainConfig] = {name: 0 for name in LENGTHS} | changes[TrainConfig]
    return preset, replace(model, **changes[BertConfig]), with_length(replace(train, **changes[TrainConfig]))


def run_folder(arguments):
    """Where the run is: --out, else runs/PRESET; a new run never takes a name that is in use."""
    preset = preset_of(arguments)
    if arguments.resume:
        if arguments.out:
            return Path(arguments.out)
        runs = [p.parent for p in Path("runs").glob("*/config.json") if re.fullmatch(re.escape(preset) + r"(-\d+)?", p.parent.name)]
        if not runs:
            raise ValueError(f"there is no run of preset {preset} in runs/ to go on with: name it with --out")
        return max(runs, key=lambda run: max(p.stat().st_mtime for p in run.iterdir()))
    if arguments.out:
        folder = Path(arguments.out)
        if (folder / "config.json").exists():
            raise ValueError(f"{folder} holds a run already: add --resume to go on with it, or choose another --out")
        # .NAME.tmp-PID is left over from a process that was killed while it wrote
        if folder.exists() and (not folder.is_dir() or any(not re.fullmatch(r"\..*\.tmp-\d+", path.name) for path in folder.iterdir())):
            raise ValueError(f"{folder} exists and is not empty: choose another --out")
        return folder
    folder, number = Path("runs") / preset, 2
    while folder.exists():
        folder, number = Path("runs") / f"{preset}-{number}", number + 1
    return folder
