"""The presets: model and training configuration by name.

    name              parameters   source
    quickstart         1,729,792   our best recipe for five minutes on two CPU cores (docs/log.md)
    small              4,794,880   a model to fine-tune: two hours on two CPU cores, or ten minutes
                                   (--minutes 10) on a GPU. It needs a --corpus
    kant              83,504,416   KantaiBERT: Rothman, Transformers for Natural Language Processing
                                   (2nd edition), chapter 4. Counted for 52,000 entries; the three
                                   books give far fewer
    wikipedia         12,320,442   the size of BERT-Mini (Turc et al. 2019), WordPiece, uncased
    amazon           101,427,493   a RoBERTa on Amazon reviews in packed blocks of 512 tokens
    bert-base        110,106,428   Devlin et al. 2018, section 3.1 and appendix A.2, first phase
    roberta-base     124,697,433   Liu et al. 2019, table 9
    kant-small, wikipedia-small, amazon-small: the same tokenizer and objective in smaller models,
                                   for five minutes on two CPU cores (docs/recipes.md)
"""
from dataclasses import replace

from minibert.config import LENGTHS, BertConfig, TrainConfig

# The best settings we found for short runs of models with learned positions (docs/recipes.md).
MUON = {"optimizer": "muon", "muon_momentum": 0.9, "learning_rate": 2e-3, "adam_beta2": 0.99,
        "mlm_probability": 0.3, "schedule": "stable"}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}

PRESETS = {
    "quickstart": (
        BertConfig(family="modernbert", vocab_size=8192, hidden_size=128, num_hidden_layers=4,
                   num_attention_heads=2, intermediate_size=256, max_position_embeddings=128,
                   type_vocab_size=0, layer_norm_eps=1e-5, **NO_DROPOUT,
                   local_attention=16),  # ModernBERT has 128, for far longer texts
        TrainConfig(batch_size=16, minutes=4.9,
                    **MUON | {"learning_rate": 6e-3, "mlm_probability": 0.4})),
    "kant": (
        BertConfig(family="roberta", vocab_size=52_000, num_hidden_layers=6,
                   max_position_embeddings=514, type_vocab_size=1, pad_token_id=1, **NO_DROPOUT),
        # The book trains with AdamW at 5e-5 without warm-up; docs/recipes.md compares the two.
        TrainConfig(corpus="kant", examples="lines", batch_size=64, max_steps=2672, **MUON)),
    "wikipedia": (
        BertConfig(vocab_size=35_000, hidden_size=256, num_hidden_layers=4, num_attention_heads=8,
                   intermediate_size=1024, max_position_embeddings=128, **NO_DROPOUT),
        # With a weight of 0.2 the next-sentence loss costs the MLM loss nothing (docs/recipes.md).
        TrainConfig(corpus="wikipedia", tokenizer_kind="wordpiece", examples="pairs",
                    batch_size=32, nsp_weight=0.2, epochs=1, **MUON)),
    "amazon": (
        BertConfig(family="roberta", vocab_size=20_005, max_position_embeddings=514,
                   type_vocab_size=1, pad_token_id=1),
        TrainConfig(corpus="amazon", max_length=512, batch_size=16, learning_rate=1e-4, epochs=1)),
    "bert-base": (
        BertConfig(),
        TrainConfig(corpus="", tokenizer_kind="wordpiece", examples="pairs", batch_size=256,
                    micro_batch_size=32, learning_rate=1e-4, warmup=0.01, adam_beta2=0.999,
                    max_steps=1_000_000)),
    "roberta-base": (
        BertConfig(family="roberta", vocab_size=50_265, max_position_embeddings=514,
                   type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1),
        TrainConfig(corpus="", max_length=512, batch_size=8000, micro_batch_size=16,
                    learning_rate=6e-4, warmup=0.048,  # 24,000 of 500,000 steps
                    max_grad_norm=0.0, max_steps=500_000)),
}

# What `python train.py` gave in the run of the README. A run with the same settings prints it.
QUICKSTART_RESULT = {
    "loss": 3.342, "accuracy": 0.427, "steps": 1319, "date": "2026-11-30",
    "machine": "two cores of an AMD EPYC without bf16", "text_fingerprint": "3e42760d",
    "made_from": "Python 3.11.7, torch 2.13.0, numpy 2.4.6, sympy 1.14.0, networkx 3.6.1"}


def override(train, values):
    """Return a TrainConfig with other values. A new length of the run replaces the old one.

    >>> override(TrainConfig(max_steps=2672), {"minutes": 4.9}).max_steps
    0
    """
    if any(name in values for name in LENGTHS):
        values = dict.fromkeys(LENGTHS, 0) | values
    return replace(train, **values)


def _variant(name, model, **train):
    """Return the preset ``name`` with other values of its model and its training."""
    model_config, train_config = PRESETS[name]
    return replace(model_config, **model), override(train_config, train)


# WordPiece in lower case did better with few labels, single sentences on minimal pairs, and batches
# of equal tokens on both (docs/log.md). 80 sentences have about as many tokens as 16 packed
# sequences.
PRESETS["small"] = _variant(
    "quickstart", {"hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 512},
    corpus="", tokenizer_kind="wordpiece", examples="lines", sentences=True, batch_size=80,
    equal_tokens=True, minutes=120)
PRESETS["kant-small"] = _variant(
    "kant", {"num_hidden_layers": 4, "hidden_size": 256, "num_attention_heads": 4,
             "intermediate_size": 1024}, minutes=4.9)
PRESETS["wikipedia-small"] = _variant(
    "wikipedia", {"vocab_size": 8192, "hidden_size": 192, "num_attention_heads": 3,
                  "intermediate_size": 768}, max_length=64, minutes=4.9)
PRESETS["amazon-small"] = _variant(
    "amazon", {"vocab_size": 8192, "num_hidden_layers": 4, "hidden_size": 192,
               "num_attention_heads": 3, "intermediate_size": 768, **NO_DROPOUT},
    max_length=32, batch_size=64, minutes=4.9, **MUON)
