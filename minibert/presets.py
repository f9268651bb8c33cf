"""The presets: model and training configuration by name."""
from dataclasses import replace

from minibert.config import BertConfig, TrainConfig, override

# What was best in little time (docs/log.md, docs/recipes.md), for the families with learned positions.
MUON = {"optimizer": "muon", "muon_momentum": 0.9, "learning_rate": 2e-3, "adam_beta2": 0.99, "mlm_probability": 0.3, "schedule": "stable"}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}

# The presets. Each names its source and its number of parameters (tests build each on the meta device and count).
PRESETS = {
    # The default: the ModernBERT family made small, the recipe that was best in five minutes on two CPU cores (docs/log.md).
    # A window of 16 tokens in the local layers, where ModernBERT has 128 for far longer texts. 1,729,792 parameters.
    "quickstart": (
        BertConfig(family="modernbert", vocab_size=8192, hidden_size=128, num_hidden_layers=4, num_attention_heads=2, intermediate_size=256,
                   max_position_embeddings=128, type_vocab_size=0, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, layer_norm_eps=1e-5,
                   local_attention=16),
        TrainConfig(batch_size=16, mlm_probability=0.4, optimizer="muon", muon_momentum=0.9, learning_rate=6e-3, adam_beta2=0.99,
                    schedule="stable", minutes=4.9)),
    # KantaiBERT (Rothman, Transformers for Natural Language Processing, 2nd edition, chapter 4): 2,672 steps of 64 lines.
    # Its Trainer ran AdamW at 5e-5 without warm-up; what is changed here, and what that gives: docs/recipes.md. 83,504,416 parameters
    # at 52,000 entries; the three books stop far below that, and the model is built for the entries there are.
    "kant": (
        BertConfig(family="roberta", vocab_size=52_000, num_hidden_layers=6, max_position_embeddings=514, type_vocab_size=1, pad_token_id=1,
                   **NO_DROPOUT),
        TrainConfig(corpus="kant", examples="lines", batch_size=64, max_steps=2672, **MUON)),
    # A BERT for Wikipedia: WordPiece, uncased, the size of BERT-Mini (Turc et al. 2019). 12,320,442 parameters (12,254,136 without NSP). The
    # second loss counts a fifth: then it costs the first nothing (docs/recipes.md).
    "wikipedia": (
        BertConfig(vocab_size=35_000, hidden_size=256, num_hidden_layers=4, num_attention_heads=8, intermediate_size=1024,
                   max_position_embeddings=128, **NO_DROPOUT),
        TrainConfig(corpus="wikipedia", tokenizer_kind="wordpiece", examples="pairs", batch_size=32, nsp_weight=0.2, epochs=1, **MUON)),
    # RoBERTa on Amazon reviews: packed blocks of 512, fp16 in the walk-through (precision "auto" prefers bf16). 101,427,493 parameters.
    "amazon": (
        BertConfig(family="roberta", vocab_size=20_005, max_position_embeddings=514, type_vocab_size=1, pad_token_id=1),
        TrainConfig(corpus="amazon", max_length=512, batch_size=16, learning_rate=1e-4, epochs=1)),
    # BERT-base (Devlin et al. 2018, section 3.1 and appendix A.2), first phase: 128 tokens, batch 256, 1e-4.
    # 110,106,428 parameters with both heads.
    "bert-base": (
        BertConfig(),
        TrainConfig(corpus="", tokenizer_kind="wordpiece", examples="pairs", batch_size=256, micro_batch_size=32, learning_rate=1e-4, warmup=0.01,
                    adam_beta2=0.999, max_steps=1_000_000)),
    # RoBERTa-base (Liu et al. 2019, table 9): 512 tokens, 8,000 examples a step, 6e-4, 24,000 warm-up steps of 500,000. 124,697,433 parameters.
    "roberta-base": (
        BertConfig(family="roberta", vocab_size=50_265, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1),
        TrainConfig(corpus="", max_length=512, batch_size=8000, micro_batch_size=16, learning_rate=6e-4, warmup=0.048, max_grad_norm=0.0,
                    max_steps=500_000)),
}


def variant(name, model, **train):
    """The preset ``name`` with other values of its model and of its training: what a small recipe changes, and nothing else."""
    return replace(PRESETS[name][0], **model), override(PRESETS[name][1], train)


# The recipes for two CPU cores and five minutes: tokenizer, examples and objective as above, the model smaller (docs/recipes.md).
PRESETS |= {
    "kant-small": variant("kant", {"num_hidden_layers": 4, "hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024}, minutes=4.9),
    "wikipedia-small": variant("wikipedia", {"vocab_size": 8192, "hidden_size": 192, "num_attention_heads": 3, "intermediate_size": 768},
                               max_length=64, minutes=4.9),
    "amazon-small": variant("amazon", {"vocab_size": 8192, "num_hidden_layers": 4, "hidden_size": 192, "num_attention_heads": 3,
                                       "intermediate_size": 768, **NO_DROPOUT}, max_length=32, batch_size=64, minutes=4.9, **MUON),
}
