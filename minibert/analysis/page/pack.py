"""Pack a model and its tokenizer as JSON, for the JavaScript of the page.

``model.js`` and ``tokenizer.js`` read what the functions here return. Weights are rounded to
bfloat16, two bytes each, and written in base64.
"""
import base64

import torch

from minibert.config import FAMILIES
from minibert.heads import BertForPreTraining
from minibert.model import BertForMaskedLM

MAX_PARAMETERS = 20_000_000  # a page of 54 MB; larger ones are slow to open and to answer
CONFIG = (
    "family", "hidden_size", "num_hidden_layers", "num_attention_heads", "max_length", "activation",
    "head_activation", "layer_norm_eps", "pre_norm", "gated", "rotary", "local_attention",
    "global_attn_every_n_layers", "global_rope_theta", "local_rope_theta",
)
ROLES = ("cls", "sep", "mask")  # special tokens that the page needs


def pictures_only(model, tokenizer):
    """Return why a page cannot run the model, a sentence; "" if it can."""
    config = model.config
    if config.family not in FAMILIES or type(model) not in (BertForMaskedLM, BertForPreTraining):
        reason = (f"a page runs models that fill masks ({', '.join(FAMILIES)}), not "
                  f"{type(model).__name__} ({config.family})")
    elif model.num_parameters() > MAX_PARAMETERS:
        reason = (f"a page runs models of up to {MAX_PARAMETERS:,} parameters, and this one has "
                  f"{model.num_parameters():,}")
    elif missing := [role for role in ROLES if getattr(tokenizer, f"{role}_token_id") is None]:
        reason = f"the tokenizer has no {' and no '.join(missing)} token"
    elif not is_usual(tokenizer):
        reason = ("the tokenizer has added tokens, a template or a normalization that its "
                  "JavaScript does not know")
    else:
        return ""
    return f"This page has pictures only: {reason}."


def is_usual(tokenizer):
    """Whether a tokenizer has none of the settings that only some published vocabularies have."""
    is_plain = not tokenizer._nonstandard
    return is_plain and not getattr(tokenizer, "unicode_form", None)


def pack(model, tokenizer):
    """Return {"config", "weights", "tokenizer"} of a masked model, as JSON values."""
    config = {name: getattr(model.config, name) for name in CONFIG}
    # RoBERTa's positions begin after the padding id.
    unused_positions = model.config.max_position_embeddings - model.config.max_length
    config["first_position"] = unused_positions
    return {"config": config, "weights": pack_weights(model),
            "tokenizer": pack_tokenizer(tokenizer)}


def pack_weights(model):
    """Return {"shapes": {name: [rows, columns]}, "base64": all weights in this order, in bfloat16}.

    The weights of the encoder lose their "bert."; a pooler and its head are left out.
    """
    shapes = {}
    data = b""
    for name, tensor in model.state_dict().items():
        is_used = name.startswith(("bert.", "head.")) and not name.startswith("bert.pooler.")
        if is_used:
            shapes[name.removeprefix("bert.")] = [len(tensor), tensor[0].numel()]
            bits = tensor.detach().cpu().to(torch.bfloat16).contiguous().view(torch.int16)
            data += bits.numpy().astype("<i2").tobytes()
    return {"shapes": shapes, "base64": base64.b64encode(data).decode("ascii")}


def pack_tokenizer(tokenizer):
    """Return the vocabulary and the settings that affect the ids of a text."""
    packed = {
        "kind": tokenizer.kind,
        "tokens": [tokenizer.id_to_token(i) for i in range(tokenizer.vocab_size)],
        "special_ids": list(tokenizer.special_ids),
        "never_predicted": list(tokenizer.never_predicted),
    }
    for role in (*ROLES, "unk"):
        packed[f"{role}_id"] = getattr(tokenizer, f"{role}_token_id")
    if tokenizer.kind == "bpe":
        packed["add_prefix_space"] = tokenizer.add_prefix_space
        packed["merges"] = [[tokenizer.token_to_id(left), tokenizer.token_to_id(right)]
                            for left, right in tokenizer.merges]
    else:
        normalizer = tokenizer.normalizer
        strips = normalizer.strip_accents
        packed["lowercase"] = normalizer.lowercase
        packed["strip_accents"] = normalizer.lowercase if strips is None else strips
        packed["tokenize_chinese_chars"] = normalizer.tokenize_chinese_chars
        packed["max_input_chars_per_word"] = tokenizer.max_input_chars_per_word
    return packed
