"""generate, fill-spans and perplexity with small models, and what other commands say to them."""
import functools
import io
import json
import math

import numpy as np
import pytest
import torch
from reading_models import tokenizer_of

from minibert import pseudo_perplexity, save_pretrained
from minibert.__main__ import main
from minibert.analysis.pseudo_likelihood import log_likelihoods
from minibert.config import BertConfig
from minibert.formats.run_folder import load_run
from minibert.generation.causal import BertForCausalLM, NextToken
from minibert.generation.command import continue_texts, fill_spans
from minibert.generation.decoding import generate
from minibert.generation.seq2seq import EncoderDecoder, write
from minibert.generation.span_corruption import SENTINELS
from tokenizer import ByteLevelBPE, bpe

TEXTS = ["The cat eats fish.", "A small dog sees the old tree."] * 5


def config(tokenizer, family, **options):
    return BertConfig(family, vocab_size=tokenizer.vocab_size + 3, hidden_size=16,
                      num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
                      max_position_embeddings=40, pad_token_id=tokenizer.pad_token_id,
                      initializer_range=0.5, **options)


def save(folder, model, tokenizer):
    save_pretrained(model, folder / "model")
    tokenizer.save(folder / "tokenizer")
    return str(folder)


def causal_run(folder, kind="bpe", family="modernbert"):
    torch.manual_seed(0)
    tokenizer = tokenizer_of(kind)
    return save(folder, BertForCausalLM(config(tokenizer, family, causal=True)), tokenizer)


@functools.cache
def span_tokenizer():
    special_tokens = (*bpe.SPECIAL_TOKENS, *SENTINELS)
    return ByteLevelBPE.train_from_iterator(TEXTS, 450, special_tokens=special_tokens,
                                            show_progress=False)


def span_run(folder):
    torch.manual_seed(0)
    tokenizer = span_tokenizer()
    return save(folder, EncoderDecoder(config(tokenizer, "bert")), tokenizer)


def output(capsys, *args):
    main([*args])
    return capsys.readouterr().out


def test_generate_prints_prompt_and_continuation(tmp_path, capsys):
    run = causal_run(tmp_path)
    model, tokenizer = load_run(run)
    text, = continue_texts(model, tokenizer, ["The cat"], 6, temperature=0)
    args = ("generate", run, "The cat", "--max-new-tokens", "6", "--temperature", "0")
    line, = json.loads(output(capsys, *args, "--json")),
    assert line == {"prompt": "The cat", "continuation": text}
    ids = [tokenizer.cls_token_id, *tokenizer.encode_ids("The cat")]
    excluded = {*tokenizer.special_ids, *range(len(tokenizer), len(tokenizer) + 3)}
    answer, = generate(model, [ids], 6, temperature=0, end_token_id=tokenizer.sep_token_id,
                       excluded_ids=excluded - {tokenizer.sep_token_id})
    assert text == tokenizer.decode(answer)
    with pytest.raises(TypeError, match="list of texts"):  # not one prompt for each character
        continue_texts(model, tokenizer, "The cat")


def test_rows_without_a_token_are_never_written(tmp_path):
    """Their logits are the highest everywhere; decoding such an id would be an error."""
    for model, tokenizer in (load_run(causal_run(tmp_path / "causal", family="bert")),
                             load_run(span_run(tmp_path / "spans"))):
        model.head.bias.data[tokenizer.vocab_size:] = 100
        if isinstance(model, EncoderDecoder):
            assert fill_spans(model, tokenizer, f"The {SENTINELS[0]}.", 5)
        else:
            assert continue_texts(model, tokenizer, ["The cat"], 5, temperature=1)


def test_generate_reads_standard_input_and_the_seed_decides(tmp_path, capsys, monkeypatch):
    run = causal_run(tmp_path)
    outputs = []
    for seed in ("1", "1", "2"):
        monkeypatch.setattr("sys.stdin", io.StringIO("The cat\n\nA dog\n"))
        outputs.append(output(capsys, "generate", run, "--json", "--seed", seed,
                              "--max-new-tokens", "20"))
    assert outputs[0] == outputs[1] != outputs[2]
    assert [json.loads(line)["prompt"] for line in outputs[0].splitlines()] == ["The cat", "A dog"]


