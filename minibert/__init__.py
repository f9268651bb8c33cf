"""BERT, RoBERTa and ModernBERT: configuration, model, training and analysis.

Start reading with ``model.py``. The public names:

    from minibert import BertConfig, BertForMaskedLM, fill_mask, from_pretrained, save_pretrained
"""
import tokenizer.utils.interrupt  # noqa: F401 (Ctrl-C during the slow imports prints one word)

from minibert.analysis.mask_filling import fill_mask
from minibert.analysis.pseudo_likelihood import pseudo_perplexity
from minibert.analysis.sentence_vectors import sentence_vectors
from minibert.config import BertConfig
from minibert.formats.huggingface import from_pretrained, save_pretrained
from minibert.heads import BertForPreTraining, BertForSequenceClassification, PlainOutput
from minibert.model import BertForMaskedLM, BertModel

__all__ = [
    "BertConfig",
    "BertForMaskedLM",
    "BertForPreTraining",
    "BertForSequenceClassification",
    "BertModel",
    "PlainOutput",
    "fill_mask",
    "from_pretrained",
    "pseudo_perplexity",
    "save_pretrained",
    "sentence_vectors",
]
