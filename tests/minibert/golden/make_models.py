"""Write models.json: what transformers computes for the cases of ../formats/parity_cases.py.

    python tests/minibert/golden/make_models.py
"""
import json
import sys
import tempfile
from pathlib import Path

import torch
import transformers

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parent / "formats")]
import parity_cases as cases  # noqa: E402

from minibert.formats.huggingface import save_pretrained  # noqa: E402


def stored(logits, loss, step=10):
    """Return a part of the logits (tokens, V), and the loss, as they are stored."""
    rows = logits[::3, ::step].tolist()
    return {"loss": round(loss, 6), "logits": [[round(x, 5) for x in row] for row in rows]}


def theirs(model, auto_class):
    """Return the model of transformers with the weights of ours."""
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(model, folder)
        return auto_class.from_pretrained(folder, attn_implementation="eager").eval()


golden = {"transformers": transformers.__version__}
for family in cases.FAMILIES:
    inputs = cases.batch(family)
    is_token = inputs["attention_mask"] == 1
    model = theirs(cases.model(family), transformers.AutoModelForMaskedLM)
    golden[family] = stored(*cases.all_logits_and_loss(model, inputs, is_token))
    inputs = cases.token_batch(family)
    model = theirs(cases.token_classifier(family), transformers.AutoModelForTokenClassification)
    logits, loss = cases.all_logits_and_loss(model, inputs, is_token)
    golden[f"tokens {family}"] = stored(logits, loss, step=1)
for name, model, inputs, is_token in cases.generative_cases():
    auto_class = (transformers.AutoModelForSeq2SeqLM if name.startswith("t5")
                  else transformers.AutoModelForCausalLM)
    model = theirs(model, auto_class)
    golden[name] = stored(*cases.all_logits_and_loss(model, inputs, is_token))
for family in cases.FAMILIES:
    model = theirs(cases.question_model(family), transformers.AutoModelForQuestionAnswering)
    inputs = cases.question_batch(family)
    start, end = inputs.pop("labels")[0]
    out = model(**inputs, start_positions=start[None], end_positions=end[None])
    scores = torch.stack((out.start_logits, out.end_logits), dim=-1)[0]
    golden[f"qa {family}"] = stored(scores, out.loss.item(), step=1)
text = json.dumps(golden, indent=1)
(HERE / "models.json").write_text(text + "\n", encoding="utf-8")
print(text[:400])
