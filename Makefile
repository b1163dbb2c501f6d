# ML Monster. Two commands need nothing but this folder, Linux, make and Python 3.11 or later:
#   make demo    the whole product once, end to end
#   make test    the test suite
# Both build .venv first, once.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV ?= .venv
BIN := $(VENV)/bin
# Processes that the tests run side by side; Ray tests share one of them.
TEST_WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest

# Exported to every command below: no usage reports leave the machine, and torch, numpy and the tests do not
# fight over the cores with more threads than there are.
export RAY_USAGE_STATS_ENABLED := 0
export OMP_NUM_THREADS ?= 1
export PYTHONUNBUFFERED := 1

.PHONY: demo test check format test-learning test-chaos test-extensions bench peers wheel install warm browser \
	clean help

demo: install ## train all 54 minds, validate, export, deploy, serve and ask them; report in runs/demo
	@$(BIN)/monster demo $(ARGS)

test: install warm browser ## the test suite, without the slow folders below (ARGS="-k name" picks tests)
	@$(PYTEST) tests --numprocesses $(TEST_WORKERS) --ignore tests/learning --ignore tests/chaos \
		--ignore tests/extensions $(ARGS)

check: install ## lint, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: install ## bring the code into the one format, and fix what ruff can fix by itself
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

test-learning: install warm ## slow: every learner really learns
test-chaos: install warm ## slow: kills processes and nodes, and counts what is left
test-extensions: install warm ## slow: PostgreSQL with TimescaleDB, AGE and pgvector
test-learning test-chaos test-extensions:
	@folder=tests/$(@:test-%=%); \
	if [ -z "$$(find $$folder -name 'test_*.py' 2>/dev/null)" ]; then \
		echo "$@: $$folder holds no test in this release, so nothing was run"; \
	else $(PYTEST) $$folder $(ARGS); fi

bench: install warm ## the commands behind the published figures
	@found=0; for script in bench/*.py; do \
		name=$$(basename "$$script" .py); case "$$name" in "*"|__init__|machine|rates|curve_tasks|curves_plot|mind_studies|pendulum) continue;; esac; \
		found=1; echo "== bench.$$name"; $(BIN)/python -m "bench.$$name" $(ARGS); \
	done; [ $$found = 1 ] || echo "bench: no benchmark in this release, so nothing was run"

# Trainers beside bench.training, each with what it imports; their own requirements name older versions than ours.
TRAINERS := tianshou deepdiff h5py matplotlib contourpy cycler fonttools kiwisolver ordered-set overrides \
	pyparsing sensai-utils tqdm torchrl tensordict hoptorch orjson pyvers sample-factory colorlog faster-fifo \
	signal-slot-mp threadpoolctl gym gym-notices markdown-it-py mdurl opt_einsum pyro-api pyro-ppl rich rich-argparse

# PufferLib is compiled here: without its games, which it would download, and without CUDA, which it takes where
# it finds nvcc. Its setup.py forgets to set `c_extension_paths` when told so; the line in puffer.pth does.
define pufferlib
site=$(1); echo 'import builtins; builtins.c_extension_paths = []' > "$$site/puffer.pth"; \
	NO_OCEAN=1 PATH=/usr/bin:/bin $(BIN)/python -m pip --disable-pip-version-check \
		--python $(VENV)-peers/bin/python install --quiet --no-deps --no-build-isolation \
		--constraint constraints.txt pufferlib \
	|| echo "peers: PufferLib could not be built (it needs g++ in /usr/bin), so its rows will say that it is missing"; \
	rm "$$site/puffer.pth"
endef

# Its own packages beside those of .venv: JAX in .venv would slow every start of RLlib.
peers: install ## slow: the public environments and trainers that we are measured beside, in .venv-peers
	@$(BIN)/python -m venv --without-pip $(VENV)-peers
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
		> "$$($(VENV)-peers/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/ours.pth"
	@$(BIN)/python -m pip --disable-pip-version-check --python $(VENV)-peers/bin/python install --quiet \
		--constraint constraints.txt vmas jaxmarl jax
	@$(BIN)/python -m pip --disable-pip-version-check --python $(VENV)-peers/bin/python install --quiet --no-deps \
		--constraint constraints.txt $(TRAINERS)
	@$(call pufferlib,$$($(VENV)-peers/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'))

wheel: install ## the installable wheel in dist/, as cluster.yaml sends it to every node
	@rm -rf dist build; mkdir -p dist
	@$(BIN)/python -m pip --disable-pip-version-check wheel --quiet --quiet --no-deps --no-build-isolation \
		--wheel-dir dist .
	@rm -rf build; cp constraints.txt dist/; cd dist; sha256sum *.whl constraints.txt > SHA256SUMS; \
		echo "wheel: $$(ls -1 *.whl) in dist/"

install: ## build or update .venv (EXTRA=cpu or gpu, PYTHON=path choose what is not found by itself)
	@VENV="$(VENV)" tools/install.sh

# Compiles the simulation kernel into its cache once, so that parallel tests do not all compile it.
warm: install
	@$(BIN)/python tools/warm_up.py

# A page is tested in a real browser; where none can be had, that test is skipped and says so.
browser:
	@tools/browser.sh

clean: ## remove .venv, builds and caches; results in runs/ stay
	@rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .venv.lock
	@for folder in "$(VENV)" "$(VENV)-peers"; do if [ -f "$$folder/pyvenv.cfg" ]; then rm -rf "$$folder"; fi; done
	@find . -name __pycache__ -type d -not -path './runs/*' -prune -exec rm -rf {} +
	@if [ -d runs ]; then echo "clean: runs/ holds your results and stays; remove it yourself to free its space"; fi

help: ## this list
	@echo "ML Monster: make TARGET"
	@sed -nE 's/^([a-z-]+):.*## (.*)$$/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'
