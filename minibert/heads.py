"""Heads besides the MLM head: next-sentence prediction, and those for fine-tuning.

A classifier of texts computes one vector per text (or pair of texts), then dropout and a linear
layer. The vector depends on the family, as in its authors' code:

    bert         tanh(dense(first token)), the pooler (Devlin et al. 2018, section 4.1). It is
                 pre-trained with next-sentence prediction, otherwise newly initialized.
    roberta      dropout, tanh(dense(first token)): a newly initialized layer of the head's own
    modernbert   norm(gelu(dense(mean of all tokens))). Pre-training never made the first token a
                 summary, while a mean needs no learning. dense and norm come from the MLM head.

The layers are those of transformers' ...ForSequenceClassification and ...ForTokenClassification, so
a saved model loads there.
"""
import torch
from torch import nn
from torch.nn import functional as F

from minibert.checks import check_labels
from minibert.masking import IGNORE_INDEX
from minibert.model import (
    ACTIVATIONS,
    BertForMaskedLM,
    BertModel,
    ModelOutput,
    PreTrainedModel,
    layer_norm,
    select_masked,
)


class BertForPreTraining(BertForMaskedLM):
    """The encoder with both heads of BERT: masked tokens, and "does B follow A?" (task 2)."""

    def __init__(self, config):
        if config.segments < 2:
            raise ValueError("next-sentence prediction needs two segment types, this "
                             f"{config.family} has {config.segments}: set type_vocab_size to 2")
        super().__init__(config)
        # The parent class builds the encoder without a pooler.
        self.bert.pooler = nn.Linear(config.hidden_size, config.hidden_size)
        self.nsp = nn.Linear(config.hidden_size, 2)
        self.init_weights()

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, labels=None,
                next_sentence_label=None, masked_positions=None):
        """Return both logits and losses; next_sentence_label (B,): 0 = B follows A, 1 = not."""
        check_labels(self.config, input_ids, labels)
        labels, masked_positions = select_masked(labels, masked_positions)
        hidden, pooled = self.bert(input_ids, attention_mask, token_type_ids, masked_positions)
        out = self.mlm_output(hidden, labels)
        out.nsp_logits = self.nsp(pooled)  # (B, 2)
        if next_sentence_label is not None:
            out.nsp_loss = F.cross_entropy(out.nsp_logits.float(), next_sentence_label)
            out.loss = out.nsp_loss if out.loss is None else out.mlm_loss + out.nsp_loss
        return out


def encoder_of(model):
    """Return the BertModel inside any model of this project."""
    return model if isinstance(model, BertModel) else model.bert


class EncoderWithHead(PreTrainedModel):
    """The encoder, dropout and a linear layer: what all models for fine-tuning have in common.

    labels: the names of the outputs in order. dropout: that of the head. with_dense: there is a
    dense layer before the linear one. pooler: see ``BertModel``.
    """

    def __init__(self, config, labels, dropout, with_dense, pooler=False):
        super().__init__(config)
        self.labels = tuple(labels)
        self.bert = BertModel(config, pooler)
        self.dropout = nn.Dropout(dropout)
        if with_dense:
            self.dense = nn.Linear(config.hidden_size, config.hidden_size, bias=config.use_bias)
        if config.family == "modernbert":
            self.activation = ACTIVATIONS[config.head_activation]
            self.norm = layer_norm(config)
        self.classifier = nn.Linear(config.hidden_size, max(len(self.labels), 1))
        self.dense_is_pretrained = False
        self.init_weights()

    def load_encoder_from(self, pretrained):
        """Copy the weights of any model with the same config; return self.

        These are the encoder, the pooler if both have one, and for modernbert the layers dense and
        norm of the MLM head, unless ``pretrained`` is an encoder alone.
        """
        state = encoder_of(pretrained).state_dict()
        own = self.bert.state_dict()
        # Only the pooler can be missing on one side; a missing one stays as initialized.
        self.bert.load_state_dict({name: state.get(name, own[name]) for name in own})
        head = getattr(pretrained, "head", pretrained)  # a classifier has the layers itself
        if self.config.family == "modernbert" and hasattr(head, "dense"):
            self.dense.load_state_dict(head.dense.state_dict())
            self.norm.load_state_dict(head.norm.state_dict())
            self.dense_is_pretrained = True
        return self


