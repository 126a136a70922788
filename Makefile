# Every target sets up what it needs. `make demo` measures, trains and measures again on the default model.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Test files side by side; the real model, which fills the machine by itself, stays alone.
PARALLEL := --numprocesses logical --maxprocesses 4 --dist loadfile

.PHONY: demo test test-all check docs bench-speed clean
.DEFAULT_GOAL := demo
# What is imported is compiled when it is, which also holds where the environment says otherwise, and not all at once.
export PYTHONDONTWRITEBYTECODE :=

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "kapoc needs Python 3.11 or newer; set PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/kapoc bench --model base
	$(BIN)/kapoc bench --model trained

test: $(STAMP)
	$(BIN)/python -m pytest $(PARALLEL)

test-all: $(STAMP)
	$(BIN)/python -m pytest $(PARALLEL)
	$(BIN)/python -m pytest -m slow

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What `--help` says, as a page; tests/test_documents.py holds it to the program.
docs: $(STAMP)
	$(BIN)/typer kapoc.cli.main utils docs --name kapoc --output docs/commands.md

# The rivals are installed for this alone; they need nothing that is not there.
bench-speed: $(STAMP)
	$(BIN)/python -m pip install --quiet --no-deps trl==1.16.0
	$(BIN)/python tests/speed_study.py $(ARGS)

clean:
	rm -rf $(VENV) runs build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
