"""Models and batches to compare with transformers: nothing is stored, all follows from formulas."""
import torch

from minibert.config import FAMILIES, BertConfig
from minibert.generation.causal import BertForCausalLM
from minibert.generation.t5 import T5, T5Config
from minibert.heads import BertForQuestionAnswering, BertForTokenClassification
from minibert.model import BertForMaskedLM

CAUSAL_FAMILIES = (*FAMILIES, "gpt2")
T5_VERSIONS = {
    "v1.0": {},
    "v1.1": {"activation": "gelu_tanh", "gated": True, "tied_head": False, "scaled_head": False}}
PAD = {"bert": 0, "roberta": 1, "modernbert": 3, "gpt2": 3}
TYPES = {"bert": 2, "roberta": 1, "modernbert": 0, "gpt2": 0}


def config(family, **changes):
    """Four layers give modernbert global and local ones; its window has three tokens a side."""
    sizes = dict(vocab_size=61, hidden_size=24, num_hidden_layers=4, num_attention_heads=3,
                 intermediate_size=40, max_position_embeddings=22, local_attention=6)
    return BertConfig(family=family, type_vocab_size=TYPES[family], pad_token_id=PAD[family],
                      layer_norm_eps=1e-5, **sizes | changes)


def fill(model):
    """Set number i of the k-th tensor (by name) to 0.3 sin((i + 1)^2 / 10 + k).

    The weight of a norm is 1 more. Computed in float64.
    """
    state = model.state_dict()
    for k, name in enumerate(sorted(state)):
        i = torch.arange(1, state[name].numel() + 1, dtype=torch.float64)
        values = 0.3 * torch.sin(i * i / 10 + k) + (1 if name.endswith("norm.weight") else 0)
        state[name] = values.view(state[name].shape).float()
    model.load_state_dict(state)
    return model.eval()


def model(family, cls=BertForMaskedLM, **changes):
    return fill(cls(config(family, **changes)))


def causal_model(family, **changes):
    return model(family, BertForCausalLM, causal=True, **changes)


def t5_model(version):
    return fill(T5(T5Config(
        vocab_size=61, hidden_size=24, head_size=10, intermediate_size=40, num_hidden_layers=2,
        num_decoder_layers=3, num_attention_heads=3, num_buckets=8, max_distance=20,
        **T5_VERSIONS[version])))


def question_model(family):
    return fill(BertForQuestionAnswering(config(family), ("start", "end")))


def question_batch(family):
    """Return the longest of the rows, and where its answer starts and ends."""
    inputs = {name: value[:1] for name, value in batch(family).items() if value is not None}
    return inputs | {"labels": torch.tensor([[7, 9]])}


def causal_batch(family):
    """Return the same rows, of which every token is to be predicted."""
    inputs = batch(family)
    is_token = inputs["attention_mask"] == 1
    return inputs | {"labels": torch.where(is_token, inputs["input_ids"], -100)}


def t5_batch():
    """Return three sources of 30, 11 and 5 tokens, and targets of 12, 7 and 12."""
    labels = 5 + torch.arange(3 * 12).view(3, 12) * 5 % 56
    labels[1, 7:] = -100
    return {"input_ids": 5 + torch.arange(3 * 30).view(3, 30) * 7 % 56,
            "attention_mask": (torch.arange(30) < torch.tensor([[30], [11], [5]])).long(),
            "labels": labels}


def batch(family):
    """Return three rows of 18, 11 and 5 tokens, padded to 18, with every third token masked."""
    B, T = 3, 18
    i = torch.arange(B * T).view(B, T)
    attention_mask = (torch.arange(T) < torch.tensor([[18], [11], [5]])).long()
    input_ids = torch.where(attention_mask == 1, 5 + i * 7 % 56, PAD[family])
    labels = torch.where((attention_mask == 1) & (i % 3 == 1), 5 + i * 5 % 56, -100)
    token_type_ids = None
    if family == "bert":  # segment B starts at the sixth token
        token_type_ids = (torch.arange(T).expand(B, T) >= 6).long() * attention_mask
    return {"input_ids": input_ids, "attention_mask": attention_mask,
            "token_type_ids": token_type_ids, "labels": labels}


def unlabeled_batch(family):
    """Return the same rows without labels, and only the arguments that the family has."""
    return {name: tensor for name, tensor in batch(family).items()
            if name != "labels" and tensor is not None}


def logits_and_loss(model, family):
    """Return our logits at the tokens that are not padding (N, V), and our loss."""
    inputs = batch(family)
    with torch.no_grad():
        loss = model(**inputs).loss.item()
        del inputs["labels"]
        return model(**inputs).logits[inputs["attention_mask"] == 1], loss


def token_classifier(family):
    return fill(BertForTokenClassification(config(family), ("O", "B-A", "I-A", "B-B", "I-B")))


def token_batch(family):
    """Return the same rows, where every third token is the first piece of a word with a tag."""
    inputs = batch(family)
    labels = inputs["labels"]
    return inputs | {"labels": torch.where(labels == -100, labels, labels % 5)}


def all_logits_and_loss(model, inputs, is_token):
    """Return the logits at these tokens (N, V), and the loss, of any model that writes text."""
    inputs = {name: value for name, value in inputs.items() if value is not None}
    with torch.no_grad():
        out = model(**inputs)
    return out.logits[is_token], out.loss.item()


def generative_cases():
    """Yield (name, our model, inputs, which logits to compare)."""
    for family in CAUSAL_FAMILIES:
        inputs = causal_batch(family)
        yield f"causal {family}", causal_model(family), inputs, inputs["attention_mask"] == 1
    for version in T5_VERSIONS:
        inputs = t5_batch()
        yield f"t5 {version}", t5_model(version), inputs, inputs["labels"] != -100


__all__ = ["FAMILIES", "all_logits_and_loss", "batch", "config", "fill", "generative_cases",
           "logits_and_loss", "model", "question_batch", "question_model", "token_batch",
           "token_classifier"]
