"""Save and load models in Hugging Face's layout: config.json and model.safetensors.

A folder saved here loads in transformers 5 (``AutoModelForMaskedLM.from_pretrained(folder)``), and
one that transformers saved for bert, roberta or modernbert loads here. Tests compare the logits of
both directions to 1e-4. The tables below translate the names of tensors, huggingface_config.py
translates config.json, and model_files.py finds and reads the files.
"""
import json
import re
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch

from minibert.checks import check_tokenizer
from minibert.device import shapes_only
from minibert.formats import safetensors
from minibert.formats.huggingface_config import (
    ENCODER_DECODER,
    classifier_from_json,
    classifier_to_json,
    config_from_json,
    config_to_json,
    t5_to_json,
)
from minibert.formats.huggingface_names import ENCODER, TRANSPOSED, hf_names, layout
from minibert.formats.model_files import CONFIG, WEIGHTS, read_config, read_weights
from minibert.formats.other_weights import listed, strip_prefixes
from minibert.generation.causal import BertForCausalLM
from minibert.generation.seq2seq import EncoderDecoder
from minibert.generation.t5 import T5
from minibert.heads import (
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    EncoderWithHead,
)
from minibert.model import BertForMaskedLM, BertModel
from tokenizer.utils.files import atomic_write
from tokenizer.utils.terminal import plural, visible

# Their architecture -> (family, our class)
ARCHITECTURES = {
    "BertForMaskedLM": ("bert", BertForMaskedLM),
    "BertForPreTraining": ("bert", BertForPreTraining),
    "BertModel": ("bert", BertModel),
    "BertForSequenceClassification": ("bert", BertForSequenceClassification),
    "BertForTokenClassification": ("bert", BertForTokenClassification),
    "BertForQuestionAnswering": ("bert", BertForQuestionAnswering),
    "RobertaForMaskedLM": ("roberta", BertForMaskedLM),
    "RobertaModel": ("roberta", BertModel),
    "RobertaForSequenceClassification": ("roberta", BertForSequenceClassification),
    "RobertaForTokenClassification": ("roberta", BertForTokenClassification),
    "RobertaForQuestionAnswering": ("roberta", BertForQuestionAnswering),
    "ModernBertForMaskedLM": ("modernbert", BertForMaskedLM),
    "ModernBertModel": ("modernbert", BertModel),
    "ModernBertForSequenceClassification": ("modernbert", BertForSequenceClassification),
    "ModernBertForTokenClassification": ("modernbert", BertForTokenClassification),
    "ModernBertForQuestionAnswering": ("modernbert", BertForQuestionAnswering),
    "BertLMHeadModel": ("bert", BertForCausalLM),
    "RobertaForCausalLM": ("roberta", BertForCausalLM),
    "ModernBertDecoderForCausalLM": ("modernbert", BertForCausalLM),
    "GPT2LMHeadModel": ("gpt2", BertForCausalLM),
    "T5ForConditionalGeneration": ("t5", T5),
}

# Old spellings of names, and tensors that a file may have and the model does not need.
OLD_SPELLINGS = ((re.compile(r"LayerNorm\.gamma$"), "LayerNorm.weight"),
                 (re.compile(r"LayerNorm\.beta$"), "LayerNorm.bias"))
NOT_NEEDED = re.compile(r"pooler\.dense\.(weight|bias)$|cls\.seq_relationship\.(weight|bias)$")
COPIES = re.compile(r"position_ids$|(cls\.predictions|lm_head)\.decoder\.bias$"
                    r"|^transformer\..*\.attn\.(masked_)?bias$"  # GPT-2's causal mask
                    r"|EncDecAttention\.relative_attention_bias\.weight$")  # T5 does not use it
# The token embeddings again, if the head is tied
DECODER = re.compile(r"((^|\.)decoder|lm_head|embed_tokens)\.weight$")
IN_HEADS = re.compile(r"(?!bert\.)|bert\.pooler\.")  # our names outside of the encoder
MAX_PROBLEMS = 5  # listed in an error


