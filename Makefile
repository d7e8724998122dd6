PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

HOSTS := .hosts/.installed
DEMO := .venv-demo/.installed

# What passes with numpy, onnxruntime, pytest, hypothesis and the wheel alone.
APP_TESTS := tests/runtime tests/onnx_check tests/checks/test_parity.py $(addprefix tests/bundle/test_, \
	bundle_faults.py links.py replaced.py write.py)

# Tests start hundreds of processes, each of which would compile aetool anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test quick lint unit docs pictures wheel-test fuzz soak sbom conformance chips arm64 gpu wasm standards exported clean

demo: $(DEMO)
	.venv-demo/bin/aetool demo -o aetool-demo --overwrite

test: lint unit wheel-test

# While you work: lint and the tests that take seconds.
QUICK := tests/bundle tests/onnx_check tests/checks tests/tables tests/segments tests/report tests/test_architecture.py \
	tests/test_supply_chain.py tests/cli/test_help.py tests/cli/test_output.py

quick: lint
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(QUICK)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(STAMP) $(HOSTS)
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

# The documentation as a site, docs/_build/html/index.html, its notebooks run; a warning is a failure.
docs: $(STAMP)
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs docs/_build/html

# The pictures of the README, from the real program.
pictures: $(STAMP)
	$(BIN)/python docs/pictures.py
	$(BIN)/python benchmarks/tables.py

# On a machine with CUDA: the benchmark, the tests on the device, and the tables. Elsewhere one line says what is missing.
gpu: $(STAMP)
	@$(BIN)/python benchmarks/gpu.py
	$(BIN)/python -m pytest tests/runtime/gpu
	$(BIN)/python benchmarks/tables.py

# What an app developer gets: the wheel and onnxruntime, nothing of PyTorch, onnx or pyarrow.
wheel-test: $(STAMP)
	rm -rf dist .venv-app
	$(BIN)/python -m build --wheel --no-isolation --outdir dist .
	$(PYTHON) -m venv --without-pip .venv-app
	$(BIN)/pip --python .venv-app/bin/python install --quiet --no-compile -c constraints.txt "$$(ls dist/aetool-*.whl)[cpu]" pytest pytest-xdist hypothesis
	.venv-app/bin/python -m pytest $(APP_TESTS) --numprocesses 2 --dist loadfile -p no:cacheprovider

# The long versions of tests/faults and tests/core: `make test` runs the same tests on fewer files, kills and calls.
fuzz: $(STAMP)
	AETOOL_LONG=1 $(BIN)/python -m pytest -s tests/faults/test_mutations.py tests/faults/test_random_inputs.py \
		tests/faults/test_graph_fuzz.py tests/core

soak: $(STAMP)
	AETOOL_LONG=1 $(BIN)/python -m pytest -s tests/faults/test_kills.py tests/faults/test_long_run.py \
		tests/faults/test_disks_and_races.py tests/release/test_release_kills.py tests/release/test_following.py \
		tests/serve/test_follows_agent.py tests/watch/test_stream.py tests/deploy/test_streams.py \
		tests/stream/test_ray_engine.py

# A bill of materials (CycloneDX) of what an app takes in: the wheel, numpy, onnxruntime and what they bring.
sbom: $(STAMP)
	rm -rf .venv-sbom
	$(BIN)/python -m build --wheel --outdir dist .
	$(PYTHON) -m venv --without-pip .venv-sbom
	$(BIN)/pip --python .venv-sbom/bin/python install --quiet -c constraints.txt "$$(ls dist/aetool-*.whl)[cpu]"
	$(BIN)/cyclonedx-py environment .venv-sbom/bin/python --pyproject pyproject.toml --mc-type library \
		--output-reproducible -o dist/sbom.cdx.json
	rm -rf .venv-sbom

# docs/conformance.md: every host that a bundle can be deployed to, measured here.
conformance: $(STAMP) $(HOSTS)
	$(BIN)/python benchmarks/conformance.py
	$(BIN)/python docs/conformance.py

# The generated C on other processors: one hash of all outputs on every one. Compilers and QEMU of Debian:
# gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm qemu-user gcc-aarch64-linux-gnu gcc-arm-linux-gnueabihf
# gcc-riscv64-linux-gnu wasi-libc libclang-rt-14-dev-wasm32 lld nodejs libc6-dev-arm64-cross libc6-dev-armhf-cross libc6-dev-riscv64-cross
chips: $(STAMP)
	$(BIN)/python benchmarks/chips.py
	$(BIN)/python docs/conformance.py

# The wheel built and tests run by an emulated Python on 64-bit ARM: mmdebstrap qemu-user gcc-aarch64-linux-gnu of Debian.
arm64: $(STAMP)
	$(BIN)/python benchmarks/arm64.py

# The core as WebAssembly, the same bytes from the same compiler: clang 14 and lld 14 of Debian 12.
WASM := aetool/deploy/javascript/core.wasm
wasm:
	clang --target=wasm32 -Os -msimd128 -mbulk-memory -ffreestanding -nostdlib -std=c99 -Wall -Wextra -Werror \
		-Iaetool/core/wasm -Wl,--no-entry -Wl,--strip-all -o $(WASM) aetool/core/wasm/wasm.c aetool/core/core.c

# What the tests of `aetool deploy` run bundles on, as far as it can be had: without npm, those tests say so and skip.
# tritonclient takes an older protobuf than onnx, and model-signing a newer one: each has an environment of its own.
$(HOSTS): tests/deploy/package.json Makefile
	mkdir -p .hosts
	cp tests/deploy/package.json .hosts/
	if command -v npm > /dev/null; then cd .hosts && ONNXRUNTIME_NODE_INSTALL=skip npm install --no-audit --no-fund --no-package-lock; fi
	$(PYTHON) -m venv .hosts/venv
	.hosts/venv/bin/pip install --quiet "tritonclient[grpc]==2.73.0"
	$(PYTHON) -m venv .hosts/standards
	.hosts/standards/bin/pip install --quiet "model-signing==1.1.1" pyopenssl
	touch $@

# MLflow and its server (0.9 GB), and the reference of OpenSSF Model Signing, against ours.
standards: $(STAMP) $(HOSTS)
	.hosts/standards/bin/pip install --quiet mlflow==3.17.2 onnxruntime
	$(BIN)/python -m pytest tests/bundle/test_model_signing.py tests/release/test_mlflow.py

exported: $(STAMP)
	$(BIN)/python exported/make.py

# A change of what is installed makes the environment new: stamps compare with these two files.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	touch $(STAMP)

# What `make demo` needs and no more; without bytecode, which is made as it is needed: a minute and 1.3 GB.
$(DEMO): pyproject.toml constraints.txt
	@echo "Installing PyTorch, ONNX and ONNX Runtime into .venv-demo: about a minute, 1.3 GB"
	$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/pip install --quiet --no-compile -c constraints.txt torch
	.venv-demo/bin/pip install --quiet --no-compile -c constraints.txt -e ".[train,cpu]"
	touch $@

clean:
	rm -rf $(VENV) .venv-app .venv-demo .venv-sbom .arm64 .hosts dist build docs/_build aetool-demo
