"""BERT, RoBERTa and ModernBERT: one encoder in plain PyTorch, to be read from top to bottom.

    ids (B, T) -> Embeddings -> Block x num_hidden_layers -> hidden (B, T, H) -> head -> logits

A block mixes the tokens (Attention, in attention.py), then processes each token by itself (MLP).
ModernBERT differs from BERT in four properties of ``BertConfig``, which follow from its ``family``:
``pre_norm`` (with another initialization), ``rotary`` (with local attention), ``gated`` and
``use_bias``. With equal weights, the logits are those of Hugging Face's implementations to 1e-4
(tests/minibert/formats/test_parity_models.py).

Sources: Vaswani et al. 2017, section 3 (the encoder); Devlin et al. 2018, section 3 and
appendix A (BERT); Liu et al. 2019 (RoBERTa); Warner et al. 2024, section 2.1 (ModernBERT).

In the comments: B sequences of T tokens; H = hidden_size = nh heads of size hs;
I = intermediate_size; V = vocab_size; M = number of masked positions, the only ones that the MLM
head sees (in training padded with a few ignored ones, label -100).
"""
import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from minibert.attention import Attention, attention_biases, for_layer, rope_table
from minibert.checks import check_batch, check_labels
from minibert.masking import IGNORE_INDEX

ACTIVATIONS = {"gelu": F.gelu, "gelu_tanh": partial(F.gelu, approximate="tanh"),
               "relu": F.relu, "silu": F.silu}


class Embeddings(nn.Module):
    """The sum of token, position and segment embeddings (Devlin et al. 2018, figure 2)."""

    def __init__(self, config):
        super().__init__()
        H = config.hidden_size
        self.pad_token_id = config.pad_token_id
        self.is_roberta = config.family == "roberta"
        # padding_idx: no gradient for [PAD] as an input (as an output, through the tied MLM head,
        # it gets one)
        self.token = nn.Embedding(config.vocab_size, H, padding_idx=self.pad_token_id)
        self.position = self.segment = None
        if config.learned_positions:  # ModernBERT rotates queries and keys in every layer instead
            padding_idx = self.pad_token_id if self.is_roberta else None
            self.position = nn.Embedding(config.max_position_embeddings, H, padding_idx)
        if config.segments:
            self.segment = nn.Embedding(config.segments, H)
        self.norm = layer_norm(config) if config.embedding_norm else nn.Identity()
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids, token_type_ids=None, start=0):
        """input_ids (B, T), token_type_ids (B, T) or None for all 0 -> vectors (B, T, H)

        start: the position of the first token (generation reads a text in parts).
        """
        x = self.token(input_ids)  # (B, T, H)
        if self.is_roberta:
            x = x + self.position(roberta_positions(input_ids, self.pad_token_id) + start)
        elif self.position is not None:
            end = start + input_ids.shape[1]
            x = x + self.position.weight[start:end]  # (T, H), the same for each sequence
        if self.segment is not None:
            no_segments = token_type_ids is None  # all tokens belong to sentence A
            x = x + (self.segment.weight[0] if no_segments else self.segment(token_type_ids))
        return self.dropout(self.norm(x))


def roberta_positions(input_ids, pad_token_id):
    """Return position ids (B, T) that start at pad_token_id + 1 and skip padding.

    >>> roberta_positions(torch.tensor([[0, 8, 9, 2, 1, 1]]), pad_token_id=1)
    tensor([[2, 3, 4, 5, 1, 1]])
    """
    is_token = (input_ids != pad_token_id).long()  # (B, T)
    return is_token.cumsum(dim=1) * is_token + pad_token_id


