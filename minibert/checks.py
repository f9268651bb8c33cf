"""Checks of what a model is called with, so that an error names the bad value and the fix.

The values of ids and labels are checked only on the CPU: reading them from a GPU would make the CPU
wait.
"""
import torch


def check_batch(config, input_ids, attention_mask=None, token_type_ids=None):
    """Raise ValueError unless ids, mask and token types have one shape and known values."""
    if torch.jit.is_tracing():
        return  # a traced model would keep the comparisons with this batch as constants
    if input_ids.dim() != 2 or input_ids.numel() == 0:
        raise ValueError(f"input_ids has the shape {tuple(input_ids.shape)}: it must be "
                         "(sequences, tokens), with at least one of each")
    check_same_shape("attention_mask", attention_mask, input_ids)
    check_same_shape("token_type_ids", token_type_ids, input_ids)
    check_length(config, input_ids.shape[1])
    if not can_read_values(input_ids):
        return
    smallest, largest = (int(value) for value in input_ids.aminmax())
    if smallest < 0 or largest >= config.vocab_size:
        bad_id = smallest if smallest < 0 else largest
        raise ValueError(f"id {bad_id} is outside the vocabulary of {config.vocab_size:,}: "
                         "the ids come from another tokenizer")
    if token_type_ids is not None and int(token_type_ids.max()) >= max(config.segments, 1):
        raise ValueError(f"token type {int(token_type_ids.max())}, but this {config.family} model "
                         f"has {config.segments} segment types")


def check_same_shape(name, tensor, input_ids):
    if tensor is not None and tensor.shape != input_ids.shape:
        raise ValueError(f"{name} has the shape {tuple(tensor.shape)}, input_ids "
                         f"{tuple(input_ids.shape)}: they must be the same")


def can_read_values(tensor):
    """Return whether reading values is free: on the CPU, and not while a model is compiled."""
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()


def check_labels(config, input_ids, labels):
    """Raise ValueError unless labels are None or have the shape of the ids and known values."""
    check_same_shape("labels", labels, input_ids)
    if labels is not None and can_read_values(labels) and int(labels.max()) >= config.vocab_size:
        raise ValueError(f"label {int(labels.max())} is outside the vocabulary of "
                         f"{config.vocab_size:,}")


def check_length(config, length):
    """Raise ValueError unless the model has positions for ``length`` tokens."""
    if length > config.max_length:
        reason = f"max_position_embeddings {config.max_position_embeddings}"
        if config.family == "roberta":  # positions start at pad_token_id + 1
            reason += f" - pad_token_id {config.pad_token_id} - 1"
        raise ValueError(f"a sequence of {length} tokens, but the model takes max_length "
                         f"{config.max_length} ({reason}): cut the text")


def check_tokenizer(config, tokenizer):
    """Raise ValueError for a tokenizer that the model was not built for.

    The model may have more rows than the tokenizer has tokens: vocabularies are padded to a
    multiple of 8 or 64 for speed (NVIDIA's BERT has 30,528 rows for 30,522 tokens), and the ids
    may have gaps. No text has these ids. They stay in the softmax, as in the reference, but are
    never an answer.
    """
    fix = "use the tokenizer that the model was trained with"
    if tokenizer.vocab_size > config.vocab_size:
        raise ValueError(f"tokenizer has {tokenizer.vocab_size:,} ids, model was built for "
                         f"{config.vocab_size:,}: {fix}, or add rows to the model with "
                         f"transformers: model.resize_token_embeddings({tokenizer.vocab_size})")
    pad_token_id = tokenizer.pad_token_id  # None in GPT-2
    if pad_token_id != config.pad_token_id and not (pad_token_id is None and config.causal):
        raise ValueError(f"tokenizer pads with id {tokenizer.pad_token_id}, model with "
                         f"{config.pad_token_id}: {fix}, or correct pad_token_id in config.json")


def rows_without_token(config, tokenizer):
    """Return a line about the rows that no text uses, or "" if each row has a token."""
    num_tokens = tokenizer.vocab_size - len(tokenizer.unused_ids)
    num_rows = config.vocab_size - num_tokens
    if not num_rows:
        return ""
    return (f"the model has {config.vocab_size:,} rows for {num_tokens:,} tokens: {num_rows:,} can "
            "never be predicted (padding, gaps in the ids, or another model's tokenizer)")
