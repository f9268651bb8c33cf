"""Models in the layout of Hugging Face: config.json and model.safetensors, written and read.

A folder that is saved here loads in transformers 5 (``AutoModelForMaskedLM.from_pretrained(folder)``), and one that
transformers saved for bert, roberta or modernbert loads here; tests hold the logits of both directions to 1e-4.
The two translations, of config fields and of tensor names, are the tables below; which files are read: ``folders.py``.
"""
import json
import re
from dataclasses import fields
from pathlib import Path

import torch

from minibert.checks import check_tokenizer
from minibert.config import FAMILIES, BertConfig
from minibert.formats import safetensors
from minibert.formats.model_files import CONFIG, WEIGHTS, read_config, read_weights
from minibert.heads import BertForSequenceClassification
from minibert.model import BertForMaskedLM, BertForPreTraining, BertModel
from tokenizer.utils.files import atomic_write

# ---------------------------------------------------------------------------------------------- tensor names

# Ours -> theirs, for the part of the name before .weight or .bias; # stands for the number of the block.
# Three names: what is one tensor here (queries, keys and values above each other) is three there.
_BERT = {
    "bert.embeddings.token": "bert.embeddings.word_embeddings",
    "bert.embeddings.position": "bert.embeddings.position_embeddings",
    "bert.embeddings.segment": "bert.embeddings.token_type_embeddings",
    "bert.embeddings.norm": "bert.embeddings.LayerNorm",
    "bert.blocks.#.attention.qkv": ("bert.encoder.layer.#.attention.self.query", "bert.encoder.layer.#.attention.self.key",
                                    "bert.encoder.layer.#.attention.self.value"),
    "bert.blocks.#.attention.out_proj": "bert.encoder.layer.#.attention.output.dense",
    "bert.blocks.#.attention_norm": "bert.encoder.layer.#.attention.output.LayerNorm",
    "bert.blocks.#.mlp.up_proj": "bert.encoder.layer.#.intermediate.dense",
    "bert.blocks.#.mlp.down_proj": "bert.encoder.layer.#.output.dense",
    "bert.blocks.#.mlp_norm": "bert.encoder.layer.#.output.LayerNorm",
    "bert.pooler": "bert.pooler.dense",
    "head.dense": "cls.predictions.transform.dense",
    "head.norm": "cls.predictions.transform.LayerNorm",
    "head": "cls.predictions",
    "nsp": "cls.seq_relationship",
    "classifier": "classifier",
}
_ROBERTA_HEAD = {"head.dense": "lm_head.dense", "head.norm": "lm_head.layer_norm", "head": "lm_head",
                 "dense": "classifier.dense", "classifier": "classifier.out_proj"}
_MODERNBERT = {
    "bert.embeddings.token": "model.embeddings.tok_embeddings",
    "bert.embeddings.norm": "model.embeddings.norm",
    "bert.blocks.#.attention.qkv": "model.layers.#.attn.Wqkv",
    "bert.blocks.#.attention.out_proj": "model.layers.#.attn.Wo",
    "bert.blocks.#.attention_norm": "model.layers.#.attn_norm",
    "bert.blocks.#.mlp.up_proj": "model.layers.#.mlp.Wi",
    "bert.blocks.#.mlp.down_proj": "model.layers.#.mlp.Wo",
    "bert.blocks.#.mlp_norm": "model.layers.#.mlp_norm",
    "bert.final_norm": "model.final_norm",
    "head.dense": "head.dense",
    "head.norm": "head.norm",
    "head": "decoder",
    "dense": "head.dense",  # of the head that classifies; it begins as the other one's
    "norm": "head.norm",
    "classifier": "classifier",
}
ENCODER = {"bert": "bert.", "roberta": "roberta.", "modernbert": "model."}  # what their names of the encoder begin with


