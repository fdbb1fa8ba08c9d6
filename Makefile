# Everything from a bare machine: `make demo` and `make test` make the environment themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
# A process for each core, up to eight; a file's tests stay together, for they share what they train.
PARALLEL := -n auto --maxprocesses 8 --dist loadfile

.PHONY: demo test test-fast crash-test lint format clean

$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rashomon needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[test,lint]'
	touch $@

demo: $(VENV)/installed
	PATH="$(CURDIR)/$(BIN):$$PATH" sh examples/demo.sh $(DEMO)

test: $(VENV)/installed
	$(BIN)/python -m pytest $(PARALLEL)

test-fast: $(VENV)/installed
	$(BIN)/python -m pytest $(PARALLEL) -m 'not slow'

# Two hundred kills at random moments, some minutes; `make crash-test KILLS=1000 SEED=7` for more, or for others.
KILLS ?= 200
SEED ?= 0
crash-test: $(VENV)/installed
	$(BIN)/python tests/torture/crash.py --kills $(KILLS) --seed $(SEED)

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(DEMO)
