"""Preparing a token file. Resuming is tested in token_file/test_resume_writing.py."""
import sys

from data_helpers import Characters

from data import TokenFile, prepare

MODULE = sys.modules[prepare.__module__]  # ``data.prepare`` is the function
DOCUMENTS = [f"document {i}\n" + f"line {i * i} of it\n" * (i % 7) for i in range(300)]


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_number_of_workers_does_not_change_the_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(MODULE, "BATCH_CHARACTERS", 500)
    monkeypatch.setattr(MODULE, "INLINE_SECONDS", 0)
    for workers in (1, 2, 3):
        folder = tmp_path / str(workers)
        prepare(iter(DOCUMENTS), Characters(), folder, workers, show_progress=False)
    assert contents(tmp_path / "1") == contents(tmp_path / "2") == contents(tmp_path / "3")
    text = "".join(line.strip() for document in DOCUMENTS for line in document.split("\n"))
    assert bytes(TokenFile(tmp_path / "2").ids[:].tolist()).decode() == text


def test_lines_and_documents_without_ids_are_left_out(tmp_path):
    class WithoutDots(Characters):
        def encode_texts(self, texts):
            return super().encode_texts([text.replace(".", "") for text in texts])
    documents = ["ab\n...\n\nc", "..", "d."]
    tokens = prepare(documents, WithoutDots(), tmp_path / "tokens", show_progress=False)
    assert (tokens.num_documents, tokens.num_segments, tokens.num_tokens) == (2, 3, 4)
    assert [tokens.segment(i).tolist() for i in range(3)] == [[97, 98], [99], [100]]
    assert tokens.num_bytes == 3 + 2 + 3
