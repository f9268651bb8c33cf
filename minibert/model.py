"""BERT, RoBERTa and ModernBERT: one encoder in plain PyTorch, to be read from top to bottom.

    ids (B, T) -> Embeddings -> Block x num_hidden_layers -> hidden (B, T, H) -> head -> logits over the vocabulary

A block lets the tokens look at each other (Attention) and then thinks about each one alone (MLP). What six years
changed between BERT and ModernBERT is named by four switches of ``BertConfig``: ``pre_norm``, ``rotary``, ``gated``, ``use_bias``.

Sources: Vaswani et al. 2017, section 3 (the encoder); Devlin et al. 2018, section 3 and appendix A (BERT);
Liu et al. 2019 (RoBERTa: positions counted from the padding id, no segments); Warner et al. 2024, section 2.1 (ModernBERT).
For equal weights all three give the logits of Hugging Face's implementations to 1e-4 (tests/minibert/test_parity_models.py).

In the comments beside tensors: B sequences of T tokens; H = hidden_size = nh heads x hs numbers; I = intermediate_size;
V = vocab_size; M = masked positions of the batch, the ones to be predicted.
"""
import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from minibert.attention import Attention, attention_masks, gather_positions, is_local, rope_table
from minibert.checks import check_batch, check_labels
from minibert.masking import IGNORE_INDEX

# ---------------------------------------------------------------------------------------------- ids -> vectors


class Embeddings(nn.Module):
    """ids (B, T) -> vectors (B, T, H): what the token is, plus where it stands, plus which sentence it is in.

    BERT sums the three (Devlin et al. 2018, figure 2). ModernBERT has the token alone: its positions turn the
    queries and keys of every attention layer instead.
    """

    def __init__(self, config):
        super().__init__()
        self.pad_token_id = config.pad_token_id
        self.counts_from_pad = config.family == "roberta"
        # padding_idx: the vector of padding gets no gradient from its use as an input
        self.token = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.position = self.segment = None
        if not config.rotary:
            self.position = nn.Embedding(config.max_position_embeddings, config.hidden_size,
                                         padding_idx=config.pad_token_id if self.counts_from_pad else None)
        if config.segments:
            self.segment = nn.Embedding(config.segments, config.hidden_size)
        self.norm = layer_norm(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids, token_type_ids=None):
        """input_ids (B, T); token_type_ids (B, T), None = all 0 -> (B, T, H)"""
        x = self.token(input_ids)  # (B, T, H)
        if self.counts_from_pad:
            x = x + self.position(roberta_positions(input_ids, self.pad_token_id))
        elif self.position is not None:
            x = x + self.position.weight[:input_ids.shape[1]]  # (T, H): row t for the t-th token
        if self.segment is not None:
            x = x + (self.segment.weight[0] if token_type_ids is None else self.segment(token_type_ids))
        return self.dropout(self.norm(x))


def roberta_positions(input_ids, pad_token_id):
    """Position of each token, counted from pad_token_id + 1; padding keeps pad_token_id and is not counted. (B, T) -> (B, T)

    >>> roberta_positions(torch.tensor([[0, 8, 9, 2, 1, 1]]), pad_token_id=1)
    tensor([[2, 3, 4, 5, 1, 1]])
    """
    real = (input_ids != pad_token_id).long()
    return real.cumsum(dim=1) * real + pad_token_id


# ---------------------------------------------------------------------------------------------- block


class MLP(nn.Module):
    """(B, T, H) -> (B, T, H), each token alone: widen to I, GELU (Hendrycks and Gimpel 2016), back to H.

    Gated (GeGLU, Shazeer 2020): half of a twice as wide inner layer decides how much of the other half passes.
    """

    def __init__(self, config):
        super().__init__()
        self.gated = config.gated
        self.up_proj = nn.Linear(config.hidden_size, (2 if self.gated else 1) * config.intermediate_size, bias=config.use_bias)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=config.use_bias)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x):
        x = self.up_proj(x)  # (B, T, I), or (B, T, 2I) if gated
        if self.gated:
            x, gate = x.chunk(2, dim=-1)
            x = F.gelu(x) * gate
        else:
            x = F.gelu(x)
        return self.dropout(self.down_proj(x))


