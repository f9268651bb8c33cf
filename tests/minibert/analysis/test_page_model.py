"""The model that a page carries: its weights and, with node, its tokenizers and its logits."""
import base64
import functools
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from reading_models import LINES, model_for, round_to_bf16

import minibert.analysis.page.pack as pack_module
from minibert.analysis.mask_filling import MASK
from minibert.analysis.page.pack import pack, pack_weights, pictures_only
from minibert.config import ACTIVATIONS, BertConfig
from minibert.generation.causal import BertForCausalLM
from minibert.heads import BertForPreTraining
from tokenizer import ByteLevelBPE, WordPiece

SCRIPTS = Path(pack_module.__file__).parent
TEXT = "The [MASK] sees a small dog and the cat eats the old fish near the <mask> tree."
TRICKY = [
    "", " ", "a  b\t\tc \n\n d   ", "Café ÉLAN naïve e\u0301le\u0300ve ẹ\u0301 İstanbul ΣΑΣ straße",
    "中文 and 日本語 한국어", "🙂🙂 \U0001f468\u200d👩 👍🏽", "don't WE'LL 1,234 €5 ½ $a+b<c^d`e~",
    "x\x00y\ufffd\u200b\x85z", "\ufeff\u00a0\u2003a\u1680b\x1cc\u2028d", "<b>&amp;</script>",
    "[MASK] a<mask>b  <mask>[MASK][SEP] <s> [CLS]", "unknown: ☃ \ue000 𝒜 ﬁ", "z" * 120,
    "the cat " * 100,
]
LEARNED_FROM = [*LINES, *TRICKY[2:9], "中文日本語한국어 €½$+<^`~"] * 3


def run_node(script, packed):
    """Return the JSON value that ``script`` gives to ``answer(value)``, after both scripts."""
    if not shutil.which("node"):
        pytest.skip("needs node")
    parts = [(SCRIPTS / name).read_text(encoding="utf-8") for name in ("tokenizer.js", "model.js")]
    start = """const input = JSON.parse(require("fs").readFileSync(0, "utf-8"));
        const answer = (value) => process.stdout.write(JSON.stringify(value));"""
    done = subprocess.run(["node", "-e", "\n".join([*parts, start, script])], text=True,
                          input=json.dumps(packed), capture_output=True, encoding="utf-8")
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


@functools.cache
def tokenizer_of(kind, **options):
    """Train a tokenizer. Its size is odd, and ``linear`` in model.js computes outputs in pairs."""
    texts = iter(LEARNED_FROM)
    if kind == "bpe":
        return ByteLevelBPE.train_from_iterator(texts, vocab_size=401, show_progress=False)
    return WordPiece.train_from_iterator(texts, vocab_size=401, show_progress=False, **options)


def test_the_weights_on_the_page_are_those_of_the_model_in_bf16(bpe):
    model = model_for(bpe, "bert")
    packed = pack_weights(model)
    data = np.frombuffer(base64.b64decode(packed["base64"]), "<u2").astype(np.uint32)
    values = torch.from_numpy((data << 16).view(np.float32).copy())
    state = {name.removeprefix("bert."): tensor for name, tensor in model.state_dict().items()}
    assert list(packed["shapes"]) == list(state)
    for (name, shape), part in zip(packed["shapes"].items(),
                                   values.split([t.numel() for t in state.values()])):
        expected = state[name].to(torch.bfloat16).float()
        assert torch.equal(part.view(expected.shape), expected)
        assert shape == [*expected.shape, 1][:2]