class BertForSequenceClassification(EncoderWithHead):
    """The encoder with a head for one label, or one number (regression), per text.

    labels: the names of the outputs in order; () for a regression. dropout: that of the head.

    >>> config = BertConfig(vocab_size=100, hidden_size=8, num_hidden_layers=1,
    ...                     num_attention_heads=2, intermediate_size=16)
    >>> model = BertForSequenceClassification(config, ("bad", "good"))
    >>> model(torch.tensor([[2, 7, 9, 3]])).logits.shape
    torch.Size([1, 2])
    """

    def __init__(self, config, labels=(), dropout=0.1):
        if len(labels) == 1:
            raise ValueError(f"one label only, {labels[0]!r}: give at least two, or none for a "
                             "regression")
        is_bert = config.family == "bert"
        super().__init__(config, labels, dropout, with_dense=not is_bert, pooler=is_bert)

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, labels=None,
                class_weights=None):
        """Return logits (B, labels), and with labels the loss; a regression has logits (B, 1)."""
        encoded = self.bert(input_ids, attention_mask, token_type_ids)
        pooled = self.pool(encoded, attention_mask)  # (B, H)
        logits = self.classifier(self.dropout(pooled))  # (B, labels)
        if labels is None:
            return ModelOutput(logits)
        return ModelOutput(logits, self.loss(logits.float(), labels, class_weights))

    def loss(self, logits, labels, class_weights=None):
        """Return the cross entropy, or for a regression the mean squared error.

        labels (B,): label indices (int64), or for a regression the true numbers (float).
        class_weights (labels,): the weight of an example of each label; None: 1.
        """
        if self.labels:
            return F.cross_entropy(logits, labels, class_weights)
        return F.mse_loss(logits.squeeze(1), labels.float())

    def pool(self, encoded, attention_mask=None):
        """Return one vector per text (B, H) from what the encoder returned."""
        if self.config.family == "bert":
            _, pooled = encoded
            return pooled
        if self.config.family == "roberta":
            return torch.tanh(self.dense(self.dropout(encoded[:, 0])))
        mean = mean_of_tokens(encoded, attention_mask)  # (B, H)
        return self.norm(self.activation(self.dense(mean)))


class BertForMultiLabelClassification(BertForSequenceClassification):
    """The same layers for texts with any number of labels each: every output is a yes or no."""

    def loss(self, logits, labels, class_weights=None):
        """Return the mean binary cross entropy; labels (B, labels) are 0.0 or 1.0."""
        return F.binary_cross_entropy_with_logits(logits, labels)


class BertForTokenClassification(EncoderWithHead):
    """The encoder with a head for one label per token (Devlin et al. 2018, section 5.3).

    For modernbert each vector first passes through the layers dense and norm of the MLM head.
    """

    def __init__(self, config, labels, dropout=0.1):
        super().__init__(config, labels, dropout, with_dense=config.family == "modernbert")

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, labels=None):
        """Return logits (B, T, labels), and with labels (B, T) the mean loss where not -100."""
        hidden = self.bert(input_ids, attention_mask, token_type_ids)  # (B, T, H)
        if self.config.family == "modernbert":
            hidden = self.norm(self.activation(self.dense(hidden)))
        logits = self.classifier(self.dropout(hidden))  # (B, T, labels)
        if labels is None:
            return ModelOutput(logits)
        return ModelOutput(logits, self.loss(logits.float(), labels, attention_mask))

    def loss(self, logits, labels, attention_mask):
        """Return the mean cross entropy where the labels (B, T) are not -100; 0 if all are."""
        num_labeled = (labels != IGNORE_INDEX).sum().clamp(min=1)
        return F.cross_entropy(logits.mT, labels, reduction="sum") / num_labeled


class BertForQuestionAnswering(BertForTokenClassification):
    """The encoder with two scores per token, as the first and the last token of an answer.

    (Devlin et al. 2018, section 4.2.) The labels are ("start", "end").
    """

    def loss(self, logits, labels, attention_mask):
        """Return the mean of two cross entropies over the tokens; labels (B, 2): start and end."""
        if attention_mask is not None:  # padding must not change the loss
            logits = logits.masked_fill(attention_mask[:, :, None] == 0, -torch.inf)
        return F.cross_entropy(logits, labels)


# The models for fine-tuning by name, as adapter.json names them
FINETUNED = {cls.__name__: cls for cls in (
    BertForSequenceClassification, BertForMultiLabelClassification, BertForTokenClassification,
    BertForQuestionAnswering)}


class PlainOutput(nn.Module):
    """A model that returns only tensors, as torch.jit.trace and ONNX need.

    The output is logits, (logits, nsp_logits), or what an encoder returns.

    torch.jit.trace(PlainOutput(model.eval()), (input_ids, attention_mask))
    """

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.train(model.training)

    def forward(self, input_ids, attention_mask=None, token_type_ids=None):
        out = self.model(input_ids, attention_mask, token_type_ids)
        if not isinstance(out, ModelOutput):
            return out
        return out.logits if out.nsp_logits is None else (out.logits, out.nsp_logits)


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


def text_vectors(encoder, batch, pooling="mean"):
    """Return one vector per text (B, H): the mean over its tokens, or "cls", the first token's.

    encoder: a BertModel; batch: its arguments, with an attention mask.
    """
    hidden = encoder(**batch)
    if isinstance(hidden, tuple):  # an encoder with a pooler, which is not needed here
        hidden, _ = hidden  # (B, T, H)
    return mean_of_tokens(hidden, batch["attention_mask"]) if pooling == "mean" else hidden[:, 0]
