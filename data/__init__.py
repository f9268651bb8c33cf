"""Text -> documents -> token file. See corpora.py for what there is to train on and token_file.py for the format."""
from data.corpora import open_corpus
from data.prepare import prepare
from data.token_file.reader import TokenFile
from data.token_file.writer import TokenFileWriter

__all__ = ["open_corpus", "prepare", "TokenFile", "TokenFileWriter"]
