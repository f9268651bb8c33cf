"""The command line of train.py, made from the dataclasses in minibert/config.py.

Each field is one flag with one line of help. A value comes from the flag, else from the preset,
else from the field's default. A resumed run takes its configuration from its own config.json; a
flag that differs from it is an error unless --may-differ names it, so a run never changes by
accident; only its length may change. With --init, the model's configuration is that of the folder,
and the same rule holds.
"""
import json
import re
from argparse import RawDescriptionHelpFormatter
from dataclasses import asdict, fields, replace
from pathlib import Path

from minibert.config import LENGTHS, BertConfig, TrainConfig
from minibert.formats.run_folder import read_config, read_config_file
from minibert.presets import PRESETS, override
from minibert.training.checkpoint import RESUME_MAY_CHANGE
from minibert.training.init_from import init_config
from tokenizer.utils.cli import (
    Parser,
    add_flags,
    errors_name_flags,
    explicit_flags,
    flag,
    suggestion,
)
from tokenizer.utils.files import next_free_folder

# These flags have no effect unless another setting has this value (ANY: is set).
ANY = None
REQUIRES = {
    "nsp_weight": ("examples", "pairs"),
    "masking": ("objective", "masked"),
    "mlm_probability": ("objective", "masked"),
    "lowercase": ("tokenizer_kind", "wordpiece"),
    "keep_accents": ("tokenizer_kind", "wordpiece"),
    "limit_alphabet": ("tokenizer_kind", "wordpiece"),
    "max_input_chars_per_word": ("tokenizer_kind", "wordpiece"),
    "relative_rates": ("init", ANY),
    "muon_learning_rate": ("optimizer", "muon"),
    "muon_momentum": ("optimizer", "muon"),
    "decay": ("schedule", "stable"),
    "ramp_from": ("batch_ramp", ANY),
    "local_attention": ("family", "modernbert"),
    "global_attn_every_n_layers": ("family", "modernbert"),
    "global_rope_theta": ("family", "modernbert"),
    "local_rope_theta": ("family", "modernbert"),
}
# The flags in the tuples have no effect with --tokenizer or --data.
TRAINS_TOKENIZER = ("vocab_size", "tokenizer_kind", "lowercase", "min_frequency", "keep_accents",
                    "limit_alphabet", "max_input_chars_per_word")
READS_TEXT = ("text_field", "text_suffix", "encoding_errors", "reflow", "filters", "sentences")
REPLACES = {"tokenizer": TRAINS_TOKENIZER, "data": TRAINS_TOKENIZER + READS_TEXT}
FIELDS = [field.name for cls in (BertConfig, TrainConfig) for field in fields(cls)
          if "help" in field.metadata]

GROUPS = {  # heading in --help -> fields of TrainConfig
    "starting point": ("init",),
    "text": ("corpus", "text_field", "text_suffix", "encoding_errors", "reflow", "filters",
             "sentences", "stream", "data"),
    "tokenizer (its size is --vocab-size)":
        ("tokenizer", "tokenizer_kind", "min_frequency", "lowercase", "keep_accents",
         "limit_alphabet", "max_input_chars_per_word"),
    "objective, examples and masks":
        ("objective", "examples", "max_length", "masking", "mlm_probability", "nsp_weight"),
    "length of the run: one of these": LENGTHS,
    "batch size and memory":
        ("batch_size", "equal_tokens", "micro_batch_size", "batch_ramp", "ramp_from",
         "gradient_checkpointing", "compile"),
    "optimizer and learning rate":
        ("optimizer", "learning_rate", "relative_rates", "muon_learning_rate", "muon_momentum",
         "schedule", "warmup", "decay", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon",
         "max_grad_norm", "average"),
    "device": ("device", "precision", "keep_freed_memory", "seed"),
    "logging, evaluation, checkpoints":
        ("log_every", "tensorboard", "eval_every", "patience", "eval_examples", "save_every",
         "keep_checkpoints"),
}
EPILOG = """\
Values in brackets are those of the preset quickstart; `--preset NAME --show` prints another one.
With --init the model's values come from its folder, and the training's are plain defaults: AdamW
with rates that fit the size of the weights, 15 % masked; add --max-steps, --epochs or --minutes.

  train.py --minutes 1                             a first look
  train.py --corpus my_texts/ --out runs/mine      your own text, the same recipe
  train.py --preset kant --max-steps 20            a published recipe, its first steps
  train.py --resume --out runs/mine                continue after Ctrl-C or a crash

Warm-up, clipping, gradient accumulation and precision are explained in docs/book/09-loop.md;
docs/log.md lists which values were tried."""


