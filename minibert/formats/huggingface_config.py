"""config.json in Hugging Face's layout <-> BertConfig or T5Config, and a classifier's labels.

A variant that is not implemented here is refused: loading it as the plain kind would give other
numbers.
"""
from dataclasses import fields

from minibert.config import DECODER_FAMILIES, FAMILIES, BertConfig
from minibert.formats.model_files import CONFIG
from minibert.generation.t5 import T5Config
from minibert.heads import BertForMultiLabelClassification, BertForSequenceClassification

MULTI_LABEL = "multi_label_classification"  # a problem_type
ENCODER_DECODER = "minibert-encoder-decoder"  # a model_type of this project alone
MODEL_TYPES = (*FAMILIES, *DECODER_FAMILIES, "modernbert-decoder", "t5", ENCODER_DECODER)

# BertConfig field -> its name in a config.json of the family, where the two differ.
THEIR_FIELDS = {
    "bert": {"activation": "hidden_act"},
    "roberta": {"activation": "hidden_act"},
    "modernbert": {"layer_norm_eps": "norm_eps", "hidden_dropout_prob": "mlp_dropout",
                   "attention_probs_dropout_prob": "attention_dropout",
                   "activation": "hidden_activation"},
    "gpt2": {"hidden_size": "n_embd", "num_hidden_layers": "n_layer",
             "num_attention_heads": "n_head", "intermediate_size": "n_inner",
             "max_position_embeddings": "n_positions", "layer_norm_eps": "layer_norm_epsilon",
             "hidden_dropout_prob": "resid_pdrop", "attention_probs_dropout_prob": "attn_pdrop",
             "activation": "activation_function"},
}
MODERNBERT_ONLY = ("local_attention", "global_attn_every_n_layers", "global_rope_theta",
                   "local_rope_theta")

# T5Config field -> name in a T5's config
T5_FIELDS = {
    "vocab_size": "vocab_size", "hidden_size": "d_model", "head_size": "d_kv",
    "intermediate_size": "d_ff", "num_hidden_layers": "num_layers",
    "num_decoder_layers": "num_decoder_layers", "num_attention_heads": "num_heads",
    "num_buckets": "relative_attention_num_buckets",
    "max_distance": "relative_attention_max_distance", "hidden_dropout_prob": "dropout_rate",
    "layer_norm_eps": "layer_norm_epsilon", "pad_token_id": "pad_token_id",
}

# Their name of an activation -> ours. The last name for each of ours is the one that is written.
ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh",
               "relu": "relu", "swish": "silu", "silu": "silu"}
HF_ACTIVATIONS = {ours: theirs for theirs, ours in ACTIVATIONS.items()}

