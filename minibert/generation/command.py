"""Continue a text with a causal model, or fill its spans with an encoder-decoder.

    python -m minibert generate runs/causal "Return a new" --max-new-tokens 20 --temperature 0.8
    python -m minibert fill-spans runs/t5 "Return a <extra_id_0> object."

In Python: ``continue_texts(*load_run("runs/causal"), ["Return a new"], max_new_tokens=20)`` and
``fill_spans(*load_run("runs/t5"), "Return a <extra_id_0> object.")``.
"""
import json
import re

import torch

from minibert.analysis.command import add_texts, analysis_parser, answer_each, load_model
from minibert.checks import check_length, check_tokenizer
from minibert.generation.causal import BertForCausalLM
from minibert.generation.decoding import generate
from minibert.generation.seq2seq import EncoderDecoder, write
from minibert.generation.span_corruption import SENTINELS
from tokenizer.utils.cli import at_least

MAX_NEW_TOKENS = 40  # by default

def continue_texts(model, tokenizer, prompts, max_new_tokens=None, temperature=0.8, top_k=0,
                   top_p=0.95, seed=0):
    """Return what a causal model writes after each prompt: a list of texts. See ``generate``.

    A text ends before max_new_tokens if the model predicts its end. max_new_tokens: None is 40, or
    as many as fit the model's context.
    """
    if not isinstance(model, BertForCausalLM):
        raise ValueError("only a model trained with --objective causal continues a text")
    if isinstance(prompts, str):
        raise TypeError("prompts is one str: give a list of texts")
    check_tokenizer(model.config, tokenizer)
    start, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    if end is None:  # GPT-2 ends a text with its only special token and starts it without one
        end = tokenizer.token_to_id("<|endoftext|>")
    prompt_ids = [tokenizer.encode_ids(prompt) for prompt in prompts]
    if start is not None:
        prompt_ids = [[start, *ids] for ids in prompt_ids]
    if max_new_tokens is None:
        room = model.config.max_length - max(map(len, prompt_ids), default=0)
        max_new_tokens = room if 0 < room < MAX_NEW_TOKENS else MAX_NEW_TOKENS
    answers = generate(model, prompt_ids, max_new_tokens, temperature, top_k, top_p, seed, end,
                       unwritten_ids(model, tokenizer, {end}))
    # Decoded together: WordPiece puts a space between two words, but not before the first one.
    return [tokenizer.decode(ids + answer)[len(tokenizer.decode(ids)):]
            for ids, answer in zip(prompt_ids, answers)]


def fill_spans(model, tokenizer, text, max_new_tokens=MAX_NEW_TOKENS):
    """Return what an encoder-decoder writes for each sentinel of a text: {sentinel: span}.

    The decoder always writes the likeliest token. Raises ValueError for a text without a sentinel,
    or one that is longer than the model's context.

        fill_spans(model, tokenizer, "Thank you <extra_id_0> me to your party <extra_id_1> week.")
        -> {"<extra_id_0>": " for inviting", "<extra_id_1>": " last"}
    """
    if not isinstance(model, EncoderDecoder):
        raise ValueError("only a model trained with --objective span-corruption fills spans; for "
                         "a masked model use python -m minibert fill-mask")
    check_tokenizer(model.config, tokenizer)
    # A space before a sentinel belongs to the span: in training, tokens such as " for" are removed.
    ids = tokenizer.encode(re.sub(r" +(?=<extra_id_\d+>)", "", text)).ids
    end = tokenizer.sep_token_id
    sentinels = {tokenizer.token_to_id(token): token for token in SENTINELS}
    spans = {sentinels[token_id]: [] for token_id in ids if token_id in sentinels}
    if not spans:
        raise ValueError(f'no sentinel in the text: write e.g. "Thank you {SENTINELS[0]} me to '
                         f'your party {SENTINELS[1]} week."')
    check_length(model.config, len(ids))
    max_new_tokens = min(max_new_tokens, model.config.max_length)
    input_ids = torch.tensor([ids], device=next(model.parameters()).device)
    [answer] = write(model, input_ids, max_new_tokens, end,
                     excluded_ids=unwritten_ids(model, tokenizer, {*sentinels, end}))
    span = []  # what comes before the first sentinel belongs to none
    for token_id in answer:
        if token_id in sentinels:
            span = spans.get(sentinels[token_id], [])
        else:
            span.append(token_id)
    return {token: tokenizer.decode(span) for token, span in spans.items()}


def unwritten_ids(model, tokenizer, written):
    """Return the ids that are never an answer: special tokens, and rows without a token.

    written: special tokens that may be written
    """
    rows_without_token = range(tokenizer.vocab_size, model.config.vocab_size)
    return {*tokenizer.never_predicted, *rows_without_token} - written


def main(args=None):
    """Print each prompt with its continuation, or one line of JSON for each."""
    parser = analysis_parser(
        "generate", "Continue a text with a model that was trained with --objective causal.",
        device=True)
    add_texts(parser, "the beginning of a text")
    add = parser.add_argument
    add("--max-new-tokens", type=at_least(1), help="tokens to write at most "
        f"(default: {MAX_NEW_TOKENS}, or as many as fit the model's context)")
    add("--temperature", type=float, default=0.8,
        help="0: always the likeliest token; 1: as predicted; above: more random")
    add("--top-k", type=at_least(0), default=0, help="choose from the k likeliest tokens; 0: all")
    add("--top-p", type=float, default=0.95,
        help="choose from the likeliest tokens that together have this probability")
    add("--seed", type=at_least(0), default=0, help="the same seed gives the same text")
    args = parser.parse_args(args, rest="text")
    model, tokenizer = load_model(args)
    options = (args.max_new_tokens, args.temperature, args.top_k, args.top_p, args.seed)

    def continuation(text):
        return continue_texts(model, tokenizer, [text], *options)[0]

    for text, answer in answer_each(args.text, continuation):
        print(json.dumps({"prompt": text, "continuation": answer}) if args.json else text + answer)


def main_spans(args=None):
    """Print each text with its spans filled, or one line of JSON for each."""
    parser = analysis_parser(
        "fill-spans", "Fill the spans of a text with a model that was trained with --objective "
        "span-corruption.", epilog="A span is written <extra_id_0>, <extra_id_1>, ...",
        device=True)
    add_texts(parser, "a text with spans")
    parser.add_argument("--max-new-tokens", type=at_least(1), default=MAX_NEW_TOKENS,
                        help="tokens to write at most, for all spans together")
    args = parser.parse_args(args, rest="text")
    model, tokenizer = load_model(args)

    def spans_of(text):
        return fill_spans(model, tokenizer, text, args.max_new_tokens)

    for text, spans in answer_each(args.text, spans_of):
        if args.json:
            print(json.dumps({"text": text, "spans": spans}))
            continue
        for sentinel, span in spans.items():
            text = text.replace(sentinel, span.strip())
        print(text)
