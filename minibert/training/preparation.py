"""Corpus -> tokenizer -> token files -> batches: what a run needs before it can train.

Everything is made once and kept in the run's folder, so that a resumed run finds it there:

    RUN/tokenizer/      the trained (or copied) tokenizer
    RUN/data/train/     token files (see data/token_file); with --stream there is only eval/
    RUN/data/eval/
"""
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from data import TokenFile, open_corpus, prepare
from data.corpora import take_characters
from data.corpus_flags import corpus_options
from data.quality.filters import FilteredCorpus
from data.sentences import SentenceCorpus
from data.sources.named import CACHE
from data.stream import Stream
from data.token_file.meta import unknown_report
from minibert.analysis.page.facts import word_statistics
from minibert.batches import Batches
from minibert.checks import check_tokenizer, rows_without_token
from minibert.config import BertConfig
from minibert.device import autocast
from minibert.evaluate import (
    EVAL_SEED,
    check_eval_set,
    evaluate,
    expected_losses,
    mean_bytes_per_token,
)
from minibert.examples import make_examples, max_ids
from minibert.generation.span_corruption import SENTINELS
from minibert.training.objective import OBJECTIVES
from minibert.training.stream_batches import StreamBatches
from tokenizer import ByteLevelBPE, WordPiece, bpe, load_tokenizer, wordpiece
from tokenizer.base import Tokenizer
from tokenizer.formats.vocab_files import holds_tokenizer
from tokenizer.utils.cli import as_flags, errors_name_flags
from tokenizer.word_starts import MAX_WORD_TOKENS

# How much of a stream is read before training: for the tokenizer, and for validation.
STREAM_TOKENIZER_CHARACTERS = 200_000_000
STREAM_EVAL_CHARACTERS = 5_000_000
LENGTH_AND_VOCABULARY = ("max_length", "vocab_size", "min_frequency", "limit_alphabet",
                         "max_input_chars_per_word")
MAX_MEAN_WORD_TOKENS = 4  # English has 1.0 to 1.9, depending on the vocabulary


@dataclass
class Data:
    """What ``prepare_data`` returns."""

    tokenizer: Tokenizer
    model_config: BertConfig  # with the tokenizer's vocabulary size and padding id
    train_source: TokenFile | Stream
    train_batches: Batches | StreamBatches
    validation: "Validation"
    corpus_notes: dict  # {} if the corpus was not read

    @property
    def fingerprint(self):
        """Checksum of the training tokens; "" for a stream, which compares its text itself."""
        return getattr(self.train_source, "fingerprint", "")


def prepare_data(run):
    """Prepare a run's text on the main process; the other ranks then load the same files.

    Raises ValueError if the corpus, tokenizer and configuration do not fit each other.
    """
    with run.dist.main_process_first():
        data_folder = Path(run.config.data or run.folder / "data")
        check_max_length(run.model_config, run.config)
        corpus = None
        if not has_all_files(run, data_folder):
            corpus = open_training_corpus(run)
            print(f"corpus      {corpus.description}")
            if versions := corpus.notes.get("made_from"):
                print(f"made from   {versions}; fingerprint {corpus.notes['text_fingerprint']}")
        elif run.config.data:
            print(f"corpus      is not read: {data_folder} is prepared already")
        with errors_name_flags(LENGTH_AND_VOCABULARY):
            tokenizer = prepare_tokenizer(run, corpus)
            model_config = fit_to_tokenizer(run.model_config, tokenizer, run.config)
            check_max_length(model_config, run.config)  # RoBERTa: positions start at the padding id
            max_ids(run.config.examples, tokenizer, run.config.max_length)
        if not run.reuses_files:
            run.write_config()  # before the part that takes long: --resume can continue it
        if not (run.folder / "tokenizer").is_dir():
            tokenizer.save(run.folder / "tokenizer")
        train_source, eval_file = prepare_token_files(run, data_folder, corpus, tokenizer)
        if run.config.masking != "tokens":
            warn_of_long_words(eval_file, tokenizer, run.config.masking)
    train_batches = make_train_batches(run, train_source, tokenizer)
    validation = Validation(run, eval_file, tokenizer)
    corpus_notes = corpus.notes if corpus else {}
    return Data(tokenizer, model_config, train_source, train_batches, validation, corpus_notes)


def fit_to_tokenizer(model_config, tokenizer, config):
    """Return the model's configuration with the vocabulary size and padding id of a tokenizer."""
    if config.init:  # the rows of the weights, which may be more than the tokens
        check_tokenizer(model_config, tokenizer)
        if note := rows_without_token(model_config, tokenizer):
            print(f"vocabulary  {note}")
        return model_config
    # A small corpus may have fewer tokens than requested.
    return replace(model_config, vocab_size=tokenizer.vocab_size,
                   pad_token_id=tokenizer.pad_token_id)


