"""Names of tensors: this project's and those of Hugging Face's implementations."""
import re

from minibert.generation.seq2seq import EncoderDecoder
from minibert.generation.t5 import T5
from minibert.heads import BertForQuestionAnswering, BertForTokenClassification

# Our module -> theirs; # is the index of the block. Our qkv is three tensors there.
_BERT = {
    "bert.embeddings.token": "bert.embeddings.word_embeddings",
    "bert.embeddings.position": "bert.embeddings.position_embeddings",
    "bert.embeddings.segment": "bert.embeddings.token_type_embeddings",
    "bert.embeddings.norm": "bert.embeddings.LayerNorm",
    "bert.blocks.#.attention.qkv": ("bert.encoder.layer.#.attention.self.query",
                                    "bert.encoder.layer.#.attention.self.key",
                                    "bert.encoder.layer.#.attention.self.value"),
    "bert.blocks.#.attention.out_proj": "bert.encoder.layer.#.attention.output.dense",
    "bert.blocks.#.attention_norm": "bert.encoder.layer.#.attention.output.LayerNorm",
    "bert.blocks.#.mlp.up_proj": "bert.encoder.layer.#.intermediate.dense",
    "bert.blocks.#.mlp.down_proj": "bert.encoder.layer.#.output.dense",
    "bert.blocks.#.mlp_norm": "bert.encoder.layer.#.output.LayerNorm",
    "bert.pooler": "bert.pooler.dense",
    "head.dense": "cls.predictions.transform.dense",
    "head.norm": "cls.predictions.transform.LayerNorm",
    "head": "cls.predictions",
    "nsp": "cls.seq_relationship",
    "classifier": "classifier",
}
_ROBERTA = _BERT | {
    "head.dense": "lm_head.dense",
    "head.norm": "lm_head.layer_norm",
    "head": "lm_head",
    "dense": "classifier.dense",
    "classifier": "classifier.out_proj",
}
_ROBERTA_TOKENS = _ROBERTA | {"classifier": "classifier"}
_BERT_QUESTIONS = _BERT | {"classifier": "qa_outputs"}
_ROBERTA_QUESTIONS = _ROBERTA | {"classifier": "qa_outputs"}
_MODERNBERT = {
    "bert.embeddings.token": "model.embeddings.tok_embeddings",
    "bert.embeddings.norm": "model.embeddings.norm",
    "bert.blocks.#.attention.qkv": "model.layers.#.attn.Wqkv",
    "bert.blocks.#.attention.out_proj": "model.layers.#.attn.Wo",
    "bert.blocks.#.attention_norm": "model.layers.#.attn_norm",
    "bert.blocks.#.mlp.up_proj": "model.layers.#.mlp.Wi",
    "bert.blocks.#.mlp.down_proj": "model.layers.#.mlp.Wo",
    "bert.blocks.#.mlp_norm": "model.layers.#.mlp_norm",
    "bert.final_norm": "model.final_norm",
    "head.dense": "head.dense",
    "head.norm": "head.norm",
    "head": "decoder",
    "dense": "head.dense",  # the classifier's head has the layers of the MLM head
    "norm": "head.norm",
    "classifier": "classifier",
}
_MODERNBERT_DECODER = _MODERNBERT | {
    "bert.blocks.#.attention.qkv": ("model.layers.#.attn.q_proj",
                                    "model.layers.#.attn.k_proj",
                                    "model.layers.#.attn.v_proj"),
    "head.dense": "lm_head.dense",
    "head.norm": "lm_head.norm",
}
_GPT2 = {
    "bert.embeddings.token": "transformer.wte",
    "bert.embeddings.position": "transformer.wpe",
    "bert.blocks.#.attention.qkv": "transformer.h.#.attn.c_attn",
    "bert.blocks.#.attention.out_proj": "transformer.h.#.attn.c_proj",
    "bert.blocks.#.attention_norm": "transformer.h.#.ln_1",
    "bert.blocks.#.mlp.up_proj": "transformer.h.#.mlp.c_fc",
    "bert.blocks.#.mlp.down_proj": "transformer.h.#.mlp.c_proj",
    "bert.blocks.#.mlp_norm": "transformer.h.#.ln_2",
    "bert.final_norm": "transformer.ln_f",
}
_T5 = {
    "bert.embeddings.token": "shared",
    "bert.relative_bias.table": "encoder.block.0.layer.0.SelfAttention.relative_attention_bias",
    "bert.blocks.#.attention.qkv": ("encoder.block.#.layer.0.SelfAttention.q",
                                    "encoder.block.#.layer.0.SelfAttention.k",
                                    "encoder.block.#.layer.0.SelfAttention.v"),
    "bert.blocks.#.attention.out_proj": "encoder.block.#.layer.0.SelfAttention.o",
    "bert.blocks.#.attention_norm": "encoder.block.#.layer.0.layer_norm",
    "bert.blocks.#.mlp.up_proj": "encoder.block.#.layer.1.DenseReluDense.wi",
    "bert.blocks.#.mlp.down_proj": "encoder.block.#.layer.1.DenseReluDense.wo",
    "bert.blocks.#.mlp_norm": "encoder.block.#.layer.1.layer_norm",
    "bert.final_norm": "encoder.final_layer_norm",
    "decoder.relative_bias.table": "decoder.block.0.layer.0.SelfAttention.relative_attention_bias",
    "decoder.blocks.#.attention.qkv": ("decoder.block.#.layer.0.SelfAttention.q",
                                       "decoder.block.#.layer.0.SelfAttention.k",
                                       "decoder.block.#.layer.0.SelfAttention.v"),
    "decoder.blocks.#.attention.out_proj": "decoder.block.#.layer.0.SelfAttention.o",
    "decoder.blocks.#.attention_norm": "decoder.block.#.layer.0.layer_norm",
    "decoder.blocks.#.cross_attention.q_proj": "decoder.block.#.layer.1.EncDecAttention.q",
    "decoder.blocks.#.cross_attention.kv_proj": ("decoder.block.#.layer.1.EncDecAttention.k",
                                                 "decoder.block.#.layer.1.EncDecAttention.v"),
    "decoder.blocks.#.cross_attention.out_proj": "decoder.block.#.layer.1.EncDecAttention.o",
    "decoder.blocks.#.cross_norm": "decoder.block.#.layer.1.layer_norm",
    "decoder.blocks.#.mlp.up_proj": "decoder.block.#.layer.2.DenseReluDense.wi",
    "decoder.blocks.#.mlp.down_proj": "decoder.block.#.layer.2.DenseReluDense.wo",
    "decoder.blocks.#.mlp_norm": "decoder.block.#.layer.2.layer_norm",
    "decoder.final_norm": "decoder.final_layer_norm",
    "head.decoder": "lm_head",
}
_T5_GATED = _T5 | {
    "bert.blocks.#.mlp.up_proj": ("encoder.block.#.layer.1.DenseReluDense.wi_0",
                                  "encoder.block.#.layer.1.DenseReluDense.wi_1"),
    "decoder.blocks.#.mlp.up_proj": ("decoder.block.#.layer.2.DenseReluDense.wi_0",
                                     "decoder.block.#.layer.2.DenseReluDense.wi_1"),
}
OWN = "own"  # their names are ours
# Layout -> the table, and the prefix of their encoder's names
MODULES = {"bert": _BERT, "bert-questions": _BERT_QUESTIONS,
           "roberta": _ROBERTA, "roberta-tokens": _ROBERTA_TOKENS,
           "roberta-questions": _ROBERTA_QUESTIONS, "modernbert": _MODERNBERT,
           "modernbert-decoder": _MODERNBERT_DECODER, "gpt2": _GPT2, "t5": _T5,
           "t5-gated": _T5_GATED}