class Block(nn.Module):
    """Attention and MLP, each added to what comes in, each with a LayerNorm.

    BERT normalises the sum (post-norm); ModernBERT what enters the branch (pre-norm), which leaves a straight way for the
    gradient and needs less care in warming up (Xiong et al. 2020, section 3).
    """

    def __init__(self, config, layer):
        super().__init__()
        self.pre_norm = config.pre_norm
        self.attention, self.mlp = Attention(config), MLP(config)
        # the pre-norm embeddings were normalised a moment ago: their norm would be the same thing twice
        self.attention_norm = nn.Identity() if self.pre_norm and layer == 0 else layer_norm(config)
        self.mlp_norm = layer_norm(config)

    def forward(self, x, mask=None, rotation=None, rows=None):
        """x (B, T, H) -> (B, T, H); with rows (M,), these tokens alone: they look at all others, what follows is for them only -> (M, H)"""
        if self.pre_norm:
            x = gather_positions(x, rows) + self.attention(self.attention_norm(x), mask, rotation, rows)
            return x + self.mlp(self.mlp_norm(x))
        x = self.attention_norm(gather_positions(x, rows) + self.attention(x, mask, rotation, rows))
        return self.mlp_norm(x + self.mlp(x))


def layer_norm(config):
    return nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps, bias=config.use_bias)


# ---------------------------------------------------------------------------------------------- the encoder


class PreTrainedModel(nn.Module):
    """What every whole model has: its config, fresh weights, a count of them."""

    def __init__(self, config):
        super().__init__()
        self.config = config

    def num_parameters(self):
        """Numbers that are trained; the decoder is the word embedding itself and counts once."""
        return sum(p.numel() for p in self.parameters())

    @torch.no_grad()
    def init_weights(self):
        """Fresh weights: normal(0, initializer_range), biases 0, norms 1 and 0, and 0 for the vector of padding.

        ModernBERT (Warner et al. 2024, appendix): normals cut off at two standard deviations; what is written into the
        residual stream, and the head's dense layer, divided by sqrt(2 x layers), so that the sum over all
        blocks starts with the same size at any depth; the vector of padding is drawn like any other.
        """
        std = self.config.initializer_range
        for name, module in self.named_modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                if self.config.pre_norm:
                    writes = name.endswith(("out_proj", "down_proj", "head.dense"))
                    s = std / math.sqrt(2 * self.config.num_hidden_layers) if writes else std
                    nn.init.trunc_normal_(module.weight, std=s, a=-2 * s, b=2 * s)
                else:
                    nn.init.normal_(module.weight, std=std)
                    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
                        module.weight[module.padding_idx].zero_()
                if getattr(module, "bias", None) is not None:
                    nn.init.zeros_(module.bias)