@pytest.mark.parametrize("family, kind, options", [
    ("bert", "wordpiece", {}),
    ("bert", "wordpiece", {"activation": "gelu_tanh", "type_vocab_size": 0}),
    ("roberta", "bpe", {"activation": "relu"}),
    ("modernbert", "bpe", {"local_attention": 6, "layers": 4}),
    ("modernbert", "wordpiece", {"global_attn_every_n_layers": 1, "activation": "silu"}),
])
def test_the_logits_in_javascript_are_those_of_pytorch(family, kind, options):
    tokenizer = tokenizer_of(kind)
    model = model_for(tokenizer, family, **options).eval()
    for name, parameter in model.named_parameters():  # initialized to 0 or 1
        if name.endswith(("bias", "norm.weight")):
            torch.nn.init.normal_(parameter, 0.5, 0.5)
    round_to_bf16(model)
    ids = tokenizer.encode(MASK.sub(tokenizer.mask_token, TEXT)).ids
    script = """const model = new Model(input);
        const hidden = model.forward(new Tokenizer(input.tokenizer).encode(input.text)).hidden;
        answer(hidden.map((x) => Array.from(model.mlmHead(x).data)));"""
    found = np.array(run_node(script, pack(model, tokenizer) | {"text": TEXT}))
    with torch.no_grad():
        expected = model(torch.tensor([ids])).logits[0].numpy()
    assert len(found) == model.config.num_hidden_layers
    assert expected.std() > 0.5
    np.testing.assert_allclose(found[-1].reshape(expected.shape), expected, atol=1e-2, rtol=0)


@pytest.mark.parametrize("kind, options", [
    ("bpe", {}), ("wordpiece", {}), ("wordpiece", {"lowercase": False}),
    ("wordpiece", {"strip_accents": False}),
])
def test_the_ids_in_javascript_are_those_of_the_tokenizer(kind, options):
    tokenizer = tokenizer_of(kind, **options)
    model = model_for(tokenizer)
    script = """const tokenizer = new Tokenizer(input.tokenizer);
        answer(input.texts.map((text) => tokenizer.encode(text, 40)));"""
    found = run_node(script, pack(model, tokenizer) | {"texts": TRICKY})
    for text, ids in zip(TRICKY, found):
        text = MASK.sub(tokenizer.mask_token, text)
        assert ids == tokenizer.encode(text, max_length=40).ids, text
    assert len(found[TRICKY.index("the cat " * 100)]) == 40


def test_large_and_causal_models_and_unusual_tokenizers_have_a_page_with_pictures_only(
        bpe, monkeypatch):
    model = model_for(bpe)
    assert pictures_only(model, bpe) == ""
    assert pictures_only(BertForPreTraining(model_for(bpe, "bert").config), bpe) == ""
    causal = BertForCausalLM(BertConfig(family="gpt2", causal=True, vocab_size=300, hidden_size=24))
    assert "not BertForCausalLM (gpt2)" in pictures_only(causal, bpe)
    composing = ByteLevelBPE(bpe.get_vocab(), bpe.merges, unicode_form="NFC")
    assert "normalization that its JavaScript does not know" in pictures_only(model, composing)
    monkeypatch.setattr(pack_module, "MAX_PARAMETERS", model.num_parameters() - 1)
    assert "parameters, and this one has" in pictures_only(model, bpe)


def test_javascript_has_all_activations():
    code = (SCRIPTS / "model.js").read_text(encoding="utf-8")
    assert set(re.findall(r"^  (\w+): \(x\) =>", code, re.MULTILINE)) == set(ACTIVATIONS)


def test_the_files_of_the_page_are_part_of_the_installed_package():
    config = (SCRIPTS.parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    patterns = re.search(r'^"minibert.analysis.page" = \[(.*)\]$', config, re.MULTILINE)[1]
    declared = {path for pattern in re.findall(r'"(.*?)"', patterns)
                for path in SCRIPTS.glob(pattern)}
    assert declared == {path for path in SCRIPTS.iterdir()
                        if path.is_file() and path.suffix != ".py"}


def test_the_lines_of_javascript_and_css_are_short():
    for path in SCRIPTS.iterdir():
        if path.suffix in (".js", ".css", ".html"):
            for line in path.read_text(encoding="utf-8").splitlines():
                assert len(line) <= 100 and line == line.rstrip(), f"{path.name}: {line}"
