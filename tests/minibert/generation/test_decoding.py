"""Generation: the cache, the choice of the next token, prompts of different lengths, the end."""
import pytest
import torch
from test_causal import FAMILIES, causal_model, texts

from minibert.generation.decoding import cached, draw, generate

PROMPTS = [[5, 6, 7], [8, 9, 10, 11, 12]]


@torch.no_grad()
@pytest.mark.parametrize("parts", [[1] * 16, [7, 1, 1, 5, 2]])
@pytest.mark.parametrize("family", FAMILIES)
def test_cached_logits_equal_those_of_the_whole_text(family, parts):
    """ModernBERT's window is three tokens, much shorter than the text."""
    model, ids = causal_model(family), texts(2, 16)
    expected = model(ids).logits
    end = 0
    with cached(model, 16) as step:
        for length in parts:
            start, end = end, end + length
            torch.testing.assert_close(step(ids[:, start:end]), expected[:, end - 1],
                                       atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_temperature_0_takes_the_argmax_of_the_whole_forward_pass(family):
    model = causal_model(family)
    text = list(PROMPTS[0])
    for _ in range(8):
        text.append(model(torch.tensor([text])).logits[0, -1].argmax().item())
    assert generate(model, PROMPTS[:1], 8, temperature=0) == [text[3:]]


@pytest.mark.parametrize("family", FAMILIES)
def test_prompts_of_different_lengths_in_a_batch_equal_each_alone(family):
    model = causal_model(family)
    alone = [generate(model, [prompt], 6, temperature=0)[0] for prompt in PROMPTS]
    assert generate(model, PROMPTS, 6, temperature=0) == alone


def frequencies(probabilities, **options):
    """Return how often each token is drawn in 4,000 draws."""
    options = {"temperature": 1.0, "top_k": 0, "top_p": 1.0} | options
    logits = torch.tensor(probabilities).log().expand(4000, -1)
    drawn = draw(logits, generator=torch.Generator().manual_seed(0), **options)
    return (torch.bincount(drawn, minlength=len(probabilities)) / 4000).tolist()


@pytest.mark.parametrize("options, expected", [
    ({}, [0.1, 0.4, 0.2, 0.3]),
    ({"top_k": 1}, [0, 1, 0, 0]),
    ({"top_k": 2}, [0, 4 / 7, 0, 3 / 7]),
    ({"top_k": 9}, [0.1, 0.4, 0.2, 0.3]),
    ({"top_p": 0.01}, [0, 1, 0, 0]),
    ({"top_p": 0.69}, [0, 4 / 7, 0, 3 / 7]),      # 0.4 + 0.3 is the first sum above 0.69
    ({"top_p": 0.71}, [0, 4 / 9, 2 / 9, 3 / 9]),  # 0.4 + 0.3 is not enough
    ({"temperature": 0.5}, [0.01 / 0.3, 0.16 / 0.3, 0.04 / 0.3, 0.09 / 0.3]),  # squares
    ({"top_k": 3, "top_p": 0.5}, [0, 4 / 7, 0, 3 / 7]),
    ({"temperature": 1e-320}, [0, 1, 0, 0]),
    ({"temperature": 1e300}, [0.25] * 4),
])
def test_temperature_top_k_and_top_p_by_hand(options, expected):
    assert frequencies([0.1, 0.4, 0.2, 0.3], **options) == pytest.approx(expected, abs=0.03)


def test_the_seed_decides_the_text():
    model = causal_model("gpt2")
    first, again, other = (generate(model, PROMPTS, 10, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_excluded_ids_are_never_drawn():
    model = causal_model("gpt2")
    drawn = {i for ids in generate(model, [[5]] * 50, 20, temperature=5.0,
                                   excluded_ids=range(20, 60)) for i in ids}
    assert drawn == set(range(20))


@pytest.mark.parametrize("temperature", [0, 1])
def test_the_end_token_ends_a_text_and_is_not_in_it(temperature):
    model = causal_model("gpt2")
    whole = generate(model, PROMPTS, 10, temperature)
    end = whole[0][4]
    expected = [ids[:ids.index(end)] if end in ids else ids for ids in whole]
    assert len(expected[0]) <= 4
    assert generate(model, PROMPTS, 10, temperature, end_token_id=end) == expected


def test_the_model_is_as_before_after_generation_and_after_an_error():
    model = causal_model("modernbert").train()
    before = model(texts()).logits
    generate(model, PROMPTS, 4)
    with pytest.raises(ValueError, match="id 60 is outside the vocabulary"):
        generate(model, [[60]], 4)
    assert model.training
    assert all(block.attention.prefix is None for block in model.bert.blocks)
    torch.testing.assert_close(model(texts()).logits, before)


@pytest.mark.parametrize("prompts, options, message", [
    ([[5] * 20], {"max_new_tokens": 5}, "a prompt of 20 tokens and 5 new ones are more than the "
                                        "model's context of 24: shorten the prompt, or lower"),
    ([[5], []], {}, "a prompt needs at least one token"),
    ([], {}, "a prompt needs at least one token"),
    ([[5]], {"temperature": -1}, "temperature is -1: it must be at least 0 and finite"),
    ([[5]], {"temperature": float("nan")}, "temperature is nan"),
    ([[5]], {"top_k": -1}, "top_k is -1"),
    ([[5]], {"top_p": 0}, "top_p is 0: it must be above 0 and at most 1"),
    ([[5]], {"seed": 2**64}, "seed is 18446744073709551616: it must be at least 0 and below 2"),
    ([[5]], {"seed": -1}, "seed is -1"),
    ([[5]], {"max_new_tokens": 0}, "max_new_tokens is 0: it must be at least 1"),
])
def test_what_cannot_work_is_a_clear_error(prompts, options, message):
    with pytest.raises(ValueError, match=message):
        generate(causal_model("gpt2"), prompts, **{"max_new_tokens": 4} | options)


def test_prompt_and_answer_may_fill_the_context():
    assert len(generate(causal_model("roberta"), [[5] * 12], 10, temperature=0)[0]) == 10
