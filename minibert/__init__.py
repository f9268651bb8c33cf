"""BERT, RoBERTa and ModernBERT: configuration, model, training and analysis.

To learn how pre-training works, read ../train.py and these files, 2,000 lines in all:

    model.py, attention.py      ids -> vectors -> logits -> loss
    masking.py                  which tokens the model must predict
    examples.py, batches.py     a token file -> examples -> batches
    optim.py                    AdamW, Muon and the schedules
    evaluate.py                 the validation loss, and losses to compare it with

The folders are about the rest: ``training`` (what a run prepares, prints and saves), ``formats``
(models on disk), ``finetuning``, ``generation`` (GPT and T5) and ``analysis``. The public names:

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
