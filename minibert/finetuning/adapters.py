"""Parameter-efficient fine-tuning: train one weight in a hundred and freeze the others.

    all      train every weight, as BERT does; no adapter
    lora     add a low-rank update to chosen matrices W (O, I): W + alpha / rank * B A with
             B (O, rank) and A (rank, I), because what fine-tuning changes has a low rank
             (Hu et al. 2021, section 4.1). Merged into W, it costs no time at inference.
    prefix   train keys and values that are prepended in every layer and that all tokens attend to
             (Li and Liang 2021, section 4.2)
    bias     train the biases of the encoder (BitFit, Ben Zaken et al. 2021). modernbert has no
             biases; its norm scales, the only vectors it has, are trained instead
    head     freeze the encoder

The head (``heads.py``: the classifier and the dense layer before it) is always trained, because
part of it starts from random weights. In modernbert only the classifier does: the dense layer comes
from the MLM head, if the base has one, so LoRA updates it like the matrices of the blocks. Papers
often leave the head out of their counts; ``count_parameters`` returns both. The files of an adapter
are described in ``adapter_files.py``.
"""
import math
import re
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from minibert.config_fields import check_at_least, check_choices, check_positive, option
from minibert.device import shapes_only
from minibert.evaluate import eval_mode
from minibert.optim import num_stacked, weight_scales
from tokenizer.utils.cli import suggestion

# Mode -> factor of the default learning rate. The fewer weights are trained, the more each has to
# move. (LoRA: ten times is best on a model of 4 x 256, as Schulman and Thinking Machines Lab 2025
# find on large ones, but diverges at 4 x 128; five times is nearly as good on the first.)
RATE_FACTORS = {"all": 1, "lora": 5, "prefix": 10, "bias": 4, "head": 3}
QKV = ("query", "key", "value")  # in the order in which ``Attention`` stacks them
MATRICES = (*QKV, "out", "mlp")
# Names of the tensors that an adapter adds to a model.
ADAPTER_TENSOR = re.compile(r"\.lora_[ab]$|\.prefix\.keys_and_values$")


@dataclass(frozen=True)
class Tuning:
    """Which weights fine-tuning trains. Raise ValueError for values that cannot work.

    >>> Tuning(tune="lora", lora_on="query,mlp").matrices
    ('query', 'mlp')
    """
    tune: str = option("all", "what to train besides the head; bias: in modernbert the norm "
                       "scales; head: nothing else", RATE_FACTORS)
    lora_rank: int = option(4, "lora: rank of the updates")
    lora_alpha: float = option(8.0, "lora: the updates are multiplied by alpha / rank")
    lora_on: str = option("query,key,value,out,mlp", "lora: comma-separated list of the matrices "
                          "to update")
    prefix_length: int = option(16, "prefix: trained keys and values in each layer")

    def __post_init__(self):
        check_choices(self)
        check_at_least(self, 1, "lora_rank", "prefix_length")
        check_positive(self, "lora_alpha")
        for name in self.matrices:
            if name not in MATRICES:
                raise ValueError(f"lora_on names {name!r}: choose from {', '.join(MATRICES)}"
                                 + suggestion(name, MATRICES))

    @property
    def matrices(self):
        """``lora_on`` as a tuple of names."""
        return tuple(name.strip() for name in self.lora_on.split(","))


def attach(model, tuning):
    """Add an adapter to a model for fine-tuning and freeze what it does not train.

    Return the model itself. Raise ValueError for a rank or length that does not fit the model (then
    create a new one), and for a model that has an adapter already.

    attach(BertForSequenceClassification(config, ("bad", "good")), Tuning(tune="lora"))
    """
    if not all(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(f"the model has an adapter already: attach {tuning.tune} to a new model")
    if tuning.tune == "all":
        return model
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_head_parameter(name))
    if tuning.tune == "lora":
        add_lora(model, tuning)
    elif tuning.tune == "prefix":
        add_prefix(model, tuning.prefix_length)
    elif tuning.tune == "bias":
        train_biases(model)
    return model


def is_head_parameter(name):
    """Return whether a tensor of a model for fine-tuning belongs to its head.

    >>> is_head_parameter("classifier.weight"), is_head_parameter("bert.pooler.bias")
    (True, True)
    >>> is_head_parameter("bert.blocks.0.attention.qkv.bias")
    False
    """
    return not name.startswith("bert.") or name.startswith("bert.pooler.")


