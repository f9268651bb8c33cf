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

from minibert.checks import check_batch, check_labels
from minibert.masking import IGNORED

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
        self.word = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
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
        x = self.word(input_ids)  # (B, T, H)
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


# ---------------------------------------------------------------------------------------------- attention


def attention_by_hand(q, k, v, mask=None, dropout=0.0):
    """Scaled dot-product attention (Vaswani et al. 2017, section 3.2.1): every token takes a weighted mean of all values.

    q, k, v (B, nh, T, hs); mask added to the scores, broadcast to (B, nh, T, T), or None -> (B, nh, T, hs)
    """
    scores = (q / math.sqrt(q.shape[-1])) @ k.transpose(-2, -1)  # (B, nh, T, T): how much query i wants key j
    if mask is not None:
        scores = scores + mask
    weights = F.dropout(scores.softmax(dim=-1), dropout, training=dropout > 0)  # rows sum to 1
    return weights @ v


def attention_fused(q, k, v, mask=None, dropout=0.0):
    """The same in one call, which never holds the (T, T) weights of all heads at once where the device has a kernel for it."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)


class Attention(nn.Module):
    """(B, T, H) -> (B, T, H): nh heads, each of which looks at the sequence through its own queries, keys and values."""

    def __init__(self, config):
        super().__init__()
        self.heads, self.dropout = config.num_attention_heads, config.attention_probs_dropout_prob
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=config.use_bias)  # one large product is faster than three
        self.qkv.stacked = 3  # for an optimiser that treats each map as one
        self.out = nn.Linear(config.hidden_size, config.hidden_size, bias=config.use_bias)
        self.out_dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x, mask=None, rotation=None):
        """x (B, T, H); mask as ``attention_masks`` makes it; rotation: cos and sin (T, hs/2) of rotary positions -> (B, T, H)"""
        B, T, H = x.shape
        qkv = self.qkv(x).view(B, T, 3, self.heads, H // self.heads).permute(2, 0, 3, 1, 4)  # (3, B, nh, T, hs)
        qk, v = qkv.split((2, 1))  # queries and keys together, since both are turned
        if rotation is not None:
            qk = rotate(qk, *rotation)
        attend = attention_by_hand if x.device.type == "cpu" else attention_fused  # by hand is the faster one on a CPU
        y = attend(*qk.unbind(), v.squeeze(0), mask, self.dropout if self.training else 0.0)  # (B, nh, T, hs)
        y = y.transpose(1, 2).reshape(B, T, H)  # heads side by side again
        return self.out_dropout(self.out(y))


def attention_masks(config, attention_mask, T, dtype, device):
    """What is added to the scores: 0 where a query may look, a huge negative number where not. Made once a forward pass.

    attention_mask (B, T), 1 = token, 0 = padding, or None -> masks for the global and for the local layers, each
    broadcastable to (B, nh, T, T), or None where there is nothing to hide. Local layers (the sliding window of
    Beltagy et al. 2020, section 3.1) see local_attention // 2 tokens to each side.

    The number is half the smallest finite one: -inf would make a row without any visible key 0/0 = NaN, and so would the
    smallest one where a score of -16 in fp16 is added to it.
    """
    def additive(visible):
        if visible is None:
            return None
        return torch.zeros(visible.shape, dtype=dtype, device=device).masked_fill_(~visible, torch.finfo(dtype).min / 2)

    visible = None if attention_mask is None else attention_mask.bool()[:, None, None, :]  # (B, 1, 1, T)
    reach = config.local_attention // 2
    if not any_local(config) or T <= reach + 1:
        mask = additive(visible)
        return mask, mask
    position = torch.arange(T, device=device)
    near = (position[:, None] - position).abs() <= reach  # (T, T)
    return additive(visible), additive(near if visible is None else visible & near)


def is_local(config, layer):
    """ModernBERT's rhythm: layer 0 sees the whole sequence, the next ones a window, every n-th all again."""
    return config.rotary and layer % config.global_attn_every_n_layers != 0


def any_local(config):
    return any(is_local(config, layer) for layer in range(config.num_hidden_layers))


# ---------------------------------------------------------------------------------------------- rotary positions


