"""Record what happens inside a model while it reads one text.

Two things are recorded: the vectors after each layer, and the attention weights. The model's
own forward pass runs, with hooks. Only the attention weights are computed a second time, by the
clear implementation (``attention_weights``), because the fused kernel never stores them.

Layers are counted from 1; layer 0 is the output of the embeddings.
"""
from contextlib import contextmanager
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
    weights = []

    def keep_weights(module, inputs, output):
        # (nh, T, P + T), with a prefix of P vectors
        attention = module.attention_weights(*inputs)[0]
        weights.append(attention[:, :, -len(encoding) :].float().cpu())  # without the prefix

    hooks = [block.attention.register_forward_hook(keep_weights) for block in encoder.blocks]
    try:
        with eval_mode(encoder), layer_outputs(encoder) as outputs:
            encoder(torch.tensor([encoding.ids], device=next(encoder.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    style = style or TextStyle()
    texts = [style.visible(tokenizer.token_text(token)) for token in encoding.tokens]
    vectors = torch.cat(outputs).float().cpu()  # (L + 1, T, H): one text is a batch of 1
    return Activations(encoding, texts, vectors, torch.stack(weights))


@contextmanager
def layer_outputs(encoder):
    """Within the block, append the vectors (B, T, H) after each layer to the list that is yielded.

    A forward pass appends L + 1 tensors: the output of the embeddings, then of each layer. The last
    one is recorded after the final norm, which pre-norm models have.
    """
    outputs = []
    modules = [encoder.embeddings, *encoder.blocks[:-1], encoder.final_norm]
    hooks = [module.register_forward_hook(lambda module, inputs, output: outputs.append(output))
             for module in modules]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()
