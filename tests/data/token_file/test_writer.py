"""A preparation that is interrupted goes on where it stopped, with the same bytes in the end, and never with wrong ones."""
import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from data_helpers import Characters

from data import TokenFile, TokenFileWriter, prepare
from data import prepare as prepare_function

DOCUMENTS = [f"document {number}\n" + f"line {number * number} of it\n" * (number % 7) for number in range(200)]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """About 40 batches, a note after every third, three shards; nobody waits for the disk, which is not what is tested."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr("data.token_file.writer.SHARD", 4000)
    monkeypatch.setattr(sys.modules[prepare_function.__module__], "BATCH_CHARACTERS", 500)
    monkeypatch.setattr(sys.modules[prepare_function.__module__], "NOTED_BATCHES", 3)
    monkeypatch.setattr(sys.modules[prepare_function.__module__], "NUM_INLINE_BATCHES", 2)


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
    shards = [f"ids-{number:05d}.bin" for number in range(2)]
    assert sorted(path.name for path in part.iterdir()) == ["documents.bin", *shards, "notes.jsonl", "segments.bin"]
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


@pytest.mark.parametrize("when", ["before", "after"])
def test_interrupted_where_a_shard_ends_it_goes_on_alike(tmp_path, monkeypatch, when):
    make(DOCUMENTS, Counting(), tmp_path / "whole")
    real = TokenFileWriter._open_shard
    for shard in (1, 2):
        def stopped(self, number, mode, shard=shard):
            if number == shard and when == "before":
                raise KeyboardInterrupt
            real(self, number, mode)
            if number == shard:
                raise KeyboardInterrupt
        monkeypatch.setattr(TokenFileWriter, "_open_shard", stopped)
        with pytest.raises(KeyboardInterrupt, match="^kept: "):
            make(DOCUMENTS, Counting(), tmp_path / str(shard))
        monkeypatch.setattr(TokenFileWriter, "_open_shard", real)
        again = make(DOCUMENTS, Counting(), tmp_path / str(shard)).lines
        assert contents(tmp_path / str(shard)) == contents(tmp_path / "whole") and again < 790 - 200 * shard
        assert TokenFile(tmp_path / str(shard)).verify() == 6


def test_the_checksum_of_a_shard_goes_on_where_it_was_so_damage_in_between_is_found(tmp_path):
    part = interrupted(tmp_path / "tokens")
    with (part / "ids-00000.bin").open("r+b") as file:
        file.write(b"X")
    make(DOCUMENTS, Counting(), tmp_path / "tokens")
    with pytest.raises(ValueError, match="ids-00000.bin is damaged"):
        TokenFile(tmp_path / "tokens").verify()


def test_what_an_older_version_left_is_not_gone_on_from(tmp_path, capsys):
    notes = interrupted(tmp_path / "tokens") / "notes.jsonl"
    notes.write_text(notes.read_text().replace('"version": 2', '"version": 1'))
    assert "cannot resume: it was made with another version of this program. Starting over" in \
        said(tmp_path / "tokens", capsys=capsys)


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
    lambda part: (part / "ids-00000.bin").write_bytes(b""),
    lambda part: (part / "ids-00001.bin").unlink(),
    lambda part: os.truncate(part / "ids-00001.bin", 7),
    lambda part: (part / "segments.bin").unlink(),
    lambda part: os.truncate(part / "notes.jsonl", (part / "notes.jsonl").stat().st_size - 9),
    lambda part: (part / "ids-00002.bin").open("ab").write(b"half"),
    lambda part: (part / "ids-00099.bin").write_bytes(b"of another corpus"),
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


def said(folder, documents=DOCUMENTS, tokenizer=None, capsys=None):
    """The lines that a preparation says, without its bar."""
    capsys.readouterr()
    with contextlib.suppress(KeyboardInterrupt):
        prepare(iter(documents), tokenizer or Counting(), folder, workers=1)
    return [line for line in capsys.readouterr().err.replace("\r", "\n").splitlines() if line.strip() and "tokenize:" not in line]


def test_ctrl_c_says_what_is_kept_and_the_next_call_says_where_it_goes_on(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt, match=r"^kept: 1\d\d documents \([\d,]+ bytes of text\); preparing the same again goes on") as stop:
        make(DOCUMENTS, Counting(500), tmp_path / "tokens")
    kept = str(stop.value).removeprefix("kept: ").split(";")[0]
    reading, going_on = said(tmp_path / "tokens", capsys=capsys)
    assert reading == f"reading the first {kept} again, to check that nothing has changed"
    assert going_on == f"resuming after {kept}"


def test_the_very_first_batch_is_kept(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        make(DOCUMENTS, Counting(70), tmp_path / "tokens")
    whole = make(DOCUMENTS, Counting(), tmp_path / "whole").lines
    assert make(DOCUMENTS, Counting(), tmp_path / "tokens").lines < whole
    with pytest.raises(KeyboardInterrupt, match="^$"):  # nothing was encoded: nothing is kept, nothing stays
        make(DOCUMENTS, Counting(0), tmp_path / "none")
    assert not (tmp_path / ".none.part").exists()


def test_work_that_cannot_be_used_is_named_with_the_reason(tmp_path, capsys):
    def damaged(part):
        (part / "notes.jsonl").write_text("{")
        return DOCUMENTS, Counting()

    def another_tokenizer(part):
        other = Counting()
        other.fingerprint = "another"
        return DOCUMENTS, other
    for change, reason in ((damaged, "it is damaged"), (another_tokenizer, "it was made with another tokenizer"),
                           (lambda part: (["new", *DOCUMENTS], Counting()), "the text has changed")):
        documents, tokenizer = change(interrupted(tmp_path / "tokens"))
        lines = said(tmp_path / "tokens", documents, tokenizer, capsys)
        assert lines[-1] == f"cannot resume: {reason}. Starting over"
        shutil.rmtree(tmp_path / "tokens")
    interrupted(tmp_path / "tokens")
    lines = said(tmp_path / "tokens", [*DOCUMENTS[:100], "new", *DOCUMENTS[100:]], capsys=capsys)
    assert lines[-1].startswith("resuming after ") and lines[-1].endswith("; the text after that has changed")


def test_a_note_that_was_cut_short_costs_that_note_alone(tmp_path):
    """As when Ctrl-C comes while a note is written, and the note of what is complete is written after it."""
    make(DOCUMENTS, Counting(), tmp_path / "whole")
    notes = interrupted(tmp_path / "tokens") / "notes.jsonl"
    *before, last = notes.read_text().split("\n")
    notes.write_text("\n".join([*before, last[:30], last]))
    interrupted(tmp_path / "other")
    assert make(DOCUMENTS, Counting(), tmp_path / "tokens").lines == make(DOCUMENTS, Counting(), tmp_path / "other").lines
    assert contents(tmp_path / "tokens") == contents(tmp_path / "whole")


def test_a_lost_note_in_the_middle_does_no_harm(tmp_path):
    """Among them one that named the end of a shard, without which the later ones cannot be used."""
    make(DOCUMENTS, Counting(), tmp_path / "whole")
    part, used = interrupted(tmp_path / "tokens"), []
    shutil.copytree(part, tmp_path / "part")
    lines = (part / "notes.jsonl").read_text().split("\n")
    for lost in range(1, len(lines)):
        shutil.copytree(tmp_path / "part", part, dirs_exist_ok=True)
        (part / "notes.jsonl").write_text("\n".join([*lines[:lost], lines[lost][:30], *lines[lost + 1:]]))
        used.append(make(DOCUMENTS, Counting(), tmp_path / "tokens").lines)
        assert contents(tmp_path / "tokens") == contents(tmp_path / "whole")
        TokenFile(tmp_path / "tokens").verify()
    assert max(used) > 500 and sum(lines > 400 for lines in used) == 1  # one of the seven is such a note


@pytest.mark.parametrize("an_older_one", [False, True])
def test_killed_at_any_step_of_putting_the_file_in_place_nothing_is_lost(tmp_path, monkeypatch, an_older_one):
    """As kill -9 does it: without a word, before any call that changes the disk. The next call encodes nothing again."""
    make(DOCUMENTS[:40], Counting(), tmp_path / "whole")
    whole, steps = contents(tmp_path / "whole"), 0
    while True:
        folder = tmp_path / str(steps)
        if an_older_one:
            make(["old"], Counting(), folder)
        process = multiprocessing.get_context("fork").Process(target=killed_in_step, args=(steps, folder))
        process.start()
        process.join()
        assert process.exitcode in (0, 9)
        in_place = folder.exists() and {**contents(folder), "notes.jsonl": b""} == {**whole, "notes.jsonl": b""}
        if not in_place:
            assert not folder.exists() or TokenFile(folder).num_documents == 1
            assert make(DOCUMENTS[:40], Counting(0, AssertionError), folder).lines == 0
        assert {name: data for name, data in contents(folder).items() if name != "notes.jsonl"} == whole
        if process.exitcode == 0:
            assert contents(folder) == whole
            break
        steps += 1
    assert steps > 5


@pytest.mark.slow
def test_killed_at_ten_random_moments_it_ends_in_the_same_bytes(tmp_path):
    """kill -9 of all its processes, among them while a shard begins, while a note is written, while the file is put in place."""
    program = f"""