class MLP(nn.Module):
    """Two linear layers with an activation between them: (B, T, H) -> (B, T, I) -> (B, T, H)."""

    def __init__(self, config):
        super().__init__()
        self.gated = config.gated
        self.activation = ACTIVATIONS[config.activation]
        # Gated (GeGLU, Shazeer 2020): twice as wide; one half of the output goes through the
        # activation and multiplies the other half.
        up_size = config.intermediate_size * (2 if self.gated else 1)
        self.up_proj = nn.Linear(config.hidden_size, up_size, bias=config.use_bias)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size,
                                   bias=config.use_bias)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x):
        x = self.up_proj(x)  # (B, T, I), gated (B, T, 2I)
        if self.gated:
            gate, value = x.chunk(2, dim=-1)  # each (B, T, I)
            x = self.activation(gate) * value
        else:
            x = self.activation(x)
        return self.dropout(self.down_proj(x))  # (B, T, H)


class Block(nn.Module):
    """One transformer layer: attention and MLP, each with a residual connection and a LayerNorm."""

    def __init__(self, config, layer):
        super().__init__()
        self.pre_norm = config.pre_norm
        self.attention = Attention(config)
        self.mlp = MLP(config)
        # If the embeddings end with a norm, the first pre-norm would only repeat it.
        skip_first_norm = self.pre_norm and config.embedding_norm and layer == 0
        self.attention_norm = nn.Identity() if skip_first_norm else layer_norm(config)
        self.mlp_norm = layer_norm(config)

    def forward(self, x, attention_bias=None, rope=None, output_positions=None):
        """x (B, T, H) -> (B, T, H), or only the vectors (M, H) at output_positions (M,)."""
        if self.pre_norm:
            # ModernBERT normalizes the input of each branch. The sum leaves an undisturbed path
            # for the gradient; training is less sensitive to warm-up (Xiong et al. 2020, sec. 3).
            x = x + self.attention(self.attention_norm(x), attention_bias, rope)
            # Attention needed all tokens as keys and values; from here on only these matter.
            x = gather_positions(x, output_positions)
            return x + self.mlp(self.mlp_norm(x))
        # BERT normalizes the sums.
        x = x + self.attention(x, attention_bias, rope)
        x = self.attention_norm(gather_positions(x, output_positions))
        return self.mlp_norm(x + self.mlp(x))


def gather_positions(x, positions):
    """Return the vectors (M, H) of x (B, T, H) at flat positions b * T + t; None: all of x."""
    return x if positions is None else x.flatten(0, 1).index_select(0, positions)


def layer_norm(config):
    if config.rms_norm:
        return nn.RMSNorm(config.hidden_size, eps=config.layer_norm_eps)
    return nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps, bias=config.use_bias)


class PreTrainedModel(nn.Module):
    """The base class of all models: keeps the config and initializes the weights."""

    def __init__(self, config):
        super().__init__()
        self.config = config

    def num_parameters(self):
        # The output layer reuses the token embeddings, which count once.
        return sum(p.numel() for p in self.parameters())

    @torch.no_grad()
    def init_weights(self):
        """Initialize weights as Hugging Face's implementations do; biases start at 0.

        (Google's BERT also truncates.) Each class calls this again after adding its layers; the
        last call, by the class of the whole model, decides.
        """
        base_std = self.config.initializer_range
        residual_std = base_std / math.sqrt(2 * self.config.num_hidden_layers)
        for name, module in self.named_modules():
            if not isinstance(module, (nn.Linear, nn.Embedding)):
                continue
            if self.config.pre_norm:
                # ModernBERT (Warner et al. 2024, appendix) truncates at two standard deviations.
                # Layers that write to the residual stream (and head.dense) start smaller, so that
                # the sum over all blocks has the same size at any depth.
                is_scaled_down = name.endswith(("out_proj", "down_proj", "head.dense"))
                std = residual_std if is_scaled_down else base_std
                nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
            else:
                nn.init.normal_(module.weight, std=base_std)
                # Hugging Face zeroes the row of [PAD] in BERT and RoBERTa, not in ModernBERT.
                if isinstance(module, nn.Embedding) and module.padding_idx is not None:
                    module.weight[module.padding_idx].zero_()
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)


