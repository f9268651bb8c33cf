"""Record what happens inside a model while it reads one text.

Two things are recorded: the vectors after each layer, and the attention weights. The model's
own forward pass runs, with hooks. Only the attention weights are computed a second time, by the
clear implementation (``attention_weights``), because the fused kernel never stores them.

Layers are counted from 1; layer 0 is the output of the embeddings.
"""
from dataclasses import dataclass

import torch

from minibert.checks import check_length, check_tokenizer
from minibert.evaluate import eval_mode
from minibert.heads import encoder_of
from tokenizer.utils.terminal import TextStyle


@dataclass(frozen=True)
class Activations:
    """What ``hidden_activations`` records: L layers, nh heads, T tokens, H hidden size."""
    encoding: object  # the tokenizer's Encoding: ids, tokens, offsets
    texts: list  # (T,) strings: the tokens with white space made visible: '·record'
    vectors: torch.Tensor  # (L + 1, T, H) float32; the last ones are the encoder's output
    attention: torch.Tensor  # (L, nh, T, T) float32; row i: where token i looks


def hidden_activations(model, tokenizer, text, style=None):
    """Run one text through a model with an encoder and return its ``Activations``.

    style: a TextStyle that decides how tokens are shown. The attention rows sum to 1, or to
    less if the model has a trained prefix, whose share is left out.
    Raises ValueError for a text that is too long, or another model's tokenizer.

        hidden_activations(model, tokenizer, "He broke it.").attention.shape -> (4, 2, 6, 6)
    """
    check_tokenizer(model.config, tokenizer)
    encoding = tokenizer.encode(text)
    check_length(model.config, len(encoding))
    encoder = encoder_of(model)
    vectors = []
    weights = []

    def keep_vectors(module, inputs, output):
        vectors.append(output[0].float().cpu())  # (T, H)

    def keep_weights(module, inputs, output):
        # (nh, T, P + T), with a prefix of P vectors
        attention = module.attention_weights(*inputs)[0]
        weights.append(attention[:, :, -len(encoding) :].float().cpu())  # without the prefix

    # The last block's vectors are recorded after the final norm, which pre-norm models have.
    modules = [encoder.embeddings, *encoder.blocks[:-1], encoder.final_norm]
    hooks = [module.register_forward_hook(keep_vectors) for module in modules]
    for block in encoder.blocks:
        hooks.append(block.attention.register_forward_hook(keep_weights))
    try:
        with eval_mode(encoder):
            encoder(torch.tensor([encoding.ids], device=next(encoder.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    style = style or TextStyle()
    texts = [style.visible(tokenizer.token_text(token)) for token in encoding.tokens]
    return Activations(encoding, texts, torch.stack(vectors), torch.stack(weights))