# The meaning of fields that a config.json leaves out; sizes have to be there.
DEFAULTS = {
    "bert": {"type_vocab_size": 2, "pad_token_id": 0, "layer_norm_eps": 1e-12},
    "roberta": {"type_vocab_size": 2, "pad_token_id": 1, "layer_norm_eps": 1e-12},
    "modernbert": {"type_vocab_size": 0, "pad_token_id": 50283, "layer_norm_eps": 1e-5,
                   "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    "gpt2": {"type_vocab_size": 0, "layer_norm_eps": 1e-5}}
SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
         "intermediate_size", "max_position_embeddings")

# Variants: only these values are supported.
ONLY = {"position_embedding_type": "absolute", "add_cross_attention": False,
        "scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False,
        "tie_word_embeddings": True, "attention_bias": False, "mlp_bias": False,
        "norm_bias": False, "classifier_bias": False, "decoder_bias": True}


def config_to_json(config, architecture, tokenizer):
    """Return the dict of a config.json for a BertConfig; tokenizer: None if it is not saved."""
    family = config.family
    values = {f.name: getattr(config, f.name) for f in fields(config)}
    del values["family"], values["causal"]
    activation = values["activation"] = HF_ACTIVATIONS[config.activation]
    special_ids = {"bos_token_id": None, "eos_token_id": None}
    if family == "modernbert":
        values["embedding_dropout"] = config.hidden_dropout_prob
        values["classifier_activation"] = activation
        values.update(_attention_pattern_to_json(config))
        special_ids.update(cls_token_id=None, sep_token_id=None)
    else:
        values = {name: value for name, value in values.items() if name not in MODERNBERT_ONLY}
    if family == "gpt2":
        values["embd_pdrop"] = config.hidden_dropout_prob
    if family in ("bert", "roberta") and config.causal:
        values["is_decoder"] = True
    if config.pre_norm:
        del values["type_vocab_size"]
    elif not config.segments:
        # They have at least one segment type: it is written as zeros, which add nothing.
        values.update(type_vocab_size=1, minibert_type_vocab_size=0)
    if tokenizer is not None and family != "bert":
        special_ids["bos_token_id"] = tokenizer.cls_token_id
        special_ids["eos_token_id"] = tokenizer.sep_token_id
        if family == "modernbert":
            special_ids["cls_token_id"] = tokenizer.cls_token_id
            special_ids["sep_token_id"] = tokenizer.sep_token_id
    model_type = family
    if family == "modernbert" and config.causal:
        model_type = "modernbert-decoder"
        if tokenizer is None:
            special_ids = {}  # None is an error there
    values = {THEIR_FIELDS[family].get(name, name): value for name, value in values.items()}
    return {"architectures": [architecture], "model_type": model_type, **values,
            **special_ids, "tie_word_embeddings": True, "dtype": "float32"}


def _attention_pattern_to_json(config):
    """Return layer_types and rope_parameters as transformers 5 writes them."""
    every = config.global_attn_every_n_layers
    layer_types = ["full_attention" if layer % every == 0 else "sliding_attention"
                   for layer in range(config.num_hidden_layers)]
    rope_parameters = {
        "full_attention": {"rope_type": "default", "rope_theta": config.global_rope_theta},
        "sliding_attention": {"rope_type": "default", "rope_theta": config.local_rope_theta}}
    return {"layer_types": layer_types, "rope_parameters": rope_parameters}


def config_from_json(values, path=CONFIG):
    """Return the configuration for the dict of a config.json.

    This is a BertConfig, or for T5 a T5Config. Raises ValueError for unsupported variants.
    """
    family = values.get("model_type")
    if family not in MODEL_TYPES:
        raise ValueError(f"{path}: model_type is {family!r}, but must be one of "
                         + ", ".join(MODEL_TYPES))
    if family == "t5":
        return t5_from_json(values, path)
    if family == ENCODER_DECODER:  # our names
        values = {f.name: values[f.name] for f in fields(BertConfig) if f.name in values}
        return _make_config(BertConfig, values, path)
    is_causal = family in ("modernbert-decoder", "gpt2") or values.get("is_decoder", False)
    family = family.removesuffix("-decoder")
    _check_variant(values, family, path)
    names = {f.name: THEIR_FIELDS[family].get(f.name, f.name) for f in fields(BertConfig)}
    if family == "gpt2":
        values = _complete_gpt2(values)
    missing = [names[name] for name in SIZES if values.get(names[name]) is None]
    if missing:
        raise ValueError(f"{path}: {', '.join(missing)} missing: is it the config.json of a model?")

    config = {"family": family, "causal": is_causal, **DEFAULTS[family]}
    for name, theirs in names.items():
        if name not in ("family", "causal") and values.get(theirs) is not None:
            config[name] = values[theirs]
    config["activation"] = _activation_from_json(values, family, path)
    if "minibert_type_vocab_size" in values:
        config["type_vocab_size"] = values["minibert_type_vocab_size"]
    if family == "modernbert":
        config.update(_attention_pattern_from_json(values, path))
    return _make_config(BertConfig, config, path)


def t5_to_json(config):
    """Return the config.json of a T5."""
    values = {theirs: getattr(config, name) for name, theirs in T5_FIELDS.items()}
    gated = "gated-gelu" if config.gated else HF_ACTIVATIONS[config.activation]
    return {"architectures": ["T5ForConditionalGeneration"], "model_type": "t5", **values,
            "feed_forward_proj": gated, "decoder_start_token_id": config.pad_token_id,
            "is_encoder_decoder": True, "scale_decoder_outputs": config.scaled_head,
            # The two versions differ in this field; whether lm_head.weight exists says the rest.
            "tie_word_embeddings": config.scaled_head, "dtype": "float32"}


def t5_from_json(values, path):
    """Return the T5Config. Whether the head is tied is seen in the weights."""
    missing = [theirs for theirs in ("d_model", "num_layers", "num_heads") if theirs not in values]
    if missing:
        raise ValueError(f"{path}: {', '.join(missing)} missing: is it the config.json of a model?")
    if values.get("decoder_start_token_id", 0) != values.get("pad_token_id", 0):
        raise ValueError(f"{path}: decoder_start_token_id must be pad_token_id")
    projection = values.get("feed_forward_proj", "relu")
    gated = projection == "gated-gelu"
    activation = "gelu_tanh" if gated else ACTIVATIONS.get(str(projection))
    if not activation:
        raise ValueError(f"{path}: feed_forward_proj {projection!r} is not supported")
    scaled = values.get("scale_decoder_outputs", True) and values.get("tie_word_embeddings", True)
    config = {"activation": activation, "gated": gated, "scaled_head": scaled,
              "num_decoder_layers": values["num_layers"]}
    config |= {name: values[theirs] for name, theirs in T5_FIELDS.items()
               if values.get(theirs) is not None}
    return _make_config(T5Config, config, path)


def _make_config(cls, values, path):
    """Return cls(**values); errors name the file."""
    check_types(cls, values, path)
    try:
        return cls(**values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _complete_gpt2(values):
    """Return a GPT-2 config with the values that it may leave out."""
    width = values.get("n_embd")
    return values | {
        "n_inner": values.get("n_inner") or (4 * width if isinstance(width, int) else None),
        # GPT-2 has no padding, so any id serves: that of the end of a text.
        "pad_token_id": next((values[name] for name in ("pad_token_id", "eos_token_id")
                              if values.get(name) is not None), 0)}


def _check_variant(values, family, path):
    for name, supported in ONLY.items():
        value = values.get(name, supported)
        has_no_meaning = family == "modernbert" and name == "position_embedding_type"
        if value != supported and not has_no_meaning:
            raise ValueError(f"{path}: unsupported variant of {family}: {name} = {value!r} "
                             f"(only {supported!r})")


def _activation_from_json(values, family, path):
    name = THEIR_FIELDS[family]["activation"]
    activation = values.get(name, "gelu_new" if family == "gpt2" else "gelu")
    if str(activation) not in ACTIVATIONS:
        raise ValueError(f"{path}: {name} is {activation!r}, but must be one of "
                         + ", ".join(ACTIVATIONS))
    # ModernBERT's head has a field of its own.
    if family == "modernbert" and values.get("classifier_activation", "gelu") != activation:
        raise ValueError(f"{path}: {name} and classifier_activation must be the same")
    return ACTIVATIONS[activation]


def check_types(cls, values, path):
    """Raise ValueError for a value whose type differs from that of its field's default in ``cls``.

    An int is accepted for a float.
    """
    for f in fields(cls):
        value = values.get(f.name, f.default)
        expected = type(f.default)
        if type(value) is expected or (expected is float and type(value) is int):
            continue
        raise ValueError(f"{path}: {f.name} is {str(value)[:100]!r}, a value of the wrong type: "
                         f"it must be of type {expected.__name__}")


def _attention_pattern_from_json(values, path):
    """Read layer_types and rope_parameters; transformers 4 has our four fields instead."""
    pattern = {}
    if values.get("layer_types"):
        pattern["global_attn_every_n_layers"] = _global_attention_period(values, path)
    ropes = values.get("rope_parameters") or {}
    for field, layer_type in (("global_rope_theta", "full_attention"),
                              ("local_rope_theta", "sliding_attention")):
        rope = ropes.get(layer_type, {})
        if rope.get("rope_type", "default") != "default":
            raise ValueError(f"{path}: rope_type {rope['rope_type']!r} is not supported, only "
                             "'default'")
        if "rope_theta" in rope:
            pattern[field] = rope["rope_theta"]
    return pattern


def _global_attention_period(values, path):
    """["full_attention", "sliding_attention", "full_attention", ...] -> 2"""
    num_layers = values["num_hidden_layers"]
    is_global = [layer_type == "full_attention" for layer_type in values["layer_types"]]
    # Several periods may fit a model of few layers, so try the one that is written first.
    for period in (values.get("global_attn_every_n_layers") or 1, *range(1, num_layers + 1)):
        if is_global == [layer % period == 0 for layer in range(num_layers)]:
            return period
    raise ValueError(f"{path}: layer_types do not have 'full_attention' in every n-th of "
                     f"{num_layers} layers, from the first on")


def classifier_to_json(model):
    """Return what config.json has for a model with a head for fine-tuning in addition.

    {"problem_type": "single_label_classification", "id2label": {"0": "bad", "1": "good"}, ...}
    """
    labels = model.labels or ("LABEL_0",)
    values = {"classifier_dropout": model.dropout.p,
              "id2label": {str(i): label for i, label in enumerate(labels)},
              "label2id": {label: i for i, label in enumerate(labels)}}
    if not isinstance(model, BertForSequenceClassification):
        return values
    values["problem_type"] = "single_label_classification" if model.labels else "regression"
    if isinstance(model, BertForMultiLabelClassification):
        values["problem_type"] = MULTI_LABEL
    if model.config.family == "modernbert":
        values["classifier_pooling"] = "mean"
    return values


def classifier_from_json(cls, values, config, path):
    """Return the model of a config.json, a ``cls`` or BertForMultiLabelClassification.

    No labels mean a regression.
    """
    id2label = values.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}  # transformers' default
    labels = tuple(str(id2label[i]) for i in sorted(id2label, key=int))
    if cls is BertForSequenceClassification:
        pooling = values.get("classifier_pooling", "cls")
        if config.family == "modernbert" and pooling != "mean":
            raise ValueError(f"{path}: classifier_pooling {pooling!r} is not supported, only "
                             "'mean'")
        problem_type = values.get("problem_type")
        if problem_type == MULTI_LABEL:
            cls = BertForMultiLabelClassification
        elif problem_type == "regression" or len(labels) == 1:
            labels = ()
    dropout = values.get("classifier_dropout")
    return cls(config, labels, config.hidden_dropout_prob if dropout is None else dropout)
