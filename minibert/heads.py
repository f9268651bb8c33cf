"""The classification head for fine-tuning: one vector per text or pair, then a score per label.

The vector depends on the family, as in its authors' code:

    bert         tanh(dense(first token)), the pooler (Devlin et al. 2018, section 4.1). It is
                 pre-trained with next-sentence prediction, otherwise newly initialized.
    roberta      dropout, tanh(dense(first token)): a newly initialized layer of the head's own
    modernbert   norm(gelu(dense(mean of all tokens))). Pre-training never made the first token a
                 summary, while a mean needs no learning. dense and norm come from the MLM head.

Dropout and a linear layer follow. The layers are those of transformers'
...ForSequenceClassification, so a saved model loads there.
"""
import torch
from torch import nn
from torch.nn import functional as F

from minibert.model import ACTIVATIONS, BertModel, ModelOutput, PreTrainedModel, layer_norm


def encoder_of(model):
    """Return the BertModel inside any model of this project."""
    return model if isinstance(model, BertModel) else model.bert


class BertForSequenceClassification(PreTrainedModel):
    """The encoder with a head for one label, or one number (regression), per text.

    labels: the names of the outputs in order; () for a regression. dropout: that of the head.

    >>> config = BertConfig(vocab_size=100, hidden_size=8, num_hidden_layers=1,
    ...                     num_attention_heads=2, intermediate_size=16)
    >>> model = BertForSequenceClassification(config, ("bad", "good"))
    >>> model(torch.tensor([[2, 7, 9, 3]])).logits.shape
    torch.Size([1, 2])
    """

    def __init__(self, config, labels=(), dropout=0.1):
        super().__init__(config)
        if len(labels) == 1:
            raise ValueError(f"one label only, {labels[0]!r}: give at least two, or none for a "
                             "regression")
        self.labels = tuple(labels)
        self.bert = BertModel(config, pooler=config.family == "bert")
        self.dropout = nn.Dropout(dropout)
        if config.family != "bert":
            self.dense = nn.Linear(config.hidden_size, config.hidden_size, bias=config.use_bias)
        if config.family == "modernbert":
            self.activation = ACTIVATIONS[config.head_activation]
            self.norm = layer_norm(config)
        self.classifier = nn.Linear(config.hidden_size, max(len(self.labels), 1))
        self.init_weights()

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, labels=None):
        """Return logits (B, labels), and with labels the loss; a regression has logits (B, 1).

        labels (B,): label indices (int64; the loss is the cross entropy), or for a regression the
        true numbers (float; the loss is the mean squared error).
        """
        encoded = self.bert(input_ids, attention_mask, token_type_ids)
        pooled = self.pool(encoded, attention_mask)  # (B, H)
        logits = self.classifier(self.dropout(pooled))  # (B, labels)
        if labels is None:
            return ModelOutput(logits)
        if self.labels:
            return ModelOutput(logits, F.cross_entropy(logits.float(), labels))
        return ModelOutput(logits, F.mse_loss(logits.squeeze(1).float(), labels.float()))

    def pool(self, encoded, attention_mask=None):
        """Return one vector per text (B, H) from what the encoder returned."""
        if self.config.family == "bert":
            _, pooled = encoded
            return pooled
        if self.config.family == "roberta":
            return torch.tanh(self.dense(self.dropout(encoded[:, 0])))
        mean = mean_of_tokens(encoded, attention_mask)  # (B, H)
        return self.norm(self.activation(self.dense(mean)))

    def load_encoder_from(self, pretrained):
        """Copy the weights of a model with the same config; return self.

        These are the encoder, the pooler if both have one, and for modernbert the layers dense and
        norm of the MLM head. pretrained: any model of this project.
        """
        encoder = encoder_of(pretrained)
        state = encoder.state_dict()
        if self.bert.pooler is None or encoder.pooler is None:
            own = self.bert.state_dict()
            state = {name: t for name, t in state.items() if not name.startswith("pooler.")}
            state |= {name: t for name, t in own.items() if name.startswith("pooler.")}
        self.bert.load_state_dict(state)
        head = getattr(pretrained, "head", pretrained)  # a classifier has the layers itself
        if self.config.family == "modernbert" and hasattr(head, "dense"):
            self.dense.load_state_dict(head.dense.state_dict())
            self.norm.load_state_dict(head.norm.state_dict())
        return self


def mean_of_tokens(hidden, attention_mask=None):
    """Return the mean vector (B, H) of hidden (B, T, H) over the tokens that are not padding.

    >>> hidden = torch.tensor([[[1.0, 0.0], [3.0, 2.0], [9.0, 9.0]]])
    >>> mean_of_tokens(hidden, torch.tensor([[1, 1, 0]]))
    tensor([[2., 1.]])
    """
    if attention_mask is None:
        return hidden.mean(dim=1)
    is_token = attention_mask[:, :, None].to(hidden.dtype)  # (B, T, 1)
    return (hidden * is_token).sum(dim=1) / is_token.sum(dim=1)