def parser():
    """Return the parser: --preset, --out, --resume, ... and a flag for each configuration field."""
    out = Parser(
        prog="train.py", formatter_class=RawDescriptionHelpFormatter,
        usage="train.py [--preset NAME | --init FOLDER] [--corpus TEXT] [--out DIR] "
              "[--minutes M | --max-steps N | --epochs E] [--resume] [FLAG VALUE ...]",
        description="Pre-train a BERT from raw text. Without flags: a small model on "
                    "Python's documentation, in five minutes on a CPU.",
        epilog=EPILOG)
    add = out.add_argument
    add("--preset", choices=list(PRESETS), metavar="NAME",
        help=f"source of unset values: {', '.join(PRESETS)} (default: quickstart)")
    add("--config", metavar="FILE",
        help="read the values from what --show printed, or from another run's config.json")
    add("--out", help="folder of the run (default: runs/PRESET, or the next free name)")
    add("--resume", action="store_true",
        help="continue the run in --out (default: the newest run of the preset)")
    add("--may-differ", default="", metavar="NAMES",
        help="with --resume: comma-separated fields that may differ from the run's own")
    add("--profile", action="store_true",
        help="train a few steps, show where the time goes, and stop")
    add("--show", action="store_true", help="print the configuration and stop")
    model, train = PRESETS["quickstart"]
    add_flags(out.add_argument_group("model"), BertConfig, shown=model)
    for title, names in GROUPS.items():
        add_flags(out.add_argument_group(title), TrainConfig, names, shown=train,
                  unset_at_zero=LENGTHS)
    return out


def parse(argv=None):
    """Return the parsed arguments; print an error and exit if they are wrong."""
    return parser().parse_args(argv)


def configure(args, folder):
    """Return (preset, BertConfig, TrainConfig) of the run in ``folder``, new or resumed."""
    if args.may_differ and not args.resume:
        raise ValueError("--may-differ has no effect without --resume")
    return resume_config(args, folder) if args.resume else new_config(args)


def new_config(args):
    """Return (preset, BertConfig, TrainConfig) of a new run.

    The values come from the preset, or from --init's folder, overridden by the explicit flags.
    """
    preset = preset_name(args)
    model_flags = explicit_flags(args, BertConfig)
    train_flags = explicit_flags(args, TrainConfig)
    if args.init:
        model, train = init_config(args.init, model_flags | train_flags)
    elif args.config:
        _, model, train = read_config_file(args.config)
    else:
        model, train = PRESETS[preset]
    model, train = with_flags(model, train, model_flags, train_flags)
    if not args.init and "max_position_embeddings" not in model_flags:
        # RoBERTa counts positions from pad_token_id + 1, so its first two rows serve no token.
        num_positions = train.max_length + (2 if model.family == "roberta" else 0)
        num_positions = max(num_positions, model.max_position_embeddings)
        model = replace(model, max_position_embeddings=num_positions)
    check_effects(model_flags | train_flags, asdict(model) | asdict(train))
    if train.stream and train.data:
        raise ValueError(f"--stream tokenizes the text itself: leave out --data {train.data}")
    if train.data:  # is prepared already: no corpus is read, so none is recorded
        train = replace(train, corpus="")
    if train.reflow == "auto" and train.examples in ("lines", "pairs") and not train.sentences:
        train = replace(train, reflow="no")  # the lines of the text are the examples
    if train.examples == "pairs" and model.segments < 2:
        raise ValueError(
            f"--examples pairs needs two segment types, this {model.family} has {model.segments}: "
            "use --family bert --type-vocab-size 2, or other examples")
    return preset, model, require_length(train)


def with_flags(model, train, model_flags, train_flags):
    """Return both configurations with these values; errors name the flags."""
    with errors_name_flags(FIELDS):
        train = override(train, train_flags)
        return replace(model, **model_flags, causal=train.objective == "causal"), train


def check_effects(flags, settings):
    """Raise ValueError for a flag that would be ignored. Both are {field: value}."""
    for name in flags:
        if name in REQUIRES:
            needed, value = REQUIRES[name]
            is_met = bool(settings[needed]) if value is ANY else settings[needed] == value
            if not is_met:
                end = "" if value is ANY else f" {value}"
                raise ValueError(f"{flag(name)} has no effect without {flag(needed)}{end}")
        for source, replaced in REPLACES.items():
            if name in replaced and source in flags:
                raise ValueError(f"{flag(name)} has no effect with {flag(source)}, which is "
                                 "prepared already: leave out one of them")


def preset_name(args):
    """Return the preset's name: quickstart by default, "init" with --init."""
    if args.init and args.preset:
        raise ValueError(f"--preset {args.preset} starts from fresh weights, "
                         f"--init {args.init} from trained ones: leave out one of them")
    if args.config:
        others = {"--preset": args.preset, "--init": args.init, "--resume": args.resume}
        for other, is_set in others.items():
            if is_set:
                raise ValueError(f"--config {args.config} and {other}: each has a configuration: "
                                 "leave out one of them")
        preset, _, _ = read_config_file(args.config)
        return preset if preset in PRESETS else "init"
    return "init" if args.init else args.preset or "quickstart"