class BertModel(PreTrainedModel):
    """The encoder: ids (B, T) -> hidden (B, T, H), one vector for each token, made with the whole sequence in view.

    With ``pooler=True`` it returns (hidden, pooled): pooled (B, H) = tanh(dense(first token)), BERT's summary of the sequence.

    >>> config = BertConfig(vocab_size=100, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    >>> BertModel(config)(torch.tensor([[2, 7, 9, 3]])).shape
    torch.Size([1, 4, 8])
    """

    def __init__(self, config, pooler=False):
        super().__init__(config)
        self.embeddings = Embeddings(config)
        self.gradient_checkpointing = False  # train.py sets it
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.num_hidden_layers))
        self.final_norm = layer_norm(config) if config.pre_norm else nn.Identity()  # post-norm blocks end with a norm
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size) if pooler else None
        if config.rotary:
            self.register_buffer("global_rope", rope_table(config.global_rope_theta, config), persistent=False)
            self.register_buffer("local_rope", rope_table(config.local_rope_theta, config), persistent=False)
        self.init_weights()

    def forward(self, input_ids, attention_mask=None, token_type_ids=None):
        """input_ids (B, T) int64; attention_mask (B, T), 1 = token, None = all are; token_type_ids (B, T), None = all 0.

        Raises ValueError for a sequence longer than config.max_length, ids past the vocabulary and shapes that differ.
        """
        check_batch(self.config, input_ids, attention_mask, token_type_ids)
        return self.encode(input_ids, attention_mask, token_type_ids)

    def encode(self, input_ids, attention_mask=None, token_type_ids=None, rows=None):
        """The same, unchecked; rows (M,): the tokens that will be read, of all B*T counted through
        -> hidden (M, H). Nobody asks the last block for another vector, so it makes no other."""
        x = self.embeddings(input_ids, token_type_ids)  # (B, T, H)
        (B, T), dtype = x.shape[:2], autocast_dtype(x)
        masks, rope_cos_sin = attention_masks(self.config, attention_mask, T, dtype, x.device), self.rope_cos_sin(T, dtype)
        if rows is not None and self.pooler is not None:  # the pooler reads the first token of each sequence
            rows = torch.cat((rows, torch.arange(0, B * T, T, device=rows.device)))  # (M + B,)
        for layer, block in enumerate(self.blocks):
            local, last = is_local(self.config, layer), layer == len(self.blocks) - 1
            arguments = x, masks[local], rope_cos_sin[local], rows if last else None
            if self.gradient_checkpointing and self.training:  # keeps x alone; the backward pass computes the rest again (Chen et al. 2016)
                x = checkpoint(block, *arguments, use_reentrant=False)
            else:
                x = block(*arguments)  # (B, T, H), from the last one (M + B, H) or (M, H) where rows are asked for
        x = self.final_norm(x)
        if self.pooler is None:
            return x
        x, first = (x, x[:, 0]) if rows is None else x.split((len(x) - B, B))  # (M, H), (B, H)
        return x, torch.tanh(self.pooler(first))

    def rope_cos_sin(self, T, dtype):
        """cos and sin (2, T, hs/2) of the global and of the local layers; None for both where positions are learned."""
        if not self.config.rotary:
            return None, None
        return [table[:, :T].to(dtype) for table in (self.global_rope, self.local_rope)]


