# make run: installs what is needed and starts everything. make help: the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --require-hashes

.PHONY: help run test test-long check fmt bench lock clean

help: ## show this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

run: $(VENV)/installed-run ## install what is needed, start everything, print where it is
	@exec $(BIN)/python run.py serve

test: $(VENV)/installed-test ## install what tests need and run all of them
	$(BIN)/python -m pytest -m "not long" --numprocesses 2 --dist loadgroup

test-long: $(VENV)/installed-test ## the long forms: crash loops
	$(BIN)/python -m pytest -m long

check: $(VENV)/installed-test ## lint, types, import rules, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

fmt: $(VENV)/installed-test ## format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/installed-bench ## measure, as bench/README.md says; needs wrk, node and npm
	@command -v wrk >/dev/null || { echo "wrk is needed: apt-get install wrk"; exit 1; }
	cd bench/peers && npm install --ignore-scripts --no-package-lock --no-audit --no-fund --silent
	$(BIN)/python -m bench.ingest
	$(BIN)/python -m bench.bulk_mongo
	$(BIN)/python -m bench.end_to_end
	$(BIN)/python -m bench.actor_messages
	$(BIN)/python -m bench.idle
	$(BIN)/python -m bench.plain_get
	$(BIN)/python -m bench.contacts_million
	$(BIN)/python -m bench.campaigns
	$(BIN)/python -m bench.flow_time
	$(BIN)/python -m bench.metrics_cost

lock: ## write the lock files anew from pyproject.toml; needs uv
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --extra test --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml -o requirements-test.lock
	uv pip compile -q --universal --python-version 3.11 --extra test --extra bench --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml -o requirements-bench.lock

clean: ## remove everything that was installed or generated, the data too
	rm -rf $(VENV) .data .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "the venv module is needed: apt-get install python3-venv"; exit 1; }

$(VENV)/installed-run: requirements.lock | $(BIN)/python
	@echo "  installing packages into $(VENV) (the first time this takes a minute)"
	@$(PIP) -r requirements.lock
	@touch $@

$(VENV)/installed-test: requirements-test.lock | $(BIN)/python
	@echo "  installing what tests need into $(VENV)"
	@$(PIP) -r requirements-test.lock
	@touch $@ $(VENV)/installed-run

$(VENV)/installed-bench: requirements-bench.lock | $(BIN)/python
	@$(PIP) -r requirements-bench.lock
	@touch $@ $(VENV)/installed-test $(VENV)/installed-run
