# `make demo` shows what Palimpsest does, `make test` checks it. Both need only Python, make and the
# package index.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_ARCHIVE := demo-archive
ROOMS := records kernels ingest dedup store pipeline flows evidence exports inspector cli
ARCHIVE ?= $(DEMO_ARCHIVE)
CORPUS ?= ../shared/data/newswire.tar.xz
PAGES ?= ../shared/data/newspages.tar.xz
GOLD ?= ../shared/data/pan13-train.tar.xz
MINUTES ?= 30
# Property tests with random examples: SEED=N repeats a run that printed N.
RANDOM := --hypothesis-profile=random $(if $(SEED),--hypothesis-seed=$(SEED))

# Prefect's state of the commands below stays inside the project's folder.
export PALIMPSEST_STATE := $(CURDIR)/.palimpsest

.DEFAULT_GOAL := help
.PHONY: help demo test install format lint types contracts unit bench bench-growth bench-passages sweep sweep-s3 order services servers browse fuzz soak bench-pages bench-served bench-speed docs clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime ## Install, ingest the examples, show what was found and where to look.
	@rm -rf $(DEMO_ARCHIVE) .$(DEMO_ARCHIVE).store
	@echo; echo "$$ palimpsest ingest examples/articles --archive $(DEMO_ARCHIVE) --date-from-path '%Y-%m-%d' --prefect"
	@$(BIN)/palimpsest ingest examples/articles --archive $(DEMO_ARCHIVE) --date-from-path '%Y-%m-%d' --prefect; code=$$?; \
	  test $$code -le 1 # 1: the examples contain an empty file, which is rejected
	@echo; echo '$$ palimpsest passages $(DEMO_ARCHIVE) --limit 3'
	@$(BIN)/palimpsest passages $(DEMO_ARCHIVE) --limit 3
	@echo; echo 'Where to look:'
	@echo '  $(DEMO_ARCHIVE)/paragraphs/*.parquet   each paragraph once, with its provenance'
	@echo '  $(BIN)/palimpsest inspect $(DEMO_ARCHIVE)         in a browser: two articles side by side, and more'
	@echo '  $(BIN)/palimpsest compare examples/articles/wieselbacher-umschau/*.txt examples/articles/der-talbote/*.txt'

test: $(VENV)/.dev lint types contracts unit ## Install, check format, lint, types, import contracts; run the tests.

format: $(VENV)/.dev ## Format the code.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy

contracts: $(VENV)/.dev
	$(BIN)/lint-imports

unit: $(VENV)/.dev
	$(BIN)/pytest -n auto --dist worksteal

services: $(VENV)/.dev ## Test the server, the worker and their failures at length, on SQLite and PostgreSQL (ten minutes).
	PALIMPSEST_LONG=1 $(BIN)/pytest -s tests/services

servers: $(VENV)/.dev ## Kill servers, workers and commands, on SQLite and PostgreSQL (three minutes).
	PALIMPSEST_SERVERS=1 $(BIN)/pytest -n auto -m servers

order: $(VENV)/.dev ## Test at length that order, runs, crashes and removals do not affect the tables.
	PALIMPSEST_LONG=1 $(BIN)/pytest $(RANDOM) tests/pipeline/test_order.py tests/flows/test_task_runners.py tests/pipeline/test_readers_meanwhile.py

soak: $(VENV)/.dev ## Test all properties with new random examples for half an hour (MINUTES=30).
	@end=$$(($$(date +%s) + 60 * $(MINUTES))); \
	while [ $$(date +%s) -lt $$end ]; do \
	  $(BIN)/pytest -n auto --dist worksteal -m hypothesis --hypothesis-profile=soak || exit; \
	done

bench-served: $(VENV)/.dev ## Measure the pages of an archive of your own: time and memory (ARCHIVE=DIR).
	$(BIN)/python benchmarks/served.py $(ARCHIVE)

browse: $(VENV)/.dev ## Test the pages of an archive of your own in a browser (ARCHIVE=DIR).
	PALIMPSEST_ARCHIVE=$(abspath $(ARCHIVE)) $(BIN)/pytest tests/inspector/test_browser.py

docs: $(VENV)/.dev ## Generate the references of tables, commands and settings, and the outputs of the notebook.
	$(BIN)/python docs/reference.py
	$(BIN)/python docs/notebook.py

bench: $(VENV)/.dev ## Measure the main job on a corpus of raw text (CORPUS=FOLDER or .tar.xz).
	$(BIN)/python benchmarks/main_job.py $(CORPUS)

bench-growth: $(VENV)/.dev ## Measure many runs and a single one on a corpus (CORPUS=FOLDER or .tar.xz).
	$(BIN)/python benchmarks/growth.py $(CORPUS)

bench-speed: $(VENV)/.dev ## Measure the steps of the main job, bare loops and other tools (CORPUS=FOLDER or .tar.xz; ten minutes).
	$(BIN)/python benchmarks/speed.py $(CORPUS)

bench-passages: $(VENV)/.dev ## Measure passages against gold (GOLD=FOLDER or .tar.xz); fail below the floors.
	$(BIN)/python benchmarks/passages.py $(GOLD) --check

sweep: $(VENV)/.dev ## Kill every operation at each call that writes, and let each of these calls fail (half an hour).
	$(BIN)/python -m tests.sweep

sweep-s3: $(VENV)/.dev ## Kill thirty commits on an object store at their requests (three minutes).
	$(BIN)/python -m tests.sweep.remote

fuzz: $(VENV)/.dev ## Give the readers a million broken inputs (five minutes).
	$(BIN)/python -m tests.fuzz

bench-pages: $(VENV)/.dev ## Measure articles of web pages against gold and trafilatura (PAGES=FOLDER or .tar.xz).
	$(BIN)/python benchmarks/pages.py $(PAGES)

install: $(VENV)/.runtime

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is required; choose one with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	$(BIN)/palimpsest compile
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/palimpsest compile
	@touch $(VENV)/.runtime $@

clean: ## Remove everything installed, compiled or written here.
	rm -rf $(VENV) build *.egg-info $(DEMO_ARCHIVE) .$(DEMO_ARCHIVE).store .palimpsest
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(ROOMS) tests benchmarks docs -name __pycache__ -type d -exec rm -rf {} +
