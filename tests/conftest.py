import os
import random
import signal
import sys

# Before torch is imported: the tests run on the CPU, and a process that has used CUDA cannot fork.
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import pytest
import torch

torch.set_num_threads(1)  # the models of the tests are too small for a second thread
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
os.fsync = lambda descriptor: None  # files need not survive a power failure


@pytest.fixture
def pictures():
    """For a test whose run shall draw its loss.png."""


@pytest.fixture(autouse=True)
def no_pictures(request, monkeypatch):
    """Draw no pictures in other runs: matplotlib takes longer than training so small a model."""
    if "minibert.training.reporting" in sys.modules and "pictures" not in request.fixturenames:
        monkeypatch.setattr("minibert.training.reporting.plot_loss", lambda *arguments: None)


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    """A corpus of 100 documents of three made-up sentences."""
    rng = random.Random(0)
    words = "the cat dog sees eats a red small fish house and or not under over tree old new"
    lines = [" ".join(rng.choices(words.split(), k=rng.randint(3, 12))) + "." for _ in range(300)]
    documents = ["\n".join(lines[i : i + 3]) for i in range(0, 300, 3)]
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n\n".join(documents))
    return path
