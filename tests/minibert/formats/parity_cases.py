"""Models and batches to compare with transformers: nothing is stored, all follows from formulas."""
import torch

from minibert.config import FAMILIES, BertConfig
from minibert.model import BertForMaskedLM

PAD = {"bert": 0, "roberta": 1, "modernbert": 3}
TYPES = {"bert": 2, "roberta": 1, "modernbert": 0}


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


def logits_and_loss(model, family):
    """Return our logits at the tokens that are not padding (N, V), and our loss."""
    inputs = batch(family)
    with torch.no_grad():
        loss = model(**inputs).loss.item()
        del inputs["labels"]
        return model(**inputs).logits[inputs["attention_mask"] == 1], loss


__all__ = ["FAMILIES", "batch", "config", "fill", "logits_and_loss", "model"]