def hf_names(name, family, encoder_only=False):
    """Our name of a tensor -> the names it has in a Hugging Face file: one, or three for a qkv that is split.

    >>> hf_names("bert.blocks.3.mlp.down_proj.bias", "roberta")
    ['roberta.encoder.layer.3.output.dense.bias']
    """
    table = _MODERNBERT if family == "modernbert" else _BERT | (_ROBERTA_HEAD if family == "roberta" else {})
    module, _, kind = ("bert." + name if encoder_only else name).rpartition(".")
    number = "".join(re.findall(r"\.(\d+)\.", module))
    theirs = table.get(re.sub(r"\.\d+\.", ".#.", module))
    if theirs is None:
        raise ValueError(f"the Hugging Face layout of {family} has no place for {name}")
    found = []
    for their in (theirs,) if isinstance(theirs, str) else theirs:
        their = their.replace("#", number) + "." + kind
        if module.startswith("bert."):
            their = re.sub(r"^(bert|model)\.", "" if encoder_only else ENCODER[family], their)
        found.append(their)
    return found


# Spellings of old files, and what their files may hold that the model has no use for.
OLD_SPELLINGS = ((re.compile(r"LayerNorm\.gamma$"), "LayerNorm.weight"), (re.compile(r"LayerNorm\.beta$"), "LayerNorm.bias"))
NOT_NEEDED = re.compile(r"pooler\.dense\.(weight|bias)$|cls\.seq_relationship\.(weight|bias)$")
COPIES = re.compile(r"position_ids$|(cls\.predictions|lm_head)\.decoder\.bias$")  # the numbers from 0 on; the head's own bias
DECODER = re.compile(r"(^|\.)decoder\.weight$")  # a copy of the word vectors; where it is none, the head is not tied
IN_HEADS = re.compile(r"(?!bert\.)|bert\.pooler\.")  # our names of what is no part of the encoder
MOST_LINES = 60  # of an error that lists tensors: more kinds of them than any model has

# ---------------------------------------------------------------------------------------------- config fields

# Ours -> theirs, where the names differ. In all else ModernBERT's fields and BERT's are called alike.
MODERNBERT_FIELDS = {"layer_norm_eps": "norm_eps", "hidden_dropout_prob": "mlp_dropout", "attention_probs_dropout_prob": "attention_dropout"}
MODERNBERT_ONLY = ("local_attention", "global_attn_every_n_layers", "global_rope_theta", "local_rope_theta")

