"""Train and use tokenizers in plain Python: byte-level BPE (RoBERTa) and WordPiece (BERT).

Read ``reference.py`` first: all of the idea, in its slowest and shortest form. Then
``normalize.py`` and ``pretokenize.py`` (text to words), ``bpe.py`` and ``wordpiece.py``.

    from tokenizer import ByteLevelBPE, WordPiece, load_tokenizer
    tok = ByteLevelBPE.train(["kant.txt"], vocab_size=8_000)
    tok.encode("The Critique of Pure Reason.").tokens
    -> ['<s>', 'The', 'ĠCritique', 'Ġof', 'ĠPure', 'ĠReason', '.', '</s>']
    tok.save("kant-tokenizer")
    tok = load_tokenizer("kant-tokenizer")
"""
import tokenizer.utils.interrupt  # noqa: F401 (Ctrl-C during the slow imports prints one word)

from tokenizer.bpe import ByteLevelBPE
from tokenizer.encoding import Encoding
from tokenizer.formats.load import load_tokenizer
from tokenizer.wordpiece import WordPiece

__all__ = ["ByteLevelBPE", "Encoding", "WordPiece", "load_tokenizer"]
