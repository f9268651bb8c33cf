"""What a run of hard-wrapped text prints, records, and does when it is resumed."""
import json
import random
import textwrap

import pytest
from train_helpers import last_state, resume, run, stopped_in_step

from data import TokenFile

NOTE = "the lines of 1 of 1 file, hard-wrapped at 50 columns, are joined to paragraphs"


@pytest.fixture(scope="module")
def wrapped(tmp_path_factory):
    """A text of 60 paragraphs in lines of up to 50 columns."""
    rng = random.Random(0)
    words = "the cat dog sees eats a red small fish house and or not under over tree old new"
    paragraphs = [" ".join(rng.choices(words.split(), k=rng.randint(20, 60))) for _ in range(60)]
    path = tmp_path_factory.mktemp("wrapped") / "wrapped.txt"
    path.write_text("\n\n".join(textwrap.fill(paragraph, 50) for paragraph in paragraphs))
    return path


def test_a_run_says_what_was_joined_and_trains_its_tokenizer_on_that(wrapped, tmp_path, capsys):
    vocabularies = {}
    for reflow in ("auto", "no"):
        folder = tmp_path / reflow
        run(wrapped, folder, "--max-steps", "1", "--reflow", reflow)
        assert (f"reflow      {NOTE}\n" in capsys.readouterr().out) == (reflow == "auto")
        tokens = TokenFile(folder / "data" / "train")
        assert (tokens.num_segments == tokens.num_documents) == (reflow == "auto")
        vocabularies[reflow] = (folder / "tokenizer" / "vocab.json").read_text()
    assert vocabularies["auto"] != vocabularies["no"]  # no word follows a line break


def test_a_resumed_run_says_it_again_and_changes_nothing(wrapped, tmp_path, capsys):
    folder = tmp_path / "run"
    run(wrapped, folder, "--max-steps", "4", trainer=stopped_in_step(2))
    capsys.readouterr()
    with pytest.raises(ValueError, match="--reflow: auto in the run, no now"):
        resume(folder, "--reflow", "no")
    assert resume(folder) == 0
    assert f"reflow      {NOTE}\n" in capsys.readouterr().out


def test_a_stream_from_before_reflow_goes_on_with_its_lines(wrapped, tmp_path):
    folder = tmp_path / "run"
    run(wrapped, folder, "--max-steps", "4", "--stream", "--reflow", "no",
        trainer=stopped_in_step(2))
    config = json.loads((folder / "config.json").read_text())
    del config["train"]["reflow"]
    (folder / "config.json").write_text(json.dumps(config))
    assert resume(folder) == 0  # in another text it would be an error
    assert last_state(folder)["config"]["train"]["reflow"] == "no"


@pytest.mark.parametrize("split", [(), ("--sentences",)], ids=["paragraphs", "sentences"])
def test_training_on_the_lines_of_a_token_file_without_its_lines_is_a_warning(
        wrapped, tmp_path, capsys, split):
    run(wrapped, tmp_path / "run", "--max-steps", "1", *split)
    data = tmp_path / "run" / "data"
    assert "warning" not in capsys.readouterr().err
    run(wrapped, tmp_path / "lines", "--max-steps", "1", "--examples", "lines", "--data", str(data))
    warning = (f"warning: the lines of {data} were joined (reflow), so --examples lines takes "
               "whole paragraphs")
    assert (warning in capsys.readouterr().err) == (not split)  # a line may be a sentence again
