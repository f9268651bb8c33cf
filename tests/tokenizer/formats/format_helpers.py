"""Small tokenizers, and changes of their files."""
import functools
import json
from pathlib import Path

from tokenizer_samples import STORY

from tokenizer import ByteLevelBPE, WordPiece
from tokenizer.pretokenize import byte_characters

PUBLISHED = Path(__file__).parents[1] / "golden" / "published"


@functools.cache
def bpe(**options):
    return ByteLevelBPE.train_from_iterator([STORY], 400, show_progress=False, **options)


@functools.cache
def wordpiece(**options):
    return WordPiece.train_from_iterator([STORY], 300, show_progress=False, **options)


ODD = [" x y ", "a\tb", "é\u0301", 'q"\\', "[CLS]", "</s>", "<unk>", "ab", "#", "##b", "日本", "  ",
       "😀\u200d", "A", "bpe", "#version: 0.2", "\u0301", "Ġa", "null", "İ", "</s> </s>", "$A"]
MERGES = [("a", "b"), ("Ġ", "a"), ("ab", "ab"), ("Ã", "©"), ("Ġ", "Ġ"), ("#", "#")]
PIECES = ["a", "b", "##a", "##b", "ab", "##ab", "é", "e", "日", "##", "1", "x", "##y", "A"]


def random_tokenizer(rng, odd=ODD):
    """Return a tiny tokenizer with odd special tokens, often without merges or some roles."""
    special_tokens = rng.sample(odd, rng.randint(0, 5))
    roles = {role: rng.choice(special_tokens) for role in ("cls", "sep", "mask", "pad")
             if special_tokens and rng.random() < 0.7}
    if rng.random() < 0.5:
        merges = MERGES[:rng.randint(0, 6)]
        tokens = [*special_tokens, *byte_characters(), *map("".join, merges)]
        return ByteLevelBPE(dict.fromkeys(tokens), merges, special_tokens, roles=roles,
                            add_prefix_space=rng.random() < 0.5,
                            model_max_length=rng.choice([None, 128]))
    special_tokens = list(dict.fromkeys(["[UNK]", *special_tokens]))
    tokens = dict.fromkeys([*special_tokens, *rng.sample(PIECES, rng.randint(0, 14))])
    return WordPiece(tokens, special_tokens, roles=roles, lowercase=rng.random() < 0.5,
                     strip_accents=rng.choice([None, True, False]),
                     tokenize_chinese_chars=rng.random() < 0.5,
                     max_input_chars_per_word=rng.choice([1, 3, 100]))


def odd_text(rng):
    """Return a text of characters and special tokens of ``random_tokenizer``."""
    return "ab " + "".join(rng.choices([*ODD, "a", "b", " ", "é"], k=rng.randint(0, 8)))


# Files

def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def only_tokenizer_json(tok, folder):
    """Save only that file, as published models often have it. Return its path."""
    tok.save(folder)
    for path in folder.iterdir():
        if path.name != "tokenizer.json":
            path.unlink()
    return folder / "tokenizer.json"


def change_json(path, change):
    """Call ``change(document)`` for the document in a JSON file, and write it back."""
    document = read(path)
    change(document)
    path.write_text(json.dumps(document, indent=2), encoding="utf-8")


def put(value, *keys):
    """Return a function that sets ``document[key][key]... = value``."""
    def change(document):
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = value
    return change


def replace(old, new):
    """Return a function that replaces the first ``old`` in a text, which must be there."""
    def change(text):
        assert old in text
        return text.replace(old, new, 1)
    return change
