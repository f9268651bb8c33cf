"""All settings of a run: ``BertConfig`` (the model) and ``TrainConfig`` (the training).

train.py builds its command line from the fields, so one field is a default value, a command-line
flag and a line of --help.
"""
from dataclasses import dataclass

from data.lines import ENCODING_ERRORS, ENCODING_ERRORS_HELP
from data.reflow import REFLOW, REFLOW_HELP
from minibert.config_fields import (
    check_at_least,
    check_at_most,
    check_choices,
    check_fraction,
    check_pad_token,
    check_positive,
    option,
)
from minibert.masking import MASKINGS

FAMILIES = ("bert", "roberta", "modernbert")
DECODER_FAMILIES = ("gpt2",)  # see minibert/generation
# A new one also needs its function in model.py and its name in formats/huggingface_config.py.
ACTIVATIONS = ("gelu", "gelu_tanh", "relu", "silu")
SCHEDULES = ("linear", "stable")
EXAMPLES = ("lines", "documents", "blocks", "pairs")
DEVICES = ("auto", "cuda", "mps", "cpu")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
TRAINING_OBJECTIVES = ("masked", "causal", "span-corruption")  # see training/objective.py
LENGTHS = ("max_steps", "epochs", "minutes")  # a run sets exactly one of them


@dataclass(frozen=True)
class BertConfig:
    """The shape of a model. Raises ValueError for impossible sizes.

    >>> BertConfig(family="roberta", max_position_embeddings=514, pad_token_id=1).max_length
    512
    """

    # The names are those of BERT's and ModernBERT's config.json, the defaults those of BERT-base.
    #
    #     family        norm    positions    MLP      biases   source
    #     bert          post    learned      plain    yes      Devlin et al. 2018, section 3
    #     roberta       post    learned      plain    yes      Liu et al. 2019, section 2
    #     modernbert    pre     rotary       gated    no       Warner et al. 2024, section 2.1
    #     gpt2          pre     learned      plain    yes      Radford et al. 2019, section 2.3
    #
    # RoBERTa also counts positions from the padding id; ModernBERT's initial weights differ.
    family: str = option("bert", (
        "bert (post-norm, learned positions, sentence pairs), roberta (bert without pairs) or "
        "modernbert (pre-norm, rotary positions, gated MLP, no biases; learns faster); with "
        "--objective causal also gpt2 (pre-norm, learned positions)"), FAMILIES + DECODER_FAMILIES)
    # Parameters: the embeddings have V H (and positions x H), a block has 4 H^2 (attention) + 2 H I
    # (MLP, gated 3 H I). Here 24 million embeddings and 12 blocks of 7 million make 110 million.
    vocab_size: int = option(30522, (
        "largest vocabulary, special tokens included; a small corpus may give fewer entries. "
        "More entries make texts shorter in tokens and the MLM head slower"))
    hidden_size: int = option(768, (
        "size of a token's vector; doubling it makes a block about four times as large and slow"))
    num_hidden_layers: int = option(12, "number of blocks; time and memory grow with it")
    num_attention_heads: int = option(12, (
        "attention heads per block; hidden_size must be divisible by it. More heads are narrower "
        "and cost the same"))
    intermediate_size: int = option(3072, (
        "inner width of the MLP, usually 4 times hidden_size (2 to 3 times in a gated MLP)"))
    activation: str = option("gelu", (
        "activation of the MLP and the MLM head (roberta's head always uses gelu)"), ACTIVATIONS)
    # Attention takes time and memory with the square of a sequence's length.
    max_position_embeddings: int = option(512, (
        "tokens of the longest sequence (roberta: pad_token_id + 1 more, so 514 for 512)"))
    type_vocab_size: int = option(2, (
        "segment types: 2 for sentences A and B, 1 for roberta, 0 for none"))
    # Probabilities in [0, 1)
    hidden_dropout_prob: float = option(0.1, (
        "dropout after embeddings, attention and MLP; it reduces overfitting in many epochs, and "
        "0 learns faster in few"))
    attention_probs_dropout_prob: float = option(0.1, "dropout of the attention weights")
    layer_norm_eps: float = option(1e-12, "added to the variance in LayerNorm")
    initializer_range: float = option(0.02, (
        "standard deviation of the initial weights; too large is unstable, too small is slow"))
    pad_token_id: int = option(0, "id of padding; comes from the tokenizer")
    # ModernBERT only. By default two layers in three see a window. (Far tokens are masked and not
    # skipped here, so a smaller window saves no time.)
    local_attention: int = option(128, (
        "modernbert: window of the local layers in tokens, half of it to each side"))
    global_attn_every_n_layers: int = option(3, (
        "modernbert: every n-th layer sees the complete sequence; 1: all do"))
    # The slowest pair of a rotary embedding turns once in about 2 pi theta tokens.
    global_rope_theta: float = option(160_000.0, (
        "modernbert: rotary base of the global layers; larger suits longer sequences"))
    local_rope_theta: float = option(10_000.0, "modernbert: rotary base of the local layers")
    # Each token sees only itself and earlier ones. --objective causal sets it, so it has no flag.
    causal: bool = False

    def __post_init__(self):
        check_choices(self)
        check_at_least(self, 1, "vocab_size", "hidden_size", "num_hidden_layers",
                       "num_attention_heads", "intermediate_size", "max_position_embeddings",
                       "global_attn_every_n_layers")
        check_at_least(self, 0, "type_vocab_size")
        check_at_least(self, 2, "local_attention")
        check_fraction(self, "hidden_dropout_prob", "attention_probs_dropout_prob")
        check_positive(self, "layer_norm_eps", "initializer_range", "global_rope_theta",
                       "local_rope_theta")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of "
                             f"num_attention_heads {self.num_attention_heads}")
        if self.rotary and self.head_size % 2:
            raise ValueError(f"rotary positions need an even head size, not {self.head_size}")
        check_pad_token(self)
        if self.family in DECODER_FAMILIES and not self.causal:
            raise ValueError(f"family {self.family} needs objective causal")
        if self.max_length < 1:
            raise ValueError(f"max_position_embeddings {self.max_position_embeddings} leaves no "
                             f"position for a token: it must be above {self.pad_token_id + 1}")

    @property
    def head_size(self):
        return self.hidden_size // self.num_attention_heads

    @property
    def max_length(self):
        """Tokens of the longest sequence that the model takes."""
        # RoBERTa's positions start at pad_token_id + 1.
        unused = self.pad_token_id + 1 if self.family == "roberta" else 0
        return self.max_position_embeddings - unused

    @property
    def segments(self):
        # ModernBERT and GPT-2 have none, whatever type_vocab_size is.
        return 0 if self.family in ("modernbert", "gpt2") else self.type_vocab_size

    @property
    def head_activation(self):
        # RoBERTa's original code has GELU in its MLM head in any case.
        return "gelu" if self.family == "roberta" else self.activation

    # Four switches lead from BERT to ModernBERT; an ablation overrides one of them.

    @property
    def pre_norm(self):
        # LayerNorm before attention and MLP, inside the residual branch, and not after the sum
        return self.family in ("modernbert", "gpt2")

    @property
    def embedding_norm(self):
        # GPT-2 has no LayerNorm between the embeddings and the first block.
        return self.family != "gpt2"

    @property
    def rotary(self):
        # Positions rotate queries and keys (Su et al. 2021) and are not added to the embeddings.
        return self.family == "modernbert"

    @property
    def gated(self):
        # GeGLU (Shazeer 2020): half of the MLP's first layer multiplies the other half.
        return self.family == "modernbert"

    @property
    def use_bias(self):
        return self.family != "modernbert"

    @property
    def learned_positions(self):
        return not self.rotary

    # Only T5 has other values of these (generation/t5.py).
    rms_norm = False
    scaled_scores = True


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained. Raises ValueError for values that cannot work, naming the field.

    >>> TrainConfig(max_steps=100, batch_size=64).effective_micro_batch_size
    64
    """

    # What to train on
    corpus: str = option("pydocs", (
        "pydocs (Python's documentation), kant, wikipedia, amazon, or your own "
        ".txt .jsonl .csv .tsv (.gz) file, folder or quoted pattern such as 'code/**/*.py'; one "
        "document in twenty is for validation"))
    text_suffix: str = option("", (
        "extensions of more plain-text files in a folder, such as .py,.md; none: no extension"))
    encoding_errors: str = option("strict", ENCODING_ERRORS_HELP, ENCODING_ERRORS)
    filters: str = option("", (
        "documents to drop, separated by commas: short, repetitive, script, markup, duplicates, "
        "near-duplicates, or all; all,short=50 changes one threshold"))
    reflow: str = option("auto", REFLOW_HELP, REFLOW)
    sentences: bool = option(False, (
        "split the text into sentences, one a line, as next-sentence prediction needs them"))
    stream: bool = option(False, (
        "train directly from the text without a token file, for corpora larger than the disk"))
    init: str = option("", (
        "folder of a published model or of a run to start from: its config, weights, tokenizer"))
    data: str = option("", (
        "folder with prepared token files train/ and eval/ (another run's data/)"))
    tokenizer: str = option("", (
        "folder of a trained tokenizer; with --init, one that extends the model's own"))
    text_field: str = option("text", "column or key that holds the text in .csv .tsv .jsonl")
    # The tokenizer, if it has to be trained
    tokenizer_kind: str = option("bpe", "byte-level BPE (RoBERTa) or WordPiece (BERT)",
                                 ("bpe", "wordpiece"))
    lowercase: bool = option(True, "wordpiece: convert the text to lower case and strip accents")
    keep_accents: bool = option(False, "wordpiece: keep accents in lower case, too")
    limit_alphabet: int = option(1000, (
        "wordpiece: characters to keep, the most frequent; words with others become [UNK]"))
    max_input_chars_per_word: int = option(100, (
        "wordpiece: characters of the longest word; a longer one becomes [UNK]"))
    min_frequency: int = option(2, "occurrences that a pair needs to be merged")
    # Examples and masks. The unit of all lengths is tokens.
    objective: str = option("masked", (
        "masked (BERT: hidden tokens, from both sides), causal (GPT: each next token, from the "
        "tokens before it) or span-corruption (T5: an encoder and a decoder that writes what was "
        "removed)"), TRAINING_OBJECTIVES)
    examples: str = option("blocks", (
        "training examples: lines, documents (cut into pieces), blocks (packed, no padding) or "
        "pairs (two sentences, which adds next-sentence prediction)"), EXAMPLES)
    masking: str = option("tokens", (
        "unit of masking: tokens, words (all tokens of a word) or spans (several words)"), MASKINGS)
    max_length: int = option(128, (
        "tokens of an example, special tokens included; shorter examples learn faster at first, "
        "longer ones give more context"))
    # Batches. A step trains on at most batch_size x max_length tokens.
    batch_size: int = option(32, (
        "examples of an optimizer step; larger batches have less noisy gradients"))
    equal_tokens: bool = option(False, (
        "batches with about as many tokens as batch_size examples of average length: few long "
        "ones or many short ones"))
    micro_batch_size: int = option(0, (
        "examples of a forward pass (gradient accumulation); 0: batch_size. Smaller saves memory "
        "and gives the same result"))
    batch_ramp: float = option(0.0, (
        "fraction of the run in which the batch grows from ramp_from to batch_size; 0: none"))
    ramp_from: int = option(0, "batch size at the start of a batch ramp; it divides batch_size")
    # Memory against time
    gradient_checkpointing: bool = option(False, (
        "compute each block again in the backward pass: a third more time, far less memory"))
    compile: bool = option(False, (
        "use torch.compile: it takes a minute at the start and makes each step faster"))
    # The loss
    mlm_probability: float = option(0.15, (
        "fraction of the tokens to predict in training; evaluation always uses 0.15. More gives "
        "more to learn from a step and less context"))
    nsp_weight: float = option(1.0, (
        "pairs: weight of the next-sentence loss in the sum (BERT: 1); both are logged unweighted"))
    # The optimizer. Muon's learning rate has another scale: an update of a matrix has the spectral
    # norm 1 times the rate, whatever the gradient.
    optimizer: str = option("adamw", (
        "muon: for the matrices of blocks and head, adamw for the rest"), ("adamw", "muon"))
    learning_rate: float = option(1e-4, (
        "peak learning rate of adamw; if it is too high, the loss jumps or stays on its plateau. "
        "Small models take more (1e-3)"))
    relative_rates: bool = option(False, (
        "adamw, with --init: learning rates in proportion to the size of each matrix's weights, "
        "see optim.relative_rates; there it is the default"))
    muon_learning_rate: float = option(0.02, "peak learning rate of muon")
    muon_momentum: float = option(0.95, "momentum of muon")
    # The schedule: fractions of the run, in [0, 1)
    schedule: str = option("linear", (
        "learning rate after warm-up: decays to zero (linear), or later (stable)"), SCHEDULES)
    warmup: float = option(0.06, (
        "fraction of the run in which the learning rate rises to its peak; post-norm models "
        "(bert, roberta) need some"))
    decay: float = option(0.3, (
        "stable: fraction at the end of the run in which the learning rate decays to zero"))
    # At the peak, each step multiplies a weight by 1 - learning_rate x weight_decay.
    weight_decay: float = option(0.01, (
        "decay of matrices and embeddings per step, times the learning rate; biases and norms "
        "have none"))
    # A decay b averages over about the last 1 / (1 - b) steps.
    adam_beta1: float = option(0.9, "decay of Adam's mean of gradients: about the last 10 steps")
    adam_beta2: float = option(0.98, (
        "decay of Adam's mean of squared gradients: about the last 50 steps"))
    adam_epsilon: float = option(1e-6, "added to the denominator of Adam's update")
    average: float = option(0.0, (
        "N: evaluate and save an average of the weights, over about the last 1/N of the steps so "
        "far (such as 6, with --schedule stable --decay 0); 0: the last weights"))
    # One bad batch must not undo what many good ones have learned.
    max_grad_norm: float = option(1.0, "clip the norm of the gradient to this; 0: do not clip")
    # The length of the run: exactly one of these three
    max_steps: int = option(0, "length of the run in optimizer steps")
    epochs: float = option(0.0, "length of the run in epochs")
    minutes: float = option(0.0, (
        "length of the run in minutes of training; the schedule then follows the clock"))
    # Reproducibility and the machine
    seed: int = option(0, "seed of initialization, data order, masking and dropout")
    device: str = option("auto", "auto: cuda, else mps, else cpu", DEVICES)
    keep_freed_memory: bool = option(True, (
        "on a CPU: keep freed memory for the next step instead of returning it to the system; "
        "faster, and takes a few hundred MB more"))
    precision: str = option("auto", (
        "auto: bf16 if the hardware has it; fp32 is slowest, fp16 scales the loss"), PRECISIONS)
    # Logging, evaluation and checkpoints. The unit is optimizer steps.
    log_every: int = option(10, "steps between lines of metrics.jsonl")
    tensorboard: bool = option(False, (
        "write the numbers of metrics.jsonl to tensorboard/ as well (pip install tensorboard)"))
    eval_every: int = option(500, "steps between evaluations; 0: only at the end")
    patience: int = option(0, (
        "stop after this many evaluations in a row without a better validation loss, and keep the "
        "best model in best/; 0: never. It cuts off the decay of a stable schedule"))
    eval_examples: int = option(512, (
        "validation examples of an evaluation; the last one uses up to 8 times as many"))
    save_every: int = option(500, (
        "steps between checkpoints, the most that a crash can cost; 0: only at the end"))
    keep_checkpoints: int = option(2, (
        "number of checkpoints to keep; each is three times as large as the model (four times with "
        "--average)"))

    def __post_init__(self):
        check_choices(self)
        if self.objective != "masked" and self.examples == "pairs":
            raise ValueError(f"examples pairs are for next-sentence prediction, which objective "
                             f"{self.objective} does not have: use lines, documents or blocks")
        check_positive(self, "learning_rate", "muon_learning_rate", "adam_epsilon",
                       "mlm_probability")
        check_at_least(self, 1, "max_length", "batch_size", "min_frequency", "limit_alphabet",
                       "max_input_chars_per_word", "keep_checkpoints", "eval_examples",
                       "log_every")
        check_at_least(self, 0, "micro_batch_size", "weight_decay", "max_grad_norm", "max_steps",
                       "epochs", "minutes", "eval_every", "save_every", "seed", "nsp_weight",
                       "patience", "average")
        check_at_most(self, 10**9, *LENGTHS, "weight_decay", "nsp_weight", "average")
        check_at_most(self, 2**64 - 1, "seed")
        check_fraction(self, "mlm_probability", "warmup", "decay", "adam_beta1", "adam_beta2",
                       "muon_momentum")
        if self.average and self.average < 1:
            raise ValueError(f"average is {self.average}: it must be at least 1, such as 10 for "
                             "the last tenth of the steps (in older versions 0.999)")
        if self.schedule == "stable" and self.warmup + self.decay > 1:
            raise ValueError(f"warmup {self.warmup} and decay {self.decay} must sum to at most 1")
        if sum(bool(getattr(self, name)) for name in LENGTHS) > 1:
            raise ValueError("set only one of max_steps, epochs and minutes: each is the length "
                             "of the run")
        if self.relative_rates and self.optimizer == "muon":
            raise ValueError("relative_rates needs optimizer adamw: muon's steps have a size of "
                             "their own")
        if self.patience and not 0 < self.eval_every <= (self.max_steps or self.eval_every):
            raise ValueError(f"patience {self.patience} needs evaluations during the run, and with "
                             f"eval_every {self.eval_every} there are none: set eval_every")
        if not 0 <= self.batch_ramp <= 1:
            raise ValueError(f"batch_ramp is {self.batch_ramp}: it must be in [0, 1]")
        if self.batch_ramp and not self.ramp_from:
            raise ValueError("batch_ramp needs ramp_from, the batch size at its start")
        if self.batch_ramp and (self.ramp_from < 1 or self.batch_size % self.ramp_from):
            raise ValueError(f"batch_ramp: ramp_from {self.ramp_from} must divide batch_size "
                             f"{self.batch_size}")
        if self.equal_tokens and self.examples == "blocks":
            raise ValueError("equal_tokens has no effect with examples blocks: all have the same "
                             "length")
        if self.batch_ramp and self.epochs:
            raise ValueError("batch_ramp needs the length of the run in max_steps or minutes")

    @property
    def loader_batch_size(self):
        """Examples of one batch of the data loader; with a batch ramp a step takes several."""
        return self.ramp_from if self.batch_ramp else self.batch_size

    @property
    def effective_micro_batch_size(self):
        """Examples of one forward pass."""
        return min(self.micro_batch_size or self.batch_size, self.batch_size)

    def micro_batch_size_of(self, num_examples):
        """Return the examples of one forward pass of a batch with ``num_examples``.

        >>> TrainConfig(max_steps=1, batch_size=64, micro_batch_size=16).micro_batch_size_of(80)
        16
        """
        size = self.effective_micro_batch_size
        if self.equal_tokens:  # the same fraction of each batch, so about equal numbers of tokens
            total = self.loader_batch_size
            return -(-num_examples * min(size, total) // total)  # rounded up
        return size
