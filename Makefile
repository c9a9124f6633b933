# Every target sets up .venv itself; on a fresh Debian or Ubuntu, as root, also Python and Snappy.
#
#   make setup                        .venv, and nothing else
#   make demo ARGS="--exit --json"    the whole story on one machine
#   make test                         all tests
#   make faults                       real processes under faults, row by row
#   make lint                         ruff, mypy, layers, generated documents
#   make sim SEEDS=100 FIRST=0        whole nodes under simulated faults, from seeds
#   make mutants                      bugs planted on purpose: a test must find each
#   make bench ARGS="directory"       transactions per second on this machine
#   make bench-smoke                  whether a transaction has become dearer

.DEFAULT_GOAL := help
.PHONY: help setup cometbft demo test faults lint format sim mutants bench bench-all bench-smoke docs protocol wheel lock clean
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

ARGS ?=
FIRST ?= 0
SEEDS ?= 40
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command "make lock"

help: ## List the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

# The environment is the lock, exactly: hashes are required. Its stamp is newer than what it was made from.
$(INSTALLED): requirements-dev.txt pyproject.toml .ci/python .ci/snappy
	@python="$$(bash .ci/python)"; \
	echo "Setting up $(VENV) with $$python …" >&2; \
	test -x $(BIN)/python || "$$python" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@bash .ci/snappy
	@touch $@

setup: $(INSTALLED) ## Set up .venv, with `mulu` in its bin; every other target does so too.

cometbft: $(INSTALLED) ## Install CometBFT, the second engine, where there is Go and it is not installed yet.
	@bash .ci/cometbft

demo: $(INSTALLED) ## Run the demonstration: four jurisdictions record, prove and verify.
	@$(BIN)/mulu demo $(ARGS)

test: cometbft ## Run all tests.
	@$(BIN)/python -m pytest -n 2 --dist loadfile -q $(ARGS)

# Four at a time, whatever the cores: these tests wait for restarts and timeouts more than they compute. Files go in
# the order of their names: by default those with few tests, which are the longest, would come last.
faults: cometbft ## Inject faults into real processes, and list what was injected for each row of the fault matrix.
	@$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder -q -m row $(ARGS)

lint: $(INSTALLED) ## Check style, types, layers and generated documents.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python docs/generate.py --check

format: $(INSTALLED) ## Format the code.
	@$(BIN)/ruff check --fix-only -q .
	@$(BIN)/ruff format .

sim: $(INSTALLED) ## Run whole nodes under simulated faults, one network a seed: FIRST=0 SEEDS=100.
	@$(BIN)/python -m tests.sim --first $(FIRST) --seeds $(SEEDS) $(ARGS)

mutants: $(INSTALLED) ## Plant one bug after the other into a copy; a test must find each: ARGS="--only NAME".
	@$(BIN)/python -m tests.mutants $(ARGS)

bench: $(INSTALLED) ## Measure on this machine: ARGS="directory|authorisation|batch|mixed|query|verify|sync|state|idle [--seconds N]".
	@$(BIN)/mulu bench $(if $(ARGS),$(ARGS),directory)

BENCHES := "directory --seconds 60 --half --kill-one" "authorisation --half" "batch --half" "mixed --half" query verify \
	"sync --as query" "sync --as validator" state idle
bench-all: $(INSTALLED) ## Measure everything on a quiet machine, some fifteen minutes, and write docs/PERFORMANCE.md.
	@rm -rf build/bench && mkdir -p build/bench
	@number=10; for one in $(BENCHES); do number=$$((number + 1)); \
		$(BIN)/mulu bench $$one --json > build/bench/$$number.json; done
	@$(BIN)/mulu bench smoke --record
	@$(BIN)/mulu bench page build/bench/*.json --into docs/PERFORMANCE.md

bench-smoke: $(INSTALLED) ## Compare what a transaction costs with what was recorded; warns, never fails.
	@$(BIN)/mulu bench smoke $(ARGS)

docs: $(INSTALLED) ## Generate docs/OPERATIONS.md.
	@$(BIN)/python docs/generate.py

protocol: $(INSTALLED) ## Generate consensus/cometbft/abci_pb2.py from abci.proto.
	@$(BIN)/python -m grpc_tools.protoc -I consensus/cometbft --python_out=consensus/cometbft --pyi_out=consensus/cometbft \
		consensus/cometbft/abci.proto

wheel: $(INSTALLED) ## Build the wheel into dist/.
	@rm -rf build dist
	@$(BIN)/python -m build --wheel --no-isolation --outdir dist . >/dev/null
	@ls dist

lock: $(INSTALLED) ## Resolve the dependencies again and write the lock.
	@$(LOCK) pyproject.toml -o requirements.txt
	@$(LOCK) pyproject.toml --group dev -c requirements.txt -o requirements-dev.txt

clean: ## Remove what was built, not the environment.
	@rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
