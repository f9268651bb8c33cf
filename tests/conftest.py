import os
import random
import signal
import sys

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch looks: tests run on the CPU, and a process that has asked for a GPU cannot be forked

import pytest
import torch

# The models of the tests are tiny: handing their work to a second thread takes longer than doing it.
torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job, which half of `make test` is, begins with it ignored


@pytest.fixture
def pictures():
    """For a test of which a run is to draw its loss.png."""


@pytest.fixture(autouse=True)
def no_pictures(request, monkeypatch):
    """All other runs draw none: it takes matplotlib longer than training so small a model."""
    if "minibert.training.reporting" in sys.modules and "pictures" not in request.fixturenames:
        monkeypatch.setattr("minibert.training.reporting.plot_loss", lambda *arguments: None)


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    """A small corpus of made-up sentences."""
    rng = random.Random(0)
    words = "the cat dog sees eats a red small fish house and or not under over tree old new".split()
    lines = [" ".join(rng.choices(words, k=rng.randint(3, 12))) + "." for _ in range(300)]
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n\n".join("\n".join(lines[i : i + 3]) for i in range(0, 300, 3)))
    return path