ENCODER = {"bert": "bert.", "bert-questions": "bert.",
           "roberta": "roberta.", "roberta-tokens": "roberta.", "roberta-questions": "roberta.",
           "modernbert": "model.", "modernbert-decoder": "model.", "gpt2": "transformer.",
           "t5": "encoder.", "t5-gated": "encoder.", OWN: "bert."}
# GPT-2 stores the weights of its linear layers as (inputs, outputs).
TRANSPOSED = re.compile(r"^transformer\..*\.c_(attn|proj|fc)\.weight$")


def layout(model):
    """Return the name of the layout of a model's tensors."""
    config = model.config
    if isinstance(model, T5):
        return "t5-gated" if config.gated else "t5"
    if isinstance(model, EncoderDecoder):
        return OWN  # no model there has this block
    if config.family != "modernbert" and isinstance(model, BertForQuestionAnswering):
        return f"{config.family}-questions"
    if config.family == "roberta" and isinstance(model, BertForTokenClassification):
        return "roberta-tokens"
    if config.family == "modernbert" and config.causal:
        return "modernbert-decoder"
    return config.family


def hf_names(name, layout, encoder_only=False):
    """Return the names in a Hugging Face file of our tensor: one, or three for a split qkv.

    >>> hf_names("bert.blocks.3.mlp.down_proj.bias", "roberta")
    ['roberta.encoder.layer.3.output.dense.bias']
    """
    if layout == OWN:
        return [name]
    full_name = "bert." + name if encoder_only else name
    module, _, parameter = full_name.rpartition(".")
    block = re.search(r"\.(\d+)\.", module)
    found = MODULES[layout].get(re.sub(r"\.\d+\.", ".#.", module))
    if found is None:
        raise ValueError(f"the Hugging Face layout of {layout} has no tensor for {name}")
    names = []
    for hf_module in [found] if isinstance(found, str) else found:
        if block:
            hf_module = hf_module.replace("#", block[1])
        if module.startswith("bert."):
            prefix = "" if encoder_only else ENCODER[layout]
            hf_module = re.sub(r"^(bert|model|transformer)\.", prefix, hf_module)
        names.append(f"{hf_module}.{parameter}")
    return names
