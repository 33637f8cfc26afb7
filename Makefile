PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCHMARKS := $(wildcard $(addprefix benchmarks/,train.py complete.py corpus.py encode.py evaluate.py formats.py))
RESULTS := benchmarks/results

.PHONY: install quickstart check test cov test-all bench format docs clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints/cpu.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fim needs Python 3.11 or newer: make install PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints/cpu.txt -e ".[all,dev]"
	touch $(STAMP)

quickstart: install
	$(BIN)/fim quickstart

check: install
	$(BIN)/ruff check src tests scripts
	$(BIN)/ruff format --check src tests scripts
	$(BIN)/mypy src
	$(BIN)/lint-imports
	$(BIN)/python -m fim.config.documents --check
	$(BIN)/python -m fim.cli.reference --check

format: install
	$(BIN)/ruff check --fix src tests scripts
	$(BIN)/ruff format src tests scripts

test: install
	$(BIN)/pytest -n 2 --dist loadfile

cov: install
	$(BIN)/pytest -n 2 --dist loadfile --cov=fim --cov-report=json:coverage.json --cov-report=term:skip-covered
	$(BIN)/python tests/coverage_gates.py coverage.json

test-all: install
	$(BIN)/pytest -n 2 --dist loadfile --hypothesis-profile=thorough
	$(BIN)/pytest -m "slow or e2e"

bench: install
	mkdir -p $(RESULTS)
	set -e; for each in $(BENCHMARKS); do \
		$(BIN)/python $$each --json $(RESULTS)/$$(basename $$each .py).json; \
	done
	$(BIN)/python benchmarks/train.py --table --json $(RESULTS)/train-table.json --plots docs/images

docs: install
	$(BIN)/python -m fim.config.documents
	$(BIN)/python -m fim.cli.reference

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis coverage.json .coverage
