"""An encoder-decoder (Vaswani et al. 2017): the encoder reads a text, the decoder writes another.

    input_ids (B, S) -> encoder -> memory (B, S, H)
                                      |  cross-attention, in every block
    decoder_input_ids (B, T) -> decoder blocks -> hidden (B, T, H) -> head -> logits (B, T, V)

B pairs of texts: one of S tokens is read, and one of T tokens is written.

A decoder block is an encoder block with a causal mask and, between attention and MLP, attention to
the encoder's output: queries from the text that is written, keys and values from the one read.
"""
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F

from minibert.attention import Attention, additive_bias, attention_biases, for_layer
from minibert.checks import check_batch, check_labels
from minibert.evaluate import eval_mode
from minibert.generation.causal import score
from minibert.masking import IGNORE_INDEX
from minibert.model import (
    BertModel,
    Block,
    MLMHead,
    ModelOutput,
    PreTrainedModel,
    autocast_dtype,
    layer_norm,
)


class CrossAttention(Attention):
    """Attention from x (B, T, H) to the encoder's output, memory (B, S, H)."""

    def __init__(self, config):
        super().__init__(config)
        inner_size = self.out_proj.in_features
        del self.qkv
        self.q_proj = nn.Linear(config.hidden_size, inner_size, bias=config.use_bias)
        self.kv_proj = nn.Linear(config.hidden_size, 2 * inner_size, bias=config.use_bias)

    def forward(self, x, memory, attention_bias=None):
        [q] = self.split_heads(self.q_proj(x), 1)  # (B, nh, T, hs)
        k, v = self.split_heads(self.kv_proj(memory), 2)  # each (B, nh, S, hs)
        return self.attend(self.scale_queries(q), k, v, attention_bias)


class DecoderBlock(Block):
    """A block with cross-attention between attention and MLP."""

    def __init__(self, config, layer):
        super().__init__(config, layer)
        self.cross_attention = CrossAttention(config)
        self.cross_norm = layer_norm(config)

    def forward(self, x, memory, self_bias, cross_bias, rope=None):
        """x (B, T, H), memory (B, S, H) -> (B, T, H)"""
        if self.pre_norm:
            x = x + self.attention(self.attention_norm(x), self_bias, rope)
            x = x + self.cross_attention(self.cross_norm(x), memory, cross_bias)
            return x + self.mlp(self.mlp_norm(x))
        x = self.attention_norm(x + self.attention(x, self_bias, rope))
        x = self.cross_norm(x + self.cross_attention(x, memory, cross_bias))
        return self.mlp_norm(x + self.mlp(x))


class Decoder(nn.Module):
    """The stack of decoder blocks. Its token embeddings and positions are the encoder's."""

    def __init__(self, config, num_blocks):
        super().__init__()
        self.config = replace(config, causal=True, num_hidden_layers=num_blocks)
        self.blocks = nn.ModuleList(DecoderBlock(config, i) for i in range(num_blocks))
        self.final_norm = layer_norm(config) if config.pre_norm else nn.Identity()

    def forward(self, x, memory, cross_bias, ropes, dtype):
        """x (B, T, H), memory (B, S, H) -> hidden (B, T, H)"""
        biases = self.attention_biases(x.shape[1], dtype, x.device)
        for layer, block in enumerate(self.blocks):
            bias = for_layer(biases, self.config, layer)
            x = block(x, memory, bias, cross_bias, for_layer(ropes, self.config, layer))
        return self.final_norm(x)

    def attention_biases(self, T, dtype, device):
        # Padding is at the end, where the causal mask hides it.
        return attention_biases(self.config, None, T, dtype, device)


