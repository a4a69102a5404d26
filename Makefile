# Every tool runs as a module of one interpreter: .venv where `make setup` made it, else python3; or `make PYTHON=... test`.
PYTHON ?= $(if $(wildcard .venv/bin/python),.venv/bin/python,python3)
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help setup lint format types imports test test-all bench docs check hooks

help: ## List what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: hooks ## Make .venv, install latentkit there with all tools, switch the hooks on
	python3 -m venv .venv
	.venv/bin/python -m pip install -e '.[dev]'

lint: ## Style: ruff's rules and format
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

format: ## Repair what ruff can repair
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

types: ## Types: mypy --strict on src
	$(PYTHON) -m mypy

imports: ## Layers: who may import whom
	PYTHONPATH=src $(PYTHON) -c 'from importlinter.cli import lint_imports_command as lint; lint()' --config pyproject.toml --no-cache

test: ## The quick tests and all doctests
	$(PYTHON) -m pytest

test-all: ## Every test, the slow ones too
	$(PYTHON) -m pytest -m ''

bench: ## Measure every published figure anew (long; writes benchmarks/results)
	@set -e; for file in benchmarks/[a-z]*.py benchmarks/tables/[a-z]*.py; do echo "== $$file"; $(PYTHON) "$$file"; done
	$(PYTHON) benchmarks/_tables.py

docs: ## Build docs/_build/html offline, a warning is an error; run the examples of its pages
	rm -rf docs/_generated
	$(PYTHON) -m sphinx -q -W --keep-going -b html -d docs/_build/doctrees docs docs/_build/html
	$(PYTHON) -m sphinx -q -W --keep-going -b doctest -d docs/_build/doctrees docs docs/_build/doctest
	@echo "docs/_build/html/index.html"

check: lint types imports docs ## What CI runs beside the tests

hooks: ## Switch the local hooks on (they work offline)
	git config core.hooksPath .githooks