def test_wordpiece_puts_a_space_between_prompt_and_continuation(tmp_path):
    model, tokenizer = load_run(causal_run(tmp_path, "wordpiece", "bert"))
    for seed in range(5):
        text, = continue_texts(model, tokenizer, ["the cat"], 5, seed=seed)
        ids = tokenizer.encode_ids("the cat" + text)
        assert text.startswith(" ") == (not tokenizer.id_to_token(ids[2] if len(ids) > 2 else 0)
                                        .startswith("##")) or not text


@pytest.mark.parametrize("args, message", [
    (["word " * 50], "a prompt of .* tokens and 40 new ones are more than the model's context"),
    (["The cat", "--top-p", "2"], "top_p is 2.0: it must be above 0 and at most 1"),
    (["The cat", "--temperature", "-1"], "temperature is -1.0"),
])
def test_what_generate_refuses(tmp_path, args, message):
    with pytest.raises(ValueError, match=message):
        main(["generate", causal_run(tmp_path), *args])


def test_fill_spans_prints_the_text_with_its_spans(tmp_path, capsys):
    run = span_run(tmp_path)
    model, tokenizer = load_run(run)
    text = f"The {SENTINELS[0]} eats {SENTINELS[1]}."
    ids = tokenizer.encode(f"The{SENTINELS[0]} eats{SENTINELS[1]}.").ids
    allowed = {tokenizer.token_to_id(token) for token in SENTINELS} | {tokenizer.sep_token_id}
    excluded = {*tokenizer.special_ids, *range(len(tokenizer), len(tokenizer) + 3)} - allowed
    answer, = write(model, torch.tensor([ids]), 12, tokenizer.sep_token_id, excluded_ids=excluded)
    spans = fill_spans(model, tokenizer, text, 12)
    assert list(spans) == [SENTINELS[0], SENTINELS[1]]
    written = tokenizer.decode(answer, skip_special_tokens=False)
    for sentinel, span in spans.items():
        assert written.partition(sentinel)[2].startswith(span)
    args = ("fill-spans", run, text, "--max-new-tokens", "12")
    assert json.loads(output(capsys, *args, "--json")) == {"text": text, "spans": spans}
    filled = f"The {spans[SENTINELS[0]].strip()} eats {spans[SENTINELS[1]].strip()}."
    assert output(capsys, *args) == filled + "\n"


def test_by_default_a_continuation_ends_where_the_context_does(tmp_path):
    model, tokenizer = load_run(causal_run(tmp_path))
    room = 40 - len([tokenizer.cls_token_id, *tokenizer.encode_ids("The cat")])
    expected = continue_texts(model, tokenizer, ["The cat"], room)
    assert continue_texts(model, tokenizer, ["The cat"]) == expected
    with pytest.raises(ValueError, match="and 40 new ones are more than the model's context of 40"):
        continue_texts(model, tokenizer, ["The cat"], 40)


def test_a_space_before_a_sentinel_belongs_to_its_span(tmp_path, monkeypatch):
    """As in training, where tokens such as " cat" are removed."""
    model, tokenizer = load_run(span_run(tmp_path))
    read = []

    def write_nothing(model, input_ids, *args, **options):
        read.append(input_ids.tolist())
        return [[]]

    monkeypatch.setattr("minibert.generation.command.write", write_nothing)
    for text in ("The <extra_id_0> eats <extra_id_12>.", "The<extra_id_0> eats<extra_id_12>."):
        fill_spans(model, tokenizer, text)
    assert read[0] == read[1]


class Answering:
    """Replaces ``write``: the decoder always writes these ids."""

    def __init__(self, tokenizer, text):
        self.ids = tokenizer.encode(text, add_special_tokens=False).ids

    def __call__(self, *args, **options):
        return [self.ids]


def test_each_span_is_what_follows_its_sentinel(tmp_path, monkeypatch):
    model, tokenizer = load_run(span_run(tmp_path))
    answer = "lost<extra_id_1> fish<extra_id_7> lost<extra_id_0> cat"
    monkeypatch.setattr("minibert.generation.command.write", Answering(tokenizer, answer))
    spans = fill_spans(model, tokenizer, "The <extra_id_0> eats <extra_id_1> and <extra_id_2>.")
    assert spans == {"<extra_id_0>": " cat", "<extra_id_1>": " fish", "<extra_id_2>": ""}