import sys; sys.path[:0] = {[os.path.dirname(os.path.dirname(__file__)), os.getcwd()]!r}
import data.prepare
from data_helpers import Characters
module = sys.modules["data.prepare"]
module.BATCH_CHARACTERS, module.NOTED_BATCHES = 5000, 3
sys.modules["data.token_file.writer"].SHARD = 100_000
print("going", flush=True)
module.prepare((f"document {{number}}\\n" + f"line {{number * number}} of it\\n" * (number % 7) for number in range(40_000)),
               Characters(), sys.argv[1], workers=2)
"""
    def start(folder):
        process = subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   start_new_session=True)  # a group of its own, to be killed with its workers
        assert process.stdout.readline() == b"going\n"
        return process
    begun, process = time.monotonic(), start(tmp_path / "whole")
    assert b"going on" not in process.communicate()[1]
    seconds, rng, went_on = time.monotonic() - begun, random.Random(0), 0
    for _ in range(10):
        process = start(tmp_path / "killed")
        time.sleep(rng.random() * seconds)
        with contextlib.suppress(ProcessLookupError):  # it was faster
            os.killpg(process.pid, signal.SIGKILL)
        went_on += b"resuming after" in process.communicate()[1]
    went_on += b"resuming after" in start(tmp_path / "killed").communicate()[1]
    whole = contents(tmp_path / "whole")
    assert contents(tmp_path / "killed") == whole and len(whole) > 20 and went_on > 3


def killed_in_step(steps, folder):
    """Prepare, and end this process before the call numbered ``steps`` once the file is put in place."""
    from data.token_file import writer as token_writer
    left, put = [steps], token_writer.replace_folder

    def counted(function):
        def call(*args, **options):
            left[0] -= 1
            if left[0] < 0:
                os._exit(9)
            return function(*args, **options)
        return call

    def in_place(*args):
        for name in ("fsync", "rename", "unlink", "rmdir"):
            setattr(os, name, counted(getattr(os, name)))
        put(*args)
    token_writer.replace_folder = in_place
    make(DOCUMENTS[:40], Counting(), folder)


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
import sys, json; sys.path[:0] = {[os.path.dirname(os.path.dirname(__file__)), os.getcwd()]!r}
import data.prepare as module
from data_helpers import Characters
from data import prepare
module = sys.modules["data.prepare"]
module.BATCH_CHARACTERS, module.NOTED_BATCHES = 500, 3
sys.modules["data.token_file.writer"].SHARD = 4000
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