def check_max_length(model_config, config):
    """Raise ValueError if the model lacks positions for the longest examples."""
    if config.max_length > model_config.max_length:
        raise ValueError(f"--max-length {config.max_length} is more than the "
                         f"{model_config.max_length} tokens that the model has positions for: "
                         "lower it, or raise --max-position-embeddings of a new model")


def is_prepared(run, data_folder, split):
    """Whether a split's token file exists and may be used."""
    return bool(run.config.data) or (run.reuses_files and (data_folder / split).is_dir())


def has_all_files(run, data_folder):
    """Whether nothing needs to be read from the corpus."""
    if run.config.stream or not tokenizer_folder(run):
        return False
    return is_prepared(run, data_folder, "train") and is_prepared(run, data_folder, "eval")


def open_training_corpus(run):
    """Return the corpus of the run, cut into sentences and filtered if the flags say so."""
    config = run.config
    if not config.corpus:
        raise ValueError(f"preset {run.preset} needs a text: add --corpus FILE_OR_FOLDER "
                         "(or --corpus pydocs, Python's documentation)")
    corpus = open_corpus(config.corpus, cache=CACHE, **corpus_options(config))
    if config.text_field != "text" and getattr(corpus, "formats", None) == {".txt"}:
        raise ValueError(f"--text-field {config.text_field} has no effect: {config.corpus} is "
                         "plain text without fields")
    if config.sentences:
        corpus = SentenceCorpus(corpus)
    if config.filters:
        limit = STREAM_EVAL_CHARACTERS if config.stream else None
        corpus = FilteredCorpus(corpus, config.filters, limit)
    return corpus


# ------------------------------------------------------------------------------ the tokenizer


def tokenizer_folder(run):
    """Return the folder of an existing tokenizer, or None if one must be trained."""
    config = run.config
    own = run.folder / "tokenizer"
    if run.reuses_files and own.is_dir():
        return own
    if config.tokenizer:
        return Path(config.tokenizer)
    if not config.data:
        return None
    if not Path(config.data).is_dir():
        raise ValueError(f"--data {config.data}: no such folder")
    # RUN/data was tokenized with RUN/tokenizer
    folder = Path(config.data).parent / "tokenizer"
    if not holds_tokenizer(folder):
        raise ValueError(f"--data {config.data} needs the tokenizer it was made with, but {folder} "
                         "does not exist: add --tokenizer FOLDER")
    return folder


def prepare_tokenizer(run, corpus):
    """Load the run's tokenizer or train it on the corpus."""
    folder = tokenizer_folder(run)
    if folder:
        tokenizer = load_tokenizer(folder)
    else:
        tokenizer = train_tokenizer(corpus, run.model_config, run.config)
    tokenizer.require("cls", "sep", "pad", "mask")
    summary = tokenizer.training_summary or f"vocabulary: {tokenizer.vocab_size:,} entries, loaded"
    print(f"tokenizer   {as_flags(summary, LENGTH_AND_VOCABULARY)}")
    return tokenizer


def train_tokenizer(corpus, model_config, config):
    """Train byte-level BPE or WordPiece on the training documents of a corpus."""
    texts = corpus.documents("train")
    if config.stream:
        texts = take_characters(texts, STREAM_TOKENIZER_CHARACTERS)
    sizes = {"vocab_size": model_config.vocab_size, "min_frequency": config.min_frequency}
    sentinels = SENTINELS if config.objective == "span-corruption" else ()
    if config.tokenizer_kind == "bpe":
        return ByteLevelBPE.train_from_iterator(
            texts, special_tokens=(*bpe.SPECIAL_TOKENS, *sentinels), **sizes)
    return WordPiece.train_from_iterator(
        texts, special_tokens=(*wordpiece.SPECIAL_TOKENS, *sentinels), lowercase=config.lowercase,
        strip_accents=False if config.keep_accents else None, limit_alphabet=config.limit_alphabet,
        max_input_chars_per_word=config.max_input_chars_per_word, **sizes)


# ---------------------------------------------------------------------------- the token files


def prepare_token_files(run, data_folder, corpus, tokenizer):
    """Return (training TokenFile or Stream, validation TokenFile), tokenizing what is missing."""
    config = run.config

    def token_file(split):
        if is_prepared(run, data_folder, split):
            return TokenFile(data_folder / split)
        documents = corpus.documents(split)
        if config.stream:
            documents = take_characters(documents, STREAM_EVAL_CHARACTERS)
        return prepare(documents, tokenizer, data_folder / split, corpus=corpus)

    if config.stream:
        train_source, eval_file = Stream(corpus, tokenizer), token_file("eval")
        files = {"validation": eval_file}
    else:
        train_source, eval_file = token_file("train"), token_file("eval")
        files = {"training": train_source, "validation": eval_file}
    print_token_files(files, corpus, config)
    for file in files.values():
        file.unigram_counts(tokenizer.vocab_size)  # checks that every id is in the vocabulary
    return train_source, eval_file


