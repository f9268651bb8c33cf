# Each target first creates the virtual environment, unless it exists already.
PYTHON ?= python3
VENV   ?= .venv
RUN    := $(VENV)/bin/python
# The corpora of the benchmarks, if they are next to the checkout. Tests that need them are skipped
# without them.
ifneq ($(wildcard ../shared/corpora),)
export MINIBERT_CORPORA ?= $(abspath ../shared/corpora)
endif

.DEFAULT_GOAL := help
.PHONY: help train test test-slow kant kant-small wikipedia wikipedia-small amazon amazon-small lint \
        parity speedrun ablation bench bench-tokenizers bench-steps bench-gpu links book notebooks \
        pictures site exercises clean

help:  ## print this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 18

train: $(VENV)/.ready  ## train a small BERT from scratch in five minutes on a CPU (ARGS="--minutes 1", ...)
	$(RUN) train.py $(ARGS)

kant: $(VENV)/.ready  ## KantaiBERT: a tokenizer and a RoBERTa on three books by Kant, for a GPU
	$(RUN) train.py --preset $@ $(ARGS)

kant-small: $(VENV)/.ready  ## a smaller KantaiBERT: five minutes on a CPU
	$(RUN) train.py --preset $@ $(ARGS)

wikipedia: $(VENV)/.ready  ## WordPiece and BERT with next-sentence prediction on Wikipedia, for a GPU
	$(RUN) train.py --preset $@ $(ARGS)

wikipedia-small: $(VENV)/.ready  ## a smaller BERT on Wikipedia: five minutes on a CPU
	$(RUN) train.py --preset $@ $(ARGS)

amazon: $(VENV)/.ready  ## RoBERTa on reviews, in packed sequences of 512 tokens, for a GPU
	$(RUN) train.py --preset $@ $(ARGS)

amazon-small: $(VENV)/.ready  ## a smaller RoBERTa on reviews: five minutes on a CPU
	$(RUN) train.py --preset $@ $(ARGS)

# Two processes run one half of the tests each; these folders are one half.
HALF := tests/tokenizer tests/data tests/docs tests/benchmarks tests/minibert/finetuning \
        tests/minibert/analysis tests/minibert/generation
test: $(VENV)/.ready  ## run all tests, in under three minutes (ARGS="-k masking": flags of pytest)
ifdef ARGS
	$(RUN) -m pytest -q $(ARGS)
else
	@$(RUN) -m pytest -q -p no:cacheprovider $(HALF) > $(VENV)/test.log 2>&1 & half=$$!; \
	$(RUN) -m pytest -q tests $(HALF:%=--ignore=%); status=$$?; \
	wait $$half || status=1; cat $(VENV)/test.log; exit $$status
endif

test-slow: $(VENV)/.ready  ## run the slow tests: kills at random moments, longer runs, a million round trips
	$(RUN) -m pytest -q -m slow $(ARGS)

parity: $(VENV)/.ready-parity  ## compare with the packages tokenizers and transformers
	$(RUN) -m pytest -q -m parity $(ARGS)

speedrun: $(VENV)/.ready  ## train the best model of Kant in five minutes, with four seeds; updates benchmarks/results/speedrun.json
	$(RUN) benchmarks/speedrun.py --seeds 0 1 2 3 --out benchmarks/results/speedrun.json $(ARGS)

ablation: $(VENV)/.ready  ## change each choice of that recipe by itself (an hour and a half)
	$(RUN) benchmarks/speedrun.py --ablation --out benchmarks/results/ablation.json $(ARGS)

bench: bench-tokenizers bench-steps  ## measure speed and memory against other libraries (two hours)

bench-tokenizers: $(VENV)/.ready-bench  ## measure only the tokenizers
	$(RUN) benchmarks/tokenizer_speed.py $(MINIBERT_CORPORA) --out benchmarks/results/tokenizer-speed.json $(ARGS)

bench-steps: $(VENV)/.ready-bench  ## measure only the training steps (twenty minutes)
	$(RUN) benchmarks/step_time.py $(MINIBERT_CORPORA) --out benchmarks/results/step-time.json $(ARGS)

bench-gpu: $(VENV)/.ready-bench  ## measure speed and memory on a GPU, fp16 and bf16 (ten minutes, no corpora needed)
	$(RUN) benchmarks/gpu_suite.py --out benchmarks/results/gpu.json $(ARGS)

lint: $(VENV)/.ready-lint  ## check the style with ruff, the product first
	$(VENV)/bin/ruff check train.py minibert tokenizer data exercises
	$(VENV)/bin/ruff check .

links: $(VENV)/.ready  ## renumber the documentation's links to lines of code, check all, update the notebooks' text
	$(RUN) docs/book/check.py --mend

book: $(VENV)/.ready  ## run every snippet and command of the book and print what differs (ARGS="--only 03")
	$(RUN) docs/book/run.py $(ARGS)

notebooks: $(VENV)/.ready-notebooks  ## write and run the notebooks (ARGS="--only 03")
	$(RUN) notebooks/make.py $(ARGS)

pictures: $(VENV)/.ready  ## draw the pictures of the book (ARGS="--only 03")
	$(RUN) docs/book/pictures.py $(ARGS)

# Where the site's links to source files lead: the web address of the remote repository, if any.
REPO_URL ?= $(shell git remote get-url origin 2>/dev/null | \
  sed -nE 's,^(ssh://)?git@([^:/]+)[:/],https://\2/,; s,^https://[^@/]*@,https://,; s,\.git$$,,; /^https:/p')
site: $(VENV)/.ready-site  ## build the docs as a site with search, in site/
	REPO_URL="$(REPO_URL)" NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict --quiet
	@echo "Open site/index.html. The search needs a server: $(PYTHON) -m http.server --directory site"

exercises: $(VENV)/.ready  ## check your answers to the exercises (ARGS="--only 3")
	$(RUN) exercises/check.py $(ARGS)

clean:  ## remove the environment and the caches, but not runs/
	rm -rf $(VENV) .pytest_cache .ruff_cache build site *.egg-info
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

$(VENV)/.ready-notebooks: $(VENV)/.ready
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[notebooks]"
	@touch $@

$(VENV)/.ready-lint: $(VENV)/.ready
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[lint]"
	@touch $@

$(VENV)/.ready-site: $(VENV)/.ready
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[site]"
	@touch $@