def save_pretrained(model, folder, tokenizer=None):
    """Write a model, and a tokenizer if there is one, to ``folder``; other files stay.

    save_pretrained(model, "runs/kant/model", tokenizer)
    """
    folder = Path(folder)
    config = model.config
    if tokenizer is not None:
        check_tokenizer(config, tokenizer)
    encoder_only = isinstance(model, BertModel)
    tensors = {}
    for name, tensor in model.state_dict().items():
        names = hf_names(name, layout(model), encoder_only)
        for hf_name, part in zip(names, tensor.detach().float().chunk(len(names))):
            tensors[hf_name] = part.mT if TRANSPOSED.match(hf_name) else part
    if not (config.pre_norm or config.segments or isinstance(model, EncoderDecoder)):
        # They have at least one segment type: zeros add nothing.
        name = "embeddings.segment.weight" if encoder_only else "bert.embeddings.segment.weight"
        segment_name = hf_names(name, config.family, encoder_only)[0]
        tensors[segment_name] = torch.zeros(1, config.hidden_size)
    if isinstance(model, T5):
        values = t5_to_json(config)
    elif isinstance(model, EncoderDecoder):  # our names: no model there has this block
        values = {"architectures": ["EncoderDecoder"], "model_type": ENCODER_DECODER,
                  **asdict(config)}
    else:
        # Only config.json says that a model has several labels for a text.
        cls = next(cls for cls in (BertForSequenceClassification, type(model))
                   if isinstance(model, cls))
        architecture = next(name for name, supported in ARCHITECTURES.items()
                            if supported == (config.family, cls))
        values = config_to_json(config, architecture, tokenizer)
    if isinstance(model, EncoderWithHead):
        values.update(classifier_to_json(model))
    safetensors.write(tensors, folder / WEIGHTS, {"format": "pt"})
    atomic_write(folder / CONFIG, json.dumps(values, indent=2, sort_keys=True) + "\n")
    if tokenizer is not None:
        tokenizer.save(folder)


def from_pretrained(folder):
    """Return the model of a folder in Hugging Face layout: float32, on the CPU, in eval mode.

    Raises FileNotFoundError, or ValueError that lists the tensors that do not fit.

    from_pretrained("runs/kant/model") -> BertForMaskedLM
    """
    config_path = Path(folder) / CONFIG
    values = read_config(folder)
    config = load_config(folder)
    path, tensors, note = load_tensors(folder, config.family)
    notes = [note] if note else []
    with shapes_only():  # the values come from the file
        model = _build_model(values, config, tensors, config_path)
    encoder_only = isinstance(model, BertModel)
    state, _, unused = map_state_dict(model, tensors, path, heads_may_differ=encoder_only)
    if encoder_only and unused:
        notes.append(f"not used, because {CONFIG} names a bare encoder: {listed(unused)}")
    if notes:
        print(f"{path}: {'; '.join(notes)}", file=sys.stderr)
    model.load_state_dict(state, assign=True)
    return model.eval()


def load_config(folder):
    """Return the BertConfig of a folder in Hugging Face layout, without reading the weights."""
    return config_from_json(read_config(folder), Path(folder) / CONFIG)


def load_tensors(folder, family):
    """Return (path of the weights, {name: tensor}, a note or "") of a folder.

    The names are spelled as today and without prefixes of wrappers, which the note lists. Those of
    a bare encoder begin with its family's prefix, as in a model with heads.
    """
    path, tensors = read_weights(folder)
    for pattern, new in OLD_SPELLINGS:
        tensors = {pattern.sub(new, name): tensor for name, tensor in tensors.items()}
    tensors, note = strip_prefixes(tensors)
    if any(name.startswith(("embeddings.", "wte.")) for name in tensors):
        tensors = {ENCODER[family] + name: tensor for name, tensor in tensors.items()}
    for name in filter(TRANSPOSED.match, tensors):
        tensors[name] = tensors[name].mT if tensors[name].dim() == 2 else tensors[name]
    return path, tensors, note


