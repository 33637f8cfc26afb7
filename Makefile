PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCHMARKS := $(wildcard $(addprefix benchmarks/,train.py complete.py corpus.py encode.py evaluate.py formats.py))
RESULTS := benchmarks/results
UNSLOTH_VENV := .venv-unsloth
UNSLOTH_BIN := $(UNSLOTH_VENV)/bin
UNSLOTH_STAMP := $(UNSLOTH_VENV)/.installed

.PHONY: install install-unsloth quickstart check test test-unsloth test-gpu-lock cov test-all bench wheelhouse format docs clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints/cpu.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fim needs Python 3.11 or newer: make install PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints/cpu.txt -e ".[all,dev]"
	touch $(STAMP)

install-unsloth: $(UNSLOTH_STAMP)

$(UNSLOTH_STAMP): pyproject.toml constraints/unsloth-cpu.txt
	test -x $(UNSLOTH_BIN)/python || $(PYTHON) -m venv $(UNSLOTH_VENV)
	$(UNSLOTH_BIN)/python -m pip install --quiet --upgrade pip
	$(UNSLOTH_BIN)/python -m pip install --quiet --no-deps -r constraints/unsloth-cpu.txt
	$(UNSLOTH_BIN)/python -m pip install --quiet --no-deps -e .
	touch $(UNSLOTH_STAMP)

quickstart: install
	$(BIN)/fim quickstart

check: install
	$(BIN)/ruff check src tests scripts tools
	$(BIN)/ruff format --check src tests scripts tools
	$(BIN)/mypy src
	$(BIN)/lint-imports
	$(BIN)/python -m fim.config.documents --check
	$(BIN)/python -m fim.cli.reference --check

format: install
	$(BIN)/ruff check --fix src tests scripts tools
	$(BIN)/ruff format src tests scripts tools

test: install
	$(BIN)/pytest -n 2 --dist loadfile

test-unsloth: install-unsloth
	$(UNSLOTH_BIN)/python -m pytest -m unsloth tests/real_unsloth

test-gpu-lock: install-unsloth
	$(UNSLOTH_BIN)/python -m pytest -n 2 --dist loadfile tests/unit/training tests/integration

cov: install
	$(BIN)/pytest -n 2 --dist loadfile --cov=fim --cov-report=json:coverage.json --cov-report=term:skip-covered
	$(BIN)/python tests/coverage_gates.py coverage.json

test-all: install
	$(BIN)/pytest -n 2 --dist loadfile --hypothesis-profile=thorough
	$(BIN)/pytest -m "slow or e2e"
	$(MAKE) test-unsloth test-gpu-lock

bench: install
	mkdir -p $(RESULTS)
	set -e; for each in $(BENCHMARKS); do \
		$(BIN)/python $$each --json $(RESULTS)/$$(basename $$each .py).json; \
	done
	$(BIN)/python benchmarks/train.py --table --json $(RESULTS)/train-table.json --plots docs/images

wheelhouse: install
	$(BIN)/python tools/wheelhouse.py $(or $(OUT),wheelhouse) $(if $(SLIM),--slim)

docs: install
	$(BIN)/python -m fim.config.documents
	$(BIN)/python -m fim.cli.reference

clean:
	rm -rf $(VENV) $(UNSLOTH_VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis coverage.json .coverage
