"""Two runs asked the same: from Python with probabilities set by hand, and from the command line."""
import json
import math

import pytest
import torch

from minibert.analysis.compare import as_table, compare, main, split_words
from minibert.config import BertConfig
from minibert.formats.huggingface import save_pretrained
from minibert.model import BertForMaskedLM
from tokenizer import ByteLevelBPE, WordPiece
from tokenizer.utils import cli

TEXT = "They came back and [MASK] was waiting."


def constant(kind, probabilities):
    """A tokenizer, and a model that answers each mask with these probabilities whatever the text, the rest spread over the other tokens."""
    train = ByteLevelBPE.train_from_iterator if kind == "bpe" else WordPiece.train_from_iterator
    tokenizer = train(["They came back and he was waiting, she was waiting."] * 9, vocab_size=400, show_progress=False)
    model = BertForMaskedLM(BertConfig(vocab_size=tokenizer.vocab_size, hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
                                       intermediate_size=8, max_position_embeddings=24, pad_token_id=tokenizer.pad_token_id))
    rest = (1 - sum(probabilities.values())) / (tokenizer.vocab_size - len(probabilities))
    with torch.no_grad():
        model.bert.embeddings.token.weight.zero_()  # tied to the head: the logits are its bias alone
        bias = model.head.bias
        bias.fill_(math.log(rest))
        for word, probability in probabilities.items():
            bias[tokenizer.token_to_id("Ġ" + word if kind == "bpe" else word)] = math.log(probability)
    return model, tokenizer


@pytest.fixture(scope="module")
def runs():
    """One run of each kind of tokenizer, so that each needs its own mask token; they lean opposite ways."""
    return [("a", *constant("bpe", {"he": 0.4, "she": 0.1})), ("b", *constant("wordpiece", {"he": 0.05, "she": 0.5}))]


@pytest.fixture(scope="module")
def folders(runs, tmp_path_factory):
    made = []
    for name, model, tokenizer in runs:
        made.append(str(tmp_path_factory.mktemp("runs") / name))
        save_pretrained(model, made[-1] + "/model")
        tokenizer.save(made[-1] + "/tokenizer")
    return made


def test_each_run_answers_with_its_own_likeliest_words(runs):
    (first, second), = compare(runs, TEXT, top_k=2)
    assert [first["run"], second["run"]] == ["a", "b"]
    assert [(answer["token_str"], round(answer["score"], 4)) for answer in first["answers"]] == [(" he", 0.4), (" she", 0.1)]
    assert [(answer["token_str"], round(answer["score"], 4)) for answer in second["answers"]] == [("she", 0.5), ("he", 0.05)]


def test_both_ways_to_write_a_mask_are_every_tokenizers_own(runs):
    assert compare(runs, TEXT) == compare(runs, TEXT.replace("[MASK]", "<mask>"))


def test_targets_have_probabilities_and_the_log_of_their_ratio(runs):
    (first, second), = compare(runs, TEXT, targets=["he", "she"])
    assert first["targets"] == pytest.approx({"he": 0.4, "she": 0.1}, rel=1e-4)
    assert first["log_ratios"] == pytest.approx({"he/she": math.log(4)}, rel=1e-4)
    assert second["log_ratios"] == pytest.approx({"he/she": math.log(0.1)}, rel=1e-4)
    (first, second), = compare(runs, TEXT, targets=["she", "was", "he"])  # in the order asked for, each after the first has a ratio
    assert list(first["targets"]) == ["she", "was", "he"] and list(first["log_ratios"]) == ["she/was", "she/he"]


def test_several_masks_and_several_runs(runs):
    masks = compare([*runs, ("c", *runs[0][1:])], "[MASK] came and <mask> was waiting.", targets=["he"])
    assert [[entry["run"] for entry in entries] for entries in masks] == [["a", "b", "c"]] * 2
    assert masks[0][0]["targets"] == pytest.approx({"he": 0.4}, rel=1e-4) and masks[0][0]["log_ratios"] == {}


