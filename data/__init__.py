"""Text -> documents -> token file. See corpora.py for what there is to train on and token_file.py for the format."""
from .corpora import open_corpus
from .prepare import prepare
from .token_file import TokenFile
from .token_writer import TokenFileWriter

__all__ = ["open_corpus", "prepare", "TokenFile", "TokenFileWriter"]
