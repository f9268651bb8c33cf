"""The share of [UNK] in token files and runs."""
import json
import sys

import pytest

from data import TokenFile, prepare
from data.__main__ import main
from data.token_file.meta import unknown_report, unknown_text
from tokenizer import ByteLevelBPE, WordPiece
from tokenizer.unknown import UnknownText

MODULE = sys.modules[prepare.__module__]  # ``data.prepare`` is the function
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abc", "##a", "##b"]
DOCUMENTS = ["ab abc ab", "ab ба\nab", *["ab ab"] * 40]  # ##c, б and а are missing


@pytest.fixture
def tokenizer():
    return WordPiece(VOCABULARY)


def test_a_token_file_knows_what_is_unknown(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(MODULE, "BATCH_CHARACTERS", 20)
    monkeypatch.setattr(MODULE, "INLINE_SECONDS", 0)
    metas = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        metas.append(prepare(DOCUMENTS, tokenizer, folder, workers, show_progress=False).meta)
    assert metas[0] == metas[1]
    assert unknown_text(metas[0]) == UnknownText(2, 3 + 4, 0, set("cба"))
    tokens = TokenFile(tmp_path / "1")
    report = unknown_report(tokens.meta)
    assert report["unknown_tokens_share"] == tokens.unigram_counts()[1] / tokens.num_tokens
    assert report["unknown_text_share"] == 7 / tokens.num_bytes


def test_an_interrupted_preparation_counts_all_of_it(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(MODULE, "BATCH_CHARACTERS", 5)
    monkeypatch.setattr(MODULE, "SAVE_EVERY", 1)

    def interrupted():
        yield from DOCUMENTS[:30]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(interrupted(), tokenizer, tmp_path / "a", workers=1, show_progress=False)
    resumed = prepare(DOCUMENTS, tokenizer, tmp_path / "a", workers=1, show_progress=False)
    assert unknown_text(resumed.meta) == UnknownText(2, 7, 0, set("cба"))


def test_prepare_and_inspect_print_it(tmp_path, tokenizer, capsys):
    (tmp_path / "text.txt").write_text("\n\n".join(DOCUMENTS), encoding="utf-8")
    tokenizer.save(tmp_path / "tokenizer")
    command = ["prepare", str(tmp_path / "text.txt"), "--tokenizer", str(tmp_path / "tokenizer")]
    main([*command, "--out", str(tmp_path / "tokens")])
    prepared = capsys.readouterr().out
    main(["inspect", str(tmp_path / "tokens")])
    inspected = capsys.readouterr().out
    for out in (prepared, inspected):
        assert "warning: 1.18% of the tokens and " in out
        assert "2 words with 3 characters that the vocabulary lacks" in out
    main(["inspect", str(tmp_path / "tokens"), "--json"])
    assert json.loads(capsys.readouterr().out)["unknown_tokens_share"] == 2 / 170


def test_byte_level_bpe_has_no_unknown_text(tmp_path, capsys):
    tokenizer = ByteLevelBPE.train_from_iterator(["ab"], 261, show_progress=False)
    prepare(["ab ба"], tokenizer, tmp_path / "tokens", show_progress=False)
    main(["inspect", str(tmp_path / "tokens")])
    assert "[UNK]" not in capsys.readouterr().out