def count_parameters(model):
    """Count what is trained: {"trained", "head", "parameters", "share"}.

    "head" is the part of "trained" in the head, "parameters" the model without its adapter, "share"
    the quotient of "trained" and "parameters". One block of width 4 with LoRA of rank 1 on the
    queries trains 1 * (4 + 4) parameters there, and (4 * 4 + 4) + (2 * 4 + 2) in BERT's head for
    two labels -> {"trained": 38, "head": 30, ...}
    """
    trained = head = parameters = 0
    for name, parameter in model.named_parameters():
        size = parameter.numel()
        if parameter.requires_grad:
            trained += size
            if is_head_parameter(name):
                head += size
        if not ADAPTER_TENSOR.search(name):
            parameters += size
    return {"trained": trained, "head": head, "parameters": parameters,
            "share": round(trained / parameters, 6)}


def finetuning_scales(model):
    """Return ``optim.weight_scales``, with those of new weights changed.

    The new classifier has the scale of vectors, since its size means nothing. B of LoRA has the
    scale of the matrix that it updates.
    """
    scales = weight_scales(model)
    for module in model.modules():
        if isinstance(module, LoRALinear):
            scales[module.lora_b] = scales[module.weight]
    if hasattr(model, "classifier"):
        scales[model.classifier.weight] = scales[model.bert.blocks[0].mlp_norm.weight]
    return scales


def train_biases(model):
    """Unfreeze the encoder's biases, or the norm scales of a family without biases."""
    suffix = ".bias" if model.config.use_bias else "norm.weight"
    for name, parameter in model.bert.named_parameters():
        if name.endswith(suffix):
            parameter.requires_grad_(True)


# ------------------------------------------------------------------------------------------- LoRA


class LoRALinear(nn.Linear):
    """A frozen linear layer with a trained low-rank update: W x + alpha / rank * B (A x).

    It takes over weight and bias of the ``nn.Linear`` that it replaces. That layer may stack
    several projections: query, key and value, or the two halves of a gated MLP. ``parts`` are the
    indices of those that get an update, each its own.
    """

    def __init__(self, linear, parts, rank, alpha, num_stacked=1):
        # "meta" allocates no memory: the weight is replaced at once
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None,
                         device="meta")
        self.weight = linear.weight
        self.bias = linear.bias
        self.num_stacked = num_stacked
        rows = linear.out_features // num_stacked
        if rank > min(rows, linear.in_features):
            raise ValueError(f"lora_rank {rank} is more than the rank of a matrix of "
                             f"{rows} x {linear.in_features}: lower it")
        self.parts = parts
        self.scale = alpha / rank
        # A x starts about as large as x, and B at zero: the update changes nothing yet.
        like = {"device": linear.weight.device, "dtype": linear.weight.dtype}
        a = torch.randn(len(parts), rank, linear.in_features, **like)
        self.lora_a = nn.Parameter(a / math.sqrt(linear.in_features))  # (parts, rank, I)
        b = torch.zeros(len(parts), rows, rank, **like)
        self.lora_b = nn.Parameter(b)  # (parts, O / num_stacked, rank)

    def forward(self, x):
        """x (..., I) -> (..., O)"""
        y = super().forward(x)
        projections = list(y.chunk(self.num_stacked, dim=-1))  # each (..., O / num_stacked)
        for part, a, b in zip(self.parts, self.lora_a, self.lora_b):
            # Two thin products: B (A x) takes far less time than (B A) x.
            update = self.scale * F.linear(F.linear(x, a), b)  # (..., O / num_stacked)
            projections[part] = projections[part] + update
        return torch.cat(projections, dim=-1)

    def delta_weight(self):
        """Return the update as a matrix (O, I), zero for the projections without one."""
        delta = torch.zeros_like(self.weight)
        with torch.autocast(delta.device.type, enabled=False):  # keep the weight's precision
            update = self.scale * self.lora_b @ self.lora_a  # (parts, O / num_stacked, I)
            delta.view(self.num_stacked, -1, self.in_features)[self.parts] = update
        return delta

    @torch.no_grad()
    def merged_weight(self):
        """Return the weight (O, I) of a plain linear layer that computes the same."""
        return self.weight + self.delta_weight()


