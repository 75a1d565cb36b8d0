# Each target sets up what it needs in this folder; a second run finds it done.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.SILENT:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo test unit check faults soak fuzz hostile night lint format docs recording site bench engine tools google lock newest clean

# Where the virtual environment is. PYTHON=/path/to/python chooses the interpreter that it is made with.
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# The exact versions to install, with their hashes. Empty (`LOCK=`): the newest that pyproject.toml allows.
LOCK ?= requirements.lock

# How the demo's cloud behaves: instant, fast, realistic or hostile. Empty: fast.
PROFILE ?=

# Test processes at a time: twice the cores that CI has. An end-to-end test waits for half of its time.
JOBS ?= 4
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

# Which cloud a test runs on that shows what no cloud decides: another one after each commit; `both`: on both.
export SCALER_TEST_CLOUDS ?= $(shell git rev-parse --short HEAD 2>/dev/null || echo 0)

# `make check` fails below this percentage of branch coverage.
COVERAGE_FLOOR := 88

# Where `make site` builds.
SITE ?= build/site

# Installs Debian packages and shows what apt-get prints.
APT_INSTALL := DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends

help: ## list the targets
	awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# Of the imitation of Azure Blob Storage that some tests talk to.
AZURITE := 3.35.0

# Of the imitation of Google Cloud Storage.
FAKE_GCS := v1.56.1

# Of the program that checks workflows of GitHub, and where it is put. It is built with Go.
ACTIONLINT := v1.7.12
TOOLS ?= /usr/local/bin

demo: engine ## five servers on the embedded cloud, then two, then none; PROFILE=hostile: on an unpleasant one
	project=$$(mktemp -d)
	trap 'rm -rf "$$project"' EXIT
	cp -R Pulumi.yaml stacks "$$project"
	if [ -n "$(PROFILE)" ]; then
	  mkdir "$$project/.scaler"
	  $(BIN)/python -c 'import sys; from pathlib import Path; from scaler.simulator import SimulatedWorld
	# Of so few requests, the usual 1 % might be none.
	often = {"failing_requests": 0.05} if sys.argv[2] == "hostile" else {}
	SimulatedWorld(Path(sys.argv[1])).set_profile(sys.argv[2], **often)' "$$project/.scaler/embedded.sqlite" "$(PROFILE)"
	fi
	run() {
	  printf '\n$$ scaler %s\n' "$$*"
	  for attempt in 1 2 3 4; do
	    if $(BIN)/scaler -C "$$project" "$$@"; then return; else code=$$?; fi
	    if [ "$(PROFILE)" != hostile ]; then break; fi
	    echo "exit code $$code, and the same again, as a pipeline would:"
	  done
	  return $$code
	}
	run ensure 5 --stack demo --yes
	run status --stack demo
	run ensure 2 --stack demo --yes
	run status --stack demo
	run destroy --stack demo --yes
	if [ "$(PROFILE)" = hostile ]; then
	  $(BIN)/python -c 'import sys; from pathlib import Path; from scaler.simulator import SimulatedWorld
	log = SimulatedWorld(Path(sys.argv[1])).log()
	print(f"\n{sum(bool(entry.effects) for entry in log)} of {len(log)} requests were refused, lost or answered with an",
	      "error, and lists lagged 8 s behind: every count was reached all the same.")' "$$project/.scaler/embedded.sqlite"
	fi

check: lint engine ## style, types, direction of imports, all tests with branch coverage: run it before each commit
	$(PYTEST) --cov --cov-report=term --cov-fail-under=$(COVERAGE_FLOOR) $(ARGS)

test: engine ## the tests alone; ARGS="-k name" chooses, JOBS=0 runs them in one process
	$(PYTEST) $(ARGS)

unit: $(INSTALLED) ## the tests that start no server, browser or engine; ARGS="-k name" chooses
	$(PYTEST) -m 'not server and not browser and not engine' $(ARGS)

hostile: engine ## reach random counts on an unpleasant cloud; ARGS="--seeds 20 --counts 10 --cloud hetzner"
	$(BIN)/python tests/faults/hostile.py $(ARGS)

night: engine google ## everything on an unpleasant cloud, for a night: counts, kills and faults, the soak, the end-to-end tests; twenty machines; the installers
	$(BIN)/python tests/faults/hostile.py
	$(BIN)/python tests/faults --profile hostile --most 200
	for cloud in hetzner digitalocean; do $(BIN)/python tests/faults/soak.py --profile hostile --operations 300 --cloud $$cloud; done
	SCALER_TEST_COLD=1 SCALER_TEST_CLOUDS=both SCALER_TEST_PROFILE=hostile $(BIN)/python -m pytest tests/e2e $(ARGS)
	SCALER_TEST_RUNS=20 $(BIN)/python -m pytest tests/e2e/test_shared_records.py -k many_machines
	SCALER_TEST_INSTALLERS=1 $(BIN)/python -m pytest tests/packaging/test_first_screen.py

lint: $(INSTALLED) ## style, types and direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

