# Two commands matter: `make up` runs the whole fleet here, `make test` runs every test. `make help` lists the rest.
PYTHON ?= python3
ARGS   ?=
MINUTES ?= 30
BIN    := .venv/bin
export UV_LINK_MODE ?= copy
# Bytecode at install, once: a start without it takes several seconds longer.
export UV_COMPILE_BYTECODE ?= 1
# Trust what the system trusts, as pip does: behind a company's proxy that is more than uv's own list. A bare machine has no list.
ifneq ($(wildcard /etc/ssl/certs/*.crt /etc/ssl/cert.pem /etc/pki/tls/certs/*),)
export UV_SYSTEM_CERTS ?= 1
endif

.PHONY: help up down test chaos load bench soak lint format lock docs clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

up: .venv/runtime  ## install, start the whole fleet here, show it live; Ctrl-C drains and stops it
	@$(BIN)/headrace up $(ARGS)

down: .venv/runtime  ## stop a fleet that `make up ARGS=--detach` started
	@$(BIN)/headrace down $(ARGS)

# Three processes on two cores: most tests wait for a process or a lease, and a file's tests share their fixtures.
test: .venv/dev  ## install what the tests need and run all of them; ARGS="tests/unit -n 0" for a part, one by one
	@$(BIN)/python -m pytest -n 3 --dist loadfile $(ARGS)

chaos: .venv/dev  ## the faults of docs/chaos.md in their long form, about 45 minutes; ARGS="--seed 7 -k storm"
	@HEADRACE_CHAOS_ROUNDS=10 $(BIN)/python -m pytest tests/chaos --timeout=1200 $(ARGS)

load: .venv/runtime  ## drive the running fleet; ARGS="--rate 1000 --duration 30"
	@$(BIN)/headrace load run $(ARGS)

bench: .venv/dev  ## the benchmarks, each against its stated peer
	@$(BIN)/python -m tests.benchmarks $(ARGS)

soak: .venv/dev  ## one worker under load, its memory over time; MINUTES=30, ARGS="--rate 300"
	@$(BIN)/python -m tests.benchmarks.soak --minutes $(MINUTES) $(ARGS)

lint: .venv/dev  ## ruff, mypy, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: .venv/dev  ## let ruff rewrite what it can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# By order alone, never because a file is newer: a clone's files have the times of their checkout, and an install must not resolve.
lock: .venv/tools  ## resolve the dependencies anew into requirements/*.txt
	@$(COMPILE) requirements/install.in -o requirements/install.txt
	@$(COMPILE) pyproject.toml -o requirements/runtime.txt
	@$(COMPILE) --extra otel -c requirements/runtime.txt pyproject.toml -o requirements/otel.txt
	@$(COMPILE) --extra otel --extra dev -c requirements/runtime.txt pyproject.toml -o requirements/dev.txt

docs: .venv/dev  ## write docs/configuration.md anew from the settings
	@$(BIN)/python -m workers.settings_page > docs/configuration.md

clean:  ## remove the installation; data in .headrace/ stays
	rm -rf .venv .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

COMPILE = $(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock"

.venv/tools: requirements/install.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Headrace needs Python 3.11 or newer; this is %s. Mend: make PYTHON=python3.12 ..." % sys.version.split()[0])'
	@echo "installing into .venv (once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/install.txt
	@touch $@

.venv/runtime: .venv/tools requirements/runtime.txt pyproject.toml
	@$(BIN)/uv pip install --require-hashes -r requirements/runtime.txt
	@$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/otel: .venv/runtime requirements/otel.txt  ## what HEADRACE_OTLP_URL needs, beside the runtime
	@$(BIN)/uv pip install --require-hashes -r requirements/otel.txt
	@touch $@

.venv/dev: .venv/runtime requirements/dev.txt
	@$(BIN)/uv pip install --require-hashes -r requirements/dev.txt
	@touch $@
