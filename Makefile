# Sightline: `make demo` shows it, `make test` proves it. `make help` lists the rest.
SHELL := /bin/bash
PYTHON ?= python3.11
PYTHON := $(shell command -v $(PYTHON) || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CODE := schemas processors stores streams search sightline tinyworld examples bench deploy tests docs/refresh.py docs/figures.py
BENCHES := log index decode pipeline memory search hop scale latency forget year
ARGS ?=
PROCESSES ?= 3

export OMP_WAIT_POLICY := PASSIVE

.PHONY: help setup demo test check docs bench evaluate faults tinyworld kafka clean system

help: ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 14

setup: $(READY) ## make .venv and install everything pinned

$(READY): pyproject.toml constraints.txt $(addprefix streams/kafka/compiled/,_wire.pyx _checksum.pxi _writing.pxi)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Sightline needs Python 3.11 or newer; set PYTHON=/path/to/it"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "python3 has no venv: apt-get install python3-venv"; exit 1; }
	@echo "setting up $(VENV) (a minute and 6 GB on the first run, torch is most of it)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check "$$(grep '^uv==' constraints.txt)"
	@rm -f streams/kafka/compiled/_wire.*.so  # built from an earlier source
	@$(BIN)/uv pip install -q --python $(BIN)/python -e '.[dev]' -c constraints.txt
	@compgen -G 'streams/kafka/compiled/_wire.*.so' > /dev/null || echo "There is no C compiler: Kafka's batches are read" \
	  "and written in Python, which is slower. To compile: apt-get install gcc python3-dev; rm $@; make setup"
	@touch $@

demo: $(READY) ## two cameras and some stills, to a page and search results (ARGS=--once ends by itself)
	@$(BIN)/sightline demo $(ARGS)

system:
	@./deploy/local/system-packages

test: $(READY) system ## the whole suite, in three processes (ARGS=-k… selects, PROCESSES=0 is one after the other)
	@$(BIN)/python -m pytest -n $(PROCESSES) --dist loadscope --no-loadscope-reorder $(ARGS)

check: $(READY) ## style, types, layers, links
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy --strict $(CODE)
	@$(BIN)/lint-imports
	@$(BIN)/python -m deploy.docs.links
	@$(BIN)/python -m pytest -q tests/unit/test_distribution.py

docs: $(READY) ## generate the reference pages and build the site into build/site, offline
	@$(BIN)/python -m deploy.docs.pages
	@$(BIN)/python -m deploy.docs.site

bench: $(READY) ## every benchmark, each ends with one line of JSON
	@mkdir -p bench/results; for name in $(BENCHES); do echo "== bench/$$name.py"; \
	  set -o pipefail; $(BIN)/python -m bench.$$name | tee bench/results/$$name.log || exit 1; \
	  tail -n 1 bench/results/$$name.log > bench/results/$$name.json; rm bench/results/$$name.log; done

evaluate: $(READY) ## how well the tiny models see, against the exact truth
	@mkdir -p bench/results; set -o pipefail; $(BIN)/python -m tinyworld.evaluate | tee bench/results/tinyworld.log && \
	  tail -n 1 bench/results/tinyworld.log > bench/results/tinyworld.json; rm bench/results/tinyworld.log

faults: $(READY) system ## every fault against workers, brokers and indexes, 40 minutes (ARGS=NAME chooses, ARGS=--help)
	@$(BIN)/python -m tests.nemesis $(ARGS)

tinyworld: $(READY) ## retrain the tiny checkpoints (hours on a CPU, resumes; ARGS=--help)
	@$(BIN)/python -m tinyworld.train $(ARGS)

kafka: $(READY) ## a local Kafka broker (ARGS=stop stops it)
	@$(BIN)/python -m deploy.local.kafka $(or $(ARGS),start)

clean: ## remove the environment and everything built
	@rm -rf $(VENV) build *.egg-info streams/kafka/compiled/_wire.c streams/kafka/compiled/_wire.*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
