# Each target makes what it needs and reuses what is there. Needed: Python >= 3.11, cargo, a C compiler.

PYTHON ?= python3
VENV   := .venv
ifeq ($(OS),Windows_NT)
BIN    := $(VENV)/Scripts
ACTIVATE := $(VENV)\Scripts\activate
else
BIN    := $(VENV)/bin
ACTIVATE := source $(VENV)/bin/activate
endif
RUST   := $(shell find rust -name '*.rs' -o -name Cargo.toml 2>/dev/null | grep -v '^rust/fuzz') Cargo.toml Cargo.lock python/lslm/_lslm.pyi
ARGS   ?=
# what make test leaves out: Rust's ignored tests, and Python's marked as slow
RUST_TESTS   :=
PYTHON_TESTS := -m "not slow"
# Environments of the peers, unless these variables name some that are there.
PEERS  := $(if $(LSLM_PEERS),,.venv-peers/installed) $(if $(LSLM_PEERS_V1),,.venv-peers-v1/installed)
# how the extension is compiled: release is what wheels have, quick compiles in half the time
LSLM_PROFILE ?= release
BUILD   := $(VENV)/build-$(LSLM_PROFILE)
# what the first build downloads: measured 2026-11-28 with torch 2.15
ifeq ($(shell uname -s),Linux)
SIZE    := about 3.0 GB (5.5 GB on disk), nearly all of it torch and its CUDA libraries: the package index has no smaller torch for Linux
else
SIZE    := about 0.2 GB, most of it torch
endif

.PHONY: help demo test test-all test-rust test-python lint format bench bench-compare wheel docs clean

help:            ## list the targets
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1	/' | expand -t 16

demo: $(BUILD)               ## raw text to a measured language model on this machine; ARGS="--minutes 3"
	@$(BIN)/lslm demo $(ARGS)
	@printf '\nTo go on, in this folder:\n  %s\n  lslm --help\n' '$(ACTIVATE)'
	@printf 'Tutorial: docs/tutorial.md (docs/tutorial.zh.md). Command line and Python: README.md.\n'

test: test-rust test-python  ## run the Rust and the Python tests but the slow ones

test-all: RUST_TESTS := -- --include-ignored
test-all: PYTHON_TESTS :=
test-all: test-rust test-python  ## run all tests: the slow ones start processes, compile, or read much

test-rust:                   ## run the Rust tests but the slow ones
	cargo test --workspace --locked $(RUST_TESTS)

test-python: $(BUILD) $(VENV)/tools  ## run the Python tests but the slow ones; ARGS="-k name"
	$(BIN)/python -m pytest $(PYTHON_TESTS) $(ARGS)

lint: $(BUILD) $(VENV)/tools  ## formatting, clippy, ruff, mypy, stubtest
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest lslm._lslm

format:                      ## rewrite the sources in the project's style
	cargo fmt --all
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(BUILD) $(VENV)/tools  ## measure every stage on this machine, in Rust and into benches/record
	cargo bench --manifest-path benches/Cargo.toml --locked
	$(BIN)/python benches/stages.py $(ARGS)

bench-compare: $(BUILD) $(VENV)/tools $(PEERS)  ## measure lslm and its peers in one run; ARGS="--quick --rows encode/english"
	cd benches && ../$(BIN)/python -m compare $(ARGS)
	$(BIN)/python benches/figures.py

# panic messages name the file of a crate: say which crate, not where it lay on this machine
wheel: export RUSTFLAGS := --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=cargo $(RUSTFLAGS)
wheel: $(VENV)/maturin       ## build the abi3 wheel and the source distribution into dist
	$(BIN)/maturin build --release --locked --out dist
	$(BIN)/maturin sdist --out dist

docs: $(BUILD) $(VENV)/tools  ## write docs/api.md, run the examples of README and tutorial
	$(BIN)/python docs/api.py
	$(BIN)/python -m pytest tests/test_docs.py

clean:                       ## remove everything that was made here
	cargo clean
	rm -rf $(VENV) .venv-peers .venv-peers-v1 dist

# what compiles: enough for demo and wheel
$(VENV)/maturin: pyproject.toml
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "lslm needs Python >= 3.11: make PYTHON=python3.11"'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@sh .ci/quietly 'Setting up $(VENV): pip and maturin, about 12 MB.' \
		sh -c "$(BIN)/python -m pip install --upgrade 'pip>=25.1' && $(BIN)/python -m pip install --group build"
	@touch $@

# what tests and lints; after the build, since two pip at once would disturb each other
$(VENV)/tools: $(VENV)/maturin | $(BUILD)
	@sh .ci/quietly 'Installing the tools for tests and lints, about 90 MB.' $(BIN)/python -m pip install --group dev
	@touch $@

# one build is installed at a time: the stamp says of which profile
$(BUILD): $(VENV)/maturin $(RUST)
	@$(BIN)/python -c 'import importlib.util as u; assert u.find_spec("torch")' 2> /dev/null || printf '%s\n' \
		'The first build downloads $(SIZE).' 'Also about 20 MB of Rust crates. A torch that is in $(VENV) already is kept.'
	@sh .ci/quietly 'Compiling and installing lslm, profile $(LSLM_PROFILE).' \
		$(BIN)/maturin develop --profile $(LSLM_PROFILE) --locked --extras train
	@rm -f $(VENV)/build $(VENV)/build-*
	@touch $@

.venv-%/installed: benches/compare/requirements-%.txt
	test -x $(dir $@)$(notdir $(BIN))/python || $(PYTHON) -m venv $(dir $@)
	$(dir $@)$(notdir $(BIN))/python -m pip install --quiet --requirement $<
	touch $@