def test_spans_end_where_the_context_does(tmp_path):
    model, tokenizer = load_run(span_run(tmp_path))
    text = "The <extra_id_0> eats."
    assert fill_spans(model, tokenizer, text, 60) == fill_spans(model, tokenizer, text, 40)


def test_what_fill_spans_refuses(tmp_path):
    run = span_run(tmp_path)
    with pytest.raises(ValueError, match='no sentinel in the text: write e.g. "Thank you'):
        main(["fill-spans", run, "The cat"])
    with pytest.raises(ValueError, match="a sequence of .* tokens, but the model takes max_length"):
        main(["fill-spans", run, "The <extra_id_0>" + " cat" * 60])


def test_the_perplexity_of_a_causal_model_by_hand(tmp_path, capsys):
    run = causal_run(tmp_path)
    model, tokenizer = load_run(run)
    texts = ["The cat eats fish.", "A small dog", "The fish eats cat."]
    expected = []
    for text in texts:
        ids = tokenizer.encode(text).ids
        with torch.no_grad():
            log_probs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        values = [log_probs[t - 1, ids[t]].item() for t in range(1, len(ids) - 1)]
        expected.append(math.exp(-sum(values) / len(values)))
    results = pseudo_perplexity(model, tokenizer, texts, batch_tokens=3)
    assert [result["pseudo_perplexity"] for result in results] == pytest.approx(expected, rel=1e-4)
    assert f"{expected[0]:,.2f}  The cat eats fish." in output(capsys, "perplexity", run, texts[0])


def test_the_log_likelihood_of_a_causal_model_is_its_loss(tmp_path):
    model, tokenizer = load_run(causal_run(tmp_path))
    ids = tokenizer.encode("The cat eats fish.").ids
    values, = log_likelihoods(model, tokenizer, [ids])
    asked = NextToken(tokenizer.vocab_size, tokenizer.special_ids)
    _, labels = asked(np.array([ids]))
    loss = model(torch.tensor([ids]), labels=torch.from_numpy(labels)).loss.item()
    assert np.nansum(values) == pytest.approx(-loss * (len(ids) - 2), rel=1e-5)


@pytest.mark.parametrize("command, causal, spans", [
    ("fill-mask RUN TEXT", "use python -m minibert generate", "use python -m minibert fill-spans"),
    ("compare TEXT RUN RUN", "use python -m minibert generate", "minibert fill-spans"),
    ("finetune RUN --train x.tsv", "only an encoder can be fine-tuned", "only an encoder can be"),
    ("generate RUN TEXT", None, "only a model trained with --objective causal continues a text"),
    ("fill-spans RUN TEXT", "only a model trained with --objective span-corruption", None),
    ("perplexity RUN TEXT", None, "an encoder-decoder fills no masks but spans"),
])
def test_what_commands_cannot_do_is_one_clear_line(tmp_path, command, causal, spans):
    for make, message in ((causal_run, causal), (span_run, spans)):
        if message:
            run = make(tmp_path / make.__name__)
            args = [{"RUN": run, "TEXT": "The <mask>."}.get(word, word) for word in command.split()]
            with pytest.raises(ValueError, match=message):
                main(args)


@pytest.mark.parametrize("make", [causal_run, span_run])
def test_commands_that_read_the_encoder_and_the_page_work(tmp_path, capsys, make):
    run = make(tmp_path)
    (tmp_path / "lines.txt").write_text("The cat eats.\nA dog sees.\n")
    assert "layer 2" in output(capsys, "attention", run, "The cat")
    assert "other words" in output(capsys, "contexts", run, "cat", "The cat eats", "A cat sees")
    assert "The cat" in output(capsys, "nearest", run, str(tmp_path / "lines.txt"), "The cat")
    output(capsys, "page", run)
    page = (tmp_path / "page.html").read_text()
    assert "No mask is filled: the model has no head for masked tokens." in page
