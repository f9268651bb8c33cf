"""Make the files in ``golden/``: small vocabularies, and the ids that the tokenizers library gives.

    pip install tokenizers==0.23.3; python tests/tokenizer/make_golden.py

The byte-level vocabulary is trained by the library, and our trainer must equal it. The WordPiece
vocabulary is trained by us, because the library's differs from run to run. All ids are
the library's.
"""
import json
import sys
from pathlib import Path

from tokenizer_samples import POOLS, STORY
from tokenizers import AddedToken, __version__
from tokenizers.implementations import BertWordPieceTokenizer, ByteLevelBPETokenizer

GOLDEN = Path(__file__).parent / "golden"
SPECIAL_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
TEXTS = [
    "",
    " ",
    "\n",
    "a \n\nb  ",
    "3rd 1,000",
    "The cat’s café isn't here; IT'S THERE.",
    "x <mask> y",
    "x<mask>",
    "<s>a</s> b",
    "donkey" * 20,
    "a" * 100,
    "a" * 101,
    "naïve Señor Müller",
    "e\u0301\u0323 \u0301",
    "中文日本語 한국어 カナ",
    "İstanbul ΣΑΣ ß ﬁ ǅ",
    "😀👨\u200d👩\u200d👧🏽🇩🇪",
    "tab\tcr\r\nls\u2028nbsp\xa0zwsp\u200bx",
    "a\x00b\ufffdc\x1cd\x85e\x0bf",
    "5€ 20° №1 2×3 $5 a+b ^_^",
    "«a»—b…",
    "[MASK] [mask] [CLS]the[SEP]",
    "\u2e43\u166d\u08d4x\u1734x\u0890 \U00011938 a\u1dfa\u0323",
    "   leading and   inner   ",
    *POOLS,
]


def make():
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tokenizer import WordPiece

    options = {"vocab_size": 400, "special_tokens": SPECIAL_TOKENS, "show_progress": False}
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator([STORY], **options)
    bpe.save_model(str(GOLDEN))
    bpe = ByteLevelBPETokenizer(str(GOLDEN / "vocab.json"), str(GOLDEN / "merges.txt"))
    bpe.add_special_tokens([*SPECIAL_TOKENS[:-1], AddedToken("<mask>", lstrip=True)])
    tokenizers = {"bpe": bpe}
    for name, lowercase in (("uncased", True), ("cased", False)):
        file = GOLDEN / name / "vocab.txt"
        file.parent.mkdir(exist_ok=True)
        ours = WordPiece.train_from_iterator([STORY], 300, lowercase=lowercase, show_progress=False)
        file.write_text(ours._vocabulary_files()["vocab.txt"], encoding="utf-8")
        tokenizers[name] = BertWordPieceTokenizer(str(file), lowercase=lowercase)
    rows = []
    for text in TEXTS:
        row = {"text": text}
        for name, tokenizer in tokenizers.items():
            encoding = tokenizer.encode(text, add_special_tokens=False)
            row[name] = [encoding.ids, encoding.offsets]
        rows.append(json.dumps(row))
    head = f'{{"tokenizers": "{__version__}", "texts": [\n'
    (GOLDEN / "ids.json").write_text(head + ",\n".join(rows) + "\n]}\n")


if __name__ == "__main__":
    make()
