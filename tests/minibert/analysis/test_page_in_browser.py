"""The page in Chromium without a window: it answers, from a file, without a network."""
import json
import time

import pytest
import torch
from headless_browser import Browser, find_chromium
from reading_models import LINES, model_for, round_to_bf16, saved, tokenizer_of

from minibert.analysis.activations import hidden_activations
from minibert.analysis.mask_filling import fill_mask
from minibert.analysis.page.facts import main
from tokenizer import WordPiece

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason="needs chromium"),
]
EVIL = "<img src=x{} onerror=alert(1)>"


@pytest.fixture(scope="module", params=["bpe", "wordpiece"])
def opened(request, tmp_path_factory):
    """A browser with the page of an untrained model; (browser, model, tokenizer)."""
    folder = tmp_path_factory.mktemp(request.param)
    tokenizer = tokenizer_of(request.param)
    model = model_for(tokenizer)
    main([str(saved(folder / "run", model, tokenizer)), "--text", LINES[0]])
    with Browser(folder / "profile") as browser:
        browser.open(folder / "run" / "page.html")
        yield browser, model, tokenizer


def write(browser, text):
    """Replace the text of the page by what a reader types, and wait for the answer."""
    browser.run("document.querySelector('#text').focus()")
    browser.run("document.querySelector('#text').value = ''")
    browser.run("document.querySelector('#time').textContent = ''")
    browser.type(text)
    deadline = time.monotonic() + 30
    while not browser.run("document.querySelector('#time').textContent"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def answers(browser):
    """Return the five answers of each mask."""
    return browser.run("[...document.querySelectorAll('.card .bars')].map((bars) => "
                       "[...bars.querySelectorAll(':nth-child(3n+2)')].map((b) => b.textContent))")


def test_the_logits_in_the_browser_are_those_of_pytorch(opened):
    browser, model, tokenizer = opened
    ids = tokenizer.encode("The cat eats the old fish near a small tree.").ids
    found = browser.run(f"""(() => {{
        const model = new Model(JSON.parse(document.querySelector("#data").textContent));
        return Array.from(model.mlmHead(model.forward({ids}).hidden.at(-1)).data);
    }})()""")
    round_to_bf16(model)
    with torch.no_grad():
        expected = model.eval()(torch.tensor([ids])).logits.flatten()
    torch.testing.assert_close(torch.tensor(found), expected, atol=1e-2, rtol=0)


def test_typing_and_masking_shows_the_five_answers_of_the_model(opened):
    browser, model, tokenizer = opened
    assert answers(browser) == []  # the text that the page opens with has no mask
    write(browser, "The cat eats the fish.")
    assert answers(browser) == []
    browser.click("#tokens button:nth-of-type(2)")  # cat
    found = answers(browser)
    assert len(found) == 1 and len(found[0]) == 5
    masked = f"The {tokenizer.mask_token} eats the fish."
    expected = [answer["token_str"] for answer in fill_mask(model, tokenizer, masked)]
    assert [token.replace("·", " ") for token in found[0]][0] == expected[0]
    browser.click("#tokens button:nth-of-type(2)")
    assert answers(browser) == []
    write(browser, "The [MASK] eats <mask> fish.")
    assert [len(tokens) for tokens in answers(browser)] == [5, 5]


def test_the_keyboard_reaches_tokens_and_attention(opened):
    browser, *_ = opened
    write(browser, "The cat eats.")
    browser.run("document.querySelector('#tokens button').focus()")
    browser.press("ArrowRight")
    browser.press("Enter")
    assert browser.run("document.activeElement.ariaPressed") == "true"
    assert len(answers(browser)) == 1
    browser.run("document.querySelector('#looks button').focus()")
    browser.press("ArrowRight")
    browser.press("ArrowRight")
    shown = browser.run("document.activeElement.firstChild.textContent")
    look = browser.run("document.querySelector('#look').textContent")
    assert look.startswith(f"Layer 2, head 1: “{shown}” looks at")
    browser.run("document.querySelectorAll('#heads input')[1].click()")
    assert browser.run("document.querySelector('#look').textContent").startswith("Layer 1, head 2")


def test_the_picture_of_a_head_is_as_opaque_as_its_weights_are_large(opened):
    browser, model, tokenizer = opened
    write(browser, "The cat eats.")
    pixels = browser.run("""[...document.querySelectorAll("canvas")].map((canvas) =>
        Array.from(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.width).data))""")
    activations = hidden_activations(model, tokenizer, "The cat eats.")
    opacity = torch.tensor(pixels)[:, 3::4] / 255
    torch.testing.assert_close(opacity, activations.attention.flatten(0, 1).flatten(1).sqrt(),
                               atol=0.02, rtol=0)


def test_a_word_is_put_together_step_by_step(opened):
    browser, _, tokenizer = opened
    write(browser, "record")
    steps = "[...document.querySelectorAll('#steps li:not([hidden]) .row')].map(r => r.innerText)"
    all_steps = browser.run(steps)
    browser.click("#back")
    assert browser.run(steps) == all_steps[:-1] and len(all_steps) > 1
    browser.click("#next")
    assert browser.run(steps) == all_steps
    word = " record" if tokenizer.kind == "bpe" else "record"
    ids = tokenizer.encode_ids(word)
    assert len(all_steps[-1].split("\n")) == len(ids)


def test_nothing_is_loaded_or_logged(opened):
    browser, *_ = opened
    write(browser, "The cat eats the [MASK].")
    requests = [event["params"]["request"]["url"] for event in browser.events
                if event["method"] == "Network.requestWillBeSent"]
    assert len(requests) == 1 and requests[0].startswith("file://")
    noise = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    assert not [json.dumps(event) for event in browser.events if event["method"] in noise]


def test_tokens_texts_and_answers_are_never_markup(tmp_path):
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = WordPiece([*special, EVIL.format(0), EVIL.format(1), "a"],
                          special_tokens=[*special, EVIL.format(0)])
    model = model_for(tokenizer)
    model.head.bias.data[6] = 50  # the answer to every mask
    run = saved(tmp_path / EVIL.format(2), model, tokenizer)
    main([str(run), "--text", f"a [MASK] {EVIL.format(0)} {EVIL.format(3)}"])
    with Browser(tmp_path / "profile") as browser:
        browser.open(run / "page.html")
        text = browser.run("document.body.innerText")
        assert all(EVIL.format(i) in text for i in (0, 2, 3))
        assert answers(browser)[0][0] == EVIL.format(1).replace(" ", "·")
        assert browser.run("document.querySelectorAll('img').length") == 0
