"""Put it together: a BERT made of your own functions learns 32 sentences by heart (chapter 9).

Finish exercises 1, 2, 4, 5 and 6 first: their functions are imported below.

sentences: 32 strings of words in lower case

1. Vocabulary: split each word into letters, with "_" before the first one, and learn 60 merges.
2. Ids: 0 is padding, 1 [CLS], 2 [SEP], 3 [MASK], and the tokens follow. All sentences have the
   same number of ids, T, with padding at the end.
3. Model: the sum of token and position embeddings; two blocks, x + attention and x + MLP, each of a
   LayerNorm of x; a last LayerNorm; one output for each entry of the vocabulary. A width of 64 is
   enough. Padding must not be attended to.
4. Training: a few hundred steps of AdamW, each on all 32 sentences with new masks.

Return (ids, model): ids (32, T), a tensor of int64; model maps ids (B, T) to logits (B, T, V).

The check replaces each token by [MASK], one at a time, and asks the model for it. It passes if
at least 95% of the answers are right. (docs/book/tiny_bert.py is such a model, in post-norm.)
"""
from importlib import import_module

count_pairs = import_module("1_count_pairs").count_pairs
apply_merge = import_module("2_apply_merge").apply_merge
mask_tokens = import_module("4_mask_tokens").mask_tokens
attention = import_module("5_attention").attention
lr_multiplier = import_module("6_schedule").lr_multiplier


def train_bert(sentences):
    raise NotImplementedError