faults: engine ## kill and disturb each step of each operation; ARGS="--only kill/hetzner" chooses
	$(BIN)/python tests/faults $(ARGS)

fuzz: $(INSTALLED) ## read almost-right documents and answers for an hour; ARGS="--minutes 5 -k checkpoint"
	$(BIN)/python tests/fuzz $(ARGS)

soak: engine ## thousands of random operations on one stack; ARGS="--seed 7 --operations 2000 --cloud hetzner"
	$(BIN)/python tests/faults/soak.py $(ARGS)

bench: engine ## measure against the numbers to reach; ARGS chooses
	$(BIN)/python -m tests.bench $(ARGS)

docs: $(INSTALLED) ## make the commands' pages from the code
	$(BIN)/python -m scaler.commands.reference

recording: engine ## make the README's recording of a terminal from a real run on the embedded cloud
	$(BIN)/python docs/recording/record.py docs/recording/first-run.svg

# A copy with the tree's layout, since pages link to the README, to templates and to examples.
site: $(INSTALLED) ## build the documentation as a site in build/site; a link that leads nowhere is an error
	rm -rf $(SITE)
	mkdir -p $(SITE)/pages
	cp -R README.md CONTRIBUTING.md SECURITY.md CHANGELOG.md LICENSE action.yml docs ci $(SITE)/pages
	mkdir -p $(SITE)/pages/tests/clouds
	cp -R tests/clouds/own_cloud $(SITE)/pages/tests/clouds
	mv $(SITE)/pages/docs/zensical.toml $(SITE)
	$(BIN)/zensical build --strict --config-file $(SITE)/zensical.toml

engine: $(INSTALLED) ## find the Pulumi engine, or install it
	$(BIN)/scaler engine path >/dev/null 2>&1 || $(BIN)/scaler engine install

# Clients of the embedded cloud, sources of metrics, a database, a browser and shells: programs of others that some tests start.
# A test whose program is missing is skipped and says so.
tools: ## install the programs that some tests start (apt-get, as root); without them these tests are skipped
	missing=
	for pair in hcloud:hcloud-cli redis-server:redis-server prometheus:prometheus \
	    rabbitmq-server:rabbitmq-server mariadbd:mariadb-server chromium:chromium zsh:zsh fish:fish \
	    gh:gh shellcheck:shellcheck; do
	  command -v "$${pair%%:*}" >/dev/null || missing="$$missing $${pair##*:}"
	done
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$$missing postgresql"
	# An Azure Blob Storage. Where npm is not, neither is it worth the packages that npm brings.
	if ! command -v azurite-blob >/dev/null && command -v npm >/dev/null; then
	  npm install --global --no-fund --no-audit azurite@$(AZURITE) || echo 'tools: azurite could not be installed' >&2
	fi
	if ! command -v actionlint >/dev/null && command -v go >/dev/null; then
	  GOBIN=$(TOOLS) go install github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT) ||
	    echo 'tools: actionlint could not be built' >&2
	fi
	if [ -z "$$missing" ]; then
	  echo 'tools: all are installed'
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then
	  echo "tools: installing$$missing"
	  apt-get update
	  $(APT_INSTALL) $$missing
	else
	  echo "Error: not installed:$$missing. As root on Debian or Ubuntu: apt-get install$$missing" >&2
	  exit 1
	fi

google: ## build the imitation of Google Cloud Storage that some tests talk to (with Go, some minutes)
	command -v fake-gcs-server >/dev/null || GOBIN=$(TOOLS) go install github.com/fsouza/fake-gcs-server@$(FAKE_GCS) ||
	  echo 'google: fake-gcs-server could not be built' >&2

lock: $(INSTALLED) ## write requirements.lock anew: the newest versions that pyproject.toml allows, with hashes
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --generate-hashes --upgrade \
	  --no-header --no-annotate --no-emit-index-url --no-emit-find-links --output-file requirements.lock pyproject.toml

newest: ## check with the newest versions that pyproject.toml allows, in a virtual environment of its own
	rm -rf $(VENV)-newest
	$(MAKE) VENV=$(VENV)-newest LOCK= check

$(INSTALLED): pyproject.toml $(LOCK)
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
	    echo 'installing the Debian package python3-venv'
	    apt-get update
	    $(APT_INSTALL) python3-venv
	  else
	    echo "Error: $$python has no venv module. On Debian and Ubuntu: apt-get install python3-venv" >&2
	    exit 1
	  fi
	fi
	echo "setting up $(VENV) with $$("$$python" --version)"
	"$$python" -m venv $(VENV)
	install="$(BIN)/pip install --quiet --disable-pip-version-check"
	if [ -n "$(LOCK)" ]; then
	  $$install --require-hashes --requirement $(LOCK)
	  # setuptools is in the lock file, so nothing else is fetched to build with.
	  $$install --no-deps --no-build-isolation --editable .
	else
	  $$install --upgrade --editable '.[dev]'
	fi
	touch $@

clean: ## remove what the targets above made here
	rm -rf $(VENV) $(VENV)-newest build dist *.egg-info .coverage .coverage.* \
	  .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