def rotary_table(base, config):
    """cos and sin of every position's angles, (2, max_position_embeddings, hs/2): with each token, pair i turns by base^(-2i/hs)."""
    # Computed at construction and not saved. Real even where the model is built on the meta device, so that
    # load_state_dict(assign=True) leaves nothing without values.
    device = "cpu" if torch.empty(0).device.type == "meta" else None
    speed = 1.0 / base ** (torch.arange(0, config.head_size, 2, device=device).float() / config.head_size)  # (hs/2,)
    angle = torch.arange(config.max_position_embeddings, device=device).float()[:, None] * speed  # (positions, hs/2)
    return torch.stack((angle.cos(), angle.sin()))


def rotate(x, cos, sin):
    """Turn each pair (x[i], x[i + hs/2]) by its position's angle (Su et al. 2021, section 3.2.2). x (..., T, hs); cos, sin (T, hs/2)

    The product of a query turned by m steps and a key turned by n depends on m - n alone: that is how attention
    comes to see distances.

    >>> quarter = math.pi / 2 * torch.ones(1, 1)
    >>> rotate(torch.tensor([[1.0, 0.0]]), quarter.cos(), quarter.sin()).round()
    tensor([[-0., 1.]])
    """
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


# ---------------------------------------------------------------------------------------------- block


class MLP(nn.Module):
    """(B, T, H) -> (B, T, H), each token alone: widen to I, GELU (Hendrycks and Gimpel 2016), back to H.

    Gated (GeGLU, Shazeer 2020): half of a twice as wide inner layer decides how much of the other half passes.
    """

    def __init__(self, config):
        super().__init__()
        self.gated = config.gated
        self.inner = nn.Linear(config.hidden_size, (2 if self.gated else 1) * config.intermediate_size, bias=config.use_bias)
        self.inner.stacked = 2 if self.gated else 1
        self.out = nn.Linear(config.intermediate_size, config.hidden_size, bias=config.use_bias)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x):
        x = self.inner(x)  # (B, T, I), or (B, T, 2I) if gated
        if self.gated:
            x, gate = x.chunk(2, dim=-1)
            x = F.gelu(x) * gate
        else:
            x = F.gelu(x)
        return self.dropout(self.out(x))


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

    def forward(self, x, mask=None, rotation=None):
        if self.pre_norm:
            x = x + self.attention(self.attention_norm(x), mask, rotation)
            return x + self.mlp(self.mlp_norm(x))
        x = self.attention_norm(x + self.attention(x, mask, rotation))
        return self.mlp_norm(x + self.mlp(x))


def layer_norm(config):
    return nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps, bias=config.use_bias)


# ---------------------------------------------------------------------------------------------- the encoder


class Pretrained(nn.Module):
    """What every whole model has: its config, fresh weights, a count of them."""

    def __init__(self, config):
        super().__init__()
        self.config = config

    def num_parameters(self):
        """Numbers that are trained; the decoder is the word embedding itself and counts once."""
        return sum(p.numel() for p in self.parameters())

    @torch.no_grad()
    def initialise(self):
        """Fresh weights: normal(0, initializer_range), biases 0, norms 1 and 0, and 0 for the vector of padding.

        ModernBERT (Warner et al. 2024, appendix): normals cut off at two standard deviations; what is written into the
        residual stream, and the head's dense layer, divided by sqrt(2 x layers), so that the sum over all
        blocks starts with the same size at any depth; the vector of padding is drawn like any other.
        """
        std = self.config.initializer_range
        for name, module in self.named_modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                if self.config.pre_norm:
                    writes = name.endswith((".out", "head.dense"))
                    s = std / math.sqrt(2 * self.config.num_hidden_layers) if writes else std
                    nn.init.trunc_normal_(module.weight, std=s, a=-2 * s, b=2 * s)
                else:
                    nn.init.normal_(module.weight, std=std)
                    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
                        module.weight[module.padding_idx].zero_()
                if getattr(module, "bias", None) is not None:
                    nn.init.zeros_(module.bias)


