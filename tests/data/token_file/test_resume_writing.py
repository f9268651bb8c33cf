"""An interrupted preparation resumes, and the bytes in the end are those of an undisturbed one."""
import contextlib
import functools
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from data_helpers import Characters

from data import TokenFile, TokenFileWriter, prepare

prepare_module = sys.modules["data.prepare"]  # ``data.prepare`` is the function
DOCUMENTS = [f"document {i}\n" + f"line {i * i} of it\n" * (i % 7) for i in range(200)]
ALL_LINES = 794


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """About 40 batches, saved after every third, and three shards."""
    monkeypatch.setattr(prepare_module, "BATCH_CHARACTERS", 500)
    monkeypatch.setattr(prepare_module, "SAVE_EVERY", 3)
    monkeypatch.setattr(prepare_module, "INLINE_SECONDS", 0)
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


def messages(folder, capsys, tokenizer=None):
    """Prepare the documents; return the printed lines without the progress bar."""
    capsys.readouterr()
    prepare(iter(DOCUMENTS), tokenizer or Counting(), folder, workers=1)
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
        "documents.bin", "ids-00000.bin", "ids-00001.bin", "progress.json", "segments.bin"]
    assert not (tmp_path / "tokens").exists()
    num_lines = run(tmp_path / "tokens")
    assert ALL_LINES - 500 <= num_lines < ALL_LINES - 400  # the finished part is not encoded again
    assert contents(tmp_path / "tokens") == expected
    assert not part.exists()


def test_interrupts_at_any_moment_lead_to_the_same_bytes(tmp_path, expected):
    for max_lines in range(0, 800, 110):
        folder = tmp_path / str(max_lines)
        with contextlib.suppress(KeyboardInterrupt):
            run(folder, tokenizer=Counting(max_lines))
        with contextlib.suppress(KeyboardInterrupt):  # a second time
            run(folder, tokenizer=Counting(60))
        run(folder, workers=2)
        assert contents(folder) == expected


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
    with pytest.raises(OSError, match=r"the disk is full; kept: \d+ documents"):
        run(tmp_path / "tokens", tokenizer=full)
    assert (tmp_path / ".tokens.part").is_dir()


# ------------------------------------------------------------------------------ changed input


@pytest.mark.parametrize("documents", [["new", *DOCUMENTS], DOCUMENTS[:3]])
def test_a_changed_corpus_is_an_error_that_loses_nothing(tmp_path, expected, documents):
    part = interrupt(tmp_path / "tokens")
    with pytest.raises(ValueError, match="the text has changed.* To start over, remove .*part"):
        run(tmp_path / "tokens", documents)
    assert run(tmp_path / "tokens") < ALL_LINES
    assert contents(tmp_path / "tokens") == expected
    assert not part.exists()


def test_text_after_the_finished_part_may_change(tmp_path):
    documents = [*DOCUMENTS, "more"]
    run(tmp_path / "expected", documents)
    interrupt(tmp_path / "tokens")
    assert run(tmp_path / "tokens", documents) < ALL_LINES
    assert contents(tmp_path / "tokens") == contents(tmp_path / "expected")


def test_another_tokenizer_starts_over(tmp_path, capsys):
    interrupt(tmp_path / "tokens")
    tokenizer = Counting(fingerprint="other")
    lines = messages(tmp_path / "tokens", capsys, tokenizer=tokenizer)
    assert lines == ["cannot resume: it is damaged, or made with another tokenizer or version. "
                     "Starting over"]
    assert tokenizer.num_lines == ALL_LINES


@pytest.mark.parametrize("damage", [
    lambda part: (part / "progress.json").write_text("{"),
    lambda part: (part / "progress.json").unlink(),
    lambda part: (part / "ids-00000.bin").write_bytes(b""),
    lambda part: (part / "ids-00001.bin").unlink(),
    lambda part: (part / "segments.bin").unlink(),
    lambda part: (part / "ids-00002.bin").write_bytes(b"half"),
    lambda part: (part / "notes.jsonl").write_text("of an older version"),
])
def test_damaged_unfinished_files_do_no_harm(tmp_path, expected, damage):
    part = interrupt(tmp_path / "tokens")
    damage(part)
    with contextlib.suppress(KeyboardInterrupt):
        run(tmp_path / "tokens", tokenizer=Counting(90))
    run(tmp_path / "tokens")
    files = contents(tmp_path / "tokens")
    files.pop("notes.jsonl", None)
    assert files == expected


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
        progress = files.pop("progress.json", None)
        if files != expected:
            assert not files or TokenFile(folder).num_documents == 1  # the older one
            assert run(folder, DOCUMENTS[:40], Counting(0, AssertionError)) == 0
            assert contents(folder) == expected
        num_calls += 1
    assert progress is None
    assert num_calls > 6


# A program that prepares documents, and waits in the middle; killed with all its workers.
PROGRAM = """
import functools, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it
sys.path[:0] = {paths!r}
import data
from data_helpers import Characters
module = sys.modules["data.prepare"]
module.BATCH_CHARACTERS = 500
module.SAVE_EVERY = 3
module.TokenFileWriter = functools.partial(module.TokenFileWriter, shard_size=4000)
def documents():
    for i in range(200):
        if i == 150:
            print("stopped", flush=True)
            sys.stdin.readline()
        yield f"document {{i}}\\n" + f"line {{i * i}} of it\\n" * (i % 7)
data.prepare(documents(), Characters(), sys.argv[1], workers=2)
"""


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_stopped_in_the_middle_it_resumes(tmp_path, expected, stop):
    program = PROGRAM.format(paths=[str(Path(__file__).parents[1]), os.getcwd()])
    process = subprocess.Popen([sys.executable, "-c", program, tmp_path / "tokens"], text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, start_new_session=True)
    assert process.stdout.readline() == "stopped\n"
    if stop == signal.SIGINT:
        os.killpg(process.pid, stop)  # to all processes of the group, as a terminal does
    else:
        process.send_signal(stop)
    # Returns when the last worker has ended: each of them has the pipe open.
    _, errors = process.communicate(timeout=30)
    assert "ForkProcess" not in errors  # no tracebacks of workers
    assert ("KeyboardInterrupt: kept: " in errors) == (stop == signal.SIGINT)
    assert not (tmp_path / "tokens").exists()
    assert run(tmp_path / "tokens") < 400
    assert contents(tmp_path / "tokens") == expected