def print_token_files(files, corpus, config):
    """Print the sizes of {"training" (but not of a stream), "validation": TokenFile}, and notes."""
    eval_file = files["validation"]
    measured = files.get("training", eval_file)
    train_size = f"{measured.num_tokens:,}" if "training" in files else "a stream"
    ratio = measured.num_bytes / max(measured.num_tokens, 1)
    print(f"tokens      {train_size} for training, {eval_file.num_tokens:,} for validation; "
          f"{ratio:.2f} bytes per token")
    for split, file in files.items():
        if report := unknown_report(file.meta):
            print(f"unknown     {split}: {report['unknown']}")
    notes = corpus.notes if corpus else measured.meta
    if "replaced" in notes:
        print(f"replaced    {notes['replaced']}")
    if "reflowed" in notes:
        print(f"reflow      {notes['reflowed']}")
        if config.examples == "lines" and config.data and "split_into" not in notes:
            print(f"warning: the lines of {config.data} were joined (reflow), so --examples lines "
                  "takes whole paragraphs: prepare the text again with --reflow no",
                  file=sys.stderr)
    if config.filters and not config.stream and corpus:
        print(f"filters     {corpus.reports['train'].summary()}")


def warn_of_long_words(token_file, tokenizer, masking):
    """Print a warning if the words of a text are so long that masking hides whole sentences."""
    mean = word_statistics(token_file, tokenizer).get("tokens_per_word", 0)
    if mean > MAX_MEAN_WORD_TOKENS:
        print(f"warning: a word of this text has {mean:.1f} tokens on average: it seems to have "
              f"few spaces. --masking {masking} cuts words of more than {MAX_WORD_TOKENS} tokens "
              "into characters; --masking tokens does not need words", file=sys.stderr)


def make_train_batches(run, train_source, tokenizer):
    """Return this rank's endless iterator of masked training batches."""
    config = run.config
    targets = OBJECTIVES[config.objective].train_targets(tokenizer, config)
    options = {
        "masker": targets, "batch_size": config.loader_batch_size,
        "equal_tokens": config.equal_tokens,
        "pad_token_id": tokenizer.pad_token_id, "seed": config.seed, "shard": run.dist.shard,
        # GPUs multiply lengths that are multiples of 8 faster; a CPU only pays for the padding
        "pad_to_multiple_of": 1 if run.device.type == "cpu" else 8,
        # a compiled model is compiled again for each new shape, so keep the number of masks fixed
        "expected_mask_rate":
            config.mlm_probability if config.compile and config.objective == "masked" else 0.0,
    }
    examples_of = partial(make_examples, config.examples, tokenizer=tokenizer,
                          max_length=config.max_length)
    if config.stream:
        return StreamBatches(train_source, examples_of, **options)
    return Batches(examples_of(train_source), **options)


class Validation:
    """The validation set with its fixed masks, and the losses that a run can expect on it."""

    def __init__(self, run, eval_file, tokenizer):
        config = run.config
        examples = make_examples(config.examples, eval_file, tokenizer=tokenizer,
                                 max_length=config.max_length)
        self.examples = examples.at(EVAL_SEED, 0)
        self.masker = OBJECTIVES[config.objective].eval_targets(tokenizer, config)
        self.num_examples = config.eval_examples
        check_eval_set(self.examples, self.masker, self.num_examples)
        self.expected = expected_losses(self.examples, self.masker.is_special,
                                        limit=8 * self.num_examples)
        if config.objective == "causal":  # no token to predict is visible
            self.expected["copying_loss"] = self.expected["unigram_entropy"]
        self.bytes_per_token = mean_bytes_per_token(eval_file, tokenizer, config.examples)
        if config.objective == "span-corruption":
            # Its targets are not the text alone, and their sentinels are easy to predict.
            self.expected = {"ln_vocab": self.expected["ln_vocab"]}
            self.bytes_per_token = None
        self.unknown_share = unknown_report(eval_file.meta).get("unknown_text_share", 0.0)
        self.pad_token_id = tokenizer.pad_token_id
        self.batch_size = min(32, config.effective_micro_batch_size)
        self.autocast = partial(autocast, run.device, config.precision)

    def evaluate(self, model, final=False):
        """Return the validation scores; the final evaluation takes up to 8 times the examples."""
        limit = self.num_examples * (8 if final else 1)
        return evaluate(model, self.examples, self.masker, self.pad_token_id, self.batch_size,
                        limit, autocast=self.autocast, bytes_per_token=self.bytes_per_token,
                        unknown_share=self.unknown_share)
