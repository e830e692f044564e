# One door: no install is needed but Python, Rust, a C linker and make. `make` alone shows the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

PYTHON ?= python3
SCENARIO ?= shop
POLICY ?= default
REPORT ?= build/report.html
WORKERS ?= 2
SEED ?= 0
SEEDS ?= 1000
SOAK_SECONDS ?= 600
EXITS ?= 200
ROUNDS ?= 10
REAL_ROUNDS ?= 50
SECONDS ?= 60
UV_VERSION := 0.13.9

VENV := .venv
RUN := $(VENV)/bin/python
STAMPS := $(VENV)/stamps
NATIVE := pyproject.toml Cargo.toml Cargo.lock $(shell find crates -name target -prune -o -type f -print)

# clippy and maturin build against the same Python, so that neither undoes the other's work.
export PYO3_PYTHON := $(CURDIR)/$(RUN)

.PHONY: help setup run simulate test check-macos e2e-real race tsan soak faults sim check lock docs fmt clean ci FORCE
.PHONY: fuzz fuzz-planted fuzz-volume
.PHONY: bench bench-gc bench-live bench-runtime bench-sla
.PHONY: check-lint check-types check-layers check-pages check-rust

help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/\1\t\2/' | expand -t 15

setup: $(STAMPS)/native ## Make .venv: pinned and hashed dependencies, native module

run: setup ## A cluster on this machine: API server, nodes, scheduler and a demo, which ends by itself
	$(VENV)/bin/herz up --demo --once

simulate: setup ## Simulate SCENARIO (shop) under POLICY and write the report
	@mkdir -p $(dir $(REPORT))
	$(VENV)/bin/herz simulate $(SCENARIO) --policy $(POLICY) --report $(abspath $(REPORT))

test: check ## Set-up, check, then all Rust and Python tests
# The face crate holds no Rust tests: it links only inside a Python; the Python suite tests it.
	cargo test --locked --quiet --workspace --exclude herz-py
	$(RUN) -m pytest -n $(WORKERS)

race: ## Models of the runtime's queues, sleep and timers, in every order of steps
	RUSTFLAGS="--cfg loom" cargo test --locked --quiet --release --package herz-core --lib \
	  --target-dir target/loom models

tsan: ## ThreadSanitizer over the runtime's Rust tests; needs a nightly Rust with rust-src
	RUSTFLAGS="-Zsanitizer=thread" cargo +nightly test --locked --quiet --release -Zbuild-std \
	  --target "$$(rustc -vV | sed -n 's/^host: //p')" --target-dir target/tsan \
	  --package herz-core --lib runtime

check-macos: ## The Rust part, type-checked for macOS on any machine; needs `rustup target add aarch64-apple-darwin`
	PYO3_CROSS_PYTHON_VERSION=3.11 cargo clippy --locked --quiet --workspace --target aarch64-apple-darwin -- -D warnings

e2e-real: setup ## The contract against the server of HERZ_TEST_KUBECONFIG, or a control plane started here
ifdef HERZ_TEST_KUBECONFIG
	$(RUN) -m pytest tests/contract
else
	$(RUN) -m tests.support.control_plane --nodes 200 $(RUN) -m pytest tests/contract tests/e2e/test_real.py tests/e2e/test_real_definitions.py \
	  tests/e2e/test_promoting.py
	@mkdir -p build/faults
	$(RUN) -m tests.support.control_plane --nodes 40 $(RUN) -m tests.faults --kubeconfig given --rounds $(REAL_ROUNDS) --seed $(SEED) \
	  --log build/faults/real.jsonl
endif

faults: setup ## ROUNDS (10) of faults under load from SEED (0): two replicas, a proxy that breaks things, checks
	$(RUN) -m tests.faults --rounds $(ROUNDS) --seed $(SEED)

soak: setup ## Everything the runtime has, mixed for SOAK_SECONDS (600); EXITS (200) processes that exit
	$(RUN) -m tests.soak --seconds $(SOAK_SECONDS) --exits $(EXITS)

fuzz: setup ## Coverage-guided fuzzing of what reads foreign bytes, SECONDS (60) a surface
	$(RUN) -m tests.fuzz --seconds $(SECONDS)

fuzz-planted: setup ## The same with a planted bug in each surface, which must be found
	$(RUN) -m tests.fuzz --planted

fuzz-volume: setup ## The same until each surface has had its volume; goes on where build/fuzz was left
	$(RUN) -m tests.fuzz --volume --state build/fuzz

check: check-lint check-types check-layers check-pages check-rust ## Lint, types, layers, generated pages, both languages

check-lint: setup
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

check-types: setup
	$(RUN) -m mypy
	MYPYPATH=src $(RUN) -m mypy.stubtest herz._native

check-layers: setup
	$(VENV)/bin/lint-imports --no-logo

