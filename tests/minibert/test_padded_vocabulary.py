"""A model with more rows than its tokenizer has tokens, as after padding to a multiple of 64."""
import copy
from dataclasses import replace

import pytest
import torch
from reading_models import LINES, model_for, tokenizer_of
from torch import nn
from train_helpers import start

from minibert import fill_mask, from_pretrained, pseudo_perplexity, save_pretrained
from minibert.__main__ import main
from minibert.batches import collate
from minibert.checks import check_tokenizer, rows_without_token
from minibert.config import FAMILIES
from minibert.evaluate import EVAL_SEED, evaluate
from minibert.formats.run_folder import load_run
from minibert.masking import Masker
from minibert.training import cli
from minibert.training.preparation import prepare_data
from minibert.training.run import open_run
from tokenizer import ByteLevelBPE, load_tokenizer
from tokenizer.formats.vocab_files import tokens_by_id

TEXT = "He broke the <mask>."


def padded(model, multiple=64, bias=0.0):
    """Return a copy of a model with rows for no token, which score ``bias`` more than others."""
    padded = copy.deepcopy(model)
    old = model.bert.embeddings.token.weight.detach()
    num_rows = -(-(len(old) + 1) // multiple) * multiple
    new_rows = torch.zeros(num_rows - len(old), old.shape[1])
    padded.bert.embeddings.token = nn.Embedding.from_pretrained(
        torch.cat((old, new_rows)), freeze=False, padding_idx=model.config.pad_token_id)
    padded.head.bias = nn.Parameter(
        torch.cat((model.head.bias.detach(), torch.full((len(new_rows),), bias))))
    padded.config = padded.bert.config = replace(model.config, vocab_size=num_rows)
    return padded


@pytest.fixture(scope="module")
def tokenizer():
    return tokenizer_of("bpe")


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    """A folder whose rows without a token have by far the highest scores."""
    folder = tmp_path_factory.mktemp("padded") / "model"
    save_pretrained(padded(model_for(tokenizer, family="roberta"), bias=50.0), folder, tokenizer)
    return folder


def test_the_rows_are_loaded_and_saved_back(folder, tokenizer, tmp_path):
    model, loaded = load_run(folder)
    save_pretrained(model, tmp_path / "copy", loaded)
    assert loaded.vocab_size == tokenizer.vocab_size < model.config.vocab_size
    again = from_pretrained(tmp_path / "copy").state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_without_a_token_is_never_an_answer(tokenizer, family):
    model = padded(model_for(tokenizer, family=family), bias=5.0)
    answers = fill_mask(model, tokenizer, TEXT, top_k=10**6)
    ordinary = set(range(tokenizer.vocab_size)) - set(tokenizer.special_ids)
    assert {answer["token"] for answer in answers} == ordinary


def test_ids_without_a_token_are_never_answers_nor_random_replacements(tokenizer):
    """The ids 300 and 301 are gaps: their rows exist, because the ids after them are larger."""
    ids = {token: i + 2 * (i >= 300) for token, i in tokenizer.get_vocab().items()}
    tokenizer = ByteLevelBPE(tokens_by_id("vocab.json", ids), tokenizer.merges)
    model = model_for(tokenizer)
    model.head.bias.data[300:302] = 50.0
    assert {answer["token"] for answer in fill_mask(model, tokenizer, TEXT, top_k=10**6)} == (
        set(range(tokenizer.vocab_size)) - {*tokenizer.special_ids, 300, 301})
    assert not {300, 301} & {*Masker(tokenizer.vocab_size, tokenizer.mask_token_id,
                                     tokenizer.never_predicted).ordinary_ids}
    assert "2 can never be predicted" in rows_without_token(model.config, tokenizer)


def test_the_order_of_answers_does_not_depend_on_the_padding(tokenizer):
    model = model_for(tokenizer)
    answers = fill_mask(model, tokenizer, TEXT)
    from_padded = fill_mask(padded(model, bias=5.0), tokenizer, TEXT)
    assert [a["token"] for a in from_padded] == [a["token"] for a in answers]
    assert from_padded[0]["score"] < answers[0]["score"]  # they are in the softmax, as elsewhere


def test_accuracy_counts_only_tokens_and_the_loss_counts_all_rows(text, folder, tmp_path):
    with open_run(cli.parse(["--init", str(folder), "--corpus", str(text), "--device", "cpu",
                             "--max-length", "16", "--max-steps", "1", "--out",
                             str(tmp_path / "run")])) as run:
        validation = prepare_data(run).validation
    model, tokenizer = load_run(folder)
    examples, masker = validation.examples, validation.masker
    batch = collate(examples, range(8), masker, tokenizer.pad_token_id, EVAL_SEED, 0)
    out = model(**batch.model_inputs())
    assert (out.logits.argmax(-1) >= tokenizer.vocab_size).all()  # their bias is far above
    labels = out.labels[out.labels >= 0]
    frequent = labels.mode().values
    with torch.no_grad():
        model.head.bias[frequent] = 40.0  # the answer among the tokens
    scores = evaluate(model, examples, masker, tokenizer.pad_token_id, limit=len(examples))
    assert scores["accuracy"] > 0.02
    assert scores["loss"] > 10
    assert masker.ordinary_ids.max() < tokenizer.vocab_size  # random replacements


def test_train_continues_saves_and_resumes_with_all_rows(text, folder, tmp_path, capsys):
    out = tmp_path / "run"
    flags = "--max-length 16 --batch-size 4 --device cpu --max-steps 2 --eval-examples 8".split()
    assert start(["--init", str(folder), "--corpus", str(text), "--out", str(out), *flags]) == 0
    printed = capsys.readouterr().out
    num_rows = from_pretrained(folder).config.vocab_size
    num_tokens = load_tokenizer(folder).vocab_size
    assert f"the model has {num_rows} rows for {num_tokens} tokens" in printed
    assert from_pretrained(out / "model").config.vocab_size == num_rows
    assert load_tokenizer(out / "tokenizer").vocab_size == num_tokens


@pytest.mark.parametrize("command", [
    ["fill-mask", "MODEL", TEXT],
    ["compare", "MODEL", "MODEL", TEXT],
    ["perplexity", "MODEL", LINES[0]],
    ["attention", "MODEL", LINES[0]],
    ["contexts", "MODEL", "record", LINES[0], LINES[1]],
    ["nearest", "MODEL", "LINES", LINES[0]],
    ["finetune", "MODEL", "--train", "TABLE", "--dev", "TABLE", "--epochs", "1", "--seeds", "1",
     "--max-length", "16", "--device", "cpu", "--out", "OUT"],
    ["page", "MODEL", "--out", "PAGE"],
], ids=lambda command: command[0])
def test_every_command_takes_the_model(folder, tmp_path, command, capsys):
    lines, table = tmp_path / "lines.txt", tmp_path / "table.tsv"
    lines.write_text("\n".join(LINES))
    table.write_text("sentence\tlabel\n" + "".join(f"{s}\t{i % 2}\n" for i, s in enumerate(LINES)))
    paths = {"MODEL": folder, "LINES": lines, "TABLE": table, "OUT": tmp_path / "out",
             "PAGE": tmp_path / "page.html"}
    assert not main([str(paths.get(word, word)) for word in command])
    assert capsys.readouterr().out


def test_many_more_rows_than_padding_explains_are_reported(tokenizer, tmp_path, capsys):
    save_pretrained(padded(model_for(tokenizer), 2048), tmp_path, tokenizer)
    load_run(tmp_path)
    assert "rows for" in capsys.readouterr().err


def test_a_model_with_fewer_rows_is_refused_with_two_remedies(tokenizer):
    config = replace(model_for(tokenizer).config, vocab_size=tokenizer.vocab_size - 1)
    with pytest.raises(ValueError, match="use the tokenizer that .*resize_token_embeddings"):
        check_tokenizer(config, tokenizer)


def test_pseudo_perplexity_is_that_of_the_softmax_over_all_rows(tokenizer):
    model = padded(model_for(tokenizer)).eval()
    result, = pseudo_perplexity(model, tokenizer, [LINES[0]])
    first = result["tokens"][0]
    ids = tokenizer.encode(LINES[0]).ids
    ids[ids.index(first["id"])] = tokenizer.mask_token_id
    with torch.no_grad():
        log_probs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    position = ids.index(tokenizer.mask_token_id)
    assert first["log_likelihood"] == pytest.approx(log_probs[position, first["id"]].item(), 1e-4)
