"""Exported models: torch.export, torch.jit.trace and ONNX give the logits of the model itself."""
import io

import pytest
import torch
from small_models import PAD, make
from torch.export import Dim

from minibert import PlainOutput
from minibert.config import FAMILIES
from minibert.heads import BertForPreTraining, BertForSequenceClassification
from minibert.model import BertModel

ANY_SHAPE = {0: Dim.AUTO, 1: Dim.AUTO}


def labeled(config):
    return BertForSequenceClassification(config, ("bad", "good"))


def texts(family, num_texts, length):
    """Return ids, mask and token types of texts of ``length`` tokens; the last one has two."""
    torch.manual_seed(num_texts)
    ids = torch.randint(5, 60, (num_texts, length))
    mask = torch.ones_like(ids)
    mask[-1, 2:] = 0
    ids[mask == 0] = PAD[family]
    types = (torch.arange(length) > 1).long().expand(num_texts, length).contiguous()
    return ids, mask, types


def assert_equal(outputs, expected):
    if isinstance(expected, torch.Tensor):
        outputs, expected = (outputs,), (expected,)
    for output, tensor in zip(outputs, expected, strict=True):
        torch.testing.assert_close(output, tensor, atol=1e-5, rtol=1e-4)


@pytest.fixture(params=[
    ("bert", BertForPreTraining, 3), ("roberta", BertModel, 1), ("modernbert", labeled, 2),
], ids=lambda case: f"{case[0]}-{case[1].__name__}")
def case(request):
    """(family, a model that returns tensors, how many of ids, mask and types it takes)"""
    family, model_class, num_arguments = request.param
    layers = 2 if family == "modernbert" else 1  # a global and a local one
    model = make(family, model_class, type_vocab_size=2, num_hidden_layers=layers)
    return family, PlainOutput(model), num_arguments


def test_a_model_is_exported_for_every_batch_size_and_length(case):
    family, plain, n = case
    exported = torch.export.export(plain, texts(family, 3, 16)[:n], dynamic_shapes=(ANY_SHAPE,) * n)
    run = exported.module()
    for length in (2, 5, plain.model.config.max_length):
        other = texts(family, 2, length)[:n]
        assert_equal(run(*other), plain(*other))


def test_a_model_is_exported_and_saved_with_its_own_output():
    model = make("bert", num_hidden_layers=1)
    ids, mask, _ = texts("bert", 3, 16)
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(model, (ids, mask)), buffer)
    buffer.seek(0)
    out = torch.export.load(buffer).module()(ids, mask)
    assert_equal(out.logits, model(ids, mask).logits)
    assert out.loss is None


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_traced_model_takes_other_batches(case):
    family, plain, n = case
    # Four tokens are so few that all are in the local window.
    run = torch.jit.trace(plain, texts(family, 2, 4)[:n])
    for length in (2, 16, plain.model.config.max_length):
        other = texts(family, 3, length)[:n]
        assert_equal(run(*other), plain(*other))


@pytest.mark.parametrize("family", FAMILIES)
def test_an_onnx_file_gives_the_same_logits(family, tmp_path):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    model = make(family)
    path = str(tmp_path / "model.onnx")
    torch.onnx.export(PlainOutput(model), texts(family, 3, 16)[:2], path, dynamo=True,
                      input_names=["input_ids", "attention_mask"],
                      dynamic_shapes=(ANY_SHAPE, ANY_SHAPE))
    session = onnxruntime.InferenceSession(path)
    for length in (2, model.config.max_length):
        ids, mask, _ = texts(family, 2, length)
        logits, = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        assert_equal(torch.from_numpy(logits), model(ids, mask).logits)
