"""Token file -> model: configuration, the three families, training's parts, and a filled mask. Start with ``model.py``.

    from minibert import BertConfig, BertForMaskedLM, fill_mask, from_pretrained, save_pretrained

Names are imported when they are first asked for, so that ``import minibert`` does not wait for torch.
"""
import sys
from importlib import import_module
from types import ModuleType

_HOMES = {"BertConfig": "config", "BertModel": "model", "BertForMaskedLM": "model", "BertForPreTraining": "model",
          "BertForSequenceClassification": "heads", "from_pretrained": "interop", "save_pretrained": "interop", "fill_mask": "fill_mask",
          "sentence_vectors": "nearest", "pseudo_perplexity": "perplexity"}
__all__ = list(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'minibert' has no attribute {name!r}")
    return getattr(import_module(f"minibert.{_HOMES[name]}"), name)


def __dir__():
    return __all__


class _Package(ModuleType):
    """Python sets a package's attribute to each submodule that is imported. There is a submodule ``fill_mask`` and a function in
    it of the same name: here the function is always meant. The module's other names: ``from minibert.fill_mask import load_run``."""

    fill_mask = property(lambda self: import_module("minibert.fill_mask").fill_mask, lambda self, module: None)


sys.modules[__name__].__class__ = _Package
