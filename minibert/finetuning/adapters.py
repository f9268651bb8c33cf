"""A little of it: fine-tuning that trains one weight in a hundred, and leaves all others as pre-training made them.

    all      every weight learns: BERT's own way, without any adapter
    lora     beside chosen matrices W (O, I) stands a product of two thin ones, W + alpha / rank * B A, B (O, rank), A (rank, I): what
             fine-tuning changes has a low rank (Hu et al. 2021, section 4.1). It can be merged into W, and then costs no time.
    prefix   before the keys and values of every layer stand trained ones, which every token sees (Li and Liang 2021, section 4.2)
    bias     the biases of the encoder alone (BitFit, Ben Zaken et al. 2021). modernbert has none: there the scales of its norms learn,
             the only vectors that it has
    head     nothing of the encoder: its vectors are taken as they are

The head (``heads.py``: the classifier, and the dense layer before it) learns in all of them, since some of it is always fresh. Papers often
leave it out of their counts; ``count`` gives both. The files of an adapter: ``adapter_files.py``.
"""
import math
import re
import sys
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from minibert.config import option
from minibert.heads import BertForSequenceClassification
from minibert.optim import num_stacked
from tokenizer.utils.cli import suggestion

# What learns -> the peak rate where none is given. BERT's for all weights; few weights bear, and need, more.
DEFAULT_LR = {"all": 5e-5, "lora": 5e-4, "prefix": 5e-3, "bias": 1e-3, "head": 1e-3}
QKV = ("query", "key", "value")  # in the order in which ``Attention`` stacks them
MATRICES = (*QKV, "out", "mlp")
ADDED = re.compile(r"\.lora_[ab]$|\.prefix\.keys_and_values$")  # tensors that a model has only with an adapter


@dataclass(frozen=True)
class Tuning:
    """Which weights learn in fine-tuning. Raises ValueError for values that cannot work, naming the field.

    >>> Tuning(tune="lora", lora_on="query,mlp").matrices
    ('query', 'mlp')
    """
    tune: str = option("all", "what learns beside the head: all, lora, prefix, bias (of modernbert: the norms' scales) or head (nothing else)")
    lora_rank: int = option(4, "lora: rank of the added products")
    lora_alpha: float = option(8.0, "lora: the products are multiplied by alpha / rank")
    lora_on: str = option("query,value", "lora: to which matrices products are added: query, key, value, out, mlp, with commas")
    prefix_length: int = option(16, "prefix: trained keys and values of each layer")

    def __post_init__(self):
        for name, kind in (("tune", str), ("lora_on", str), ("lora_rank", int), ("prefix_length", int), ("lora_alpha", (int, float))):
            value = getattr(self, name)
            if not isinstance(value, kind) or isinstance(value, bool):  # from a file
                raise ValueError(f"{name} is {value!r}: it must be " + ("text" if kind is str else "a whole number" if kind is int else "a number"))
        if self.tune not in DEFAULT_LR:
            raise ValueError(f"tune is {self.tune!r}: choose from {', '.join(DEFAULT_LR)}" + suggestion(self.tune, DEFAULT_LR))
        for name in ("lora_rank", "prefix_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be at least 1")
        if not 0 < self.lora_alpha <= sys.float_info.max:
            raise ValueError(f"lora_alpha is {self.lora_alpha}: it must be more than 0, and finite")
        for name in self.matrices:
            if name not in MATRICES:
                raise ValueError(f"lora_on names {name!r}: choose from {', '.join(MATRICES)}" + suggestion(name, MATRICES))
        if len(set(self.matrices)) < len(self.matrices):
            raise ValueError(f"lora_on {self.lora_on}: a name stands there twice")

    @property
    def matrices(self):
        """``lora_on`` as a tuple of names."""
        return tuple(name.strip() for name in self.lora_on.split(","))


def attach(model, tuning):
    """Let only what ``tuning`` names learn, and the head; what it adds is fresh. -> the model itself

    model: a BertForSequenceClassification. Raises ValueError for ranks and lengths that it has no room for,
    and for a model that has something attached already.

    attach(BertForSequenceClassification(config, ("bad", "good")).adopt(pretrained), Tuning(tune="lora"))
    """
    if (already := getattr(model, "tuning", None)) is not None:
        raise ValueError(f"tune {already.tune} is attached to this model already, and cannot be changed: attach {tuning.tune} to a fresh one")
    if tuning.tune == "all":
        return model
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_head_parameter(name))
    if tuning.tune == "lora":
        add_lora(model, tuning)
    elif tuning.tune == "prefix":
        add_prefix(model, tuning.prefix_length)
    elif tuning.tune == "bias":
        free_biases(model)
    model.tuning = tuning
    return model


