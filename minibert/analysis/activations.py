"""A look inside a model while it reads one text: the vectors after each layer, and how much each token takes of each other one.

The model's own forward pass runs, with hooks that keep what passes, so what is shown is what happens. Only the weights of attention are computed
once more, by the clear twin (``attention_weights``): the fused kernel never holds them.

Layers are counted from 1 on; 0 are the embeddings, which attention has not touched.
"""
from dataclasses import dataclass

import torch

from minibert.checks import check_length, check_tokenizer
from minibert.heads import encoder_of
from tokenizer.utils.terminal import TextStyle


@dataclass(frozen=True)
class Activations:
    """What ``hidden_activations`` saw: L layers, nh heads, T tokens, H numbers a vector."""
    encoding: object  # tokenizer's Encoding: ids, tokens, offsets
    texts: list  # (T,): what each token stands for, nothing of it invisible: '·record'
    vectors: torch.Tensor  # (L + 1, T, H) float32; the last ones are what the encoder returns
    attention: torch.Tensor  # (L, nh, T, T) float32: in row i what token i takes of each: 1 in all, less what a prefix has


@torch.no_grad()
def hidden_activations(model, tokenizer, text, style=None):
    """One text through a model (any with an encoder) -> Inside. style: how tokens are shown, a ``tokenizer.utils.terminal.TextStyle``.

    Raises ValueError for a text that is too long for the model, and for a tokenizer that does not fit.

    look_inside(model, tokenizer, "He broke the record.").attention.shape -> (4, 2, 7, 7)
    """
    check_tokenizer(model.config, tokenizer)
    encoding, encoder = tokenizer.encode(text), encoder_of(model)
    check_length(model.config, len(encoding))
    vectors, weights = [], []

    def keep_vectors(module, inputs, output):
        vectors.append(output[0].float().cpu())  # (T, H)

    def keep_weights(module, inputs, output):
        weights.append(module.weights(*inputs[:3])[0, :, :, -len(encoding):].float().cpu())  # inputs: x, mask, rotation, rows; before T a prefix

    # The last block's vectors are taken behind the final norm, which pre-norm models have.
    hooks = [module.register_forward_hook(keep_vectors) for module in (encoder.embeddings, *encoder.blocks[:-1], encoder.final_norm)]
    hooks += [block.attention.register_forward_hook(keep_weights) for block in encoder.blocks]
    was_training = encoder.training
    try:
        encoder.eval()
        encoder(torch.tensor([encoding.ids], device=next(encoder.parameters()).device))
    finally:
        encoder.train(was_training)
        for hook in hooks:
            hook.remove()
    texts = [(style or TextStyle()).visible(tokenizer.token_text(token)) for token in encoding.tokens]
    return Activations(encoding, texts, torch.stack(vectors), torch.stack(weights))


def cosine(a, b):
    """The cosine of the angle between vectors (..., H) and (..., H) -> (...): 1 where they point the same way, 0 at right angles.

    >>> cosine(torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[4.0, 3.0], [0.0, 2.0]]))
    tensor([0.9600, 0.0000])
    """
    return torch.nn.functional.cosine_similarity(a, b, dim=-1)
