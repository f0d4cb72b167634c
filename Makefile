# Everything starts here: `make` lists the targets. All but `help` and `clean` set up .venv first.
SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: help setup check test test-fast crashes faults races bench demo clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## a virtual environment in .venv, with everything at the pinned versions

# Rebuilt only when what is to be installed has changed; the sources themselves are installed editable.
$(STAMP): pyproject.toml sdk/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "python 3.11 or newer is needed, found \`$$($(PYTHON) --version 2>&1)\`; name another one: make $(or $(MAKECMDGOALS),setup) PYTHON=python3.12" >&2; exit 1; }
	@if ! $(BIN)/python -c 'import pip' 2>/dev/null; then \
	  echo "setup: creating $(VENV) with $$($(PYTHON) --version)"; \
	  rm -rf $(VENV); \
	  $(PYTHON) -m venv $(VENV) || { echo "the venv module is missing or broken; on Debian: apt install python3-venv" >&2; exit 1; }; \
	fi
	@echo "setup: installing the pinned packages into $(VENV) (about a minute the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ./sdk -e '.[dev,demo]'
	@touch $@
	@echo "setup: done"

check: $(STAMP) ## formatting, lint, types, and the dependency rule between the packages
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy -p examples.banking -p benchmarks
	$(BIN)/lint-imports

test: $(STAMP) ## every test, those on real Ray as well
	$(BIN)/python -m pytest

test-fast: $(STAMP) ## the tests that need no running control plane
	$(BIN)/python -m pytest -m "not ray"

crashes: $(STAMP) ## kill journals' owners and the evidence writer at every failpoint, without Ray: ROUNDS=300, in the order of SEED=1
	@PYTHONPATH=tests $(BIN)/python -m integration.crashes --rounds $(or $(ROUNDS),300) --seed $(or $(SEED),1)

faults: $(STAMP) ## kill and stop parts in the middle of traffic: ROUNDS=50, in the order of SEED=1
	@PYTHONPATH=tests $(BIN)/python -m integration.faults --rounds $(or $(ROUNDS),50) --seed $(or $(SEED),1)

races: $(STAMP) ## race two owners against each other, hosts killed in between: WORKFLOWS=3000, in the order of SEED=1
	@PYTHONPATH=tests $(BIN)/python -m integration.races --workflows $(or $(WORKFLOWS),3000) --seed $(or $(SEED),1)

bench: $(VENV)/.bench ## what a decision costs, beside a no-op; against the size of the fleet; ten times too much; with rules over the past; origins and tasks; from a stop to the first deny; evidence
	@$(BIN)/python -m benchmarks.decision_path
	@$(BIN)/python -m benchmarks.fleet
	@$(BIN)/python -m benchmarks.overload
	@$(BIN)/python -m benchmarks.past
	@$(BIN)/python -m benchmarks.origin --json benchmarks/out/origin.json
	@$(BIN)/python -m benchmarks.agent_safety --json benchmarks/out/agent_safety.json
	@$(BIN)/python -m benchmarks.stops
	@$(BIN)/python -m benchmarks.evidence

$(VENV)/.bench: $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $@

demo: $(STAMP) ## govern AgentDojo's banking agents, honest and hijacked, and show what was stopped
	@$(BIN)/python -m examples.banking.demo

clean: ## remove the virtual environment, caches and what the demo left
	rm -rf $(VENV) .controlplane-demo build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	rm -rf *.egg-info sdk/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
