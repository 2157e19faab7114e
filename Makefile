# The one door. `make` lists the commands.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: help
help: ## list the commands
	@awk 'BEGIN {FS = ":.*## "} /^[a-z][a-z-]*:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

$(STAMP): pyproject.toml constraints.txt tools/bootstrap.py
	@$(PYTHON) tools/bootstrap.py --venv $(VENV) --stamp $(STAMP)

.PHONY: setup
setup: $(STAMP) ## make the virtual environment with pinned, hashed dependencies

.PHONY: demo
demo: $(STAMP) ## real work on real nodes: honest, lying, killed, hostile; ends with verified receipts
	@$(BIN)/ambient-vcp demo --output-dir demo-out --report demo-out/report.json

.PHONY: up
up: $(STAMP) ## start a control plane and one node here, and keep them
	@$(BIN)/ambient-vcp up

.PHONY: test
test: $(STAMP) ## everything that CI runs: lint, types, contracts, all tests
	@$(BIN)/python tools/run_tests.py

.PHONY: check
check: $(STAMP) ## lint, format, types, import contracts, freshness of generated files
	@$(BIN)/python tools/run_tests.py --only check

.PHONY: fast
fast: $(STAMP) ## check, and the unit tests
	@$(BIN)/python tools/run_tests.py --only check,unit

.PHONY: fix
fix: $(STAMP) ## format, and repair what can be repaired
	@$(BIN)/ruff check --fix-only --quiet . ; $(BIN)/ruff format .

.PHONY: bench
bench: $(STAMP) ## run the benchmarks; NAME=submit picks one, ARGS="--json FILE" passes arguments
	@$(BIN)/python -m benchmarks $(if $(NAME),--name $(NAME)) $(ARGS)

.PHONY: pages
pages: $(STAMP) ## write the generated pages again
	@for tool in code_map protocol_pages program_pages cli_reference; do $(BIN)/python tools/$$tool.py || exit 1; done

.PHONY: guests
guests: $(STAMP) ## build every guest program again from its source (fetches the zig compiler)
	@$(BIN)/python tools/build_guests.py

.PHONY: lock
lock: $(STAMP) ## write constraints.txt again from pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --extra dev --no-emit-index-url --no-header --python-version 3.11 --output-file constraints.txt pyproject.toml

.PHONY: clean
clean: ## remove what was built here
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache demo-out
