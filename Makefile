# Each target makes the virtual environment where it is missing; where it is there, that costs nothing.
PYTHON ?= python3
VENV   ?= .venv
RUN    := $(VENV)/bin/python
# Texts for measuring, where somebody has put them beside the checkout (tests that need them are skipped elsewhere).
ifneq ($(wildcard ../shared/corpora),)
export MINIBERT_CORPORA ?= $(abspath ../shared/corpora)
endif

.DEFAULT_GOAL := help
.PHONY: help train test test-slow kant kant-small wikipedia wikipedia-small amazon amazon-small lint parity speedrun ablation bench bench-tokenizers bench-steps bench-gpu links book pictures exercises clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 12

train: $(VENV)/.ready  ## train a small BERT from nothing, in five minutes on a CPU (ARGS="--minutes 1" and other flags of train.py)
	$(RUN) train.py $(ARGS)

kant: $(VENV)/.ready  ## KantaiBERT: tokenizer and RoBERTa on three books by Kant; for a GPU (ARGS="--max-steps 20" for a look)
	$(RUN) train.py --preset $@ $(ARGS)

kant-small: $(VENV)/.ready  ## the same, smaller: five minutes on a CPU
	$(RUN) train.py --preset $@ $(ARGS)

wikipedia: $(VENV)/.ready  ## WordPiece and BERT with next sentences on Wikipedia; for a GPU (ARGS="--corpus wikipedia:en", or --corpus FILE)
	$(RUN) train.py --preset $@ $(ARGS)

wikipedia-small: $(VENV)/.ready  ## the same, smaller: five minutes on a CPU
	$(RUN) train.py --preset $@ $(ARGS)

amazon: $(VENV)/.ready  ## RoBERTa in blocks of 512 on reviews; for a GPU (ARGS="--corpus amazon:Books", or --corpus FILE)
	$(RUN) train.py --preset $@ $(ARGS)

amazon-small: $(VENV)/.ready  ## the same, smaller: five minutes on a CPU
	$(RUN) train.py --preset $@ $(ARGS)

test: $(VENV)/.ready  ## the whole suite, under three minutes, in two processes (with ARGS="-k masking", or other flags of pytest: in one)
ifdef ARGS
	$(RUN) -m pytest -q $(ARGS)
else
	@$(RUN) -m pytest -q -p no:cacheprovider tests/tokenizer tests/data > $(VENV)/test.log 2>&1 & half=$$!; \
	$(RUN) -m pytest -q tests/minibert tests/benchmarks tests/docs tests/test_*.py; status=$$?; \
	wait $$half || status=1; cat $(VENV)/test.log; exit $$status
endif

test-slow: $(VENV)/.ready  ## what takes longer: kills at random moments, longer trainings, a million texts there and back
	$(RUN) -m pytest -q -m slow $(ARGS)

parity: $(VENV)/.ready-parity  ## compare with tokenizers and transformers, live
	$(RUN) -m pytest -q -m parity $(ARGS)

speedrun: $(VENV)/.ready  ## the best model of Kant in five minutes, all cores: a record is a row of benchmarks/results/speedrun.json
	$(RUN) benchmarks/speedrun.py --out benchmarks/results/speedrun.json $(ARGS)

ablation: $(VENV)/.ready  ## each choice of that recipe changed alone, five minutes each (an hour and a half)
	$(RUN) benchmarks/speedrun.py --ablation --out benchmarks/results/ablation.json $(ARGS)

bench: bench-tokenizers bench-steps  ## speed and memory against other libraries, on the texts of MINIBERT_CORPORA (two hours)

bench-tokenizers: $(VENV)/.ready-bench  ## the tokenizers' part of it
	$(RUN) benchmarks/tokenizer_speed.py $(MINIBERT_CORPORA) --out benchmarks/results/tokenizer-speed.json $(ARGS)

bench-steps: $(VENV)/.ready-bench  ## the training steps' part of it (twenty minutes)
	$(RUN) benchmarks/step_time.py $(MINIBERT_CORPORA) --out benchmarks/results/step-time.json $(ARGS)

bench-gpu: $(VENV)/.ready-bench  ## all of it that needs a GPU, in under ten minutes: speed, memory, stops, fp16 beside bf16 (needs no texts)
	$(RUN) benchmarks/gpu_suite.py --out benchmarks/results/gpu.json $(ARGS)

lint: $(VENV)/.ready-lint  ## ruff
	$(VENV)/bin/ruff check .

links: $(VENV)/.ready  ## the links of the documentation: renumber those to lines of code, check all
	$(RUN) docs/book/check.py --mend

book: $(VENV)/.ready  ## run every snippet and command of the book, the long ones too, and say what came out differently (ARGS="--only 03 --write")
	$(RUN) docs/book/run.py $(ARGS)

pictures: $(VENV)/.ready  ## draw the pictures of the book (ARGS="--only 03")
	$(RUN) docs/book/pictures.py $(ARGS)

exercises: $(VENV)/.ready  ## check your answers to the exercises (ARGS="--only 3")
	$(RUN) exercises/check.py $(ARGS)

clean:  ## remove the environment and caches (runs/ stays)
	rm -rf $(VENV) .pytest_cache .ruff_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("minibert needs Python 3.10 or later, this is " + sys.version.split()[0] + ": make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test,plots]"
	@touch $@

$(VENV)/.ready-parity: $(VENV)/.ready
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[parity]"
	@touch $@

$(VENV)/.ready-bench: $(VENV)/.ready
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[bench]"
	@touch $@

$(VENV)/.ready-lint: $(VENV)/.ready
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[lint]"
	@touch $@
