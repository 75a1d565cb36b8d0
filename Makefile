# Every target sets up what it needs; a second run finds it done.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.SILENT:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo test faults soak check lint format docs bench engine tools clean

VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

help: ## list the targets
	awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: engine ## five servers on the embedded cloud, then two, then none
	project=$$(mktemp -d)
	trap 'rm -rf "$$project"' EXIT
	cp -R Pulumi.yaml stacks "$$project"
	run() { printf '\n$$ scaler %s\n' "$$*"; $(BIN)/scaler -C "$$project" "$$@"; }
	run ensure 5 --stack demo --yes
	run status --stack demo
	run ensure 2 --stack demo --yes
	run status --stack demo
	run destroy --stack demo --yes

test: engine tools ## run all tests; ARGS="-k name" chooses
	$(BIN)/python -m pytest $(ARGS)

check: lint test ## everything that must be green before a commit

faults: engine ## kill and disturb every step of every operation; ARGS="--only kill/hetzner" chooses
	$(BIN)/python tests/faults $(ARGS)

soak: engine ## thousands of random operations on one stack; ARGS="--seed 7 --operations 2000 --cloud hetzner"
	$(BIN)/python tests/faults/soak.py $(ARGS)

lint: $(INSTALLED) ## style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(INSTALLED) ## make the commands' pages from the code
	$(BIN)/python -m scaler.commands.reference

bench: engine ## measure against the numbers to reach
	$(BIN)/python -m tests.bench $(ARGS)

engine: $(INSTALLED) ## the Pulumi engine, found or installed
	$(BIN)/scaler engine path >/dev/null 2>&1 || $(BIN)/scaler engine install

# Programs that we did not write, for the tests to talk to: a client of the embedded cloud, sources of metrics, a browser.
# Tests that miss theirs say so and are skipped.
tools:
	missing=
	for pair in hcloud:hcloud-cli redis-server:redis-server prometheus:prometheus chromium:chromium; do
	  command -v "$${pair%%:*}" >/dev/null || missing="$$missing $${pair##*:}"
	done
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$$missing postgresql"
	[ -n "$$missing" ] || exit 0
	if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then
	  echo "installing$$missing"
	  export DEBIAN_FRONTEND=noninteractive
	  install="apt-get install -y -qq --no-install-recommends $$missing"
	  { $$install || { apt-get update -qq && $$install; }; } >/dev/null 2>&1 && exit 0
	fi
	echo "skip: not installed, so the tests that use them are skipped:$$missing" >&2

$(INSTALLED): pyproject.toml
	python=
	for name in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do
	  if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$name; break; fi
	done
	if [ -z "$$python" ]; then
	  echo 'Error: Python 3.11 or newer was not found. Install it, or run: make PYTHON=/path/to/python' >&2
	  exit 1
	fi
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then
	  if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then
	    echo 'installing python3-venv'
	    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv; } >/dev/null
	  else
	    echo "Error: $$python has no venv module. On Debian and Ubuntu: apt-get install python3-venv" >&2
	    exit 1
	  fi
	fi
	echo "setting up $(VENV) with $$("$$python" --version)"
	"$$python" -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

clean: ## remove what the targets above made here
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