def is_head_parameter(name):
    """Whether a tensor of a BertForSequenceClassification belongs to its head; BERT's pooler does.

    >>> is_head_parameter("classifier.weight"), is_head_parameter("bert.pooler.bias"), is_head_parameter("bert.blocks.0.mlp.down_proj.bias")
    (True, True, False)
    """
    return not name.startswith("bert.") or name.startswith("bert.pooler.")


def count_parameters(model):
    """How many numbers learn: {"trained": of all together, "head": of them in the head, "parameters": of the model without adapter, "share"}.

    With one block of width 4, LoRA of rank 1 on the queries alone, and BERT's head for two labels: 1 * (4 + 4) beside 4 * 4 + 4 and 2 * 4 + 2
    -> {"trained": 38, "head": 30, ...}
    """
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    learning = {name: sizes[name] for name, p in model.named_parameters() if p.requires_grad}
    whole = sum(size for name, size in sizes.items() if not ADDED.search(name))
    return {"trained": sum(learning.values()), "head": sum(size for name, size in learning.items() if is_head_parameter(name)),
            "parameters": whole, "share": round(sum(learning.values()) / whole, 6)}


def free_biases(model):
    """Let the encoder's biases learn; of a family without biases, the scales of its norms."""
    kind = ".bias" if model.config.use_bias else "norm.weight"
    for name, parameter in model.bert.named_parameters():
        if name.endswith(kind):
            parameter.requires_grad_(True)


# ------------------------------------------------------------------------------------------------ LoRA


class LoRALinear(nn.Linear):
    """A linear layer whose weight stays, and beside it, for some of the maps that are stacked in it, x -> alpha / rank * B (A x).

    weight and bias are those of the layer that it takes the place of. lora_a (parts, rank, I); lora_b (parts, O / stacked, rank), 0 at the
    start, so that nothing has changed yet; A is drawn so that A x is about as large as x. parts: which maps, from 0 on.
    """

    def __init__(self, linear, parts, rank, alpha, num_stacked=1):
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None, device="meta")  # no memory for a second weight
        self.weight, self.bias, self.num_stacked = linear.weight, linear.bias, num_stacked
        rows = linear.out_features // self.num_stacked
        if rank > min(rows, linear.in_features):
            raise ValueError(f"lora_rank {rank} is more than a matrix of {rows} x {linear.in_features} can have: lower it")
        self.parts, self.scale = list(parts), alpha / rank
        like = {"device": linear.weight.device, "dtype": linear.weight.dtype}
        self.lora_a = nn.Parameter(torch.randn(len(self.parts), rank, linear.in_features, **like) / math.sqrt(linear.in_features))
        self.lora_b = nn.Parameter(torch.zeros(len(self.parts), rows, rank, **like))
        self.register_buffer("before", None, persistent=False)  # the weight without the product, while that is merged into it

    def forward(self, x):
        """x (..., I) -> (..., O). The two thin products cost less time than the large one, forward and backward.

        Raises ValueError in training while the product is merged: it would learn nothing.
        """
        if self.before is not None and self.training and torch.is_grad_enabled():
            raise ValueError("LoRA is merged into the weights, where it cannot learn: unmerge(model) before training, or model.eval() to use it")
        y = super().forward(x)
        if self.before is not None:
            return y
        maps = list(y.chunk(self.num_stacked, dim=-1))  # each (..., O / num_stacked)
        for part, a, b in zip(self.parts, self.lora_a, self.lora_b):
            maps[part] = maps[part] + self.scale * F.linear(F.linear(x, a), b)
        return torch.cat(maps, dim=-1)

    def delta_weight(self):
        """What the adapter adds to the weight: (O, I), zeros where it adds nothing."""
        added = torch.zeros_like(self.weight)
        with torch.autocast(added.device.type, enabled=False):  # a weight is made here, once
            added.view(self.num_stacked, -1, self.in_features)[self.parts] = self.scale * self.lora_b @ self.lora_a
        return added

    @torch.no_grad()
    def merged_weight(self):
        """The weight with the product: (O, I)."""
        return self.weight.data if self.before is not None else self.weight.data + self.delta_weight()

    @torch.no_grad()
    def merge(self):
        """Add the product to the weight: the same layer, as fast as without an adapter."""
        if self.before is None:
            self.before, self.weight.data = self.weight.data, self.merged_weight()

    def unmerge(self):
        """The weight as it was, bit for bit: it has been kept, since taking the product off again would leave rounding."""
        if self.before is not None:
            self.weight.data, self.before = self.before, None

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        """The weight without the product also while that is merged: the product stands beside it."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.before is not None:
            destination[prefix + "weight"] = self.before

    def _load_from_state_dict(self, *arguments):
        """Unmerge, and take the weight, without the product, and the product's two parts."""
        self.unmerge()
        super()._load_from_state_dict(*arguments)


