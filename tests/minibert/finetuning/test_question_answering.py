"""The task qa from end to end: which word of the text is good or bad? Some texts have neither."""
import json
import re
from dataclasses import replace

import pytest
from finetune_helpers import flags, sentences

from minibert.finetuning import command
from minibert.finetuning.config import FinetuneConfig
from minibert.finetuning.squad import read_questions, score_answer
from minibert.formats.huggingface import from_pretrained
from minibert.heads import BertForQuestionAnswering


def write_questions(path, count, seed, no_answer_every=4):
    """Write a SQuAD file whose answers are "good" or "bad"; each fourth question has none."""
    paragraphs = []
    for i, (text, label) in enumerate(sentences(count, seed)):
        answer = ("bad", "good")[int(label)]
        has_answer = (i + 1) % no_answer_every
        context = text if has_answer else re.sub("good|bad", "long", text)
        answers = [{"text": answer, "answer_start": context.index(answer)}] if has_answer else []
        qa = {"id": f"q{i}", "question": "was the film", "answers": answers}
        paragraphs.append({"context": context, "qas": [qa]})
    path.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    return str(path)


@pytest.fixture
def files(tmp_path):
    train = write_questions(tmp_path / "train.json", 100, 1)
    return ["--train", train, "--dev", write_questions(tmp_path / "dev.json", 40, 2)]


OPTIONS = flags(epochs=3, task="qa", learning_rate=1e-2)


def predictions(words, path, capsys):
    command.main([*words, "--predict", path])
    shown = capsys.readouterr()
    return json.loads(shown.out), shown.err


@pytest.mark.parametrize("run", ["bert", "modernbert"])
def test_answers_are_learned_saved_and_predicted(run, files, tmp_path, capsys, request):
    run = str(request.getfixturevalue(run))
    out = tmp_path / "out"
    dev = files[-1]
    command.main([run, *files, "--out", str(out), "--predict", dev, "--json", *OPTIONS])
    results = json.loads(capsys.readouterr().out)
    assert results["metric"] == "f1" and results["pretrained"]["mean"] >= 0.9
    assert results["constant"] == 0.25  # of never an answer
    assert isinstance(from_pretrained(out), BertForQuestionAnswering)
    written = json.loads((out / "predictions.json").read_text())
    assert list(written) == [f"q{i}" for i in range(40)]
    # the scores of the file are those of the best epoch, with its threshold
    scores = [score_answer(answers, written[question_id])["f1"]
              for answers, question_id in zip(read_questions(dev).labels, written)]
    assert sum(scores) / 40 == pytest.approx(results["pretrained"]["mean"], abs=1e-6)
    assert results["predicted"]["scores"]["f1"] == results["pretrained"]["mean"]
    assert any(not text for text in written.values())
    again, shown = predictions([str(out)], dev, capsys)
    assert again == written and "scored       f1 " in shown
    unlabeled = tmp_path / "new.json"
    unlabeled.write_text(re.sub(r', "answers": \[[^]]*\]', "", open(dev).read()))
    again, shown = predictions([str(out)], str(unlabeled), capsys)
    assert again == written and "scored" not in shown


def test_an_adapter_answers_questions(modernbert, files, tmp_path, capsys):
    out = tmp_path / "out"
    command.main([str(modernbert), *files, "--out", str(out), *OPTIONS, "--tune", "lora",
                  "--lora-on", "query,value,mlp"])
    assert json.loads((out / "finetune.json").read_text())["pretrained"]["mean"] >= 0.9
    capsys.readouterr()
    merged, _ = predictions([str(out)], files[-1], capsys)
    adapted, _ = predictions([str(modernbert), "--adapter", str(out)], files[-1], capsys)
    assert merged == adapted


def test_where_every_question_has_an_answer_there_is_no_threshold(bert, tmp_path, capsys):
    train = write_questions(tmp_path / "train.json", 40, 1, no_answer_every=1000)
    out = tmp_path / "out"
    command.main([str(bert), "--train", train, "--out", str(out),
                  *flags(epochs=1, task="qa", learning_rate=1e-9)])
    shown = capsys.readouterr().out
    assert "no answer    0 questions for training, 0 questions in dev" in shown
    assert "the dev set: a random tenth of the questions (about contexts that are also" in shown
    written, _ = predictions([str(out)], train, capsys)
    assert all(written.values())
    config = json.loads((out / "finetune.json").read_text())["config"]
    assert config["no_answer_threshold"] is None


def test_empty_questions_are_not_learned_but_answered(bert, files, tmp_path, capsys):
    for path in files[1::2]:
        content = json.loads(open(path).read())
        content["data"][0]["paragraphs"] += [
            {"context": " ", "qas": [{"id": "a", "question": "who", "answers": []}]},
            {"context": "bad", "qas": [{"id": "b", "question": "", "answers": []}]}]
        open(path, "w").write(json.dumps(content))
    out = tmp_path / "out"
    command.main([str(bert), *files, "--out", str(out), *flags(epochs=1, task="qa")])
    shown = capsys.readouterr().out
    assert f"left out     2 examples of {files[1]} with an empty question or context" in shown
    assert f"kept         2 examples of {files[3]} with an empty question or context: " in shown
    written, _ = predictions([str(out)], files[3], capsys)
    assert len(written) == 42 and written["a"] == ""


def test_contexts_are_read_in_windows_of_384_tokens(bert):
    config = from_pretrained(bert / "model").config
    assert FinetuneConfig(task="qa").resolve_max_length(config) == 34
    longer = replace(config, max_position_embeddings=512)
    assert FinetuneConfig(task="qa").resolve_max_length(longer) == 384


@pytest.mark.parametrize("words, message", [
    ("--text question", "text has no meaning for --task qa"),
    ("--metric accuracy", "--metric is 'accuracy': choose from f1, exact_match"),
    ("--class-weights balanced", "--class-weights balanced belongs to --task classification"),
])
def test_flags_of_other_tasks_are_refused(bert, files, tmp_path, words, message):
    with pytest.raises(ValueError, match=message):
        command.main([str(bert), *files, "--out", str(tmp_path / "out"), "--task", "qa",
                      *words.split()])
