"""What a model refuses, with both values and the remedy, before a kernel stops on it with less to say.

Values of ids are looked at on the CPU only: elsewhere that would make the device wait.
"""
import torch


def check_batch(config, input_ids, attention_mask=None, token_type_ids=None):
    """ValueError unless ids, mask and token types have one shape, a length the model takes, and values it knows."""
    if input_ids.dim() != 2 or input_ids.numel() == 0:
        raise ValueError(f"input_ids has the shape {tuple(input_ids.shape)}: it must be (sequences, tokens), at least one of each")
    for name, tensor in (("attention_mask", attention_mask), ("token_type_ids", token_type_ids)):
        if tensor is not None and tensor.shape != input_ids.shape:
            raise ValueError(f"{name} has the shape {tuple(tensor.shape)}, input_ids {tuple(input_ids.shape)}: they must be the same")
    check_length(config, input_ids.shape[1])
    if values_are_checked(input_ids):
        low, high = (int(end) for end in input_ids.aminmax())
        if low < 0 or high >= config.vocab_size:
            raise ValueError(f"id {low if low < 0 else high} lies outside the vocabulary of {config.vocab_size:,}: "
                             "the ids were made with another tokenizer")
        if token_type_ids is not None and int(token_type_ids.max()) >= max(config.segments, 1):
            raise ValueError(f"token type {int(token_type_ids.max())}, but the model ({config.family}) tells apart {config.segments} segment types")


def values_are_checked(tensor):
    """Whether the values of a tensor are: on the CPU, and not where a model is being compiled, which no value may decide."""
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()


def check_length(config, length):
    """ValueError unless the model has positions for ``length`` tokens."""
    if length > config.max_length:
        why = f"max_position_embeddings {config.max_position_embeddings}"
        if config.family == "roberta":  # positions are counted from pad_token_id + 1
            why += f" - pad_token_id {config.pad_token_id} - 1"
        raise ValueError(f"a sequence of {length} tokens, but the model takes max_length {config.max_length} ({why}): "
                         "cut the text, or build the model with more positions")


def check_not_past(folder, state, total_steps, minutes):
    """ValueError where a run that goes on has trained for longer than it is asked for now: its rate would never fall.

    state: of its checkpoint, None for a new run; total_steps and minutes: asked for now, 0: without such a limit.
    """
    if not state:
        return
    if 0 < total_steps < state["step"]:
        raise ValueError(f"{folder} stands at step {state['step']:,}, which is past the {total_steps:,} steps asked for")
    done = state["elapsed"] / 60
    if 0 < minutes < done and minutes != state["config"]["train"]["minutes"]:  # its last step ends a moment after its own
        raise ValueError(f"{folder} has trained for {done:.2f} minutes, which is past the {minutes:g} asked for")


def check_labels(config, input_ids, labels):
    """ValueError unless the labels, if there are any, have the shape of the ids and lie in the vocabulary."""
    if labels is None:
        return
    if labels.shape != input_ids.shape:
        raise ValueError(f"labels has the shape {tuple(labels.shape)}, input_ids {tuple(input_ids.shape)}: they must be the same")
    if values_are_checked(labels) and labels.numel() and int(labels.max()) >= config.vocab_size:
        raise ValueError(f"label {int(labels.max())} lies outside the vocabulary of {config.vocab_size:,}")


def check_tokenizer(config, tokenizer):
    """Refuse a tokenizer that the model was not built for, before its ids mean something else than they did in training."""
    if tokenizer.vocab_size != config.vocab_size:
        raise ValueError(f"tokenizer has {tokenizer.vocab_size:,} ids, model was built for {config.vocab_size:,}: "
                         f"rebuild with vocab_size={tokenizer.vocab_size}, or take the tokenizer that the model was trained with")
    if tokenizer.pad_token_id != config.pad_token_id:
        raise ValueError(f"tokenizer pads with id {tokenizer.pad_token_id}, model with {config.pad_token_id}: "
                         f"rebuild with pad_token_id={tokenizer.pad_token_id}, or take the tokenizer that the model was trained with")
