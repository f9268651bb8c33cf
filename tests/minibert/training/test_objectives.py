"""Causal and span-corruption runs of train.py: what they print, refuse and continue."""
import pytest
import torch
from train_helpers import first_gradients, make_trainer, metrics, run, same, weights

from minibert import from_pretrained, save_pretrained
from minibert.generation.causal import BertForCausalLM
from minibert.generation.seq2seq import EncoderDecoder
from minibert.generation.t5 import T5, T5Config
from minibert.training import cli
from minibert.training.init_from import load_initial_weights
from minibert.training.objective import make_model
from tokenizer import load_tokenizer

CAUSAL = "--objective causal".split()
SPANS = "--objective span-corruption --vocab-size 420".split()  # 100 of them are sentinels
CORPUS = "--corpus text.txt --max-steps 2".split()


def new_config(*flags):
    """Return the configurations of a model and its training for these flags."""
    return cli.new_config(cli.parse(flags))[1:]


def test_equal_tokens_make_batches_of_equal_tokens(text, tmp_path, capsys):
    flags = "--max-steps 2 --examples lines --batch-size 16".split()
    spread = {}
    for name, more in (("examples", []), ("tokens", ["--equal-tokens"])):
        batches = make_trainer(text, tmp_path / name, *flags, *more).batches
        tokens = sorted(next(batches).num_tokens for _ in range(batches.batches_per_epoch))
        spread[name] = tokens[-1] - tokens[1]  # one batch has what is left at the end
    assert spread["tokens"] < 2 * 16 < spread["examples"]
    run(text, tmp_path / "run", *flags, "--equal-tokens")
    assert "about 16 lines of up to 16 tokens" in capsys.readouterr().out


@pytest.mark.parametrize("flags, model_class, printed", [
    ([*CAUSAL, "--family", "gpt2"], BertForCausalLM,
     ["each to predict from those before it", "gpt2: 1 layer of 16"]),
    ([*CAUSAL, *"--tokenizer-kind wordpiece --family bert --examples lines".split()],
     BertForCausalLM, ["python -m minibert generate"]),
    ([*SPANS, *"--family roberta --examples documents".split()], EncoderDecoder,
     ["15% of them removed in spans, which the decoder writes", "python -m minibert fill-spans"]),
])
def test_a_run_trains_the_objectives_model(text, tmp_path, capsys, flags, model_class, printed):
    assert run(text, tmp_path / "run", "--max-steps", "30", "--learning-rate", "1e-2", *flags) == 0
    shown = capsys.readouterr().out
    assert all(words in shown for words in printed)
    assert ("unigram entropy" in shown) == (model_class is BertForCausalLM)
    assert type(from_pretrained(tmp_path / "run/model")) is model_class
    header, *lines = metrics(tmp_path / "run")
    assert "mlm_probability" not in header
    assert lines[0]["loss"] == pytest.approx(header["ln_vocab"], rel=0.05)
    assert lines[-1]["eval_loss"] < 0.9 * header["ln_vocab"]
    assert ("eval_bits_per_byte" in lines[-1]) == (model_class is BertForCausalLM)


def test_the_end_of_a_line_is_predicted_and_the_end_of_a_block_is_not(text, tmp_path):
    for examples, is_asked in (("lines", True), ("blocks", False)):
        trainer = make_trainer(text, tmp_path / examples, *CAUSAL, "--max-steps", "2",
                               "--examples", examples)
        batch = next(trainer.batches)
        end = trainer.tokenizer.sep_token_id
        assert (batch.labels[batch.input_ids == end] == end).all().item() == is_asked


@pytest.mark.parametrize("flags", [CAUSAL, SPANS], ids=["causal", "span-corruption"])
def test_micro_batches_have_the_gradients_of_the_batch(text, tmp_path, flags):
    """Although they have different numbers of tokens to predict."""
    flags = [*flags, "--examples", "lines"]
    whole = first_gradients(text, tmp_path / "whole", *flags)
    accumulated = first_gradients(text, tmp_path / "micro", *flags, "--micro-batch-size", "1")
    for one, two in zip(whole, accumulated, strict=True):
        assert torch.allclose(one, two, atol=1e-6)


@pytest.mark.parametrize("flags", [CAUSAL, SPANS], ids=["causal", "span-corruption"])
def test_init_continues_with_the_objective_of_the_folder(text, tmp_path, flags):
    first = tmp_path / "first"
    run(text, first, "--max-steps", "2", *flags)
    init = [*CORPUS, "--init", str(first)]
    model_config, config = new_config(*init)
    assert config.objective == flags[1]
    model = make_model(model_config, config)
    tokenizer = load_tokenizer(first)
    assert load_initial_weights(first, model, tokenizer) == str(first)  # nothing fresh or unused
    assert same(model.state_dict(), weights(first))
    with pytest.raises(ValueError, match=f"--objective: {flags[1]} in the folder, masked now"):
        new_config(*init, "--objective", "masked")


def test_init_refuses_a_t5(two_steps, tmp_path):
    tokenizer = load_tokenizer(two_steps)
    config = T5Config(vocab_size=tokenizer.vocab_size, hidden_size=16, num_hidden_layers=1,
                      num_decoder_layers=1, pad_token_id=tokenizer.pad_token_id)
    save_pretrained(T5(config), tmp_path / "t5", tokenizer)
    with pytest.raises(ValueError, match="--init .*t5: training does not continue a T5"):
        new_config(*CORPUS, "--init", str(tmp_path / "t5"))


@pytest.mark.parametrize("flags, message", [
    ("--objective causal --examples pairs --family bert --type-vocab-size 2",
     "pairs are for next-sentence prediction, which --objective causal does not have"),
    ("--objective span-corruption --examples pairs --family bert --type-vocab-size 2",
     "which --objective span-corruption does not have"),
    ("--objective causal --masking words", "--masking has no effect without --objective masked"),
    ("--objective causal --mlm-probability 0.3", "--mlm-probability has no effect without --obj"),
    ("--family gpt2", "--family gpt2 needs --objective causal"),
    ("--objective span-corruption --family gpt2", "--family gpt2 needs --objective causal"),
    ("--objective casual", "did you mean causal"),
])
def test_combinations_that_make_no_sense_are_refused(flags, message):
    with pytest.raises(ValueError, match=message):
        new_config(*CORPUS, *flags.split())


def test_span_corruption_refuses_a_tokenizer_without_sentinels(text, two_steps, tmp_path):
    with pytest.raises(ValueError, match="has no <extra_id_0>: leave out --tokenizer"):
        run(text, tmp_path / "run", "--objective", "span-corruption", "--max-steps", "1",
            "--tokenizer", str(two_steps))