class BertModel(PreTrainedModel):
    """The encoder: ids (B, T) -> hidden (B, T, H), one vector per token, in its context.

    With ``pooler=True`` it returns (hidden, pooled), where pooled (B, H) = tanh(dense(first
    token)) is BERT's summary of the sequence.
    """

    def __init__(self, config, pooler=False):
        super().__init__(config)
        self.gradient_checkpointing = False  # train.py sets it
        self.embeddings = Embeddings(config)
        self.blocks = nn.ModuleList(Block(config, i) for i in range(config.num_hidden_layers))
        # Post-norm blocks end with a norm already.
        self.final_norm = layer_norm(config) if config.pre_norm else nn.Identity()
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size) if pooler else None
        if config.rotary:
            thetas = (config.global_rope_theta, config.local_rope_theta)
            ropes = torch.stack([rope_table(theta, config) for theta in thetas])
            self.register_buffer("ropes", ropes, persistent=False)  # (2, 2, positions, hs/2)
        self.init_weights()

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, masked_positions=None):
        """Return hidden (B, T, H), and pooled (B, H) with a pooler.

        input_ids (B, T) int64; attention_mask (B, T), 1 = token, 0 = padding, None = no padding;
        token_type_ids (B, T), None = all 0. With masked_positions (M,), flat indices b * T + t,
        hidden is (M, H): the last block computes only the vectors that are read afterwards.
        """
        check_batch(self.config, input_ids, attention_mask, token_type_ids)
        B, T = input_ids.shape
        output_positions = masked_positions  # (M,)
        if masked_positions is not None and self.pooler is not None:
            # The MLM head reads the masked positions, the pooler the first token of each sequence.
            first_tokens = torch.arange(0, B * T, T, device=masked_positions.device)  # (B,)
            output_positions = torch.cat((masked_positions, first_tokens))  # (M + B,)

        x = self.embeddings(input_ids, token_type_ids)  # (B, T, H)
        dtype = autocast_dtype(x)
        biases = self.attention_biases(attention_mask, T, dtype)
        ropes = self.rope_cos_sin(T, dtype)
        for layer, block in enumerate(self.blocks):
            bias = for_layer(biases, self.config, layer)
            rope = for_layer(ropes, self.config, layer)
            is_last = layer == len(self.blocks) - 1
            positions = output_positions if is_last else None
            if self.gradient_checkpointing and self.training:
                # Keep only x; the backward pass computes the block again (Chen et al. 2016).
                x = checkpoint(block, x, bias, rope, positions, use_reentrant=False)
            else:
                x = block(x, bias, rope, positions)  # (B, T, H)
        hidden = self.final_norm(x)  # (B, T, H), with masked_positions (M, H) or (M + B, H)

        if self.pooler is None:
            return hidden
        if masked_positions is None:
            first = hidden[:, 0]  # (B, H)
        else:
            hidden, first = hidden.split((len(masked_positions), B))  # (M, H), (B, H)
        return hidden, torch.tanh(self.pooler(first))

    def attention_biases(self, attention_mask, T, dtype):
        """Return the biases of global and local layers, see attention.py. T5 adds to them."""
        device = self.embeddings.token.weight.device
        return attention_biases(self.config, attention_mask, T, dtype, device)

    def rope_cos_sin(self, T, dtype):
        """Return the rotary tables (2, T, hs/2) of global and local layers, or (None, None)."""
        if not self.config.rotary:
            return None, None
        # A copy rather than the slice [:, :, :T], whose strides would bind an exported model to
        # lengths other than max_length.
        position = torch.arange(T, device=self.ropes.device)
        return self.ropes.index_select(2, position).to(dtype).unbind()