def add_lora(model, tuning):
    """Put a LoRALinear in the place of each linear layer that holds one of the matrices that ``tuning`` names."""
    made = []  # all of them before the first is put in: one that has no room leaves the model as it is
    for block in model.bert.blocks:
        for name, parts in lora_targets(block, tuning.matrices).items():
            parent, _, child = name.rpartition(".")
            parent = block.get_submodule(parent)
            made.append((parent, child, LoRALinear(getattr(parent, child), parts, tuning.lora_rank, tuning.lora_alpha,
                                                    num_stacked(name, model.config))))
    for parent, child, layer in made:
        setattr(parent, child, layer)


def lora_targets(block, matrices):
    """Names of matrices -> {linear layer of a block: which of the maps that are stacked in it}.

    ("query", "value", "mlp"), of a gated block -> {"attention.qkv": [0, 2], "mlp.up_proj": [0, 1], "mlp.down_proj": [0]}
    """
    up_proj_maps = [0, 1] if block.mlp.gated else [0]
    places = {"attention.qkv": [part for part, name in enumerate(QKV) if name in matrices],
              "attention.out_proj": [0] if "out" in matrices else [],
              "mlp.up_proj": up_proj_maps if "mlp" in matrices else [],
              "mlp.down_proj": [0] if "mlp" in matrices else []}
    return {name: parts for name, parts in places.items() if parts}


def merge(model):
    """Merge every LoRA product into its weight; ``unmerge`` takes them out again, bit for bit.

    ``state_dict`` is the same before and after; ``load_state_dict`` unmerges; a merged model does not learn.
    """
    for layer in model.modules():
        if isinstance(layer, LoRALinear):
            layer.merge()


def unmerge(model):
    """The opposite of ``merge``."""
    for layer in model.modules():
        if isinstance(layer, LoRALinear):
            layer.unmerge()


def merged_copy(model):
    """A copy on the CPU, without adapter, that computes the same, for ``save_pretrained``; the model itself stays as it is, merged or not.

    ValueError for prefixes: no weight can hold them.

    merged_copy(attach(classifier, Tuning(tune="lora"))) -> BertForSequenceClassification
    """
    if any(".prefix." in name for name, _ in model.named_parameters()):
        raise ValueError("trained prefixes cannot be merged into the weights: save the adapter, and use it with its base")
    with torch.device("meta"):  # draws no random numbers: training goes on as if nothing had been saved
        plain = BertForSequenceClassification(model.config, model.labels, model.dropout.p)
    state = model.state_dict() | {f"{name}.weight": layer.merged_weight() for name, layer in model.named_modules() if isinstance(layer, LoRALinear)}
    state = {name: tensor.to("cpu", copy=True) for name, tensor in state.items() if not ADDED.search(name)}
    plain.load_state_dict(state, assign=True)
    return plain.train(model.training)


# ------------------------------------------------------------------------------------------------ prefixes


class Prefix(nn.Module):
    """Trained keys and values of one layer, which stand before those of the tokens. keys_and_values (2, p, H)

    They are no tokens: no position is theirs, and those of the tokens stay what they were. (Rotary positions turn the queries all the same:
    to them a key that is not turned stands at position 0.)
    """

    def __init__(self, keys_and_values):
        super().__init__()
        self.keys_and_values = nn.Parameter(keys_and_values)

    def forward(self, k, v, mask):
        """k, v (B, nh, T, hs), mask as ``Attention`` has it -> k, v (B, nh, p + T, hs), and the mask with p columns that everybody sees"""
        B, heads, _, size = k.shape
        keys, values = self.keys_and_values.to(k.dtype).unflatten(-1, (heads, size)).transpose(1, 2)  # each (nh, p, hs)
        k, v = torch.cat((keys.expand(B, -1, -1, -1), k), dim=2), torch.cat((values.expand(B, -1, -1, -1), v), dim=2)
        return k, v, mask if mask is None else F.pad(mask, (keys.shape[1], 0))  # 0: nothing is hidden


@torch.no_grad()
def add_prefix(model, length):
    """Give each layer a Prefix. They begin as the keys and values that the model has for ``length`` tokens drawn at random.

    Prefixes that begin as those of real words learn far better than drawn numbers (Li and Liang 2021, section 7.4); it also makes
    the paper's detour, an MLP that the prefixes are computed by, unnecessary.
    """
    config, encoder = model.config, model.bert
    if length > config.max_length:
        raise ValueError(f"prefix_length {length} is more than the {config.max_length} tokens that the model takes, by which prefixes begin")
    device = encoder.embeddings.token.weight.device
    made, was_training = [], encoder.training
    hooks = [block.attention.qkv.register_forward_hook(lambda layer, given, qkv: made.append(qkv)) for block in encoder.blocks]
    encoder.eval()(torch.randint(config.vocab_size, (1, length)).to(device))
    encoder.train(was_training)
    for hook, block, qkv in zip(hooks, encoder.blocks, made):
        hook.remove()
        block.attention.prefix = Prefix(torch.stack(qkv[0].chunk(3, dim=-1)[1:]))  # (2, p, H)