def autocast_dtype(x):
    """The type that matrix products give for x: bf16 or fp16 under autocast. Masks of this type spare every layer a conversion."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


# ---------------------------------------------------------------------------------------------- heads


@dataclass
class ModelOutput:
    """What a model with a head returns; what was not asked for is None.

    Without labels and masked positions ``logits`` is (B, T, V). With them it is (M, V), for the masked positions alone in reading order,
    and ``labels`` (M,) are what stood there (-100 where masked_positions were filled up).
    """
    logits: torch.Tensor
    loss: torch.Tensor | None = None        # what is trained on: mlm_loss + nsp_loss, as far as there are labels for them
    labels: torch.Tensor | None = None
    mlm_loss: torch.Tensor | None = None    # mean over the M masked positions; 0 where M is 0
    nsp_loss: torch.Tensor | None = None    # mean over the B pairs
    nsp_logits: torch.Tensor | None = None  # (B, 2): score of "B follows A", score of "B is from elsewhere"


class MLMHead(nn.Module):
    """hidden (..., H) -> logits (..., V): one more layer, then the product with every word vector (tied, Press and Wolf 2017)."""

    def __init__(self, config):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size, bias=config.use_bias)
        self.norm = layer_norm(config)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, hidden, word_vectors):
        return F.linear(self.norm(F.gelu(self.dense(hidden))), word_vectors, self.bias)


class BertForMaskedLM(PreTrainedModel):
    """The encoder with the head that fills masks (Devlin et al. 2018, section 3.1, task 1).

    >>> config = BertConfig(vocab_size=100, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    >>> model = BertForMaskedLM(config)
    >>> ids, labels = torch.tensor([[2, 4, 9, 3]]), torch.tensor([[-100, 7, -100, -100]])
    >>> model(ids).logits.shape, model(ids, labels=labels).logits.shape
    (torch.Size([1, 4, 100]), torch.Size([1, 100]))
    """

    def __init__(self, config):
        super().__init__(config)
        self.bert = BertModel(config)
        self.head = MLMHead(config)
        self.init_weights()

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, labels=None, masked_positions=None):
        """labels (B, T): the right id at masked positions, -100 elsewhere; masked_positions (M,): where those are, as
        ``batches.masked_positions`` finds them, None: they are looked for here. Without labels, with masked_positions: logits (M, V) of these.
        The other arguments as in ``BertModel``."""
        hidden, labels = self.encode(input_ids, attention_mask, token_type_ids, labels, masked_positions)
        return self.predict(hidden, labels)

    def encode(self, input_ids, attention_mask, token_type_ids, labels, masked_positions):
        """-> what ``self.bert`` gives (with labels: for the masked tokens alone), their labels (M,)"""
        check_batch(self.config, input_ids, attention_mask, token_type_ids)
        check_labels(self.config, input_ids, labels)
        if labels is not None:
            labels = labels.flatten()  # (B*T,)
            if masked_positions is None:  # a GPU must stop for it: how many there are decides the shapes of what follows
                masked_positions = (labels != IGNORE_INDEX).nonzero().squeeze(1)  # (M,)
            labels = labels[masked_positions]
        return self.bert.encode(input_ids, attention_mask, token_type_ids, masked_positions), labels

    def predict(self, hidden, labels=None):
        """hidden (B, T, H), or (M, H) with labels (M,) -> ModelOutput. With labels only the masked tokens come here: V is far larger than H,
        and six of seven rows of the dense logits would be thrown away."""
        logits = self.head(hidden, self.bert.embeddings.token.weight)  # (B, T, V) or (M, V)
        if labels is None:
            return ModelOutput(logits)
        # float: a sum of V exponentials in bf16 would keep two digits; clamp: nothing masked is a loss of 0, not 0/0
        loss = F.cross_entropy(logits.float(), labels, reduction="sum") / (labels != IGNORE_INDEX).sum().clamp(min=1)
        return ModelOutput(logits, loss, labels, mlm_loss=loss)


class BertForPreTraining(BertForMaskedLM):
    """BERT's two tasks at once: the filled masks, and does sentence B follow A? (Devlin et al. 2018, section 3.1, task 2)"""

    def __init__(self, config):
        if config.segments < 2:
            raise ValueError(f"next-sentence prediction needs two segment types, this {config.family} has {config.segments}: "
                             "take family bert with type_vocab_size 2")
        super().__init__(config)
        self.bert.pooler = nn.Linear(config.hidden_size, config.hidden_size)
        self.nsp = nn.Linear(config.hidden_size, 2)
        self.init_weights()

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, labels=None, next_sentence_label=None, masked_positions=None):
        """next_sentence_label (B,): 0 = B continues A, 1 = B comes from elsewhere. The loss is MLM + NSP, both also given apart."""
        (hidden, pooled), labels = self.encode(input_ids, attention_mask, token_type_ids, labels, masked_positions)
        out = self.predict(hidden, labels)
        out.nsp_logits = self.nsp(pooled)  # (B, 2)
        if next_sentence_label is not None:
            out.nsp_loss = F.cross_entropy(out.nsp_logits.float(), next_sentence_label)
            out.loss = out.nsp_loss if out.loss is None else out.mlm_loss + out.nsp_loss
        return out
