"""kill -9 at any moment leaves a run that goes on, and ends where an uninterrupted one ends."""
import random
import time

import pytest
import torch
from commands import Running

import train
from minibert import from_pretrained

FLAGS = ("--hidden-size 16 --num-hidden-layers 1 --num-attention-heads 2 --intermediate-size 16 --vocab-size 300 --max-length 16 --batch-size 4 "
         "--device cpu --precision fp32 --eval-every 7 --eval-examples 4 --save-every 1 --hidden-dropout-prob 0.1 --examples lines").split()


def words(text, out, *flags):
    """The words behind train.py: a new run, or one that goes on."""
    return ["--out", str(out), *(["--resume"] if (out / "config.json").exists() else ["--corpus", str(text), *FLAGS, *flags])]


def killed_and_whole(tmp_path, kills, steps, seed, longest):
    """longest: seconds from the last line before training to the kill, at most."""
    rng = random.Random(seed)
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(" ".join(rng.choices("a few small words for a small model to read".split(), k=8)) for _ in range(200)))
    flags = ["--max-steps", str(steps)]
    assert train.main(words(text, tmp_path / "whole", *flags)) == 0
    for _ in range(kills):
        process = Running(train.__file__, *words(text, tmp_path / "killed", *flags))
        for line in process.stdout:
            if line.startswith(("run", "corpus", "expect")):
                if line.startswith("expect") or rng.random() < 0.2:
                    break
        time.sleep(rng.random() * longest)
        process.kill()
        process.wait()
    assert train.main(words(text, tmp_path / "killed", *flags)) == 0
    one, two = (from_pretrained(tmp_path / name / "model").state_dict() for name in ("whole", "killed"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not list((tmp_path / "killed/checkpoints").glob(".*"))


def test_a_killed_run_goes_on_and_ends_like_an_uninterrupted_one(tmp_path):
    killed_and_whole(tmp_path, kills=1, steps=25, seed=0, longest=0.3)


@pytest.mark.slow
def test_a_run_killed_at_twenty_random_moments_always_goes_on(tmp_path):
    killed_and_whole(tmp_path, kills=20, steps=600, seed=1, longest=1.5)
