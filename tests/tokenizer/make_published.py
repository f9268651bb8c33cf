"""Make ``golden/published/``: small folders laid out like published models, and transformers' ids.

    pip install tokenizers==0.23.3 transformers==5.23; python tests/tokenizer/make_published.py

The vocabularies are those in ``golden/``; the files around them are those of RoBERTa, GPT-2, BERT
and ModernBERT. The live tests make the same folders again (``make parity``).
"""
import json
import sys
from pathlib import Path

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from transformers import (
    AutoTokenizer,
    BertTokenizer,
    GPT2Tokenizer,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
)

GOLDEN = Path(__file__).parent / "golden"
TEXTS = [
    "",
    " ",
    "The cat's  café isn't\there;\n\n   IT'S   THERE.",
    "x <mask> y  [MASK][MASK] z",
    "cafe\u0301 e\u0323\u0301 \u212b ｶﾞ",
    "donkey" * 20,
    "<s>a</s> [CLS]b[SEP]<|endoftext|>",
    "3rd 1,000 |||IP_ADDRESS||| millers flour\u3000FLOUR",
    "İstanbul ΣΑΣ ß 中文 😀",
    "👩\u200d👧",
    "a" + " " * 30 + "b",
    "tail   ",
]
NEVER_IN_UTF8 = {chr(code) for code in (0xC0, 0xC1, *range(0xF5, 0x100))}


def with_ids(tokens):
    return {token: i for i, token in enumerate(tokens)}


def bpe_vocabulary():
    """Return (tokens without special ones, in order; merges)."""
    vocabulary = json.loads((GOLDEN / "vocab.json").read_text(encoding="utf-8"))
    lines = (GOLDEN / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
    return list(vocabulary)[5:], [tuple(line.split(" ")) for line in lines]


def byte_level(tokens, merges):
    tokenizer = Tokenizer(models.BPE(with_ids(tokens), merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def roberta(folder):
    """As roberta-base: the mask takes the space before it; vocab.json and merges.txt included."""
    tokens, merges = bpe_vocabulary()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer = byte_level([*special, *tokens, "<mask>"], merges)
    tokenizer.add_special_tokens([*special, AddedToken("<mask>", lstrip=True)])
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), add_prefix_space=False)
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer.model.save(str(folder))
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 512}')
    (folder / "config.json").write_text('{"model_type": "roberta"}')


def roberta_by_transformers(folder):
    """As RobertaTokenizer of transformers 5 saves it, with a space put before each text."""
    tokens, merges = bpe_vocabulary()
    vocabulary = with_ids(["<s>", "<pad>", "</s>", "<unk>", *tokens, "<mask>"])
    RobertaTokenizer(vocabulary, merges, add_prefix_space=True).save_pretrained(folder)


def gpt2(folder):
    """One special token, at the end; no templates, no pad, no mask."""
    tokens, merges = bpe_vocabulary()
    GPT2Tokenizer(with_ids([*tokens, "<|endoftext|>"]), merges).save_pretrained(folder)


def modernbert(folder):
    """NFC; without bytes that UTF-8 never uses; added tokens that are not special."""
    tokens, merges = bpe_vocabulary()
    tokens = [token for token in tokens if token not in NEVER_IN_UTF8]
    tokenizer = byte_level(["<|endoftext|>", "<|padding|>", *tokens], merges)
    tokenizer.normalizer = normalizers.NFC()
    plain = ["|||IP_ADDRESS|||", *(" " * length for length in range(24, 1, -1))]
    tokenizer.add_tokens([AddedToken(token, normalized=True) for token in plain])
    special = ["<|endoftext|>", "<|padding|>", "[UNK]", "[CLS]", "[SEP]", "[PAD]"]
    tokenizer.add_special_tokens([*special, AddedToken("[MASK]", lstrip=True)])
    tokenizer.add_tokens([AddedToken(f"[unused{i}]", normalized=False) for i in range(3)])
    ids = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", ids)
    roles = {f"{role}_token": f"[{role.upper()}]" for role in ("cls", "sep", "pad", "unk", "mask")}
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=8192, **roles).save_pretrained(folder)


def bert(folder, kind="uncased", **options):
    tokens = (GOLDEN / kind / "vocab.txt").read_text(encoding="utf-8").splitlines()
    lowercase = kind == "uncased"
    BertTokenizer(with_ids(tokens), do_lower_case=lowercase, **options).save_pretrained(folder)


def bert_with_terms(folder):
    """Terms added to a finished vocabulary: found in any case, and within words."""
    bert(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    flour = AddedToken("Flour", normalized=True)
    tokenizer.add_tokens(["miller", flour, AddedToken("THERE", normalized=False)])
    tokenizer.save_pretrained(folder)


def bert_of_old(folder):
    """A file of 2020 does not contain the type of its model."""
    bert(folder, "cased", tokenize_chinese_chars=False, strip_accents=True)
    path = folder / "tokenizer.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    del document["model"]["type"]
    path.write_text(json.dumps(document), encoding="utf-8")


LAYOUTS = {
    "roberta": roberta,
    "roberta-by-transformers": roberta_by_transformers,
    "gpt2": gpt2,
    "modernbert": modernbert,
    "bert": bert,
    "bert-cased": lambda folder: bert(folder, "cased"),
    "bert-with-terms": bert_with_terms,
    "bert-of-old": bert_of_old,
}


def make(name, folder):
    """Make a folder in the layout of that name and return transformers' tokenizer for it."""
    folder.mkdir(parents=True, exist_ok=True)
    LAYOUTS[name](folder)
    return AutoTokenizer.from_pretrained(folder)


def compact(path):
    """Remove line ends and indentation from a JSON file, which is checked in."""
    document = json.loads(path.read_text(encoding="utf-8"))
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:] or ["modernbert", "gpt2", "bert-with-terms"]:
        folder = GOLDEN / "published" / name
        theirs = make(name, folder)
        rows = []
        for text in TEXTS:
            pair_ids = theirs(text, "the cat")["input_ids"]
            rows.append(json.dumps([text, theirs(text)["input_ids"], pair_ids]))
        for file in folder.glob("*.json"):
            compact(file)
        (folder / "ids.json").write_text("[\n" + ",\n".join(rows) + "\n]\n")