def add_lora(model, tuning):
    """Replace each linear layer that ``tuning`` selects by a LoRALinear."""
    for block in model.bert.blocks:
        for name, parts in lora_targets(block, tuning.matrices).items():
            layer = LoRALinear(block.get_submodule(name), parts, tuning.lora_rank,
                               tuning.lora_alpha, num_stacked(name, model.config))
            block.set_submodule(name, layer)
    if model.dense_is_pretrained:  # and norm as well: the head of modernbert
        model.dense = LoRALinear(model.dense, [0], tuning.lora_rank, tuning.lora_alpha)
        for parameter in (model.dense.weight, *model.norm.parameters()):
            parameter.requires_grad_(False)


def lora_targets(block, matrices):
    """Return {linear layer of a block: indices of the stacked projections to update}.

    ("query", "value", "mlp") in a block with a gated MLP
    -> {"attention.qkv": [0, 2], "mlp.up_proj": [0, 1], "mlp.down_proj": [0]}
    """
    targets = {"attention.qkv": [i for i, name in enumerate(QKV) if name in matrices]}
    if "out" in matrices:
        targets["attention.out_proj"] = [0]
    if "mlp" in matrices:
        targets["mlp.up_proj"] = [0, 1] if block.mlp.gated else [0]
        targets["mlp.down_proj"] = [0]
    return {name: parts for name, parts in targets.items() if parts}


def merged_copy(model):
    """Return a plain model on the CPU that computes the same, as fast as without LoRA.

    The model itself is not changed. Raise ValueError for prefixes, which no weight can hold.
    """
    if any(isinstance(module, Prefix) for module in model.modules()):
        raise ValueError("trained prefixes cannot be merged into the weights: save the adapter")
    # No random numbers are drawn, so saving does not change the training that continues.
    with shapes_only():
        plain = type(model)(model.config, model.labels, model.dropout.p)
    state = {name: t for name, t in model.state_dict().items() if not ADAPTER_TENSOR.search(name)}
    for name, module in model.named_modules():
        if isinstance(module, LoRALinear):
            state[f"{name}.weight"] = module.merged_weight()
    state = {name: tensor.to("cpu", copy=True) for name, tensor in state.items()}
    plain.load_state_dict(state, assign=True)
    return plain.train(model.training)


# --------------------------------------------------------------------------------- prefix tuning


class Prefix(nn.Module):
    """Trained keys and values of one layer, prepended to those of the tokens.

    They are not tokens: they have no positions, and those of the tokens do not change. (With rotary
    positions an unrotated key acts like one at position 0.)
    """

    def __init__(self, keys_and_values):
        super().__init__()
        self.keys_and_values = nn.Parameter(keys_and_values)  # (2, p, H)

    def forward(self, k, v, attention_bias):
        """Prepend the prefix to k and v (B, nh, T, hs), and p visible columns to the bias.

        -> k, v (B, nh, p + T, hs), and the bias, or None if it was None.
        """
        B, num_heads, _, head_size = k.shape
        split = self.keys_and_values.to(k.dtype).unflatten(-1, (num_heads, head_size))
        prefix_k, prefix_v = split.transpose(1, 2)  # each (nh, p, hs)
        k = torch.cat((prefix_k.expand(B, -1, -1, -1), k), dim=2)
        v = torch.cat((prefix_v.expand(B, -1, -1, -1), v), dim=2)
        if attention_bias is not None:
            attention_bias = F.pad(attention_bias, (prefix_k.shape[1], 0))  # 0 hides nothing
        return k, v, attention_bias


def add_prefix(model, length):
    """Give each layer a Prefix, starting as the keys and values of ``length`` random tokens.

    Prefixes that start as those of real words train far better than random numbers (Li and Liang
    2021, section 7.4). They also make the MLP unnecessary from which the paper computes prefixes.
    """
    encoder = model.bert
    limit = model.config.max_length
    if length > limit:
        raise ValueError(f"prefix_length {length} is more than the {limit} tokens that the model "
                         "supports")
    prefixes = []

    def create_prefix(module, inputs, qkv):  # (1, p, 3 H)
        _, keys, values = qkv[0].chunk(3, dim=-1)  # each (p, H)
        prefixes.append(Prefix(torch.stack((keys, values))))  # (2, p, H)

    hooks = [block.attention.qkv.register_forward_hook(create_prefix) for block in encoder.blocks]
    ids = torch.randint(model.config.vocab_size, (1, length))
    with eval_mode(encoder):
        encoder(ids.to(encoder.embeddings.token.weight.device))
    for block, prefix, hook in zip(encoder.blocks, prefixes, hooks):
        hook.remove()
        block.attention.prefix = prefix
