"""A run that is killed at any moment (kill -9) resumes, and ends like an uninterrupted one."""
import os
import random
import re
import time

import pytest
from commands import start_command, start_in_terminal
from train_helpers import SMALL, checkpoint_names, last_state, resume, same, start, weights

import train


def check_kills(text, folder, num_kills, max_steps, seed, max_delay):
    """max_delay: at most this many seconds from the last line that a run prints to the kill."""
    rng = random.Random(seed)
    flags = [*SMALL, "--corpus", text, "--max-steps", max_steps, "--examples", "lines",
             "--hidden-dropout-prob", "0.1", "--save-every", 1, "--eval-every", 7]
    flags = [str(flag) for flag in flags]
    killed = folder / "killed"
    for _ in range(num_kills):
        resuming = (killed / "config.json").exists()
        process, output = start_command(train.__file__, *(["--resume"] if resuming else flags),
                                        "--out", killed)
        # Sometimes before the files are prepared or the model is loaded, mostly while it trains.
        last_line = rng.choices(["run", "model", "expect"], [1, 1, 8])[0]
        for line in output:
            if line.startswith(last_line):
                break
        time.sleep(rng.random() * max_delay)
        process.kill()
        process.join()
        output.close()

    if not (killed / "config.json").exists():
        start([*flags, "--out", str(killed)])
    assert resume(killed) == 0
    assert start([*flags, "--out", str(folder / "whole")]) == 0
    assert same(weights(killed), weights(folder / "whole"))
    assert not list((killed / "checkpoints").glob(".*"))  # no temporary files are left


def test_a_killed_run_resumes_and_ends_like_an_uninterrupted_one(text, tmp_path):
    check_kills(text, tmp_path, num_kills=1, max_steps=25, seed=0, max_delay=0.3)


@pytest.mark.slow
def test_a_run_killed_at_twenty_random_moments_ends_like_an_uninterrupted_one(text, tmp_path):
    check_kills(text, tmp_path, num_kills=20, max_steps=600, seed=1, max_delay=1.5)


def test_a_run_whose_terminal_is_closed_saves_and_stops(text, tmp_path):
    """A closed terminal sends SIGHUP, and writing to it is an error."""
    pid, terminal = start_in_terminal(train.__file__, *SMALL, "--corpus", text, "--save-every", 0,
                                      "--max-steps", 100_000, "--out", tmp_path / "run")
    while not re.match(r"\W*first loss", terminal.readline()):
        pass
    terminal.close()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    assert len(checkpoint_names(tmp_path / "run")) == 1
    assert 0 < last_state(tmp_path / "run")["step"] < 100_000