class BertModel(Pretrained):
    """The encoder: ids (B, T) -> hidden (B, T, H), one vector for each token, made with the whole sequence in view.

    With ``pooler=True`` it returns (hidden, pooled): pooled (B, H) = tanh(dense(first token)), BERT's summary of the sequence.

    >>> config = BertConfig(vocab_size=100, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    >>> BertModel(config)(torch.tensor([[2, 7, 9, 3]])).shape
    torch.Size([1, 4, 8])
    """

    def __init__(self, config, pooler=False):
        super().__init__(config)
        self.embeddings = Embeddings(config)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.num_hidden_layers))
        self.final_norm = layer_norm(config) if config.pre_norm else nn.Identity()  # post-norm blocks end with a norm
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size) if pooler else None
        if config.rotary:
            self.register_buffer("global_rotation", rotary_table(config.global_rope_theta, config), persistent=False)
            self.register_buffer("local_rotation", rotary_table(config.local_rope_theta, config), persistent=False)
        self.initialise()

    def forward(self, input_ids, attention_mask=None, token_type_ids=None):
        """input_ids (B, T) int64; attention_mask (B, T), 1 = token, None = all are; token_type_ids (B, T), None = all 0.

        Raises ValueError for a sequence longer than config.max_length, ids past the vocabulary and shapes that differ.
        """
        check_batch(self.config, input_ids, attention_mask, token_type_ids)
        x = self.embeddings(input_ids, token_type_ids)  # (B, T, H)
        T, dtype = x.shape[1], compute_dtype(x)
        masks, rotations = attention_masks(self.config, attention_mask, T, dtype, x.device), (None, None)  # of global, of local layers
        if self.config.rotary:
            rotations = [table[:, :T].to(dtype) for table in (self.global_rotation, self.local_rotation)]
        for layer, block in enumerate(self.blocks):
            local = is_local(self.config, layer)
            x = block(x, masks[local], rotations[local])
        x = self.final_norm(x)
        return x if self.pooler is None else (x, torch.tanh(self.pooler(x[:, 0])))


def compute_dtype(x):
    """The type that matrix products give for x: bf16 or fp16 under autocast. Masks of this type spare every layer a conversion."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


# ---------------------------------------------------------------------------------------------- heads


@dataclass
class Output:
    """What a model with a head returns; what was not asked for is None.

    Without labels ``logits`` is (B, T, V). With labels it is (M, V), for the masked positions alone in reading order,
    and ``labels`` (M,) are what stood there.
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


class BertForMaskedLM(Pretrained):
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
        self.initialise()

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, labels=None):
        """labels (B, T): the right id at masked positions, -100 elsewhere. The other arguments as in ``BertModel``."""
        check_labels(self.config, input_ids, labels)
        hidden = self.bert(input_ids, attention_mask, token_type_ids)
        return self.predict(hidden, labels)

    def predict(self, hidden, labels=None):
        """hidden (B, T, H) -> Output. With labels, the head runs on the masked positions only: V is far larger than H,
        and six of seven rows of the dense logits would be thrown away."""
        word_vectors = self.bert.embeddings.word.weight
        if labels is None:
            return Output(self.head(hidden, word_vectors))
        labels = labels.flatten()  # (B*T,)
        masked = (labels != IGNORED).nonzero().squeeze(1)  # (M,)
        logits = self.head(hidden.flatten(0, 1)[masked], word_vectors)  # (M, V)
        labels = labels[masked]
        # float: a sum of V exponentials in bf16 would keep two digits; max: nothing masked is a loss of 0, not 0/0
        loss = F.cross_entropy(logits.float(), labels, reduction="sum") / max(len(labels), 1)
        return Output(logits, loss, labels, mlm_loss=loss)


class BertForPreTraining(BertForMaskedLM):
    """BERT's two tasks at once: the filled masks, and does sentence B follow A? (Devlin et al. 2018, section 3.1, task 2)"""

    def __init__(self, config):
        if config.segments < 2:
            raise ValueError(f"next-sentence prediction needs two segment types, this {config.family} has {config.segments}: "
                             "take family bert with type_vocab_size 2")
        super().__init__(config)
        self.bert.pooler = nn.Linear(config.hidden_size, config.hidden_size)
        self.nsp = nn.Linear(config.hidden_size, 2)
        self.initialise()

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, labels=None, next_sentence_label=None):
        """next_sentence_label (B,): 0 = B continues A, 1 = B comes from elsewhere. The loss is MLM + NSP, both also given apart."""
        check_labels(self.config, input_ids, labels)
        hidden, pooled = self.bert(input_ids, attention_mask, token_type_ids)
        out = self.predict(hidden, labels)
        out.nsp_logits = self.nsp(pooled)  # (B, 2)
        if next_sentence_label is not None:
            out.nsp_loss = F.cross_entropy(out.nsp_logits.float(), next_sentence_label)
            out.loss = out.nsp_loss if out.loss is None else out.mlm_loss + out.nsp_loss
        return out
