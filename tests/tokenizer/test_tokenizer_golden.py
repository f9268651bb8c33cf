"""Compare with stored results of the tokenizers library (made by ``make_golden.py``)."""
import json
from pathlib import Path

import pytest
from tokenizer_samples import STORY

from tokenizer import ByteLevelBPE, load_tokenizer

GOLDEN = Path(__file__).parent / "golden"
TEXTS = json.loads((GOLDEN / "ids.json").read_text())["texts"]


def test_the_trained_files_are_the_references_byte_for_byte(tmp_path):
    ByteLevelBPE.train_from_iterator([STORY], vocab_size=400, show_progress=False).save(tmp_path)
    for name in ("vocab.json", "merges.txt"):
        assert (tmp_path / name).read_bytes() == (GOLDEN / name).read_bytes()


@pytest.mark.parametrize("name, folder", [("bpe", ""), ("uncased", "uncased"), ("cased", "cased")])
def test_ids_and_offsets_are_the_references(name, folder):
    tok = load_tokenizer(GOLDEN / folder)
    for row in TEXTS:
        encoding = tok.encode(row["text"], add_special_tokens=False)
        ids, offsets = row[name]
        assert encoding.ids == ids, row["text"]
        assert encoding.offsets == [tuple(offset) for offset in offsets], row["text"]
