"""A preparation that is interrupted goes on where it stopped, with the same bytes in the end, and never with wrong ones."""
import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys

import pytest
from data_helpers import Characters

from data import TokenFile, TokenFileWriter, prepare
from data import prepare as prepare_function

DOCUMENTS = [f"document {number}\n" + f"line {number * number} of it\n" * (number % 7) for number in range(200)]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """About 40 batches, a note after every third."""
    monkeypatch.setattr(sys.modules[prepare_function.__module__], "BATCH_CHARACTERS", 500)
    monkeypatch.setattr(sys.modules[prepare_function.__module__], "NOTED_BATCHES", 3)


class Counting(Characters):
    """Counts the lines that it encodes; stops after some."""

    def __init__(self, stop=10**9, error=KeyboardInterrupt):
        super().__init__()
        self.lines, self.stop, self.error = 0, stop, error

    def encode_texts(self, texts):
        self.lines += len(texts)
        if self.lines > self.stop:
            raise self.error
        return super().encode_texts(texts)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def make(documents, tokenizer, folder, workers=1):
    prepare(iter(documents), tokenizer, folder, workers=workers, show_progress=False)
    return tokenizer


def interrupted(folder, documents=DOCUMENTS, stop=500):
    with pytest.raises(KeyboardInterrupt):
        make(documents, Counting(stop), folder)
    return folder.parent / f".{folder.name}.part"


def test_it_goes_on_and_the_bytes_are_those_of_an_undisturbed_preparation(tmp_path):
    whole = make(DOCUMENTS, Counting(), tmp_path / "whole").lines
    part = interrupted(tmp_path / "tokens")
    assert sorted(path.name for path in part.iterdir()) == ["documents.bin", "ids.bin", "notes.jsonl", "segments.bin"]
    assert not (tmp_path / "tokens").exists()
    rest = make(DOCUMENTS, Counting(), tmp_path / "tokens").lines
    assert contents(tmp_path / "tokens") == contents(tmp_path / "whole") and not part.exists()
    assert whole - 500 <= rest < whole - 400  # the noted part was not encoded again


def test_every_moment_of_interruption_leads_to_the_same_bytes(tmp_path):
    make(DOCUMENTS, Counting(), tmp_path / "whole")
    for stop in range(0, 800, 37):
        interrupted(tmp_path / "tokens", stop=stop)
        with contextlib.suppress(KeyboardInterrupt):  # and again, unless less than that was left
            make(DOCUMENTS, Counting(60), tmp_path / "tokens")
        make(DOCUMENTS, Counting(), tmp_path / "tokens", workers=2)
        assert contents(tmp_path / "tokens") == contents(tmp_path / "whole")
        shutil.rmtree(tmp_path / "tokens")


@pytest.mark.parametrize("changed", [0, 60, 120, 199])
def test_a_corpus_that_changed_is_taken_as_it_is_now(tmp_path, changed):
    new = [*DOCUMENTS[:changed], "another text", *DOCUMENTS[changed + 1:]]
    make(new, Counting(), tmp_path / "whole")
    interrupted(tmp_path / "tokens", stop=600)
    again = make(new, Counting(), tmp_path / "tokens").lines
    assert contents(tmp_path / "tokens") == contents(tmp_path / "whole")
    assert again > 690 if changed == 0 else again < 690  # what stands before the change is kept


def test_a_shorter_corpus_and_another_tokenizer_begin_anew(tmp_path):
    interrupted(tmp_path / "tokens")
    make(DOCUMENTS[:3], Counting(), tmp_path / "tokens")
    assert TokenFile(tmp_path / "tokens").num_documents == 3
    interrupted(tmp_path / "other")
    other = Counting()
    other.fingerprint = "another"
    make(DOCUMENTS, other, tmp_path / "other")
    assert TokenFile(tmp_path / "other").tokenizer_fingerprint == "another" and other.lines > 690


@pytest.mark.parametrize("damage", [
    lambda part: (part / "notes.jsonl").write_text("{"),
    lambda part: (part / "notes.jsonl").unlink(),
    lambda part: (part / "ids.bin").write_bytes(b""),
    lambda part: (part / "segments.bin").unlink(),
    lambda part: os.truncate(part / "notes.jsonl", (part / "notes.jsonl").stat().st_size - 9),
    lambda part: (part / "ids.bin").open("ab").write(b"half"),
])
def test_damaged_remains_do_no_harm(tmp_path, damage):
    make(DOCUMENTS, Counting(), tmp_path / "whole")
    damage(interrupted(tmp_path / "tokens"))
    make(DOCUMENTS, Counting(), tmp_path / "tokens")
    assert contents(tmp_path / "tokens") == contents(tmp_path / "whole")


def test_a_last_note_that_was_cut_short_costs_no_other(tmp_path):
    part = interrupted(tmp_path / "tokens")
    os.truncate(part / "notes.jsonl", (part / "notes.jsonl").stat().st_size - 9)
    again = make(DOCUMENTS, Counting(), tmp_path / "tokens").lines
    assert again < make(DOCUMENTS, Counting(), tmp_path / "whole").lines - 300  # 500 had been encoded; a note is of about 55


def test_a_full_disk_says_what_is_kept(tmp_path):
    with pytest.raises(OSError, match=r"the disk is full after [\d,]+ tokens, [\d,]+ of them are kept, and the same command goes on from there"):
        make(DOCUMENTS, Counting(500, OSError(28, "No space left on device")), tmp_path / "tokens")
    assert (tmp_path / ".tokens.part").is_dir()


def test_two_processes_do_not_write_the_same_token_file(tmp_path):
    def write():
        try:
            make(["b"], Characters(), tmp_path / "tokens")
        except ValueError as error:
            (tmp_path / "error").write_text(str(error))
    with TokenFileWriter(tmp_path / "tokens", 256, "") as writer:
        other = multiprocessing.get_context("fork").Process(target=write)
        other.start()
        other.join()
        writer.add([1], [1], [1], 1)
    assert "is being written by another process" in (tmp_path / "error").read_text()
    assert TokenFile(tmp_path / "tokens").num_tokens == 1


def test_killed_in_the_middle_it_goes_on(tmp_path):
    program = f"""
import sys, json; sys.path[:0] = {[os.path.dirname(__file__), os.getcwd()]!r}
import data.prepare as module
from data_helpers import Characters
from data import prepare
module = sys.modules["data.prepare"]
module.BATCH_CHARACTERS, module.NOTED_BATCHES = 500, 3
def documents():
    for number, document in enumerate({DOCUMENTS!r}):
        if number == 150:
            print("going", flush=True)
            sys.stdin.readline()
        yield document
prepare(documents(), Characters(), {str(tmp_path / "tokens")!r}, workers=1, show_progress=False)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    assert process.stdout.readline() == b"going\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    notes = (tmp_path / ".tokens.part/notes.jsonl").read_text().splitlines()
    assert len(notes) > 5 and json.loads(notes[-1])["num_tokens"] > 0
    rest = make(DOCUMENTS, Counting(), tmp_path / "tokens").lines
    make(DOCUMENTS, Counting(), tmp_path / "whole")
    assert contents(tmp_path / "tokens") == contents(tmp_path / "whole") and rest < 400
