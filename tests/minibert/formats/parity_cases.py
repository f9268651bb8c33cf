"""The models and batches on which ours and transformers' are compared: nothing is stored, all follows from formulas."""
import torch

from minibert.config import FAMILIES, BertConfig
from minibert.model import BertForMaskedLM, BertForPreTraining

PAD = {"bert": 0, "roberta": 1, "modernbert": 3}


def config(family):
    """Four layers, so that modernbert has global and local ones; its window reaches three tokens to each side."""
    return BertConfig(family=family, vocab_size=61, hidden_size=24, num_hidden_layers=4, num_attention_heads=3, intermediate_size=40,
                      max_position_embeddings=22, type_vocab_size={"bert": 2, "roberta": 1, "modernbert": 0}[family],
                      pad_token_id=PAD[family], layer_norm_eps=1e-5, local_attention=6)


def fill(model):
    """Number i of the k-th tensor (by name) is 0.3 sin((i + 1)^2 / 10 + k), computed in float64; a norm's weight is 1 more."""
    state = model.state_dict()
    for k, name in enumerate(sorted(state)):
        i = torch.arange(1, state[name].numel() + 1, dtype=torch.float64)
        state[name] = (0.3 * torch.sin(i * i / 10 + k) + (1 if name.endswith("norm.weight") else 0)).view(state[name].shape).float()
    model.load_state_dict(state)
    return model.eval()


def model(family, cls=BertForMaskedLM):
    return fill(cls(config(family)))


def batch(family):
    """Three rows of 18, 11 and 5 tokens, padded to 18; token types from the sixth on (bert); every third token is predicted."""
    B, T = 3, 18
    place = torch.arange(B * T).view(B, T)
    attention_mask = (torch.arange(T) < torch.tensor([[18], [11], [5]])).long()
    input_ids = torch.where(attention_mask == 1, 5 + place * 7 % 56, PAD[family])
    labels = torch.where((attention_mask == 1) & (place % 3 == 1), 5 + place * 5 % 56, -100)
    token_type_ids = (torch.arange(T).expand(B, T) >= 6).long() * attention_mask if family == "bert" else None
    return {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids, "labels": labels}


def dense_and_loss(family):
    """Our logits at the real positions (N, V), and our loss."""
    ours, b = model(family), batch(family)
    with torch.no_grad():
        dense = ours(b["input_ids"], b["attention_mask"], b["token_type_ids"]).logits
        return dense[b["attention_mask"] == 1], ours(**b).loss.item()


__all__ = ["FAMILIES", "BertForPreTraining", "batch", "config", "dense_and_loss", "fill", "model"]