# What a config.json means when it does not say; sizes must be said.
DEFAULTS = {"bert": {"type_vocab_size": 2, "pad_token_id": 0, "layer_norm_eps": 1e-12},
            "roberta": {"type_vocab_size": 2, "pad_token_id": 1, "layer_norm_eps": 1e-12},
            "modernbert": {"type_vocab_size": 0, "pad_token_id": 50283, "layer_norm_eps": 1e-5,
                           "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}}
# No number of a model is larger, all others end at 2 ** 24: a model is built to the sizes that a file claims.
LARGEST = {"num_hidden_layers": 1000, "layer_norm_eps": 1, "initializer_range": 100, "global_rope_theta": 1e12, "local_rope_theta": 1e12}
POSITIVE = ("layer_norm_eps", "initializer_range", "global_rope_theta", "local_rope_theta")
SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings")

# Variants that exist there and not here: loading one as if it were the plain kind would give other numbers.
ONLY = {"hidden_act": "gelu", "hidden_activation": "gelu", "classifier_activation": "gelu", "position_embedding_type": "absolute",
        "is_decoder": False, "add_cross_attention": False, "tie_word_embeddings": True, "attention_bias": False, "mlp_bias": False,
        "norm_bias": False, "classifier_bias": False, "decoder_bias": True}

# Their architecture -> family, our class
ARCHITECTURES = {"BertForMaskedLM": ("bert", BertForMaskedLM), "BertForPreTraining": ("bert", BertForPreTraining), "BertModel": ("bert", BertModel),
                 "RobertaForMaskedLM": ("roberta", BertForMaskedLM), "RobertaModel": ("roberta", BertModel),
                 "ModernBertForMaskedLM": ("modernbert", BertForMaskedLM), "ModernBertModel": ("modernbert", BertModel),
                 "BertForSequenceClassification": ("bert", BertForSequenceClassification),
                 "RobertaForSequenceClassification": ("roberta", BertForSequenceClassification),
                 "ModernBertForSequenceClassification": ("modernbert", BertForSequenceClassification)}


def config_to_json(config, cls, tokenizer=None):
    """BertConfig -> the dict of a Hugging Face config.json."""
    architecture = next(name for name, kind in ARCHITECTURES.items() if kind == (config.family, cls))
    values = {f.name: getattr(config, f.name) for f in fields(config) if f.name != "family"}
    if config.family == "modernbert":
        del values["type_vocab_size"]
        values = {MODERNBERT_FIELDS.get(name, name): value for name, value in values.items()}
        values["embedding_dropout"] = config.hidden_dropout_prob
        local = [layer % config.global_attn_every_n_layers != 0 for layer in range(config.num_hidden_layers)]
        values["layer_types"] = ["sliding_attention" if is_local else "full_attention" for is_local in local]
        values["rope_parameters"] = {"full_attention": {"rope_type": "default", "rope_theta": config.global_rope_theta},
                                     "sliding_attention": {"rope_type": "default", "rope_theta": config.local_rope_theta}}
        values.update(hidden_activation="gelu", bos_token_id=None, eos_token_id=None, cls_token_id=None, sep_token_id=None)
    else:
        values = {name: value for name, value in values.items() if name not in MODERNBERT_ONLY}
        values.update(hidden_act="gelu", bos_token_id=None, eos_token_id=None)
        if not config.segments:  # theirs have one segment type at least: it is written as zeros, which add nothing
            values.update(type_vocab_size=1, minibert_type_vocab_size=0)
    if tokenizer is not None and config.family != "bert":
        values.update(bos_token_id=tokenizer.cls_token_id, eos_token_id=tokenizer.sep_token_id)
        if config.family == "modernbert":
            values.update(cls_token_id=tokenizer.cls_token_id, sep_token_id=tokenizer.sep_token_id)
    return {"architectures": [architecture], "model_type": config.family, **values, "tie_word_embeddings": True, "dtype": "float32"}


def config_from_json(values, path=CONFIG):
    """The dict of a Hugging Face config.json -> BertConfig. ValueError for families and variants that are not built here."""
    family = values.get("model_type")
    if family not in FAMILIES:
        old = "; a file of old that does not say it needs it written in" if family is None else ""
        raise ValueError(f"{path}: model_type is {family!r}, there are {', '.join(FAMILIES)}{old}")
    other = [f"{name} = {values[name]!r} (only {value!r})" for name, value in ONLY.items()
             if values.get(name, value) != value and (family, name) != ("modernbert", "position_embedding_type")]  # which means nothing there
    if other:
        raise ValueError(f"{path}: this variant of {family} is not built here: {', '.join(other)}")
    missing = [name for name in SIZES if values.get(name) is None]
    if missing:
        raise ValueError(f"{path}: {', '.join(missing)} missing: is it the config.json of a model?")
    ours = {"family": family, **DEFAULTS[family]}
    for f in fields(BertConfig):
        their = MODERNBERT_FIELDS.get(f.name, f.name) if family == "modernbert" else f.name
        if values.get(their) is not None:
            ours[f.name] = values[their]
    ours["type_vocab_size"] = values.get("minibert_type_vocab_size", ours["type_vocab_size"])
    _check_values(ours, path)  # before anything is as long as they say
    if family == "modernbert":
        ours.update(_attention_pattern(values, path))
        _check_values(ours, path)
    return BertConfig(**ours)


def _check_values(ours, path):
    """ValueError for values of BertConfig of the wrong type, and for numbers that no model has; which sizes fit together it knows itself."""
    check_types(BertConfig, ours, path)
    numbers = {name: value for name, value in ours.items() if name != "family"}
    too_large = [f"{name} = {value:,}"[:100] for name, value in numbers.items() if value > LARGEST.get(name, 1 << 24)]
    if too_large:
        raise ValueError(f"{path}: {', '.join(too_large)}: larger than any model, the file is damaged")
    if wrong := next((name for name in POSITIVE if not numbers.get(name, 1) > 0), None):  # `not`: NaN fails every comparison
        raise ValueError(f"{path}: {wrong} is {str(numbers[wrong])[:100]}: it must be more than 0")


def check_types(cls, values, path):
    """ValueError, naming the file, for a value that is not of the type of its field's default in ``cls``; an int will do for a float."""
    for f in fields(cls):
        value, kind = values.get(f.name, f.default), type(f.default)
        if type(value) is not kind and (kind, type(value)) != (float, int):
            raise ValueError(f"{path}: {f.name} is {str(value)[:100]!r}, a value of the wrong type: it must be of type {kind.__name__}")


def _attention_pattern(values, path):
    """layer_types and rope_parameters (transformers 5), or the four fields that transformers 4 has for them, which are ours."""
    found, kinds, ropes = {}, values.get("layer_types"), values.get("rope_parameters")
    if kinds is not None:
        if not isinstance(kinds, list) or len(kinds) != values["num_hidden_layers"]:
            raise ValueError(f"{path}: layer_types must be a list of num_hidden_layers = {values['num_hidden_layers']} kinds, not {str(kinds)[:100]}")
        is_global = [kind == "full_attention" for kind in kinds]
        said = values.get("global_attn_every_n_layers")  # of few layers, several rhythms fit
        every = next((n for n in (said, *range(1, len(is_global) + 1))
                      if type(n) is int and n > 0 and is_global == [layer % n == 0 for layer in range(len(is_global))]), None)
        if every is None:
            raise ValueError(f"{path}: layer_types {str(kinds)[:100]} do not repeat 'full_attention' every n-th layer from the first on")
        found["global_attn_every_n_layers"] = every
    if ropes is not None and not (isinstance(ropes, dict) and all(isinstance(rope, dict | None) for rope in ropes.values())):
        raise ValueError(f"{path}: rope_parameters must be an object for each kind of layer, not {str(ropes)[:100]}")
    for ours, theirs in (("global_rope_theta", "full_attention"), ("local_rope_theta", "sliding_attention")):
        rope = (ropes or {}).get(theirs) or {}
        if rope.get("rope_type", "default") != "default":
            raise ValueError(f"{path}: rope_type {str(rope['rope_type'])[:100]!r} is not built here, only 'default'")
        if "rope_theta" in rope:
            found[ours] = rope["rope_theta"]
    return found


# ---------------------------------------------------------------------------------------------- save and load


def save_pretrained(model, folder, tokenizer=None):
    """Write a BertModel, BertForMaskedLM, BertForPreTraining or BertForSequenceClassification to ``folder``, and the tokenizer if one is given.

    Each file is written whole or not at all, the weights first; other files in the folder stay.

    save_pretrained(model, "runs/kant/model", tokenizer)
    """
    folder, config = Path(folder), model.config
    if tokenizer is not None:
        check_tokenizer(config, tokenizer)
    encoder_only = isinstance(model, BertModel)
    tensors = {}
    for name, tensor in model.state_dict().items():
        names = hf_names(name, config.family, encoder_only)
        tensors.update(zip(names, tensor.detach().float().chunk(len(names))))
    if config.family != "modernbert" and not config.segments:
        name = hf_names("embeddings.segment.weight" if encoder_only else "bert.embeddings.segment.weight", config.family, encoder_only)[0]
        tensors[name] = torch.zeros(1, config.hidden_size)
    values = config_to_json(config, type(model), tokenizer)
    if isinstance(model, BertForSequenceClassification):
        values.update(model.to_config_json())
    safetensors.write(tensors, folder / WEIGHTS, {"format": "pt"})
    atomic_write(folder / CONFIG, json.dumps(values, indent=2, sort_keys=True) + "\n")
    if tokenizer is not None:
        tokenizer.save(folder)


def from_pretrained(folder):
    """A folder in Hugging Face layout -> the model, in float32, on the CPU, ready to predict (``model.eval()``).

    Raises FileNotFoundError or ValueError naming the file; tensors that are missing, left over or of another shape are
    listed together. Does not touch the state of the random generators.

    from_pretrained("runs/kant/model") -> BertForMaskedLM
    """
    values = read_config(folder)
    config = config_from_json(values, Path(folder) / CONFIG)
    path, theirs = load_tensors(folder)
    with torch.device("meta"):  # shapes without memory: the numbers come from the file
        model = _build(values, config, theirs, Path(folder) / CONFIG)
    model.load_state_dict(map_state_dict(model, theirs, path)[0], assign=True)
    return model.eval()


def load_config(folder):
    """The BertConfig of a folder in Hugging Face layout; its weights are not read."""
    return config_from_json(read_config(folder), Path(folder) / CONFIG)


def load_tensors(folder):
    """(the file that was read, {name: tensor}) of a folder in Hugging Face layout, spelled as files are today."""
    path, theirs = read_weights(folder)
    for pattern, new in OLD_SPELLINGS:
        theirs = {pattern.sub(new, name): tensor for name, tensor in theirs.items()}
    return path, theirs


def _build(values, config, theirs, path):
    named = values.get("architectures") or []
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise ValueError(f"{path}: architectures must be a list of names, not {str(named)[:100]}")
    architecture = (named or [next(name for name, kind in ARCHITECTURES.items() if kind[0] == config.family)])[0]
    if architecture not in ARCHITECTURES or ARCHITECTURES[architecture][0] != config.family:
        raise ValueError(f"{path}: architecture {architecture!r} of {config.family} is not built here, there are {', '.join(ARCHITECTURES)}")
    cls = ARCHITECTURES[architecture][1]
    if cls is BertForSequenceClassification:
        return cls.from_config_json(config, values, path)
    return cls(config, pooler="pooler.dense.weight" in theirs) if cls is BertModel else cls(config)


def map_state_dict(model, theirs, path, heads_may_differ=False):
    """Their tensors -> (our state_dict, names of ours that theirs lack, names of theirs that have no use), everything accounted for.

    heads_may_differ: outside of the encoder each side may have what the other has not.
    """
    family, encoder_only = model.config.family, isinstance(model, BertModel)
    state, used, wrong, fresh, unused = {}, set(), [], [], []
    for name, tensor in model.state_dict().items():
        names = hf_names(name, family, encoder_only)
        used.update(names)
        if heads_may_differ and IN_HEADS.match(name) and names[0] not in theirs:
            fresh.append(name)
            continue
        shape = (tensor.shape[0] // len(names), *tensor.shape[1:])
        for their in names:
            if their not in theirs:
                wrong.append(f"{their} is missing")
            elif theirs[their].shape != shape:
                wrong.append(f"{their} has the shape {tuple(theirs[their].shape)}, {CONFIG} says {shape}")
            elif not theirs[their].is_floating_point():
                wrong.append(f"{their} holds {theirs[their].dtype}")
            elif not theirs[their].float().isfinite().all():  # in the precision in which it is used
                wrong.append(f"{their} holds NaN or infinity")
        if not wrong:
            state[name] = torch.cat([theirs[their].float() for their in names]) if len(names) > 1 else theirs[names[0]].float()
    for their in sorted(set(theirs) - used):
        if DECODER.search(their):
            words = theirs.get(hf_names("bert.embeddings.token.weight", family)[0])
            if words is None or not torch.equal(words, theirs[their]):
                wrong.append(f"{their} differs from the word vectors, but only tied heads are built here")
        elif COPIES.search(their) or _is_empty_segments(their, theirs[their], model.config):
            continue
        elif NOT_NEEDED.search(their) or heads_may_differ and not their.startswith(ENCODER[family]):
            unused.append(their)
        else:
            wrong.append(f"{their} has no place in the model")
    if wrong:
        lines = _by_layer(wrong)
        more = f"; and {len(lines) - MOST_LINES} more" if len(lines) > MOST_LINES else ""
        raise ValueError(f"{path}: {len(wrong)} tensors do not fit the model of {CONFIG}: " + "; ".join(lines[:MOST_LINES]) + more)
    return state, fresh, unused


def _by_layer(lines):
    """Lines that differ in the number of the layer alone become one.

    >>> _by_layer(["a.0.b is missing", "a.1.b is missing", "c.1.b is missing", "d is missing"])
    ['a.#.b is missing (# = 0, 1)', 'c.1.b is missing', 'd is missing']
    """
    layer, alike = re.compile(r"\.(\d+)\."), {}
    for line in lines:
        alike.setdefault(layer.sub(".#.", line, count=1), []).append(line)
    return [some[0] if len(some) == 1 else f"{line} (# = {', '.join(layer.search(one)[1] for one in some)})" for line, some in alike.items()]


def _is_empty_segments(name, tensor, config):
    """The zeros that stand for segments in the file of a model that has none."""
    return not config.segments and name.endswith("token_type_embeddings.weight") and not tensor.any()
