"""Runs to fine-tune; no test changes their files."""
import pytest
from finetune_helpers import make_run

from minibert.config import FAMILIES


@pytest.fixture(scope="session", params=FAMILIES)
def any_run(request, tmp_path_factory):
    return make_run(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session")
def bert(tmp_path_factory):
    return make_run("bert", tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session")
def modernbert(tmp_path_factory):
    return make_run("modernbert", tmp_path_factory.mktemp("modernbert"))