class EncoderDecoder(PreTrainedModel):
    """BertModel as the encoder, as many decoder blocks, and a head for the next target token.

    >>> from minibert.config import BertConfig
    >>> model = EncoderDecoder(BertConfig(vocab_size=100, hidden_size=24))
    >>> ids, labels = torch.tensor([[2, 4, 90, 3]]), torch.tensor([[90, 7, 8, 91, 3]])
    >>> model(ids, labels=labels).logits.shape
    torch.Size([1, 5, 100])
    """

    def __init__(self, config, encoder=None, decoder=None, head=None):
        if config.causal:
            raise ValueError("the encoder of an encoder-decoder sees all tokens: it needs a "
                             "configuration with causal=False")
        super().__init__(config)
        self.bert = encoder or BertModel(config)
        self.decoder = decoder or Decoder(config, config.num_hidden_layers)
        self.head = head or MLMHead(config)
        self.init_weights()

    def forward(self, input_ids, attention_mask=None, decoder_input_ids=None, labels=None,
                masked_positions=None):
        """Return logits (B, T, V), and with labels the loss.

        input_ids, attention_mask (B, S): the text that is read. labels (B, T): the text to write,
        -100 for padding. decoder_input_ids (B, T): what the decoder reads, by default the labels
        one position later. masked_positions (M,): flat indices of the labels
        to score, as training passes them; the output then has the logits (M, V) of these, and in
        training mode none.
        """
        if decoder_input_ids is None:
            if labels is None:
                raise ValueError("the decoder needs decoder_input_ids, or labels to make them from")
            decoder_input_ids = shift_right(labels, self.config.pad_token_id)
        check_labels(self.config, decoder_input_ids, labels)
        memory = self.bert(input_ids, attention_mask)  # (B, S, H)
        hidden = self.decode(decoder_input_ids, memory, attention_mask)  # (B, T, H)
        if labels is None:
            return ModelOutput(self.logits(hidden))
        hidden, targets = hidden.flatten(0, 1), labels.flatten()
        if masked_positions is None:
            out = score(self.logits, hidden, targets)
            out.logits = out.logits.unflatten(0, labels.shape)  # (B, T, V)
            return out
        return score(self.logits, hidden[masked_positions], targets[masked_positions],
                     in_chunks=self.training)

    def decode(self, decoder_input_ids, memory, attention_mask=None):
        """Return hidden (B, T, H) for the decoder's input (B, T) and the memory (B, S, H)."""
        check_batch(self.config, decoder_input_ids)
        x = self.bert.embeddings(decoder_input_ids)
        dtype = autocast_dtype(x)
        cross_bias = None
        if attention_mask is not None:
            cross_bias = additive_bias(attention_mask.bool()[:, None, None, :], dtype)
        ropes = self.bert.rope_cos_sin(decoder_input_ids.shape[1], dtype)
        return self.decoder(x, memory, cross_bias, ropes, dtype)

    def logits(self, hidden):
        """Return the logits (..., V) of hidden (..., H)."""
        return self.head(hidden, self.bert.embeddings.token.weight)


def shift_right(labels, pad_token_id):
    """Return the decoder's input for labels (B, T): padding first, then all labels but the last.

    >>> shift_right(torch.tensor([[7, 8, 9], [5, -100, -100]]), pad_token_id=0)
    tensor([[0, 7, 8],
            [0, 5, 0]])
    """
    known = labels.masked_fill(labels == IGNORE_INDEX, pad_token_id)
    return F.pad(known[:, :-1], (1, 0), value=pad_token_id)


def write(model, input_ids, max_new_tokens, end_token_id, excluded_ids=()):
    """Return what the decoder writes, always the likeliest token: a list of ids for each row.

    input_ids (B, S), without padding. The encoder runs once; the decoder reads its own text again
    for each token, which is simpler than a cache and as good for short texts.
    """
    with eval_mode(model):
        memory = model.bert(input_ids)  # (B, S, H)
        text = input_ids.new_full((len(input_ids), 1), model.config.pad_token_id)  # (B, 1)
        for _ in range(max_new_tokens):
            logits = model.logits(model.decode(text, memory)[:, -1])  # (B, V)
            logits[:, list(excluded_ids)] = -torch.inf
            text = torch.cat((text, logits.argmax(dim=-1, keepdim=True)), dim=1)
            if (text == end_token_id).any(dim=1).all():
                break
    rows = [row[1:] for row in text.tolist()]
    return [row[:row.index(end_token_id)] if end_token_id in row else row for row in rows]
