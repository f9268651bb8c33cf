"""Text -> documents -> token file. corpora.py opens a corpus; token_file/ has the file format."""
import tokenizer.utils.interrupt  # noqa: F401 (Ctrl-C during the slow imports prints one word)

from data.corpora import open_corpus
from data.prepare import prepare
from data.token_file.reader import TokenFile
from data.token_file.writer import TokenFileWriter

__all__ = ["open_corpus", "prepare", "TokenFile", "TokenFileWriter"]