def _build_model(values, config, tensors, path):
    of_family = {name: cls for name, (family, cls) in ARCHITECTURES.items()
                 if family == config.family and (cls is BertForCausalLM) == config.causal}
    if values["model_type"] == ENCODER_DECODER:
        return EncoderDecoder(config)
    architectures = values.get("architectures") or list(of_family)  # by default ...ForMaskedLM
    architecture = architectures[0] if isinstance(architectures, list) else architectures
    if architecture not in list(of_family):  # it may be anything, also no string
        kind = " of a causal model (is_decoder)" if config.causal else ""
        raise ValueError(f"{path}: architecture {architecture!r}{kind} is not supported, only "
                         + ", ".join(of_family))
    cls = of_family[architecture]
    if cls is T5:
        head = tensors.get("lm_head.weight")
        is_tied = head is None or torch.equal(head, tensors.get("shared.weight", head + 1))
        config = replace(config, tied_head=is_tied)
    if issubclass(cls, EncoderWithHead):
        return classifier_from_json(cls, values, config, path)
    if cls is BertModel:
        return cls(config, pooler=f"{ENCODER[config.family]}pooler.dense.weight" in tensors)
    return cls(config)


def map_state_dict(model, tensors, path, heads_may_differ):
    """Return (our state_dict, our names without a tensor, their names without a use).

    Every tensor of both sides is accounted for. heads_may_differ: outside of the encoder each side
    may have tensors that the other one lacks.
    """
    family = layout(model)
    prefix = "bert." if isinstance(model, BertModel) else ""
    state, used, fresh, problems = {}, set(), [], []
    for name, parameter in model.state_dict().items():
        names = hf_names(prefix + name, family)
        used.update(names)
        if heads_may_differ and IN_HEADS.match(prefix + name) and names[0] not in tensors:
            fresh.append(name)
            continue
        shape = (parameter.shape[0] // len(names), *parameter.shape[1:])
        for hf_name in names:
            problems += _problems(hf_name, tensors, shape)
        if not problems:
            parts = [tensors[hf_name].float() for hf_name in names]
            state[name] = torch.cat(parts) if len(parts) > 1 else parts[0]

    unused = []
    token_embeddings = tensors.get(hf_names("bert.embeddings.token.weight", family)[0])
    for hf_name in sorted(set(tensors) - used):
        tensor = tensors[hf_name]
        outside_encoder = not hf_name.startswith(ENCODER[family])
        if DECODER.search(hf_name):
            if token_embeddings is None or not torch.equal(token_embeddings, tensor):
                problems.append(f"{hf_name} differs from the token embeddings, but only tied "
                                "heads are supported")
        elif COPIES.search(hf_name) or _is_empty_segment(hf_name, tensor, model.config):
            continue
        elif NOT_NEEDED.search(hf_name) or (heads_may_differ and outside_encoder):
            unused.append(hf_name)
        else:
            problems.append(f"{hf_name} is not a part of the model")
    if tensors and not used & tensors.keys():
        raise ValueError(f"{path}: the names are those of another architecture or program: "
                         f"{listed(tensors)}; expected: {listed(sorted(used))}")
    if problems:
        more = "; ..." if len(problems) > MAX_PROBLEMS else ""
        first = "; ".join(visible(problem)[:120] for problem in problems[:MAX_PROBLEMS])
        count = plural(len(problems), "tensor does", "tensors do")
        raise ValueError(f"{path}: {count} not fit the model of {CONFIG}: {first}{more}")
    return state, fresh, unused


def _problems(name, tensors, shape):
    """Return a list of what is wrong with a tensor that the model needs."""
    tensor = tensors.get(name)
    if tensor is None:
        return [f"{name} is missing"]
    if tensor.shape != shape:
        return [f"{name} has the shape {tuple(tensor.shape)}, {CONFIG} says {shape}"]
    if not tensor.is_floating_point():
        return [f"{name} holds {tensor.dtype}"]
    if not tensor.float().isfinite().all():  # in the precision in which it is used
        return [f"{name} holds NaN or infinity"]
    return []


def _is_empty_segment(name, tensor, config):
    """Return whether these are the zeros that are written for a model without segments."""
    is_segment = name.endswith("token_type_embeddings.weight")
    return is_segment and not config.segments and not tensor.any()
