"""Exported models: torch.export, torch.jit.trace and ONNX give the logits of the model itself."""
import io

import pytest
import torch
from small_models import batch, make
from torch.export import Dim

from minibert import PlainOutput
from minibert.config import FAMILIES
from minibert.heads import BertForPreTraining, BertForSequenceClassification
from minibert.model import BertForMaskedLM, BertModel


def labeled(config):
    return BertForSequenceClassification(config, ("bad", "good"))


def other_batch(family, length):
    """Return ids and mask of another shape: 2 texts of ``length`` and 2 tokens."""
    ids, mask, _ = batch(family, B=3, T=16)
    ids, mask = ids[:2].repeat(1, 2)[:, :length], torch.ones(2, length, dtype=torch.long)
    ids[ids == 0] = ids[ids == 1] = 7  # no padding within a text
    mask[1, 2:] = 0
    ids[mask == 0] = make(family).config.pad_token_id
    return ids, mask


def assert_equal(outputs, expected):
    for output, tensor in zip(outputs, expected, strict=True):
        torch.testing.assert_close(output, tensor, atol=1e-5, rtol=1e-4)


def as_tuple(output):
    return output if isinstance(output, tuple) else (output,)


CLASSES = {"mlm": BertForMaskedLM, "classifier": labeled, "encoder": BertModel,
           "pairs": BertForPreTraining}
CASES = [*((family, "mlm") for family in FAMILIES), ("bert", "pairs"), ("roberta", "encoder"),
         ("modernbert", "classifier")]


@pytest.fixture(params=CASES, ids="-".join)
def case(request):
    """(family, a model that returns tensors, and the same model)"""
    family, name = request.param
    model = make(family, CLASSES[name], type_vocab_size=2, num_hidden_layers=2)
    return family, PlainOutput(model).eval(), model


@pytest.mark.parametrize("with_mask", [True, False])
def test_a_model_is_exported_for_every_batch_size_and_length(case, with_mask):
    family, plain, model = case
    ids, mask, _ = batch(family)
    arguments = (ids, mask) if with_mask else (ids,)
    any_shape = {0: Dim.AUTO, 1: Dim.AUTO}
    exported = torch.export.export(plain, arguments, dynamic_shapes=(any_shape,) * len(arguments))
    buffer = io.BytesIO()
    torch.export.save(exported, buffer)
    buffer.seek(0)
    run = torch.export.load(buffer).module()
    for length in (2, 5, model.config.max_length):
        other = other_batch(family, length)[:len(arguments)]
        assert_equal(as_tuple(run(*other)), as_tuple(plain(*other)))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_is_exported_with_its_own_output(family):
    model = make(family)
    ids, mask, _ = batch(family)
    out = torch.export.export(model, (ids, mask)).module()(ids, mask)
    assert_equal((out.logits,), (model(ids, mask).logits,))
    assert out.loss is None


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("with_mask", [True, False])
def test_a_traced_model_takes_other_batches(case, with_mask):
    family, plain, model = case
    ids, mask = other_batch(family, 4)  # so short that every token is in the local window
    arguments = (ids, mask) if with_mask else (ids,)
    traced = torch.jit.trace(plain, arguments)
    buffer = io.BytesIO()
    torch.jit.save(traced, buffer)
    buffer.seek(0)
    run = torch.jit.load(buffer)
    for other in (batch(family)[:2], other_batch(family, model.config.max_length)):
        other = other[:len(arguments)]
        assert_equal(as_tuple(run(*other)), as_tuple(plain(*other)))


def test_token_types_are_exported():
    plain = PlainOutput(make("bert", type_vocab_size=2))
    ids, mask, _ = batch("bert")
    types = (torch.arange(16) > 7).long().expand(3, 16).contiguous()
    exported = torch.export.export(plain, (ids, mask, types)).module()
    assert_equal((exported(ids, mask, types),), (plain(ids, mask, types),))
    assert not torch.equal(plain(ids, mask, types), plain(ids, mask))


@pytest.mark.parametrize("family", FAMILIES)
def test_an_onnx_file_gives_the_same_logits(family, tmp_path):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    model = make(family)
    path = str(tmp_path / "model.onnx")
    any_shape = {0: Dim.AUTO, 1: Dim.AUTO}
    torch.onnx.export(PlainOutput(model), batch(family)[:2], path, dynamo=True,
                      input_names=["input_ids", "attention_mask"],
                      dynamic_shapes=(any_shape, any_shape))
    session = onnxruntime.InferenceSession(path)
    for ids, mask in (batch(family)[:2], other_batch(family, model.config.max_length)):
        logits, = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        assert_equal((torch.from_numpy(logits),), (model(ids, mask).logits,))
