"""Published folders extended for a domain: transformers reads what we save (make parity)."""
import pytest
import torch
from tokenizer_samples import corpus_files, corpus_text, random_texts

from minibert import from_pretrained, save_pretrained
from minibert.model import BertForMaskedLM
from minibert.training.init_from import init_config, load_initial_weights
from tokenizer import load_tokenizer
from tokenizer.__main__ import main

pytestmark = pytest.mark.parity
SIZES = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=40)


@pytest.fixture(scope="module")
def transformers():
    pytest.importorskip("tokenizers")
    return pytest.importorskip("transformers")


def publish(transformers, name, folder):
    """Write a random model, its vocabulary learned from kant and its rows padded to 64, 2 * 64."""
    from tokenizers.implementations import BertWordPieceTokenizer, ByteLevelBPETokenizer
    files = list(map(str, corpus_files("kant")))
    if name == "bert":
        learned = BertWordPieceTokenizer()
        learned.train(files, vocab_size=3000, show_progress=False)
        tokenizer = transformers.BertTokenizer(learned.get_vocab())
    else:
        learned = ByteLevelBPETokenizer()
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        learned.train(files, vocab_size=3000, show_progress=False, special_tokens=special)
        learned.save_model(str(folder))
        lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
        merges = [tuple(line.split()) for line in lines]
        tokenizer = transformers.RobertaTokenizer(learned.get_vocab(), merges)
        for file in folder.iterdir():
            file.unlink()
    tokenizer.save_pretrained(folder)
    num_rows = -(-len(tokenizer) // 64) * 64 + 64
    classes = {"bert": transformers.BertConfig, "roberta": transformers.RobertaConfig}
    config = classes[name](vocab_size=num_rows, max_position_embeddings=66, **SIZES,
                           pad_token_id=tokenizer.pad_token_id)
    torch.manual_seed(0)
    transformers.AutoModelForMaskedLM.from_config(config).save_pretrained(folder)


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_a_published_model_with_a_thousand_entries_more(transformers, name, tmp_path):
    source, extended, out = (tmp_path / part for part in ("source", "extended", "out"))
    source.mkdir()
    publish(transformers, name, source)
    science = corpus_files("news")[0].with_name("science.txt")
    main(["extend", str(source), "--files", str(science), "--encoding-errors", "replace",
          "--add", "1000", "--out", str(extended), "--no-progress"])
    theirs_before = transformers.AutoTokenizer.from_pretrained(source)
    theirs = transformers.AutoTokenizer.from_pretrained(extended)
    ours = load_tokenizer(extended)

    vocabulary = theirs.get_vocab()
    assert len(vocabulary) == len(theirs_before) + 1000 and vocabulary == ours.get_vocab()
    assert theirs_before.get_vocab().items() <= vocabulary.items()
    new_ids = set()
    lines = corpus_text("news").splitlines()[::20]
    for text in [*lines, *random_texts(3000, seed=4)]:
        ids = ours.encode(text).ids
        assert ids == theirs(text)["input_ids"], ascii(text)
        new_ids.update(i for i in ids if i >= len(theirs_before))
    assert len(new_ids) > 500

    config, _ = init_config(source, {"tokenizer": str(extended)})
    model = BertForMaskedLM(config).eval()
    load_initial_weights(source, model, ours)
    save_pretrained(model, out, ours)
    assert from_pretrained(out).config.vocab_size == ours.vocab_size
    their_model = transformers.AutoModelForMaskedLM.from_pretrained(out).eval()
    batch = torch.tensor([sorted(new_ids)[:60]])
    with torch.no_grad():
        assert (model(batch).logits - their_model(batch).logits).abs().max() < 1e-4
