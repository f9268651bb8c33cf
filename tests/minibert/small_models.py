"""Small models and one batch for the tests of the model and its attention."""
import torch

from minibert.config import BertConfig
from minibert.model import BertForMaskedLM

PAD = {"bert": 0, "roberta": 1, "modernbert": 0, "gpt2": 0}


def config(family, **changes):
    sizes = dict(vocab_size=60, hidden_size=32, num_hidden_layers=4, num_attention_heads=4,
                 intermediate_size=48, max_position_embeddings=24, hidden_dropout_prob=0.0,
                 attention_probs_dropout_prob=0.0, local_attention=6, pad_token_id=PAD[family])
    return BertConfig(family=family, **sizes | changes)


def make(family, cls=BertForMaskedLM, **changes):
    """Return a model with weights that are large enough for mistakes to show."""
    torch.manual_seed(0)
    return cls(config(family, initializer_range=0.2, **changes)).eval()


def batch(family, B=3, T=16):
    """Return ids, mask, labels: rows of T, T - 6 and 4 tokens, four of them to be predicted."""
    torch.manual_seed(1)
    ids = torch.randint(5, 60, (B, T))
    mask = torch.ones(B, T, dtype=torch.long)
    mask[1, T - 6:] = 0
    mask[2, 4:] = 0
    ids[mask == 0] = PAD[family]
    labels = torch.full((B, T), -100)
    for row, position, label in ((0, 2, 9), (0, 9, 16), (1, 1, 8), (2, 3, 10)):
        labels[row, position] = label
    return ids, mask, labels
