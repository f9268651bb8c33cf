"""The pre-training objective: what attends to what, which tokens are predicted, by which model.

    objective         attention                          predicted               model
    masked            each token to all tokens           15% of the tokens,      BertForMaskedLM
                                                         from both sides
    causal            each token to earlier tokens       every token, from       BertForCausalLM
                                                         those before it
    span-corruption   in the encoder, each to all;       the spans that were     EncoderDecoder
                      in the decoder, each to earlier    removed from the text
                      ones and to the encoder's output

This is all that differs. The corpus, the tokenizer, the block and the training loop are the same.
"""
from collections.abc import Callable
from dataclasses import dataclass

from minibert.generation.causal import BertForCausalLM, NextToken
from minibert.generation.seq2seq import EncoderDecoder
from minibert.generation.span_corruption import SENTINELS, SpanCorruption
from minibert.heads import BertForPreTraining
from minibert.masking import Masker
from minibert.model import BertForMaskedLM
from tokenizer.word_starts import WordStarts

EVAL_MLM_PROBABILITY = 0.15  # the same for every run, so that validation losses can be compared


@dataclass(frozen=True)
class Objective:
    """A row of the table above."""

    model: type  # made from a BertConfig
    train_targets: Callable  # (tokenizer, TrainConfig) -> Masker, or what is used like one
    eval_targets: Callable  # the same, for validation


def make_model(model_config, config):
    """Return a model with fresh weights for the objective of a TrainConfig."""
    if config.examples == "pairs":  # masked tokens, and next-sentence prediction
        return BertForPreTraining(model_config)
    return OBJECTIVES[config.objective].model(model_config)


def train_masks(tokenizer, config):
    word_starts = None if config.masking == "tokens" else WordStarts(tokenizer)
    return Masker(tokenizer.vocab_size, tokenizer.mask_token_id, tokenizer.never_predicted,
                  config.mlm_probability, config.masking, word_starts)


def eval_masks(tokenizer, config):
    return Masker(tokenizer.vocab_size, tokenizer.mask_token_id, tokenizer.never_predicted,
                  EVAL_MLM_PROBABILITY)


def next_tokens(tokenizer, config):
    # The end of a text is worth predicting. A packed sequence ends anywhere in a text.
    predicted = () if config.examples == "blocks" else (tokenizer.sep_token_id,)
    return NextToken(tokenizer.vocab_size, tokenizer.never_predicted, predicted)


def removed_spans(tokenizer, config):
    sentinel_ids = [tokenizer.token_to_id(token) for token in SENTINELS]
    if None in sentinel_ids:
        raise ValueError(f"the tokenizer has no {SENTINELS[sentinel_ids.index(None)]}: leave out "
                         "--tokenizer, so that one with these tokens is trained")
    return SpanCorruption(tokenizer.vocab_size, tokenizer.never_predicted, sentinel_ids,
                          tokenizer.pad_token_id)


OBJECTIVES = {
    "masked": Objective(BertForMaskedLM, train_masks, eval_masks),
    "causal": Objective(BertForCausalLM, next_tokens, next_tokens),
    "span-corruption": Objective(EncoderDecoder, removed_spans, removed_spans),
}
