"""A tokenizer of each kind, trained on a few lines."""
import pytest
from reading_models import tokenizer_of


@pytest.fixture(scope="session")
def bpe():
    return tokenizer_of("bpe")


@pytest.fixture(scope="session")
def wordpiece():
    return tokenizer_of("wordpiece")
