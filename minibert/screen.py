"""What a run says: before the first step what to expect, after the last one what came of it."""
import math
import shlex

from minibert.device import describe
from minibert.evaluate import choose
from minibert.fill_mask import fill_mask
from minibert.plots import plot_loss

PROBES = {  # what each corpus is asked at the end; <mask> stands for the tokenizer's own mask token
    "pydocs": ("Return a new <mask> object.", "Raises <mask> if the value is not found.", "The default <mask> is None."),
    "kant": ("Human thinking involves human <mask>.", "The Critique of <mask> Reason."),
    "wikipedia": ("Good girls, like bad <mask>",),
    "amazon": ("The dog chased the red <mask>",),
}


def expectations(trainer):
    """What a learner should know before the first number appears."""
    config, c, state = trainer.config, trainer.model.config, trainer.state
    per_epoch = trainer.steps_per_epoch
    one = f"one epoch is {math.ceil(per_epoch):,} steps" if per_epoch else "streamed"
    epochs = f" ({trainer.total_steps / per_epoch:.1f} epochs)" if per_epoch else ""
    length = f"{config.minutes:g} minutes" if config.minutes else f"{trainer.total_steps:,} steps{epochs}"
    together = {"tokens": "", "words": ", whole words", "spans": ", in spans of words"}[config.masking]
    print(f"model       {c.family}: {c.num_hidden_layers} layers of {c.hidden_size}, {c.num_attention_heads} heads, "
          f"{trainer.model.num_parameters():,} parameters")
    print(f"device      {describe(trainer.device, config.precision)}")
    print(f"step        {config.batch_size} {config.examples} of up to {config.max_length} tokens "
          f"(at most {config.batch_size * config.max_length:,}), "
          f"{config.mlm_probability:.0%} of them to be predicted{together}; {one}")
    rates = f"rate {config.learning_rate:g}" + (f", muon {config.muon_learning_rate:g}" if config.optimizer == "muon" else "")
    print(f"length      {length}; {rates}, {config.schedule}")
    ln_vocab, entropy = trainer.expected["ln_vocab"], trainer.expected["unigram_entropy"]
    print(f"expect      a first loss of about ln({c.vocab_size:,}) = {ln_vocab:.2f} nats, then a plateau near the unigram entropy {entropy:.2f}:\n"
          "            there it knows how frequent each token is. Below it, it reads context.")
    if config.examples == "pairs":
        print(f"            Beside it, does sentence B follow A? That loss starts at ln 2 = {math.log(2):.2f}.")
    if state["step"]:
        print(f"resuming    at step {state['step']:,} after {state['elapsed'] / 60:.1f} minutes")


def result(trainer, scores):
    """Held-out scores, a picture, and a few filled masks."""
    state, entropy, folder, tokenizer = trainer.state, trainer.expected["unigram_entropy"], trainer.folder, trainer.tokenizer
    skipped = f", {state['skipped']} skipped" if state["skipped"] else ""
    print(f"trained     {state['step']:,} steps in {state['elapsed'] / 60:.1f} minutes{skipped}")
    distance = f"{abs(entropy - scores['loss']):.2f} {'below' if scores['loss'] < entropy else 'above'} the unigram entropy"
    print(f"held out    loss {scores['loss']:.3f} nats ({distance}), perplexity {scores['perplexity']:.1f}, "
          f"masked accuracy {scores['accuracy']:.1%}, {scores['bits_per_byte']:.3f} bits a byte")
    if "nsp_accuracy" in scores:
        print(f"pairs       {scores['nsp_accuracy']:.1%} told right of {scores['pairs']:,} held out, where the more frequent answer alone would be "
              f"right in {scores['nsp_chance']:.1%}; loss {scores['nsp_loss']:.3f}")
    if trainer.config.stream and trainer.config.filters:
        print(f"filters     {trainer.train_source.corpus.reports['train'].summary()} in this pass over the text, up to here")
    try:
        plot_loss([folder], folder / "loss.png")
        print(f"picture     {folder / 'loss.png'}")
    except ImportError:
        print('picture     none: pip install -e ".[plots]" brings matplotlib')
    print(f"model       {folder / 'model'}")
    probes = [probe for probe in probes_of(trainer) if len(tokenizer.encode(probe).ids) <= trainer.model.config.max_length]
    for probe in probes:
        print(f"\n{probe}")
        for answer in fill_mask(trainer.model, tokenizer, probe):
            print(f"   {answer['score']:6.1%}  {answer['token_str'].strip()}")
    ask = probes[0] if probes else f"Return a new {tokenizer.mask_token} object."
    print(f"\nask it yourself:  python -m minibert.fill_mask {shlex.quote(str(folder))} {shlex.quote(ask)}")


def probes_of(trainer):
    """Texts with one mask: those of a known corpus, else held-out passages with the token in their middle hidden."""
    tokenizer, config = trainer.tokenizer, trainer.config
    return known_probes(trainer.preset, config.corpus, tokenizer) or hidden_passages(trainer.eval_examples, tokenizer)


def known_probes(preset, corpus, tokenizer):
    """The texts that a named corpus, or a preset that is made for one, is asked; [] for others."""
    return [probe.replace("<mask>", tokenizer.mask_token) for probe in PROBES.get(corpus) or PROBES.get(preset.removesuffix("-small")) or ()]


def hidden_passages(examples, tokenizer):
    """Two of the examples, up to 24 tokens of each, with the token in the middle hidden -> texts."""
    passages = []
    for n in choose(examples, 2):
        ids = [int(i) for i in examples[n] if i not in tokenizer.special_ids][:24]
        if ids:
            ids[len(ids) // 2] = tokenizer.mask_token_id
            passages.append(" ".join(tokenizer.decode(ids, skip_special_tokens=False).split()))
    return passages
