"""Continue from an existing model: ``python train.py --init FOLDER``.

FOLDER is a published model or a run. Its configuration, tokenizer and weights are taken; the
optimizer, the order of examples and the masks start fresh. Pre-training needs the encoder and
the MLM head: a head that the folder lacks starts fresh, and one that pre-training does not use,
such as a classifier, is left out. Both are printed.

With --tokenizer, a tokenizer that ``tokenizer.trainers.extend`` made of the model's own, the model
gets rows for the new tokens. Each starts as the mean of the rows of the pieces that the token
replaces: the model then sees about the same vector as before, in fewer positions.

Training uses ``TrainConfig``'s defaults, not those of a preset: the presets' learning rates are for
fresh weights and would destroy what the model has learned. AdamW has rates relative to the size of
the weights, as in fine-tuning: in a BERT-base whose weights have a root mean square of 0.04, about
the 1e-4 of Gururangan et al. 2020 ("Don't Stop Pretraining").
"""
from dataclasses import asdict, replace

import torch

from minibert.checks import check_tokenizer
from minibert.config import TrainConfig
from minibert.device import shapes_only
from minibert.formats.huggingface import load_config, load_tensors, map_state_dict
from minibert.formats.huggingface_config import ENCODER_DECODER
from minibert.formats.model_files import locate, read_config
from minibert.optim import default_rate
from minibert.training.objective import OBJECTIVES
from tokenizer import load_tokenizer
from tokenizer.trainers.extend import replaced_pieces
from tokenizer.utils.cli import flag
from tokenizer.utils.terminal import plural

# These fields fit any weights, so flags may set them.
FREE_FIELDS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range")
TOKENIZER_FIELDS = ("tokenizer_kind", "lowercase", "min_frequency", "keep_accents",
                    "limit_alphabet", "max_input_chars_per_word")
# Our names of the parameters with one row for each entry of the vocabulary. The first is also the
# matrix of the output layer.
VOCABULARY_ROWS = ("bert.embeddings.token.weight", "head.bias")
PARTS = {  # prefix of parameter names -> what it is called in messages
    "bert.pooler.": "the pooler",
    "head.": "the MLM head",
    "nsp.": "the next-sentence head",
}


def init_config(folder, flags):
    """Return the (BertConfig, TrainConfig) that a run with --init starts from.

    flags: {field of either: value} from the command line. Raises ValueError that lists every
    flag which contradicts the folder, and for files that do not fit each other.
    """
    model_folder, tokenizer_folder = locate(folder)
    model, tokenizer = load_config(model_folder), load_tokenizer(tokenizer_folder)
    objective = "causal" if model.causal else "masked"
    if model.family == "t5":
        raise ValueError(f"--init {folder}: training does not continue a T5")
    if read_config(model_folder)["model_type"] == ENCODER_DECODER:
        objective = "span-corruption"
    fixed = asdict(model) | dict.fromkeys(TOKENIZER_FIELDS, "as it was trained")
    fixed["objective"] = objective
    fixed["tokenizer_kind"] = tokenizer.kind
    refused = [f"{flag(name)}: {fixed[name]} in the folder, {value} now"
               for name, value in flags.items()
               if name in fixed and name not in FREE_FIELDS and value != fixed[name]]
    if refused:
        raise ValueError(f"--init {folder} is another model: {'; '.join(refused)}. "
                         "Leave these flags out")
    check_tokenizer(model, tokenizer)
    with shapes_only():
        empty_model = OBJECTIVES[objective].model(model)
    read_weights(empty_model, model_folder)  # check names and shapes now, before anything slow
    if extended_folder := flags.get("tokenizer"):
        extended = load_tokenizer(extended_folder)
        replaced_pieces(tokenizer, extended)  # checks that it is the same with more entries
        model = replace(model, vocab_size=max(model.vocab_size, extended.vocab_size))
    train = TrainConfig(tokenizer=str(tokenizer_folder), tokenizer_kind=tokenizer.kind,
                        max_length=min(TrainConfig.max_length, model.max_length),
                        objective=objective)
    if flags.get("relative_rates", flags.get("optimizer", train.optimizer) == "adamw"):
        train = replace(train, relative_rates=True, learning_rate=default_rate(model))
    return model, train


def load_initial_weights(folder, model, tokenizer):
    """Copy the weights of ``folder`` into a fresh model; return a line that describes them.

    tokenizer: the model's, which may have more entries than that of the folder

    For a classifier: 'reviews; fresh: the MLM head; not used: bert.pooler.dense, classifier'
    """
    model_folder, tokenizer_folder = locate(folder)
    with shapes_only():
        saved_model = type(model)(load_config(model_folder))
    weights, fresh, unused, note = read_weights(saved_model, model_folder)
    pieces = replaced_pieces(load_tokenizer(tokenizer_folder), tokenizer)
    if pieces:
        for name in weights.keys() & {*VOCABULARY_ROWS}:
            weights[name] = with_mean_rows(weights[name], pieces)
    own = model.state_dict()
    model.load_state_dict(own | weights)
    fresh_parts = []
    for prefix, part in PARTS.items():
        is_fresh = [name in fresh for name in own if name.startswith(prefix)]
        if any(is_fresh):
            fresh_parts.append(part if all(is_fresh) else f"a part of {part}")
    unused_modules = dict.fromkeys(name.rpartition(".")[0] for name in unused)
    text = str(folder) + (f"; {note}" if note else "")
    if pieces:
        count = plural(len(pieces), "new token starts", "new tokens start")
        text += f"; {count} as the mean of their pieces"
    if fresh_parts:
        text += f"; fresh: {', '.join(fresh_parts)}"
    if unused_modules:
        text += f"; not used: {', '.join(unused_modules)}"
    return text


def read_weights(model, folder):
    """Return (state dict in our names, our names that are missing, their unused names, note)."""
    path, tensors, note = load_tensors(folder, model.config.family)
    return *map_state_dict(model, tensors, path, heads_may_differ=True), note


def with_mean_rows(values, pieces):
    """Return (V, ...) with a row for each new token, the mean of the rows of its pieces.

    pieces: {id: ids of its pieces}, of consecutive ids. Rows that exist, as in a vocabulary padded
    to a multiple of 64, are overwritten.

    >>> with_mean_rows(torch.tensor([1.0, 3.0, 8.0, 0.0]), {3: [0, 1], 4: [1, 1, 2]})
    tensor([1.0000, 3.0000, 8.0000, 2.0000, 4.6667])
    """
    means = torch.stack([values[ids].mean(dim=0) for ids in pieces.values()])
    return torch.cat((values[:min(pieces)], means, values[max(pieces) + 1:]))
