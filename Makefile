PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

HOSTS := .hosts/.installed

.PHONY: demo test lint unit wheel-test exported conformance clean

demo: $(STAMP)
	$(BIN)/aetool demo -o aetool-demo --overwrite

test: lint unit wheel-test

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(STAMP) $(HOSTS)
	$(BIN)/python -m pytest

# What an app developer gets: the wheel and onnxruntime, nothing of PyTorch, onnx or pyarrow.
wheel-test: $(STAMP)
	rm -rf dist .venv-app
	$(BIN)/python -m build --wheel --outdir dist .
	$(PYTHON) -m venv .venv-app
	.venv-app/bin/pip install --quiet -c constraints.txt "$$(ls dist/aetool-*.whl)[cpu]" pytest hypothesis
	.venv-app/bin/python -m pytest tests/runtime -p no:cacheprovider

# docs/conformance.md: every host that a bundle can be deployed to, measured here.
conformance: $(STAMP) $(HOSTS)
	$(BIN)/python benchmarks/conformance.py
	$(BIN)/python docs/conformance.py

# What the tests of `aetool deploy` run bundles on, as far as it can be had: without npm, those tests say so and skip.
# tritonclient takes an older protobuf than onnx, so it has an environment of its own.
$(HOSTS): tests/deploy/package.json Makefile
	mkdir -p .hosts
	cp tests/deploy/package.json .hosts/
	if command -v npm > /dev/null; then cd .hosts && ONNXRUNTIME_NODE_INSTALL=skip npm install --no-audit --no-fund --no-package-lock; fi
	$(PYTHON) -m venv .hosts/venv
	.hosts/venv/bin/pip install --quiet "tritonclient[grpc]==2.73.0"
	touch $@

exported: $(STAMP)
	$(BIN)/python exported/make.py

# A change of what is installed makes the environment new: stamps compare with these two files.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	touch $(STAMP)

clean:
	rm -rf $(VENV) .venv-app .hosts dist build aetool-demo
