"""Whole folders, there and back, live (`make parity`): a run that we trained in transformers' hands, a model that transformers made in ours.

Each way the logits are equal to 1e-4, the five likeliest words are the same, and the tokenizers give the same ids.
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
from minibert.model import BertForPreTraining

pytestmark = pytest.mark.parity
TOKENIZERS = Path(__file__).parents[2] / "tokenizer"
GOLDEN_TEXTS = [row["text"] for row in json.loads((TOKENIZERS / "golden" / "ids.json").read_text(encoding="utf-8"))["texts"]]
CLASSES = {"bert": "Bert", "roberta": "Roberta", "modernbert": "ModernBert"}
LAYOUTS = {"bert": "bert", "roberta": "roberta", "modernbert": "modernbert"}
SMALL = ("--max-length 32 --batch-size 4 --device cpu --precision fp32 --eval-every 0 --eval-examples 8 --warmup 0").split()
SIZES = ("--hidden-size 24 --num-hidden-layers 4 --num-attention-heads 3 --intermediate-size 40 --vocab-size 300 --local-attention 6 "
         "--initializer-range 0.3").split()
PRESETS = {"bert": "wikipedia", "roberta": "kant", "modernbert": "quickstart"}


@pytest.fixture(scope="module")
def transformers():
    module = pytest.importorskip("transformers")
    module.logging.set_verbosity_error()
    module.logging.disable_progress_bar()
    return module


def assert_alike(transformers, folder, texts):
    """One folder, read by both: tokenizer ids, logits, the five likeliest words of a mask. -> our logits (T, V) of the last text"""
    (ours, tokenizer), theirs = load_run(folder), transformers.AutoModelForMaskedLM.from_pretrained(folder).eval()
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for text in [*GOLDEN_TEXTS, *texts]:
        assert tokenizer.encode(text).ids == their_tokenizer(text)["input_ids"], text
    asked = [f"{text} {tokenizer.mask_token}." for text in texts]
    pipeline = transformers.pipeline("fill-mask", model=str(folder), device=-1)
    with torch.no_grad():
        for text in asked:
            batch = their_tokenizer([text, "the"], return_tensors="pt", padding=True)  # a row with padding as well
            mine, their = ours(**batch).logits, theirs(**batch).logits
            real = batch["attention_mask"] == 1
            gap = (mine[real] - their[real]).abs().max().item()
            print(f"{ours.config.family}: logits differ by {gap:.1e}")
            assert gap < 1e-4 and mine.std() > 0.1
            for one, two in zip(fill_mask(ours, tokenizer, text), pipeline(text), strict=True):
                assert one["token"] == two["token"] and one["score"] == pytest.approx(two["score"], abs=1e-4)
                assert one["token_str"] == two["token_str"]
                assert "".join(one["sequence"].split()) == "".join(two["sequence"].split())  # WordPiece's spaces: docs/tokenizers.md
    return mine[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_folder_of_a_run_is_all_that_transformers_needs(family, transformers, text, tmp_path):
    """RUN/model alone, without the run above it."""
    assert train.main([*SMALL, *SIZES, "--preset", PRESETS[family], "--corpus", str(text), "--out", str(tmp_path / "run"), "--max-steps", "3"]) == 0
    (tmp_path / "run/model").rename(tmp_path / "alone")
    assert isinstance(load_run(tmp_path / "alone")[0], BertForPreTraining) == (family == "bert")
    assert_alike(transformers, tmp_path / "alone", ["the cat sees", "a small red fish"])


def their_folder(transformers, family, folder, files):
    """A random model of transformers in the layout of published ones, its weights in one file, in parts, or in a .bin."""
    sys.path.insert(0, str(TOKENIZERS))
    from make_published import make
    tokenizer = make(LAYOUTS[family], folder)
    torch.manual_seed(0)
    sizes = dict(vocab_size=len(tokenizer), hidden_size=24, num_hidden_layers=4, num_attention_heads=3, intermediate_size=40,
                 max_position_embeddings=64, pad_token_id=tokenizer.pad_token_id, initializer_range=0.3)
    if family == "modernbert":
        cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
        sizes |= dict(local_attention=6, cls_token_id=cls, sep_token_id=sep, bos_token_id=cls, eos_token_id=sep)
    model = getattr(transformers, CLASSES[family] + "ForMaskedLM")(getattr(transformers, CLASSES[family] + "Config")(**sizes)).eval()
    for p in model.parameters():
        if p.dim() == 1:
            p.data += 0.2 * torch.randn_like(p)
    model.save_pretrained(folder, **({"max_shard_size": "20KB"} if files == "parts" else {}))
    if files == "bin":
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    assert (folder / {"one": "model.safetensors", "parts": "model.safetensors.index.json", "bin": "pytorch_model.bin"}[files]).is_file()


@pytest.mark.parametrize("files", ["one", "parts", "bin"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_of_transformers_is_read_trained_on_and_read_there_again(family, files, transformers, text, tmp_path, capsys):
    texts = ["the cat sees", "THE CAFÉ isn't"]
    their_folder(transformers, family, tmp_path / "theirs", files)
    before = assert_alike(transformers, tmp_path / "theirs", texts)
    assert train.main([*SMALL, "--init", str(tmp_path / "theirs"), "--corpus", str(text), "--out", str(tmp_path / "run"), "--max-steps", "1",
                       "--learning-rate", "1e-2"]) == 0
    assert f"weights     from {tmp_path / 'theirs'}\n" in capsys.readouterr().out  # nothing fresh
    after = assert_alike(transformers, tmp_path / "run" / "model", texts)
    assert (after - before).abs().max() > 1e-2  # one step was taken
    one, two = (transformers.AutoTokenizer.from_pretrained(folder) for folder in (tmp_path / "theirs", tmp_path / "run" / "model"))
    assert all(one(text, "a b")["input_ids"] == two(text, "a b")["input_ids"] for text in GOLDEN_TEXTS)


@pytest.mark.parametrize("kind", ["Model", "ForSequenceClassification", "ForTokenClassification"])
@pytest.mark.parametrize("family", FAMILIES)
def test_whatever_transformers_made_of_an_encoder_pre_training_goes_on_with_it(family, kind, transformers, text, tmp_path, capsys):
    """An encoder without a head, or with one of another task: the same hidden states there, in what our run begins with."""
    their_folder(transformers, family, tmp_path / "theirs", "one")
    source = getattr(transformers, f"Auto{kind.replace('For', 'ModelFor')}").from_pretrained(tmp_path / "theirs").eval()
    source.save_pretrained(tmp_path / "theirs")
    assert train.main([*SMALL, "--init", str(tmp_path / "theirs"), "--corpus", str(text), "--out", str(tmp_path / "run"), "--max-steps", "1"]) == 0
    assert "the head that fills masks" in capsys.readouterr().out
    began = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "run/checkpoints/step-0000000").eval()
    ids = torch.tensor([[7, 8, 9, 10, 11]])
    with torch.no_grad():
        one, two = (getattr(model, model.base_model_prefix, model)(ids).last_hidden_state for model in (source, began))
    assert (one - two).abs().max() < 1e-5
