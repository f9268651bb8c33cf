"""Models so small that what they do inside can be worked out by hand."""
import torch

from minibert.config import BertConfig
from minibert.formats.huggingface import save_pretrained
from minibert.model import BertForMaskedLM
from tokenizer import ByteLevelBPE, WordPiece

LINES = ["He broke the record.", "She played the record.", "A small dog sees the old tree.", "The cat eats fish."] * 5


def tokenizer_of(kind="bpe"):
    train = ByteLevelBPE.train_from_iterator if kind == "bpe" else WordPiece.train_from_iterator
    return train(LINES, vocab_size=400, show_progress=False)


def model_for(tokenizer, family="modernbert", layers=2, heads=2, **options):
    """Fresh weights, always the same ones, larger than usual, so that no two tokens come out alike."""
    torch.manual_seed(0)
    config = BertConfig(family=family, vocab_size=tokenizer.vocab_size, hidden_size=16, num_hidden_layers=layers, num_attention_heads=heads,
                        intermediate_size=16, max_position_embeddings=40, pad_token_id=tokenizer.pad_token_id, initializer_range=0.5, **options)
    return BertForMaskedLM(config)


def saved(folder, model, tokenizer):
    save_pretrained(model, folder / "model")
    tokenizer.save(folder / "tokenizer")
    return folder
