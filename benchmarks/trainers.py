"""Run train.py or transformers' Trainer with two callbacks, so that both are measured alike.

on_start()            before the first step
on_step(save, device) after each step; save(folder) writes the model in the Hugging Face layout
"""
import os
from functools import partial
from unittest import mock

import common  # noqa: F401  (finds this checkout)
import torch

import train
from minibert import save_pretrained


def device_name():
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"cpu, {torch.get_num_threads()} threads"


def run_minibert(flags, on_start, on_step):
    """Run train.py. flags: {name of a field of the config: value}. Return its exit code."""
    class MeasuredTrainer(train.Trainer):
        def fit(self):
            on_start()
            return super().fit()

        def uncount_skipped_steps(self):  # called once at the end of each step
            any_skipped = super().uncount_skipped_steps()
            on_step(partial(save_pretrained, self.model), self.device)
            return any_skipped

    words = []
    for name, value in flags.items():
        words += ["--" + name.replace("_", "-"), str(value)]
    with mock.patch.object(train, "Trainer", MeasuredTrainer):
        return train.main(words)


def run_transformers(config, tokenizer_folder, examples, on_start, on_step, dropout=0.1,
                     **settings):
    """Train a RoBERTa with transformers' Trainer.

    config: a BertConfig with its shape; examples: lists of ids; settings: TrainingArguments.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import transformers

    class Callback(transformers.TrainerCallback):
        def on_train_begin(self, *args, **named):
            on_start()

        def on_step_end(self, *args, **named):
            on_step(model.save_pretrained, model.device)

    tokenizer = transformers.AutoTokenizer.from_pretrained(tokenizer_folder)
    shape = {name: getattr(config, name) for name in (
        "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
        "intermediate_size", "max_position_embeddings", "type_vocab_size")}
    torch.manual_seed(0)
    model = transformers.RobertaForMaskedLM(transformers.RobertaConfig(
        **shape, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id))
    transformers.Trainer(
        model=model, callbacks=[Callback()],
        args=transformers.TrainingArguments(save_strategy="no", report_to="none", **settings),
        train_dataset=[{"input_ids": ids} for ids in examples],
        data_collator=transformers.DataCollatorForLanguageModeling(
            tokenizer, mlm_probability=0.15)).train()