def test_a_probability_of_zero_has_a_logarithm_all_the_same(runs):
    model, tokenizer = constant("wordpiece", {"he": 1 - 1e-9, "she": 1e-60})
    for targets, sign in ((["he", "she"], 1), (["she", "he"], -1)):
        entry = compare([("a", model, tokenizer)], TEXT, targets=targets)[0][0]
        assert entry["targets"]["she"] == 0 and 80 < sign * entry["log_ratios"]["/".join(targets)] < 90


def test_what_cannot_be_asked_is_told_why_and_of_which_run(runs):
    with pytest.raises(ValueError, match=r'no mask in the text "They came.": write \[MASK\] or <mask>'):
        compare(runs, "They came.")
    with pytest.raises(ValueError, match="^a: targets that are not one token of the vocabulary: 'nobody' "):
        compare(runs, TEXT, targets=["he", "nobody"])
    with pytest.raises(ValueError, match="^a: the text has .* tokens, the model takes 24 at most"):
        compare(runs, "was " * 23 + "[MASK]")


def test_the_table_is_aligned():
    entries = [{"run": "runs/a", "answers": [{"token_str": " he", "score": 0.5}, {"token_str": "\n", "score": 0.25}]},
               {"run": "b", "answers": [{"token_str": "nobody", "score": 0.125}, {"token_str": "it", "score": 0.1}]}]
    assert as_table(entries).split("\n") == ["runs/a      b", "0.5000  he  0.1250  nobody", "0.2500  \\n  0.1000  it"]


def test_texts_begin_with_the_first_word_that_has_a_mask(tmp_path):
    a = str(tmp_path)
    assert split_words([a, a, "<mask> one", "two [MASK]"]) == ([a, a], ["<mask> one", "two [MASK]"])
    for words, message in (([a, "<mask>"], "two runs or more and then texts; before the first text there is 1"),
                           ([a, a, "no mask here"], '"no mask here" is neither the folder of a run nor a text with a mask'),
                           ([a, a], "no text is given")):
        with pytest.raises(ValueError, match=message):
            split_words(words)


def test_the_command_prints_a_table_for_each_mask(folders, capsys):
    main([*folders, TEXT, "[MASK] and [MASK]", "--top-k", "1"])
    blocks = capsys.readouterr().out.rstrip("\n").split("\n\n")
    assert [block.split("\n")[0] for block in blocks] == [TEXT, "[MASK] and [MASK]  (mask 1)", "[MASK] and [MASK]  (mask 2)"]
    assert blocks[0].split("\n")[1].split() == folders and blocks[0].split("\n")[2].split() == ["0.4000", "he", "0.5000", "she"]
    main([*folders, "--targets", "he, she", TEXT])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["he", "0.4000", "0.0500"] and lines[4].split() == ["ln(he/she)", "+1.39", "-2.30"]


def test_the_command_prints_json(folders, runs, capsys):
    main([*folders, TEXT, "--json", "--targets", "she,he"])
    result = json.loads(capsys.readouterr().out)
    assert result["text"] == TEXT and [entry["run"] for entry in result["masks"][0]] == folders
    assert result["masks"][0][1]["log_ratios"] == pytest.approx({"she/he": math.log(10)}, rel=1e-4)


@pytest.mark.parametrize("words, message", [
    (["none/a", "none/b", TEXT], "none/a: no such folder"),
    (["none/a", TEXT], "two runs or more"),
    ([TEXT, "--targets", ","], "before the first text there are 0"),
])
def test_errors_are_one_line(words, message):
    with pytest.raises(SystemExit) as stopped:
        cli.run(lambda: main(words))
    assert message in str(stopped.value.code) and "\n" not in str(stopped.value.code)


def test_no_target_is_an_error(folders):
    with pytest.raises(ValueError, match="--targets is empty"):
        main([*folders, TEXT, "--targets", " ,"])