def require_length(train):
    """Return the TrainConfig; raise ValueError if it is not known how long to train."""
    if not (train.max_steps or train.epochs or train.minutes):
        raise ValueError("how long should it train? Add --max-steps, --epochs or --minutes")
    if train.stream and train.epochs:
        raise ValueError("with --stream the length of an epoch is unknown: "
                         "use --max-steps or --minutes")
    return train


def resume_config(args, folder):
    """Return (preset, BertConfig, TrainConfig) of the run in ``folder``, to resume it.

    Raises ValueError that lists every flag which differs from the run's own configuration,
    unless --may-differ names it.
    """
    preset, model, train = read_config(folder)
    if args.preset and args.preset != preset:
        raise ValueError(f"{folder} was started with --preset {preset}, not {args.preset}")
    prepared = set()
    if (folder / "checkpoints").is_dir():
        prepared |= {"init", "relative_rates"}
    if (folder / "tokenizer").is_dir():
        prepared |= {"tokenizer", *TRAINS_TOKENIZER}
    if train.data or (folder / "data/train").is_dir() and (folder / "data/eval").is_dir():
        prepared |= {"corpus", *READS_TEXT}
    allowed = {*RESUME_MAY_CHANGE, *LENGTHS, *may_differ_fields(args)}
    changes = {BertConfig: {}, TrainConfig: {}}
    refused = {}
    for config in (model, train):
        for name, value in explicit_flags(args, type(config)).items():
            stored = getattr(config, name)
            if value in (stored, "auto"):  # "auto" was decided when the run started
                continue
            if name == "corpus" and train.data:
                continue  # it is not read, see new_config
            if name in prepared and name in allowed:
                raise ValueError(f"{flag(name)} has no effect on {folder}, where its result is "
                                 "stored already: leave it out, or start a new run with another "
                                 "--out")
            if name in allowed:
                changes[type(config)][name] = value
            else:
                refused[name] = f"{flag(name)}: {stored} in the run, {value} now"
    if refused:
        advice = f", or allow the change with {may_differ(refused)}"
        if prepared & {*refused}:  # which no flag allows to change
            advice = ""
        raise ValueError(f"{folder} was started with other values: {'; '.join(refused.values())}. "
                         f"Leave these flags out{advice}")
    model, train = with_flags(model, train, changes[BertConfig], changes[TrainConfig])
    check_effects(changes[BertConfig] | changes[TrainConfig], asdict(model) | asdict(train))
    return preset, model, require_length(train)


def may_differ(names):
    """Return the flag that lets these fields differ.

    >>> may_differ(["max_steps", "seed"])
    '--may-differ max-steps,seed'
    """
    return "--may-differ " + ",".join(names).replace("_", "-")


def may_differ_fields(args):
    """Return the field names of --may-differ. "max-steps,seed" -> {"max_steps", "seed"}"""
    names = {name.strip().replace("-", "_") for name in args.may_differ.split(",")} - {""}
    for name in names - set(FIELDS):
        raise ValueError(f"--may-differ: no flag is called {name!r}" + suggestion(name, FIELDS))
    return names


def print_config(args):
    """Print the configuration as JSON (--show). Return the exit code."""
    preset, model, train = configure(args, run_folder(args))
    print(json.dumps({"preset": preset, "model": asdict(model), "train": asdict(train)}, indent=1))
    return 0


def run_folder(args):
    """Return the folder of the run: --out, else runs/PRESET, or the next free name."""
    preset = preset_name(args)
    if args.resume:
        return Path(args.out) if args.out else newest_run(preset)
    if not args.out:
        return next_free_folder(Path("runs") / preset)
    folder = Path(args.out)
    if (folder / "config.json").exists():
        raise ValueError(f"{folder} already holds a run: add --resume to continue it, "
                         "or choose another --out")
    if folder.is_file():
        raise ValueError(f"{folder} is a file, and a run needs a folder: choose another --out")
    if folder.exists() and not is_empty(folder):
        raise ValueError(f"{folder} exists and is not empty: choose another --out")
    return folder


def newest_run(preset):
    """Return the run of a preset in runs/ that was written to last."""
    pattern = re.escape(preset) + r"(-\d+)?"
    runs = [path.parent for path in Path("runs").glob("*/config.json")
            if re.fullmatch(pattern, path.parent.name)]
    if not runs:
        raise ValueError(f"runs/ holds no run of preset {preset} to resume: name it with --out")
    return max(runs, key=lambda run: max(path.stat().st_mtime for path in run.iterdir()))


def is_empty(folder):
    """Whether a folder holds nothing but temporary files of a killed process (.NAME.tmp-PID)."""
    return folder.is_dir() and all(re.fullmatch(r"\..*\.tmp-\d+", path.name)
                                   for path in folder.iterdir())
