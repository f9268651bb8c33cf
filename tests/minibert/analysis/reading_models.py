"""Models so small that their activations can be worked out by hand."""
import functools
import math

import torch

from minibert.config import BertConfig
from minibert.formats.huggingface import save_pretrained
from minibert.model import BertForMaskedLM
from tokenizer import ByteLevelBPE, WordPiece

LINES = [
    "He broke the record.",
    "She played the record.",
    "A small dog sees the old tree.",
    "The cat eats fish.",
] * 5


@functools.cache
def tokenizer_of(kind="bpe"):
    tokenizer_class = ByteLevelBPE if kind == "bpe" else WordPiece
    return tokenizer_class.train_from_iterator(LINES, vocab_size=400, show_progress=False)


def model_for(tokenizer, family="modernbert", layers=2, heads=2, **options):
    """Return an untrained model, always the same, with large weights: no two tokens are alike."""
    torch.manual_seed(0)
    return BertForMaskedLM(BertConfig(
        family=family,
        vocab_size=tokenizer.vocab_size,
        pad_token_id=tokenizer.pad_token_id,
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=16,
        max_position_embeddings=40,
        initializer_range=0.5,
        **options,
    ))


def constant_model(tokenizer, probabilities):
    """Return a model that gives every mask these probabilities, and the other tokens the rest."""
    model = model_for(tokenizer)
    rest = (1 - sum(probabilities.values())) / (tokenizer.vocab_size - len(probabilities))
    with torch.no_grad():
        model.bert.embeddings.token.weight.zero_()  # tied to the head: logits = its bias
        model.head.bias.fill_(math.log(rest))
        for token, probability in probabilities.items():
            model.head.bias[tokenizer.token_to_id(token)] = math.log(probability)
    return model


def round_to_bf16(model):
    """Round the weights as the page of a run does."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(torch.bfloat16).float()


def saved(folder, model, tokenizer):
    """Save a run: model/ and tokenizer/. Return its folder."""
    save_pretrained(model, folder / "model")
    tokenizer.save(folder / "tokenizer")
    return folder
