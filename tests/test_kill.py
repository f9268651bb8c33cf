"""kill -9 at any moment leaves a run that goes on, and ends where an uninterrupted one ends."""
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from minibert import from_pretrained

TRAIN = Path(__file__).parent.parent / "train.py"
FLAGS = ("--hidden-size 16 --num-hidden-layers 1 --num-attention-heads 2 --intermediate-size 16 --vocab-size 300 --max-length 16 --batch-size 4 "
         "--device cpu --precision fp32 --eval-every 7 --eval-examples 4 --save-every 1 --hidden-dropout-prob 0.1 --examples lines").split()


def start(text, out, *flags):
    resume = ["--resume"] if (out / "config.json").exists() else ["--corpus", str(text), *FLAGS, *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, str(TRAIN), "--out", str(out), *resume], env=environment,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def killed_and_whole(tmp_path, kills, steps, seed):
    rng = random.Random(seed)
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(" ".join(rng.choices("a few small words for a small model to read".split(), k=8)) for _ in range(200)))
    flags = ["--max-steps", str(steps)]
    process = start(text, tmp_path / "whole", *flags)
    screen, _ = process.communicate(timeout=300)
    assert process.returncode == 0, screen
    for _ in range(kills):
        process = start(text, tmp_path / "killed", *flags)
        for line in process.stdout:  # the first seconds are Python loading torch: aim at what comes after
            if line.startswith(("run", "corpus", "expect")):
                if line.startswith("expect") or rng.random() < 0.2:
                    break
        time.sleep(rng.random() * 1.5)
        process.kill()
        process.communicate()
    process = start(text, tmp_path / "killed", *flags)
    screen, _ = process.communicate(timeout=300)
    assert process.returncode == 0, screen
    one, two = (from_pretrained(tmp_path / name / "model").state_dict() for name in ("whole", "killed"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not list((tmp_path / "killed/checkpoints").glob(".*"))


def test_a_killed_run_goes_on_and_ends_like_an_uninterrupted_one(tmp_path):
    killed_and_whole(tmp_path, kills=1, steps=60, seed=0)


@pytest.mark.slow
def test_a_run_killed_at_twenty_random_moments_always_goes_on(tmp_path):
    killed_and_whole(tmp_path, kills=20, steps=600, seed=1)