check-pages: setup
	$(RUN) docs/generate.py --check

check-rust: setup
	cargo fmt --check
	cargo clippy --locked --quiet --workspace --all-targets -- -D warnings

bench: setup ## Measure; see bench/
	$(RUN) -m bench

bench-runtime: setup $(STAMPS)/peers ## Measure the task runtime beside its peers and a floor in C
	$(RUN) -m bench.runtime

bench-sla: setup ## How fast a model is, beside xgboost; then the closed loop: promises by policy, 20 seeds
	$(RUN) -m bench.micro.bench_sla_model $(firstword $(MODEL))
	$(RUN) -m bench.sla $(foreach file,$(MODEL),--model $(file)) $(if $(CURVES),--curves $(CURVES))

bench-live: setup ## Pods created to bound on a live cluster, beside a loop that decides nothing
	$(RUN) -m bench.live

bench-gc: setup ## What Python's garbage collector does to decisions, by setting; GC_OPTIONS=--write keeps the tables
	$(RUN) -m bench.collecting $(GC_OPTIONS)

fmt: setup ## Format and sort imports, Python and Rust
	$(RUN) -m ruff check --select I --fix --quiet .
	$(RUN) -m ruff format --quiet .
	cargo fmt

sim: setup ## Chaos over SEEDS (1000) seeds from SEED (0): faults, churn, all checkers
	$(RUN) -m herz.front.sweep --first $(SEED) --seeds $(SEEDS) --workers $(WORKERS)

docs: setup ## Write the generated pages anew
	$(RUN) docs/generate.py

lock: ## Resolve requirements/*.lock anew
	$(PYTHON) -m venv build/uv
	build/uv/bin/pip install --quiet uv==$(UV_VERSION)
	build/uv/bin/uv pip compile pyproject.toml $(LOCK) --output-file requirements/runtime.lock
	build/uv/bin/uv pip compile pyproject.toml $(LOCK) --extra dev --output-file requirements/dev.lock
	build/uv/bin/uv pip compile pyproject.toml $(LOCK) --extra sla --output-file requirements/sla.lock
	build/uv/bin/uv pip compile pyproject.toml $(LOCK) --extra tpm --output-file requirements/tpm.lock
	build/uv/bin/uv pip compile pyproject.toml $(LOCK) --extra postgres --output-file requirements/postgres.lock
	build/uv/bin/uv pip compile pyproject.toml $(LOCK) --extra otel --output-file requirements/otel.lock
	build/uv/bin/uv pip compile pyproject.toml $(LOCK) --extra fuzz --output-file requirements/fuzz.lock
	build/uv/bin/uv pip compile pyproject.toml $(LOCK) --extra bench --output-file requirements/bench.lock

# Universal: one file for every platform and for Python 3.11 and later. No addresses, no paths.
LOCK := --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

clean: ## Remove everything that was made here
	rm -rf $(VENV) build target .hypothesis .*_cache src/herz/_native*.so
	find src tests bench docs -name __pycache__ -prune -exec rm -rf {} +

ci: ## What CI does
	.ci/run

# ---- set-up, in steps that are done again only when what they are made of changes ----------------

FORCE:

# A copied .venv points back at the tree that it was copied from: it is made anew.
ifneq ($(shell cat $(STAMPS)/venv 2>/dev/null),$(CURDIR))
$(STAMPS)/venv: FORCE
endif
# A module that somebody removed is built again.
ifeq ($(wildcard src/herz/_native*.so),)
$(STAMPS)/native: FORCE
endif

$(STAMPS)/venv:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "error: no $(PYTHON): install Python 3.11 or newer, or name one: make setup PYTHON=…" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.version_info < (3, 11) and sys.exit( \
	  "error: $(PYTHON) is Python %d.%d; Herz needs 3.11 or newer: make setup PYTHON=…" % sys.version_info[:2])'
	@! test -e $@ || rm -rf $(VENV)
	@$(RUN) -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { rm -rf $(VENV); echo "setup: $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@mkdir -p $(STAMPS)
	@echo '$(CURDIR)' >$@

# Wheels only: a source archive would build with tools that no lock pins.
$(STAMPS)/packages: requirements/dev.lock $(STAMPS)/venv
$(STAMPS)/peers: requirements/bench.lock | $(STAMPS)/native
$(STAMPS)/packages $(STAMPS)/peers:
	@echo "setup: packages of $<"
	@$(RUN) -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r $<
	@touch $@

$(STAMPS)/native: $(NATIVE) | $(STAMPS)/packages
	@cargo --version >/dev/null || { \
	  echo "error: no cargo: install Rust (https://rustup.rs), then run make again" >&2; exit 1; }
	@echo "setup: native module"
	@PIP_QUIET=1 PIP_NO_INDEX=1 $(RUN) -m maturin develop --quiet --release --locked
	@touch $@
