"""An interrupted preparation resumes, and the bytes in the end are those of an undisturbed one."""
import contextlib
import functools
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from data_helpers import Characters

from data import TokenFile, TokenFileWriter, prepare

prepare_module = sys.modules["data.prepare"]  # ``data.prepare`` is the function
DOCUMENTS = [f"document {i}\n" + f"line {i * i} of it\n" * (i % 7) for i in range(200)]
ALL_LINES = 794


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """About 40 batches, a note after every third, three shards. The disk is not waited for."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(prepare_module, "BATCH_CHARACTERS", 500)
    monkeypatch.setattr(prepare_module, "NOTED_BATCHES", 3)
    monkeypatch.setattr(prepare_module, "NUM_INLINE_BATCHES", 2)
    small_shards = functools.partial(TokenFileWriter, shard_size=4000)
    monkeypatch.setattr(prepare_module, "TokenFileWriter", small_shards)


class Counting(Characters):
    """Counts the lines that it encodes, and raises an error after ``max_lines``."""

    def __init__(self, max_lines=10**9, error=KeyboardInterrupt, fingerprint="characters"):
        super().__init__()
        self.num_lines = 0
        self.max_lines = max_lines
        self.error = error
        self.fingerprint = fingerprint

    def encode_texts(self, texts):
        self.num_lines += len(texts)
        if self.num_lines > self.max_lines:
            raise self.error
        return super().encode_texts(texts)


def run(folder, documents=DOCUMENTS, tokenizer=None, workers=1):
    """Prepare the documents; return how many lines were encoded."""
    tokenizer = tokenizer or Counting()
    prepare(iter(documents), tokenizer, folder, workers=workers, show_progress=False)
    return tokenizer.num_lines


def interrupt(folder, max_lines=500):
    """Prepare some of the documents; return the folder with the unfinished files."""
    with pytest.raises(KeyboardInterrupt):
        run(folder, tokenizer=Counting(max_lines))
    return folder.parent / f".{folder.name}.part"


def messages(folder, capsys, documents=DOCUMENTS, tokenizer=None):
    """Prepare the documents; return the printed lines without the progress bar."""
    capsys.readouterr()
    prepare(iter(documents), tokenizer or Counting(), folder, workers=1)
    lines = capsys.readouterr().err.replace("\r", "\n").splitlines()
    return [line for line in lines if line.strip() and "tokenize:" not in line]


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def expected(tmp_path):
    """The files of an undisturbed preparation."""
    assert run(tmp_path / "expected") == ALL_LINES
    return contents(tmp_path / "expected")


# ------------------------------------------------------------------------------ interrupts


def test_an_interrupted_preparation_resumes(tmp_path, expected):
    part = interrupt(tmp_path / "tokens", max_lines=500)
    assert sorted(path.name for path in part.iterdir()) == [
        "documents.bin", "ids-00000.bin", "ids-00001.bin", "notes.jsonl", "segments.bin"]
    assert not (tmp_path / "tokens").exists()
    num_lines = run(tmp_path / "tokens")
    assert ALL_LINES - 500 <= num_lines < ALL_LINES - 400  # the noted part is not encoded again
    assert contents(tmp_path / "tokens") == expected
    assert not part.exists()


def test_interrupts_at_any_moment_lead_to_the_same_bytes(tmp_path, expected):
    for max_lines in range(0, 800, 37):
        folder = tmp_path / str(max_lines)
        with contextlib.suppress(KeyboardInterrupt):
            run(folder, tokenizer=Counting(max_lines))
        with contextlib.suppress(KeyboardInterrupt):  # a second time
            run(folder, tokenizer=Counting(60))
        run(folder, workers=2)
        assert contents(folder) == expected


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("shard", [1, 2])
def test_an_interrupt_at_the_start_of_a_shard(tmp_path, monkeypatch, expected, shard, when):
    open_shard = TokenFileWriter._open_shard

    def interrupted(self, index, mode):
        if index != shard or when == "after":
            open_shard(self, index, mode)
        if index == shard:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt, match="^kept: "):
        patch.setattr(TokenFileWriter, "_open_shard", interrupted)
        run(tmp_path / "tokens")
    assert run(tmp_path / "tokens") < ALL_LINES - 200 * shard
    assert contents(tmp_path / "tokens") == expected


def test_the_very_first_batch_is_kept(tmp_path):
    interrupt(tmp_path / "tokens", max_lines=70)
    assert run(tmp_path / "tokens") < ALL_LINES
    assert not interrupt(tmp_path / "none", max_lines=0).exists()


def test_ctrl_c_and_the_next_call_report_what_is_kept(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt, match="; repeat the command to resume") as caught:
        run(tmp_path / "tokens", tokenizer=Counting(500))
    kept = str(caught.value).removeprefix("kept: ").partition(";")[0]
    assert kept.startswith("1") and " documents (" in kept
    assert messages(tmp_path / "tokens", capsys) == [
        f"reading the first {kept} again, to check that nothing has changed",
        f"resuming after {kept}"]


def test_a_full_disk_reports_what_is_kept(tmp_path):
    full = Counting(500, OSError(28, "No space left on device"))
    with pytest.raises(OSError, match=r"full after [\d,]+ tokens; the first [\d,]+ are kept"):
        run(tmp_path / "tokens", tokenizer=full)
    assert (tmp_path / ".tokens.part").is_dir()


# ------------------------------------------------------------------------------ changed input


@pytest.mark.parametrize("changed", [0, 60, 120, 199])
def test_a_corpus_that_changed_is_encoded_from_the_change_on(tmp_path, changed):
    documents = [*DOCUMENTS[:changed], "another text", *DOCUMENTS[changed + 1:]]
    all_lines = run(tmp_path / "expected", documents)
    interrupt(tmp_path / "tokens", max_lines=600)
    num_lines = run(tmp_path / "tokens", documents)
    assert contents(tmp_path / "tokens") == contents(tmp_path / "expected")
    assert (num_lines < all_lines) == (changed > 0)


def test_a_shorter_corpus_does_not_get_the_longer_one(tmp_path):
    interrupt(tmp_path / "tokens")
    run(tmp_path / "tokens", DOCUMENTS[:3])
    assert TokenFile(tmp_path / "tokens").num_documents == 3


@pytest.mark.parametrize("old, new, options, reason", [
    ("{", "", {}, "it is damaged"),
    ('"version": 2', '"version": 1', {}, "it was made with another version of this program"),
    ("", "", {"tokenizer": Counting(fingerprint="other")}, "it was made with another tokenizer"),
    ("", "", {"documents": ["new", *DOCUMENTS]}, "the text has changed"),
])
def test_the_reason_for_starting_over_is_printed(tmp_path, capsys, old, new, options, reason):
    notes = interrupt(tmp_path / "tokens") / "notes.jsonl"
    notes.write_text(notes.read_text().replace(old, new))
    lines = messages(tmp_path / "tokens", capsys, **options)
    assert lines[-1] == f"cannot resume: {reason}. Starting over"


def test_a_change_after_the_resumed_part_is_printed(tmp_path, capsys):
    interrupt(tmp_path / "tokens")
    lines = messages(tmp_path / "tokens", capsys, [*DOCUMENTS[:100], "new", *DOCUMENTS[100:]])
    assert lines[-1].startswith("resuming after ")
    assert lines[-1].endswith("; the text after that has changed")


# ------------------------------------------------------------------------------ damage


def cut_last_note(part):
    os.truncate(part / "notes.jsonl", (part / "notes.jsonl").stat().st_size - 9)


@pytest.mark.parametrize("damage", [
    lambda part: (part / "notes.jsonl").write_text("{"),
    lambda part: (part / "notes.jsonl").unlink(),
    lambda part: (part / "ids-00000.bin").write_bytes(b""),
    lambda part: (part / "ids-00001.bin").unlink(),
    lambda part: os.truncate(part / "ids-00001.bin", 7),
    lambda part: (part / "segments.bin").unlink(),
    lambda part: (part / "ids-00002.bin").write_bytes(b"half"),
    lambda part: (part / "ids-00099.bin").write_bytes(b"of another corpus"),
    cut_last_note,
])
def test_damaged_unfinished_files_do_no_harm(tmp_path, expected, damage):
    damage(interrupt(tmp_path / "tokens"))
    run(tmp_path / "tokens")
    assert contents(tmp_path / "tokens") == expected


def test_a_flipped_byte_in_the_kept_part_is_found_by_the_checksum(tmp_path):
    part = interrupt(tmp_path / "tokens")
    with (part / "ids-00000.bin").open("r+b") as file:
        file.write(b"X")
    run(tmp_path / "tokens")
    with pytest.raises(ValueError, match="ids-00000.bin is damaged"):
        TokenFile(tmp_path / "tokens").verify()


def test_a_last_note_that_was_cut_short_costs_only_itself(tmp_path):
    cut_last_note(interrupt(tmp_path / "tokens", max_lines=500))
    assert run(tmp_path / "tokens") < ALL_LINES - 300  # a note covers about 55 lines


def test_a_note_may_follow_one_that_was_cut_short(tmp_path, expected):
    """Ctrl-C can interrupt the writing of a note; the note at the end is written after it."""
    notes = interrupt(tmp_path / "tokens") / "notes.jsonl"
    *before, last = notes.read_text().split("\n")
    notes.write_text("\n".join([*before, last[:30], last]))
    interrupt(tmp_path / "other")
    assert run(tmp_path / "tokens") == run(tmp_path / "other")
    assert contents(tmp_path / "tokens") == expected


def test_any_note_can_be_lost(tmp_path, expected):
    part = interrupt(tmp_path / "tokens")
    shutil.copytree(part, tmp_path / "copy")
    lines = (part / "notes.jsonl").read_text().split("\n")
    num_lines = []
    for lost in range(1, len(lines)):
        shutil.copytree(tmp_path / "copy", part, dirs_exist_ok=True)
        kept = [*lines[:lost], lines[lost][:30], *lines[lost + 1:]]
        (part / "notes.jsonl").write_text("\n".join(kept))
        num_lines.append(run(tmp_path / "tokens"))
        assert contents(tmp_path / "tokens") == expected
    # Only one of them names the end of a shard, without which the later ones cannot be used.
    assert max(num_lines) > 500 and sum(n > 400 for n in num_lines) == 1


# ------------------------------------------------------------------------------ kill -9


def prepare_and_die(folder, num_calls):
    """Prepare, and exit before the call ``num_calls`` that changes the disk at the very end."""
    writer_module = sys.modules["data.token_file.writer"]
    replace_folder = writer_module.replace_folder
    remaining = num_calls

    def counted(function):
        def call(*args, **options):
            nonlocal remaining
            remaining -= 1
            if remaining < 0:
                os._exit(9)
            return function(*args, **options)
        return call

    def replace_folder_and_die(*args):
        for name in ("fsync", "rename", "unlink", "rmdir"):
            setattr(os, name, counted(getattr(os, name)))
        replace_folder(*args)

    writer_module.replace_folder = replace_folder_and_die
    run(folder, DOCUMENTS[:40])


@pytest.mark.parametrize("replaces_older", [False, True])
def test_killed_at_any_step_of_moving_the_folder_into_place(tmp_path, replaces_older):
    """The next call has nothing to encode."""
    run(tmp_path / "expected", DOCUMENTS[:40])
    expected = contents(tmp_path / "expected")
    exit_code = None
    num_calls = 0
    while exit_code != 0:
        folder = tmp_path / str(num_calls)
        if replaces_older:
            run(folder, ["old"])
        process = multiprocessing.get_context("fork").Process(
            target=prepare_and_die, args=(folder, num_calls))
        process.start()
        process.join()
        exit_code = process.exitcode
        assert exit_code in (0, 9)
        files = contents(folder) if folder.exists() else {}
        notes = files.pop("notes.jsonl", None)
        if files != expected:
            assert not files or TokenFile(folder).num_documents == 1  # the older one
            assert run(folder, DOCUMENTS[:40], Counting(0, AssertionError)) == 0
            assert contents(folder) == expected
        num_calls += 1
    assert notes is None
    assert num_calls > 6


# A program that prepares documents; killed with all its workers.
PROGRAM = """
import functools, sys
sys.path[:0] = {paths!r}
import data
from data_helpers import Characters
module = sys.modules["data.prepare"]
module.BATCH_CHARACTERS = {batch_characters}
module.NOTED_BATCHES = 3
module.TokenFileWriter = functools.partial(module.TokenFileWriter, shard_size={shard_size})
def documents():
    for i in range({num_documents}):
        if i == {stop}:
            print("stopped", flush=True)
            sys.stdin.readline()
        yield f"document {{i}}\\n" + f"line {{i * i}} of it\\n" * (i % 7)
