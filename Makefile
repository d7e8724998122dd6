PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint unit wheel-test exported clean

demo: $(STAMP)
	$(BIN)/aetool demo -o aetool-demo --overwrite

test: lint unit wheel-test

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(STAMP)
	$(BIN)/python -m pytest

# What an app developer gets: the wheel and onnxruntime, nothing of PyTorch, onnx or pyarrow.
wheel-test: $(STAMP)
	rm -rf dist .venv-app
	$(BIN)/python -m build --wheel --outdir dist .
	$(PYTHON) -m venv .venv-app
	.venv-app/bin/pip install --quiet -c constraints.txt "$$(ls dist/aetool-*.whl)[cpu]" pytest hypothesis
	.venv-app/bin/python -m pytest tests/runtime -p no:cacheprovider

exported: $(STAMP)
	$(BIN)/python exported/make.py

# A change of what is installed makes the environment new: stamps compare with these two files.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	touch $(STAMP)

clean:
	rm -rf $(VENV) .venv-app dist build aetool-demo
