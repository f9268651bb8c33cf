import shutil

import pytest
from train_helpers import run


@pytest.fixture(scope="session")
def two_steps(text, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    run(text, folder, "--max-steps", "2")
    return folder


@pytest.fixture
def finished(two_steps, tmp_path):
    """The folder of a finished run of two steps."""
    return shutil.copytree(two_steps, tmp_path / "run")
