"""Writing text with a causal model: one token after another, with a cache of keys and values.

    ids -> logits of the last token -> temperature -> top-k, top-p -> draw -> append -> again

Without a cache, each new token would compute all earlier ones again. But in a causal model their
keys and values never change, because no token sees a later one; so each layer keeps them.
"""
from contextlib import contextmanager

import torch

from minibert.attention import attention_biases, for_layer
from minibert.checks import check_batch, check_length
from minibert.evaluate import eval_mode


class LayerCache:
    """The keys and values of one layer, as far as the text has been read."""

    def __init__(self):
        self.keys = self.values = None  # (B, nh, S, hs)

    def __call__(self, keys, values, attention_bias):
        """Append (B, nh, T, hs) and return everything so far; ``Attention.prefix`` calls this."""
        if self.keys is not None:
            keys = torch.cat((self.keys, keys), dim=2)
            values = torch.cat((self.values, values), dim=2)
        self.keys, self.values = keys, values
        return keys, values, attention_bias


class CachedModel:
    """Reads a text in parts: each call computes only the new tokens. Made by ``cached``."""

    def __init__(self, model, length):
        self.model, self.bert = model, model.bert
        self.start = 0  # position of the next token
        embeddings = model.bert.embeddings.token.weight
        # For the whole text; a part needs the rows of its tokens and the columns up to its end.
        self.biases = attention_biases(model.config, None, length, embeddings.dtype,
                                       embeddings.device)

    def __call__(self, input_ids):
        """Return the logits (B, V) after the next tokens, input_ids (B, T)."""
        config = self.model.config
        check_batch(config, input_ids)
        start, end = self.start, self.start + input_ids.shape[1]
        self.start = end
        x = self.bert.embeddings(input_ids, start=start)  # (B, T, H)
        biases = [bias if bias is None else bias[start:end, :end] for bias in self.biases]
        ropes = self.bert.rope_cos_sin(end, x.dtype)
        ropes = [rope if rope is None else rope[:, start:end] for rope in ropes]
        for layer, block in enumerate(self.bert.blocks):
            x = block(x, for_layer(biases, config, layer), for_layer(ropes, config, layer))
        return self.model.logits(self.bert.final_norm(x[:, -1]))


@contextmanager
def cached(model, length):
    """Yield a CachedModel for texts of up to ``length`` tokens; its caches end with the block."""
    check_length(model.config, length)
    attentions = [block.attention for block in model.bert.blocks]
    try:
        for attention in attentions:
            attention.prefix = LayerCache()
        with eval_mode(model):
            yield CachedModel(model, length)
    finally:
        for attention in attentions:
            attention.prefix = None


def generate(model, prompts, max_new_tokens=40, temperature=1.0, top_k=0, top_p=1.0, seed=0,
             end_token_id=None, excluded_ids=()):
    """Return the new ids of each prompt, up to the end token: a list of lists.

    prompts        lists of ids, at least one each; they need not have the same length
    temperature    divides the logits: 0 always takes the likeliest token, 1 draws as predicted
    top_k          draw only from the k likeliest tokens; 0: from all
    top_p          draw only from the likeliest tokens that together have this probability
    seed           seeds one generator for all rows: above temperature 0, a prompt in a batch gets
                   another answer than alone
    excluded_ids   ids that are never drawn

    Raises ValueError if a prompt and max_new_tokens are longer than the model's context.

        generate(model, [[0, 812, 77]], max_new_tokens=3, temperature=0) -> [[5, 812, 77]]
    """
    if not prompts or not all(len(prompt) for prompt in prompts):
        raise ValueError("a prompt needs at least one token")
    check_sampling(max_new_tokens, temperature, top_k, top_p, seed)
    lengths = [len(prompt) for prompt in prompts]
    max_length = max(lengths) + max_new_tokens
    if max_length > model.config.max_length:
        raise ValueError(f"a prompt of {max(lengths)} tokens and {max_new_tokens} new ones are "
                         f"more than the model's context of {model.config.max_length}: shorten the "
                         "prompt, or lower --max-new-tokens")
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    texts = [list(prompt) for prompt in prompts]
    running = [True] * len(texts)
    # No padding: all texts are read from position 0, and a longer prompt supplies its own next
    # token where a shorter one already draws.
    num_read = min(lengths)
    with cached(model, max_length) as step:
        logits = step(torch.tensor([text[:num_read] for text in texts], device=device))  # (B, V)
        while any(running):
            logits[:, list(excluded_ids)] = -torch.inf
            drawn = draw(logits.float().cpu(), temperature, top_k, top_p, generator).tolist()
            for i, text in enumerate(texts):
                if len(text) > num_read:
                    continue  # its next token is that of the prompt
                text.append(drawn[i])
                if drawn[i] == end_token_id or len(text) == lengths[i] + max_new_tokens:
                    running[i] = False
            num_read += 1
            if any(running):
                next_ids = [[text[min(num_read, len(text)) - 1]] for text in texts]
                logits = step(torch.tensor(next_ids, device=device))
    new_ids = [text[length:length + max_new_tokens] for text, length in zip(texts, lengths)]
    return [ids[:ids.index(end_token_id)] if end_token_id in ids else ids for ids in new_ids]


def draw(logits, temperature, top_k, top_p, generator):
    """Draw a token of each row: logits (B, V) -> ids (B,).

    top_p is nucleus sampling (Holtzman et al. 2020, section 3.1).
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    # At most 0, and in float64: no temperature makes it overflow.
    scaled = (logits - logits.amax(dim=-1, keepdim=True)).double() / temperature
    probabilities = scaled.softmax(dim=-1).float()
    probabilities, order = probabilities.sort(dim=-1, descending=True)  # the likeliest first
    if top_k:
        probabilities[:, top_k:] = 0
    # Keep a token if those before it have not reached top_p: at least the first one.
    before = probabilities.cumsum(dim=-1) - probabilities
    probabilities[before >= top_p] = 0
    chosen = torch.multinomial(probabilities, 1, generator=generator)  # (B, 1)
    return order.gather(1, chosen).squeeze(1)


def check_sampling(max_new_tokens, temperature, top_k, top_p, seed):
    """Raise ValueError for a setting that cannot work."""
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens is {max_new_tokens}: it must be at least 1")
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"temperature is {temperature}: it must be at least 0 and finite")
    if top_k < 0:
        raise ValueError(f"top_k is {top_k}: it must be at least 1, or 0 for all tokens")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p is {top_p}: it must be above 0 and at most 1")
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed is {seed}: it must be at least 0 and below 2^64")
