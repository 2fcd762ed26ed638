# Two commands do everything: `make demo` and `make test`.  Both set up what is missing first.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
JOBS   ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all test-slow test-exhaustive lint format golden clean

help:           ## what can be made
	@grep -hE '^[a-z-]+: .*##|^[a-z-]+:  +##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

setup: $(VENV)/.ready   ## virtual environment, packages, compiler and emulator

$(VENV)/.ready: pyproject.toml constraints.txt scripts/setup.sh
	PYTHON="$(PYTHON)" sh scripts/setup.sh $(VENV)
	touch $@

demo: setup     ## train, quantize, prove, export, build and run a CNN on an emulated Cortex-M4
	$(BIN)/python demo/demo.py

test: setup     ## lint and the fast tests
	$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -m "not slow" -n $(JOBS)

test-slow: setup ## only what takes longer: trainings, resumed and distributed ones, PlatformIO, emulated cores
	$(BIN)/python -m pytest -m "slow and not exhaustive" -n $(JOBS)

test-exhaustive: setup ## the matrices of every training scheme on every test model: tens of minutes
	$(BIN)/python -m pytest -m exhaustive -n $(JOBS)

test-all: test test-slow  ## the tests that continuous integration runs

lint: setup     ## ruff, mypy, clang-format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	git ls-files '*.c' '*.h' | xargs $(BIN)/clang-format --dry-run -Werror

format: setup   ## rewrite sources in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	git ls-files '*.c' '*.h' | xargs $(BIN)/clang-format -i

golden: setup   ## regenerate the golden files after a deliberate change
	$(BIN)/python -m pytest tests/codegen --update-golden

clean:          ## remove build output (not the virtual environment)
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis firmware/.pio
