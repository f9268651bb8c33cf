"""Every number of a run: ``BertConfig`` (the model), ``TrainConfig`` (the training), and the presets in one table.

Both are frozen dataclasses, and train.py makes its command line from them, so a field is at once a default, a
flag and a line of help. Field names of the model are BERT's own (google-research/bert, modeling.py), so that they
mean what they mean in every config.json of the field; ModernBERT's few extra ones carry ModernBERT's names.
"""
from dataclasses import dataclass, field, fields, replace

from minibert.masking import OBJECTIVES
from tokenizer.utils.cli import suggestion

FAMILIES = ("bert", "roberta", "modernbert")
LENGTHS = ("max_steps", "epochs", "minutes")  # a run has one of them


def option(default, help):
    """A dataclass field with its line of help for the command line."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class BertConfig:
    """The shape of a model. Sizes are counts, probabilities lie in [0, 1).

    What separates the families in ``minibert/model.py`` are the properties at the end of the class, and three small things:
    RoBERTa counts positions from the padding id and takes no segments in its presets; ModernBERT starts from other fresh weights.

    =============  ========  ==========  =====  =======  =============================================
    family         norm      positions   MLP    biases   source
    =============  ========  ==========  =====  =======  =============================================
    bert           post      learned     GELU   yes      Devlin et al. 2018, section 3 and appendix A.2
    roberta        post      learned     GELU   yes      Liu et al. 2019, section 2 (no segments, no NSP)
    modernbert     pre       rotary      GeGLU  no       Warner et al. 2024, section 2.1
    =============  ========  ==========  =====  =======  =============================================

    Raises ValueError for sizes that do not fit together, with both numbers.

    >>> BertConfig(family="roberta", max_position_embeddings=514, pad_token_id=1).max_length
    512
    """

    family: str = option("bert", "bert (post-norm, learned positions, sentence pairs), roberta (the same without pairs) or modernbert (pre-norm, "
                         "rotary positions, gated, no biases: learns faster here)")
    vocab_size: int = option(30522, "entries of the vocabulary, special tokens included; at most, since a small corpus may not have as many. More "
                             "of them make texts shorter in tokens and the head slower")
    hidden_size: int = option(768, "numbers in the vector of a token; twice as many make a block four times as large and about as much slower")
    num_hidden_layers: int = option(12, "number of blocks; time and memory grow with it")
    num_attention_heads: int = option(12, "attention heads of a block; they divide hidden_size, so more of them are narrower and cost the same")
    intermediate_size: int = option(3072, "inner width of the MLP, by custom 4 times hidden_size (of each half where it is gated: 2 to 3 times)")
    max_position_embeddings: int = option(512, "tokens of the longest sequence (roberta: pad_token_id + 1 more, as positions are counted from there: "
                                          "514 for 512)")
    type_vocab_size: int = option(2, "segment types: 2 for sentence A and B, 1 for roberta, 0 for none")
    hidden_dropout_prob: float = option(0.1, "share of numbers dropped after embeddings, attention and MLP; against learning by heart in many "
                                        "epochs, 0 learns faster in few")
    attention_probs_dropout_prob: float = option(0.1, "the same of the attention weights")
    layer_norm_eps: float = option(1e-12, "added to the variance in LayerNorm, so that nothing is divided by 0")
    initializer_range: float = option(0.02, "standard deviation of fresh weights; too large is unstable, too small stays longer on the plateau")
    pad_token_id: int = option(0, "id of padding; taken from the tokenizer")
    local_attention: int = option(128, "modernbert: window of the local layers, in tokens (half to each side)")
    global_attn_every_n_layers: int = option(3, "modernbert: every n-th layer sees the whole sequence; 1: all do")
    global_rope_theta: float = option(160_000.0, "modernbert: rotary base of the global layers; larger turns slower, for longer sequences")
    local_rope_theta: float = option(10_000.0, "modernbert: rotary base of the local layers")

    def __post_init__(self):
        if self.family not in FAMILIES:
            raise ValueError(f"unknown family {self.family!r}, there are {', '.join(FAMILIES)}" + suggestion(self.family, FAMILIES))
        for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be at least 1")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"hidden_size {self.hidden_size} is no multiple of num_attention_heads {self.num_attention_heads}")
        if self.rotary and self.head_size % 2:
            raise ValueError(f"rotary positions turn pairs of numbers: head size {self.head_size} must be even")
        if self.type_vocab_size < 0 or self.local_attention < 2 or self.global_attn_every_n_layers < 1:
            raise ValueError(f"type_vocab_size {self.type_vocab_size} must be at least 0, local_attention {self.local_attention} at least 2, "
                             f"global_attn_every_n_layers {self.global_attn_every_n_layers} at least 1")
        if not 0 <= self.pad_token_id < self.vocab_size:
            raise ValueError(f"pad_token_id {self.pad_token_id} lies outside the vocabulary of {self.vocab_size:,}")
        if self.max_length < 1:
            raise ValueError(f"no usable length: max_position_embeddings {self.max_position_embeddings} - pad_token_id {self.pad_token_id} - 1 = "
                             f"{self.max_length}")
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must lie in [0, 1)")
        for name in ("layer_norm_eps", "initializer_range", "global_rope_theta", "local_rope_theta"):
            if not 0 < getattr(self, name) < float("inf"):  # `not`: NaN fails every comparison
                raise ValueError(f"{name} is {getattr(self, name)}: it must be a number above 0")

    # What the sizes imply, computed in this one place.

    @property
    def head_size(self):
        return self.hidden_size // self.num_attention_heads

    @property
    def max_length(self):
        """Longest usable sequence. RoBERTa's positions start at pad_token_id + 1, so it loses that many rows."""
        return self.max_position_embeddings - (self.pad_token_id + 1 if self.family == "roberta" else 0)

    @property
    def segments(self):
        """Segment types that the model tells apart: ModernBERT has none, whatever type_vocab_size says."""
        return 0 if self.family == "modernbert" else self.type_vocab_size

    # The switches that separate the families.

    @property
    def pre_norm(self):
        """LayerNorm before attention and MLP (inside the residual branch), not after the sum."""
        return self.family == "modernbert"

    @property
    def rotary(self):
        """Positions turn queries and keys (RoFormer, Su et al. 2021) instead of being added to the embeddings."""
        return self.family == "modernbert"

    @property
    def gated(self):
        """GeGLU (Shazeer 2020): half of the MLP's inner layer multiplies the other half."""
        return self.family == "modernbert"

    @property
    def use_bias(self):
        return self.family != "modernbert"


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained. Rates are per step, fractions are of the whole run.

    Raises ValueError for values that cannot work, naming the field.

    >>> TrainConfig(max_steps=100, batch_size=64).micro_batch
    64
    """

    corpus: str = option("pydocs", "pydocs (the documentation on this machine), kant, wikipedia, amazon, or your own .txt .jsonl .csv .tsv (.gz) "
                         "file or folder; one document in twenty is held out")
    filters: str = option("", "which documents to leave out: short, repetitive, script, markup, duplicates, near-duplicates, with commas; or all; "
                         "all,short=50 changes one of them")
    sentences: bool = option(False, "cut the text into sentences, one a line, as next-sentence pairs need them; its own lines are joined first")
    stream: bool = option(False, "train straight from the text: nothing is prepared on disk, for corpora that are larger than it")
    init: str = option("", "folder of a published model, or of a run, to go on from: its configuration, weights and tokenizer")
    data: str = option("", "folder with prepared token files train/ and eval/ (another run's data/) in place of preparing the corpus again")
    tokenizer: str = option("", "folder of a trained tokenizer (another run's tokenizer/) in place of training one")
    text_field: str = option("text", "the column or key that holds the text in .csv .tsv .jsonl")
    tokenizer_kind: str = option("bpe", "bpe (byte-level BPE, as RoBERTa) or wordpiece (as BERT)")
    tokenizer_criterion: str = option("frequency", "wordpiece: merge pairs by frequency, or by likelihood (what makes the corpus likeliest)")
    lowercase: bool = option(True, "wordpiece: lower-case the text and strip accents")
    min_frequency: int = option(2, "a merge needs at least so many occurrences; more: a smaller vocabulary without rare words")
    examples: str = option("blocks", "what an example is: lines, documents (cut to length), blocks (packed, no padding) or pairs (two sentences: "
                                     "BERT's next-sentence prediction is trained too)")
    masking: str = option("tokens", "what is masked together: tokens, words (all tokens of a word) or spans (runs of words)")
    max_length: int = option(128, "tokens of an example, special tokens included; shorter leaves the plateau earlier, longer sees more context")
    batch_size: int = option(32, "examples of one optimiser step; larger: less noise in a gradient, fewer steps in the same time")
    micro_batch_size: int = option(0, "examples that go through the model at once; 0: the whole batch. Smaller saves memory, the result is the same")
    batch_ramp: float = option(0.0, "fraction of the run in which a step grows from ramp_from examples to batch_size; 0: none")
    ramp_from: int = option(0, "examples of a step where a batch ramp begins; it divides batch_size")
    gradient_checkpointing: bool = option(False, "compute each block again in the backward pass in place of keeping what it computed: a third more "
                                          "time, far less memory")
    compile: bool = option(False, "torch.compile: takes a minute at first, and a tenth off each step (on GPUs more)")
    mlm_probability: float = option(0.15, "share of the tokens that are predicted in training, 0 to 1; more: more to learn from a step, less "
                                    "context to read. Evaluation always uses 0.15")
    nsp_weight: float = option(1.0, "pairs: weight of the next-sentence loss beside that of the masked tokens (BERT: 1); both are logged without it")
    optimizer: str = option("adamw", "adamw, or muon (for the matrices of the blocks and the head; adamw for the rest)")
    learning_rate: float = option(1e-4, "peak rate of adamw, about how far a weight may move in a step; too high: the loss jumps or stays at the "
                                  "plateau, too low: it crawls. Small models bear more (1e-3)")
    muon_learning_rate: float = option(0.02, "peak rate of muon")
    muon_momentum: float = option(0.95, "muon: memory of the gradient's mean")
    schedule: str = option("linear", "after warm-up: linear (falls to zero) or stable (held, then falls to zero)")
    warmup: float = option(0.06, "fraction of the run in which the rate rises to its peak; 0: none, which post-norm models (bert, roberta) bear "
                           "badly")
    decay: float = option(0.3, "stable: last fraction of the run in which the rate falls to zero, and the loss most")
    weight_decay: float = option(0.01, "pull of matrices and embeddings towards 0, times the rate, in each step; biases and norms have none")
    adam_beta1: float = option(0.9, "memory of the gradient's mean: 0.9 is about the last 10 steps")
    adam_beta2: float = option(0.98, "memory of the gradient's square: 0.98 is about the last 50 steps")
    adam_epsilon: float = option(1e-6, "added to the root of the square")
    max_grad_norm: float = option(1.0, "gradients longer than this, all weights together, are shortened to it; 0: never")
    max_steps: int = option(0, "length of the run in optimiser steps")
    epochs: float = option(0.0, "length of the run in passes over the corpus")
    minutes: float = option(0.0, "length of the run in minutes of training; the schedule then follows the clock")
    seed: int = option(0, "of weights, order, masks and dropout; another one tells luck from progress")
    device: str = option("auto", "auto (cuda, else mps, else cpu), cuda, mps or cpu")
    keep_freed_memory: bool = option(True, "on a CPU: keep freed memory for the next step instead of returning it to the system; faster, "
                                     "and a few hundred MB larger")
    precision: str = option("auto", "auto (bf16 where the hardware has it), fp32 (slowest), bf16 or fp16 (with a loss scale)")
    log_every: int = option(10, "steps between lines of metrics.jsonl")
    eval_every: int = option(500, "steps between evaluations; 0: only at the end")
    eval_examples: int = option(512, "held-out examples of an evaluation in between; the last one takes up to 8 times as many")
    save_every: int = option(500, "steps between checkpoints: what kill -9 can cost; 0: only at the end")
    keep_checkpoints: int = option(2, "how many checkpoints stay; each is three times the model")

    def __post_init__(self):
        choices = {"tokenizer_kind": ("bpe", "wordpiece"), "tokenizer_criterion": ("frequency", "likelihood"),
                   "examples": ("lines", "documents", "blocks", "pairs"), "masking": OBJECTIVES, "schedule": ("linear", "stable"),
                   "optimizer": ("adamw", "muon"),
                   "device": ("auto", "cuda", "mps", "cpu"), "precision": ("auto", "fp32", "bf16", "fp16")}
        for name, known in choices.items():
            value = getattr(self, name)
            if value not in known:
                raise ValueError(f"{name} is {value!r}: choose from {', '.join(known)}" + suggestion(value, known))
        positive = ("max_length", "batch_size", "learning_rate", "muon_learning_rate", "min_frequency", "keep_checkpoints", "eval_examples",
                    "adam_epsilon", "log_every")
        not_negative = ("micro_batch_size", "weight_decay", "max_grad_norm", "max_steps", "epochs", "minutes", "eval_every", "save_every", "seed",
                        "nsp_weight")
        for name in positive + not_negative:
            value = getattr(self, name)
            if not (value > 0 if name in positive else value >= 0):  # `not`: NaN fails every comparison
                raise ValueError(f"{name} is {value}: it must be {'more than 0' if name in positive else 'at least 0'}")
        if not 0 < self.mlm_probability < 1:
            raise ValueError(f"mlm_probability is {self.mlm_probability}: it must lie between 0 and 1")
        for name in ("warmup", "decay", "adam_beta1", "adam_beta2", "muon_momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must lie in [0, 1)")
        if self.batch_ramp and (self.epochs or self.ramp_from < 1 or self.batch_size % self.ramp_from or not 0 < self.batch_ramp <= 1):
            raise ValueError(f"a batch ramp over {self.batch_ramp} of the run from {self.ramp_from} to {self.batch_size} examples: the fraction must "
                             "lie in (0, 1], ramp_from divide batch_size, and the length be given as max_steps or minutes")
        if self.schedule == "stable" and self.warmup + self.decay > 1:
            raise ValueError(f"warmup {self.warmup} and decay {self.decay} are together more than the whole run")
        if sum(bool(getattr(self, length)) for length in LENGTHS) > 1:
            raise ValueError("give one of max_steps, epochs and minutes: each is the length of the run")

    @property
    def batch_unit(self):
        """Examples of a batch; a step takes one, with a ramp several."""
        return self.ramp_from if self.batch_ramp else self.batch_size

    @property
    def micro_batch(self):
        """Examples that go through the model at once."""
        return min(self.micro_batch_size or self.batch_size, self.batch_size)


def override(train, values):
    """A TrainConfig with other values; a length among them takes the place of the length it had.

    >>> override(TrainConfig(max_steps=2672), {"minutes": 4.9}).max_steps
    0
    """
    return replace(train, **({name: 0 for name in LENGTHS} if values.keys() & set(LENGTHS) else {}) | values)


def from_dict(cls, values):
    """A BertConfig or TrainConfig from a dict; a key that is no field is an error that names the nearest one.

    >>> from_dict(TrainConfig, {"batch_size": 4}).batch_size
    4
    """
    names = [f.name for f in fields(cls)]
    for key in values:
        if key not in names:
            raise ValueError(f"unknown {cls.__name__} key {key!r}" + suggestion(key, names))
    return replace(cls(), **values)
