"""Complete folders in both directions, live (make parity).

A run of ours is read by transformers, and a model of transformers is trained here: logits are equal
to 1e-4, the five most likely tokens of a mask and the ids of the tokenizer are the same.
"""
import json
import sys
from pathlib import Path

import pytest
import torch

import train
from minibert.analysis.mask_filling import fill_mask
from minibert.config import FAMILIES
from minibert.formats.run_folder import load_run
from minibert.heads import BertForPreTraining

pytestmark = pytest.mark.parity
TOKENIZERS = Path(__file__).parents[2] / "tokenizer"
GOLDEN = json.loads((TOKENIZERS / "golden/ids.json").read_text("utf-8"))
GOLDEN_TEXTS = [row["text"] for row in GOLDEN["texts"]]
CLASSES = {"bert": "Bert", "roberta": "Roberta", "modernbert": "ModernBert"}
SMALL = ("--max-length 32 --batch-size 4 --device cpu --precision fp32 --eval-every 0 "
         "--eval-examples 8 --warmup 0").split()
SIZES = ("--hidden-size 24 --num-hidden-layers 4 --num-attention-heads 3 --intermediate-size 40 "
         "--vocab-size 300 --initializer-range 0.3").split()
PRESETS = {"bert": "wikipedia", "roberta": "kant", "modernbert": "quickstart"}
WEIGHTS = {"one": "model.safetensors", "parts": "model.safetensors.index.json",
           "bin": "pytorch_model.bin"}


@pytest.fixture(scope="module")
def transformers():
    module = pytest.importorskip("transformers")
    module.logging.set_verbosity_error()
    module.logging.disable_progress_bar()
    return module


def run_train(*flags):
    assert train.main([*SMALL, *map(str, flags)]) == 0


@torch.no_grad()
def assert_same(transformers, folder, texts):
    """Compare both readings of a folder. Return our logits (T, V) of the last text."""
    ours, tokenizer = load_run(folder)
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(folder).eval()
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for text in [*GOLDEN_TEXTS, *texts]:
        assert tokenizer.encode(text).ids == their_tokenizer(text)["input_ids"], text
    pipeline = transformers.pipeline("fill-mask", model=str(folder), device=-1)
    for text in texts:
        text = f"{text} {tokenizer.mask_token}."
        batch = their_tokenizer([text, "the"], return_tensors="pt", padding=True)
        is_token = batch["attention_mask"] == 1
        logits, their_logits = ours(**batch).logits, theirs(**batch).logits
        assert (logits[is_token] - their_logits[is_token]).abs().max() < 1e-4
        assert logits.std() > 0.1
        answers = pipeline(text, top_k=5 + len(tokenizer.special_ids))
        ordinary = [one for one in answers if one["token"] not in tokenizer.special_ids][:5]
        for one, other in zip(fill_mask(ours, tokenizer, text), ordinary, strict=True):
            assert one["token"] == other["token"] and one["token_str"] == other["token_str"]
            assert one["score"] == pytest.approx(other["score"], abs=1e-4)
            # WordPiece puts spaces in other positions: docs/tokenizers.md
            assert "".join(one["sequence"].split()) == "".join(other["sequence"].split())
    return logits[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_needs_only_the_model_folder_of_a_run(family, transformers, text, tmp_path):
    run_train(*SIZES, "--preset", PRESETS[family], "--corpus", text, "--out", tmp_path / "run",
              "--max-steps", 3)
    folder = (tmp_path / "run/model").rename(tmp_path / "model")
    model, _ = load_run(folder)
    assert isinstance(model, BertForPreTraining) == (family == "bert")
    assert_same(transformers, folder, ["the cat sees", "a small red fish"])


def save_theirs(transformers, family, folder, files):
    """Save a random model of transformers in one file, in parts, or in a .bin."""
    sys.path.insert(0, str(TOKENIZERS))
    from make_published import make
    tokenizer = make(family, folder)
    torch.manual_seed(0)
    values = dict(vocab_size=len(tokenizer), hidden_size=24, num_hidden_layers=4,
                  num_attention_heads=3, intermediate_size=40, max_position_embeddings=64,
                  pad_token_id=tokenizer.pad_token_id, initializer_range=0.3)
    if family == "modernbert":
        cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
        values |= dict(local_attention=6, cls_token_id=cls, sep_token_id=sep, bos_token_id=cls,
                       eos_token_id=sep)
    config = getattr(transformers, CLASSES[family] + "Config")(**values)
    model = getattr(transformers, CLASSES[family] + "ForMaskedLM")(config).eval()
    for p in model.parameters():
        if p.dim() == 1:
            p.data += 0.2 * torch.randn_like(p)
    model.save_pretrained(folder, **({"max_shard_size": "20KB"} if files == "parts" else {}))
    if files == "bin":
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    assert (folder / WEIGHTS[files]).is_file()


@pytest.mark.parametrize("files", WEIGHTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_of_transformers_is_trained_and_read_there_again(family, files, transformers, text,
                                                                 tmp_path, capsys):
    texts = ["the cat sees", "THE CAFÉ isn't"]
    theirs, run = tmp_path / "theirs", tmp_path / "run"
    save_theirs(transformers, family, theirs, files)
    before = assert_same(transformers, theirs, texts)
    run_train("--init", theirs, "--corpus", text, "--out", run, "--max-steps", 1,
              "--learning-rate", 1e-2)
    assert f"from {theirs}\n" in capsys.readouterr().out  # no weight is new
    after = assert_same(transformers, run / "model", texts)
    assert (after - before).abs().max() > 1e-2  # one step was taken
    one, other = (transformers.AutoTokenizer.from_pretrained(folder)
                  for folder in (theirs, run / "model"))
    for text in GOLDEN_TEXTS:
        assert one(text, "a b")["input_ids"] == other(text, "a b")["input_ids"]


@pytest.mark.parametrize("cls", ["AutoModel", "AutoModelForSequenceClassification",
                                 "AutoModelForTokenClassification"])
@pytest.mark.parametrize("family", FAMILIES)
def test_pre_training_continues_from_an_encoder_with_any_head(family, cls, transformers, text,
                                                              tmp_path):
    theirs, run = tmp_path / "theirs", tmp_path / "run"
    save_theirs(transformers, family, theirs, "one")
    source = getattr(transformers, cls).from_pretrained(theirs).eval()
    source.save_pretrained(theirs)
    run_train("--init", theirs, "--corpus", text, "--out", run, "--max-steps", 1)
    start = run / "checkpoints/step-0000000"
    started = transformers.AutoModelForMaskedLM.from_pretrained(start).eval()
    ids = torch.tensor([[7, 8, 9, 10, 11]])
    with torch.no_grad():
        one, other = (getattr(model, model.base_model_prefix, model)(ids).last_hidden_state
                      for model in (source, started))
    assert (one - other).abs().max() < 1e-5
