"""What a run says: before the first step what to expect, after the last one what came of it."""
import math
import shlex
import sys
from functools import cache

from minibert.analysis.mask_filling import fill_mask
from minibert.analysis.plots import plot_loss
from minibert.analysis.probes import known_probes, masked_passages
from minibert.device import describe, peak_memory
from minibert.masking import IGNORE_INDEX
from minibert.training.progress import place_of
from tokenizer.utils.terminal import TextStyle, display_width, padded

WIDTH = 96  # columns of the example


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
    seen, hidden = masked_example(trainer.batches.peek(), trainer.tokenizer, TextStyle.of(sys.stdout))
    print(f"it sees     {seen}\nto predict  {hidden}")
    rates = f"rate {config.learning_rate:g}" + (f", muon {config.muon_learning_rate:g}" if config.optimizer == "muon" else "")
    print(f"length      {length}; {rates}, {config.schedule}")
    ln_vocab, entropy = trainer.expected["ln_vocab"], trainer.expected["unigram_entropy"]
    if config.init:
        print(f"expect      a first loss far below the unigram entropy {entropy:.2f} where the model knows such text: it reads context.\n"
              f"            Near ln({c.vocab_size:,}) = {ln_vocab:.2f} nats or above where its head is fresh: that is learned first.")
    else:
        copying = trainer.expected["copying_loss"]
        print(f"expect      a first loss of about ln({c.vocab_size:,}) = {ln_vocab:.2f} nats, then a plateau near the unigram entropy "
              f"{entropy:.2f}:\n            there it knows how frequent each token is. Copying what was left unmasked\n"
              f"            brings it to {copying:.2f}. Below that, it reads context.")
    if config.examples == "pairs":
        weight = f", and counts {config.nsp_weight:g} times" if config.nsp_weight != 1 else ""
        print(f"            Beside it, does sentence B follow A? That loss starts at ln 2 = {math.log(2):.2f}{weight}.")
    if state["step"]:
        place = f", in {place_of(trainer.batches.state_dict())} of the text" if config.stream else ""
        print(f"resuming    at step {state['step']:,} after {state['elapsed'] / 60:.1f} minutes{place}")


def masked_example(batch, tokenizer, style):
    """A piece of a batch in two lines that line up: what the model sees, and under each token that is to be predicted what stood there.

    The first piece is taken that has most of the three cases: [MASK], a random token, the token itself (80, 10 and 10 % of what is to be predicted).

        [CLS] the [MASK] sat blue the mat [SEP]
                  cat        on   the
    """
    @cache
    def shown(number):
        token = tokenizer.id_to_token(number)
        return style.visible(tokenizer.token_text(token) if tokenizer.kind == "bpe" else token)  # WordPiece's ## is as good a sign as a space

    pieces = []
    for tokens, labels in zip(batch.input_ids[:64].tolist(), batch.labels[:64].tolist()):
        left = 0  # columns of the piece
        for token, label in zip(tokens, labels):
            if token == tokenizer.pad_token_id:
                break
            seen, hidden = shown(token), "" if label == IGNORE_INDEX else shown(label)
            case = hidden and ("mask" if token == tokenizer.mask_token_id else "same" if token == label else "random")
            width = max(display_width(seen), display_width(hidden))
            if width > left:
                pieces.append([])
                left = WIDTH
            pieces[-1].append((padded(seen, width), padded(hidden, width), case))
            left -= width + 1
    *lines, _ = zip(*max(pieces, key=lambda piece: len({case for *_, case in piece if case})))
    return tuple(" ".join(cells).rstrip() for cells in lines)


def first_loss(trainer, loss):
    """The line that says whether a run begins as it should."""
    expected = "" if trainer.config.init else f" (expected about {trainer.expected['ln_vocab']:.2f})"
    return f"first loss  {loss:.2f}{expected}; peak memory {peak_memory(trainer.device) / 2**30:.2f} GiB"


def result(trainer, scores):
    """Held-out scores, a picture, and a few filled masks."""
    state, entropy, folder, tokenizer = trainer.state, trainer.expected["unigram_entropy"], trainer.folder, trainer.tokenizer
    skipped = f", {state['skipped']} skipped" if state["skipped"] else ""
    place = f", to {place_of(state['data_state'])} of the text" if trainer.config.stream else ""
    print(f"trained     {state['step']:,} steps in {state['elapsed'] / 60:.1f} minutes{skipped}{place}")
    copying = trainer.expected["copying_loss"]
    reads = f", {copying - scores['loss']:.2f} of that by reading context" if scores["loss"] < copying else ""
    distance = f"{abs(entropy - scores['loss']):.2f} {'below' if scores['loss'] < entropy else 'above'} the unigram entropy{reads}"
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
    style = TextStyle.of(sys.stdout)
    for probe in probes:
        print(f"\n{probe}")
        for answer in fill_mask(trainer.model, tokenizer, probe):
            print(answer_line(answer, style))
    ask = probes[0] if probes else f"Return a new {tokenizer.mask_token} object."
    print(f"\nask it yourself:  python -m minibert fill-mask {shlex.quote(str(folder))} {shlex.quote(ask)}")


def answer_line(answer, style):
    """One of the answers of ``fill_mask``, without the space before a word and with signs for what is nothing else.

    {"score": 0.31, "token_str": " list", ...} -> '    31.0%  list'; a line end, "\\n" -> '    31.0%  ↵'
    """
    text = answer["token_str"]
    return f"   {answer['score']:6.1%}  {style.visible(text.strip() or text)}"


def probes_of(trainer):
    """Texts with one mask: those of a known corpus, else held-out passages with the token in their middle hidden."""
    tokenizer, config = trainer.tokenizer, trainer.config
    return known_probes(trainer.preset, config.corpus, tokenizer) or masked_passages(trainer.eval_examples, tokenizer)
