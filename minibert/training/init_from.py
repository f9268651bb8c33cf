"""Going on from a model that is there: ``python train.py --init FOLDER``.

The folder is a published one, or a run of one's own. Its configuration, its tokenizer and its weights are taken; the optimiser, the order and
the masks begin anew. Whatever the folder's model was made for, what is wanted of it is the encoder. A head that it lacks starts fresh, and one
that pre-training has no use for, such as a classifier, is left behind; both are said.

The training has ``TrainConfig``'s own numbers, AdamW at 1e-4 as Gururangan et al. 2020 ("Don't Stop Pretraining") went on with on the texts
of a task, and not a preset's: those are for fresh weights, and so high that they would undo what the model knows.
"""
from dataclasses import asdict

import torch

from minibert.checks import check_tokenizer
from minibert.config import TrainConfig
from minibert.formats.huggingface import ENCODER, load_config, load_tensors, map_state_dict
from minibert.formats.model_files import locate
from minibert.model import BertForMaskedLM
from tokenizer import load_tokenizer

NOT_IN_WEIGHTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range")  # these fit any weights
OF_THE_TOKENIZER = ("tokenizer", "tokenizer_kind", "tokenizer_criterion", "lowercase", "min_frequency")
PARTS = {"bert.pooler.": "the pooler", "head.": "the head that fills masks", "nsp.": "the head that judges next sentences"}  # by our names' beginning


def configuration(folder, flags):
    """(BertConfig, TrainConfig) that a run with --init begins with, before its flags are laid over them.

    flags: {field of either: value} from the command line. Raises ValueError that lists each which says otherwise than the folder, with both
    values, and for a folder whose files do not fit each other: now, since it may take long until the weights are needed.

    configuration("bert-base-uncased", {"batch_size": 8}) -> BertConfig(...), TrainConfig(tokenizer="bert-base-uncased", tokenizer_kind="wordpiece")
    """
    place, beside = locate(folder)
    model, tokenizer = load_config(place), load_tokenizer(beside)
    there = asdict(model) | dict.fromkeys(OF_THE_TOKENIZER, "decided") | {"tokenizer": str(beside), "tokenizer_kind": tokenizer.kind}
    refused = [f"{name}: {there[name]} in the folder, {value} now" for name, value in flags.items()
               if name not in NOT_IN_WEIGHTS and value != there.get(name, value)]
    if flags.get("max_length", 0) > model.max_length:
        refused.append(f"max_length: {model.max_length} at most in the folder, {flags['max_length']} now")
    if refused:
        raise ValueError(f"--init {folder} is another model: " + "; ".join(refused) + ". Leave these flags out")
    check_tokenizer(model, tokenizer)
    with torch.device("meta"):  # shapes without memory
        fresh = BertForMaskedLM(model)
    _state(fresh, place)
    return model, TrainConfig(tokenizer=str(beside), tokenizer_kind=tokenizer.kind, max_length=min(TrainConfig.max_length, model.max_length))


def start_from(folder, model):
    """Give a model with fresh weights those of ``folder``: the encoder whole, of the heads what is there. -> what is to be said of it

    model: a BertForMaskedLM or BertForPreTraining of the folder's config.

    of a classifier: 'reviews; fresh, as it has none: the head that fills masks; not used: bert.pooler.dense, classifier'
    """
    state, fresh, unused = _state(model, locate(folder)[0])
    own = model.state_dict()
    model.load_state_dict(own | state)
    parts, modules = [], dict.fromkeys(name.rpartition(".")[0] for name in unused)
    for begin, part in PARTS.items():
        missing = [name in fresh for name in own if name.startswith(begin)]
        if any(missing):
            parts.append(part if all(missing) else f"a part of {part}")
    return str(folder) + (f"; fresh, as it has none: {', '.join(parts)}" if parts else "") + (f"; not used: {', '.join(modules)}" if modules else "")


def _state(model, place):
    """-> (state_dict of what is there, names of ours that are not, names of theirs that have no use)"""
    prefix, (path, tensors) = ENCODER[model.config.family], load_tensors(place)
    if not any(name.startswith(prefix) for name in tensors):  # the file of an encoder alone leaves it out
        tensors = {prefix + name: tensor for name, tensor in tensors.items()}
    return map_state_dict(model, tensors, path, heads_may_differ=True)