print("started", flush=True)
data.prepare(documents(), Characters(), sys.argv[1], workers={workers})
"""


def start(folder, **values):
    """Start the program in a process group of its own."""
    program = PROGRAM.format(paths=[str(Path(__file__).parents[1]), os.getcwd()], **values)
    process = subprocess.Popen([sys.executable, "-c", program, str(folder)], text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, start_new_session=True)
    assert process.stdout.readline() == "started\n"
    return process


def test_killed_in_the_middle_it_resumes(tmp_path, expected):
    process = start(tmp_path / "tokens", batch_characters=500, shard_size=4000, workers=1,
                    num_documents=200, stop=150)
    assert process.stdout.readline() == "stopped\n"
    process.kill()
    process.communicate()
    notes = (tmp_path / ".tokens.part/notes.jsonl").read_text().splitlines()
    assert len(notes) > 5 and json.loads(notes[-1])["num_tokens"] > 0
    assert run(tmp_path / "tokens") < 400
    assert contents(tmp_path / "tokens") == expected


@pytest.mark.slow
def test_killed_at_ten_random_moments_it_ends_with_the_same_bytes(tmp_path):
    values = {"batch_characters": 5000, "shard_size": 100_000, "workers": 2,
              "num_documents": 40_000, "stop": None}
    start_time = time.monotonic()
    _, errors = start(tmp_path / "expected", **values).communicate()
    seconds = time.monotonic() - start_time
    assert "resuming after" not in errors

    rng = random.Random(0)
    num_resumed = 0
    for kills in range(11):
        process = start(tmp_path / "killed", **values)
        if kills < 10:
            time.sleep(rng.random() * seconds)
            with contextlib.suppress(ProcessLookupError):  # it has already ended
                os.killpg(process.pid, signal.SIGKILL)
        _, errors = process.communicate()
        num_resumed += "resuming after" in errors
    expected = contents(tmp_path / "expected")
    assert contents(tmp_path / "killed") == expected
    assert len(expected) > 20 and num_resumed > 3
