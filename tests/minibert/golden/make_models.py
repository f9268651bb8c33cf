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

golden = {"transformers": transformers.__version__}
for family in cases.FAMILIES:
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(cases.model(family), folder)
        model = transformers.AutoModelForMaskedLM.from_pretrained(
            folder, attn_implementation="eager").eval()
    batch = {name: value for name, value in cases.batch(family).items() if value is not None}
    with torch.no_grad():
        out = model(**batch)
    logits = out.logits[batch["attention_mask"] == 1]  # (tokens, V)
    rows = logits[::3, ::10].tolist()
    golden[family] = {"loss": round(out.loss.item(), 6),
                      "logits": [[round(x, 5) for x in row] for row in rows]}
text = json.dumps(golden, indent=1)
(HERE / "models.json").write_text(text + "\n", encoding="utf-8")
print(text[:400])
