"""The head of fine-tuning: one vector for a whole text (or pair), and from it a score for each label, or one number.

What the vector is depends on the family, as in its authors' code:

    bert         tanh(dense(final vector of [CLS])), the pooler, then dropout and a linear layer (Devlin et al. 2018, section 4.1). The pooler
                 was trained where next-sentence prediction was; elsewhere it starts fresh.
    roberta      dropout, tanh(dense(final vector of <s>)), dropout, linear: the same with a dense layer of the head's own, always fresh
    modernbert   the mean of all final vectors, norm(gelu(dense(mean))), dropout, linear. Nothing in its pre-training has made the first
                 token a summary, a mean needs no learning. dense and norm are those of the head that filled masks, and keep what they know.

The layers carry the names that transformers' ...ForSequenceClassification has for them (``interop.py``), so what is saved loads there.
"""
import torch
from torch import nn
from torch.nn import functional as F

from minibert.model import BertModel, ModelOutput, PreTrainedModel, layer_norm


def encoder_of(model):
    """The BertModel of any model of this project; of one that is the encoder alone, itself."""
    return model if isinstance(model, BertModel) else model.bert


class BertForSequenceClassification(PreTrainedModel):
    """The encoder with a head for one label, or for one number, a text.

    labels: what the outputs mean, in order, as strings; () for a regression, which has one output. dropout: of the head.

    >>> config = BertConfig(vocab_size=100, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    >>> model = BertForSequenceClassification(config, ("bad", "good"))
    >>> model(torch.tensor([[2, 7, 9, 3]])).logits.shape
    torch.Size([1, 2])
    """

    def __init__(self, config, labels=(), dropout=0.1):
        super().__init__(config)
        if len(labels) == 1:
            raise ValueError(f"one label only, {labels[0]!r}: give two at least, or none for a regression")
        self.labels = tuple(labels)
        self.bert = BertModel(config, pooler=config.family == "bert")
        self.dropout = nn.Dropout(dropout)
        if config.family != "bert":
            self.dense = nn.Linear(config.hidden_size, config.hidden_size, bias=config.use_bias)
        if config.family == "modernbert":
            self.norm = layer_norm(config)
        self.classifier = nn.Linear(config.hidden_size, max(len(self.labels), 1))
        self.init_weights()

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, labels=None):
        """labels (B,): the numbers of the right labels, int64, or, of a regression, the numbers that are right, float.

        -> ModelOutput: logits (B, labels), of a regression (B, 1); loss: cross entropy, or the mean squared error
        """
        hidden = self.bert(input_ids, attention_mask, token_type_ids)
        logits = self.classifier(self.dropout(self.summary(hidden, attention_mask)))  # (B, labels)
        if labels is None:
            return ModelOutput(logits)
        if not self.labels:
            return ModelOutput(logits, F.mse_loss(logits.squeeze(1).float(), labels.float()))
        return ModelOutput(logits, F.cross_entropy(logits.float(), labels))

    def summary(self, hidden, attention_mask=None):
        """What the encoder returned -> one vector a text (B, H)."""
        if self.config.family == "bert":
            return hidden[1]  # the pooler's
        if self.config.family == "roberta":
            return torch.tanh(self.dense(self.dropout(hidden[:, 0])))
        return self.norm(F.gelu(self.dense(mean_of_tokens(hidden, attention_mask))))

    def load_encoder_from(self, pretrained):
        """Take over what a model of the same config has learned: the encoder, the pooler where both have one, of modernbert dense and norm.

        pretrained: any model of this project, an encoder alone included -> self
        """
        encoder = encoder_of(pretrained)
        state = encoder.state_dict()
        if self.bert.pooler is None or encoder.pooler is None:
            state = {name: value for name, value in state.items() if not name.startswith("pooler.")}
            state |= {name: value for name, value in self.bert.state_dict().items() if name.startswith("pooler.")}
        self.bert.load_state_dict(state)
        head = getattr(pretrained, "head", pretrained)  # another classifier has the two layers itself
        if self.config.family == "modernbert" and hasattr(head, "dense"):
            self.dense.load_state_dict(head.dense.state_dict())
            self.norm.load_state_dict(head.norm.state_dict())
        return self

    def to_config_json(self):
        """What config.json says of the head, in the ecosystem's words.

        {"problem_type": "single_label_classification", "id2label": {"0": "bad", "1": "good"}, "label2id": {"bad": 0, "good": 1}, ...}
        """
        names = self.labels or ("LABEL_0",)
        values = {"problem_type": "single_label_classification" if self.labels else "regression", "classifier_dropout": self.dropout.p,
                  "id2label": {str(number): name for number, name in enumerate(names)},
                  "label2id": {name: number for number, name in enumerate(names)}}
        return values | ({"classifier_pooling": "mean"} if self.config.family == "modernbert" else {})

    @classmethod
    def from_config_json(cls, config, values, path):
        """The model of a config.json, weights fresh. ValueError for what is not built here, and for labels that are no list."""
        pooling, kind = values.get("classifier_pooling", "cls"), values.get("problem_type")
        names = values.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}  # what it means there when it is not said
        if (config.family == "modernbert" and pooling != "mean") or kind == "multi_label_classification":
            raise ValueError(f"{path}: classifier_pooling {pooling!r} and problem_type {kind!r}, but only one label a text is built here, "
                             "and modernbert's from the mean")
        if not isinstance(names, dict) or sorted(names) != sorted(map(str, range(len(names)))):
            raise ValueError(f"{path}: id2label must map the numbers from 0 on to labels, not {str(names)[:100]}")
        labels = () if kind == "regression" or len(names) == 1 else [str(names[str(number)]) for number in range(len(names))]
        dropout = values.get("classifier_dropout")
        return cls(config, labels, config.hidden_dropout_prob if dropout is None else dropout)


def mean_of_tokens(hidden, attention_mask=None):
    """hidden (B, T, H), attention_mask (B, T) or None -> (B, H): the mean of each row's vectors, padding left out.

    >>> mean_of_tokens(torch.tensor([[[1.0, 0.0], [3.0, 2.0], [9.0, 9.0]]]), torch.tensor([[1, 1, 0]]))
    tensor([[2., 1.]])
    """
    if attention_mask is None:
        return hidden.mean(dim=1)
    real = attention_mask[:, :, None].to(hidden.dtype)  # (B, T, 1)
    return (hidden * real).sum(dim=1) / real.sum(dim=1)
