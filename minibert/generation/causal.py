"""Causal language modelling: the encoder's blocks, but each token sees only earlier ones.

Two things change from BERT to GPT (Radford et al. 2018, section 3.1):

    attention     ``BertConfig.causal`` hides later tokens from earlier ones (attention.py)
    predicted     every token from those before it, not 15% of them from both sides

The vector of token t - 1 predicts token t. No token can see its answer, so nothing is corrupted and
all positions are scored at once:

    <s>  the  cat  sat            input
    the  cat  sat  on             to predict
"""
import numpy as np
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from minibert.checks import check_labels
from minibert.masking import IGNORE_INDEX
from minibert.model import BertModel, MLMHead, ModelOutput, PreTrainedModel

CHUNK = 1024  # positions whose logits (CHUNK, V) are in memory at once


class TiedHead(nn.Module):
    """GPT-2's head, which is only the tied output layer: hidden (..., H) -> (..., V)."""

    def forward(self, hidden, token_embeddings):
        return F.linear(hidden, token_embeddings)


class BertForCausalLM(PreTrainedModel):
    """A decoder: the blocks of BertModel with a causal mask, and a head for the next token.

    >>> import torch
    >>> from minibert.config import BertConfig
    >>> model = BertForCausalLM(BertConfig("gpt2", vocab_size=100, hidden_size=24, causal=True))
    >>> ids = torch.tensor([[2, 4, 9, 3]])
    >>> model(ids, labels=ids).logits.shape
    torch.Size([1, 4, 100])
    """

    def __init__(self, config):
        if not config.causal:
            raise ValueError("a causal language model needs a configuration with causal=True")
        super().__init__(config)
        self.bert = BertModel(config)
        self.head = TiedHead() if config.family == "gpt2" else MLMHead(config)
        self.init_weights()

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, labels=None,
                masked_positions=None):
        """Return logits (B, T, V), where row t is about token t + 1, and with labels the loss.

        labels (B, T): the true id of each token to score, usually input_ids; -100 elsewhere. The
        first token is never scored, since nothing comes before it.
        masked_positions (M,): flat indices of the tokens to score, as training passes them; the
        output then has the logits (M, V) of these, and in training mode none.
        """
        check_labels(self.config, input_ids, labels)
        hidden = self.bert(input_ids, attention_mask, token_type_ids)  # (B, T, H)
        if masked_positions is not None:
            return self.score(hidden, labels, masked_positions)
        out = ModelOutput(self.logits(hidden))  # (B, T, V)
        if labels is not None:
            # Vector t - 1 answers for token t.
            answers, targets = out.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
            out.loss = out.mlm_loss = score(lambda logits: logits, answers, targets).loss
        return out

    def logits(self, hidden):
        """Return the logits (..., V) of hidden (..., H)."""
        return self.head(hidden, self.bert.embeddings.token.weight)

    def score(self, hidden, labels, positions):
        """Return the output for the tokens at flat positions (M,)."""
        is_first = positions % labels.shape[1] == 0  # their predecessor is in another row
        targets = labels.flatten()[positions].masked_fill(is_first, IGNORE_INDEX)  # (M,)
        hidden = hidden.flatten(0, 1)[(positions - 1).clamp(min=0)]  # (M, H)
        return score(self.logits, hidden, targets, in_chunks=self.training)


def score(logits_of, hidden, targets, in_chunks=False):
    """Return the output for hidden (M, H) with targets (M,); logits_of: hidden -> (M, V).

    The logits of all tokens would be the largest tensor of a training step by far. in_chunks: they
    are computed in chunks, computed again in the backward pass, and not returned.
    """
    def loss_of(hidden, targets):
        # float32 logits: bf16 would round the loss to 2-3 digits.
        return F.cross_entropy(logits_of(hidden).float(), targets, reduction="sum")

    logits = None
    if in_chunks:
        chunks = zip(hidden.split(CHUNK), targets.split(CHUNK))
        loss_sum = sum(checkpoint(loss_of, *chunk, use_reentrant=False) for chunk in chunks)
    else:
        logits = logits_of(hidden)  # (M, V)
        loss_sum = F.cross_entropy(logits.float(), targets, reduction="sum")
    loss = loss_sum / (targets != IGNORE_INDEX).sum().clamp(min=1)
    return ModelOutput(logits, loss, targets, mlm_loss=loss)


class NextToken:
    """Every token is to be predicted: the causal counterpart of ``masking.Masker``.

    vocab_size     entries of the vocabulary
    special_ids    ids that are not predicted
    predicted      except these: [SEP], where it ends a text

    >>> next_token = NextToken(10, special_ids=(0, 1, 2), predicted=(2,))
    >>> next_token(np.array([[1, 7, 8, 2, 0]]))[1].tolist()
    [[-100, 7, 8, 2, -100]]
    """

    def __init__(self, vocab_size, special_ids, predicted=()):
        self.is_special = np.zeros(vocab_size, dtype=bool)
        self.is_special[list(set(special_ids) - set(predicted))] = True

    def __call__(self, input_ids, seed=0, epoch=0, examples=None):
        """Return (input_ids, labels), both (B, T).

        Nothing is random, so the other arguments, which a Masker needs, are not used.
        """
        labels = np.where(self.is_special[input_ids], IGNORE_INDEX, input_ids)
        labels[:, 0] = IGNORE_INDEX  # nothing comes before it
        return input_ids, labels