def autocast_dtype(x):
    """Return the dtype in which layers multiply: under autocast not that of their input x."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


@dataclass
class ModelOutput:
    """What a model with a head returns; None where the labels are missing."""
    logits: torch.Tensor                    # (B, T, V), with labels (M, V); or (B, num_labels)
    loss: torch.Tensor | None = None        # mlm_loss + nsp_loss (training weights them itself)
    labels: torch.Tensor | None = None      # (M,): the true ids; -100 for fillers
    mlm_loss: torch.Tensor | None = None    # mean over the masked tokens, 0 if there are none
    nsp_loss: torch.Tensor | None = None    # mean over the B pairs
    nsp_logits: torch.Tensor | None = None  # (B, 2): class 0 "follows", class 1 "is random"


# torch.export asks for it: an output of a type that it does not know is an error.
torch.export.register_dataclass(ModelOutput, serialized_type_name="minibert.ModelOutput")


class MLMHead(nn.Module):
    """Dense, activation, LayerNorm, then the tied output layer: hidden (..., H) -> (..., V)."""

    def __init__(self, config):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size, bias=config.use_bias)
        self.activation = ACTIVATIONS[config.head_activation]
        self.norm = layer_norm(config)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, hidden, token_embeddings):
        x = self.norm(self.activation(self.dense(hidden)))  # (..., H)
        # Weight tying (Press and Wolf 2017): the decoder's matrix is the token embeddings (V, H).
        return F.linear(x, token_embeddings, self.bias)  # (..., V)


class BertForMaskedLM(PreTrainedModel):
    """The encoder with the MLM head (Devlin et al. 2018, section 3.1, task 1).

    >>> from minibert.config import BertConfig
    >>> model = BertForMaskedLM(BertConfig(vocab_size=100, hidden_size=24))
    >>> ids, labels = torch.tensor([[2, 4, 9, 3]]), torch.tensor([[-100, 7, -100, -100]])
    >>> model(ids).logits.shape, model(ids, labels=labels).logits.shape
    (torch.Size([1, 4, 100]), torch.Size([1, 100]))
    """

    def __init__(self, config):
        super().__init__(config)
        self.bert = BertModel(config)
        self.head = MLMHead(config)
        self.init_weights()

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, labels=None,
                masked_positions=None):
        """Return logits, and with labels the loss; see ``BertModel`` for the other arguments.

        labels (B, T): the true id of each masked token, -100 elsewhere. masked_positions (M,):
        flat indices of the tokens to predict; None: where labels are not -100.
        """
        check_labels(self.config, input_ids, labels)
        labels, masked_positions = select_masked(labels, masked_positions)
        hidden = self.bert(input_ids, attention_mask, token_type_ids, masked_positions)
        return self.mlm_output(hidden, labels)

    def mlm_output(self, hidden, labels):
        """Return the output for hidden (B, T, H), labels None, or (M, H) with labels (M,)."""
        logits = self.head(hidden, self.bert.embeddings.token.weight)  # (B, T, V) or (M, V)
        if labels is None:
            return ModelOutput(logits)
        # float32 logits: bf16 would round the loss to 2-3 digits.
        loss_sum = F.cross_entropy(logits.float(), labels, reduction="sum")
        num_masked = (labels != IGNORE_INDEX).sum()
        loss = loss_sum / num_masked.clamp(min=1)  # without a masked token 0/1, not 0/0 = NaN
        return ModelOutput(logits, loss, labels, mlm_loss=loss)


def select_masked(labels, masked_positions):
    """Return (labels, masked_positions), each (M,), of the tokens to predict.

    Logits of all tokens, (B, T, V), would be the largest tensor of a step; at 15% masking that
    would waste 85% of the rows.
    """
    if labels is None:
        return None, masked_positions
    labels = labels.flatten()  # (B*T,)
    if masked_positions is None:
        # .nonzero() syncs with the GPU. Training finds the positions in advance, on the CPU
        # (batches.find_masked_positions).
        masked_positions = (labels != IGNORE_INDEX).nonzero().squeeze(1)  # (M,)
    return labels[masked_positions], masked_positions
