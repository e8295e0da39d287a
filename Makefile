# `make` alone prints what there is.
.DEFAULT_GOAL := help
.PHONY: help run test test-tools fuzz mutants coverage build check-config schema lint

help: ## Print this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 24

run: cargo ## Run the filter in Envoy on 127.0.0.1:10000 (PORT=… ADMIN_PORT=… ENVOY=/path/to/envoy)
	@cargo xtask run

test: cargo ## Run all tests, with a real Envoy (ENVOY=/path/to/envoy)
	cargo test --locked --workspace

test-tools: cargo ## Run the tests that need Debian's chromium and prometheus
	cargo test --locked --test tools

# The tests of the rules: they need no Envoy.
RULES = --lib --test core --test config --test differential --test properties
SECONDS = 30
fuzz: cargo ## Fuzz each target of fuzz/, for SECONDS=30 each, beginning with the table of cases
	@command -v cargo-fuzz >/dev/null || { echo "error: cargo-fuzz is missing: cargo install --locked cargo-fuzz (it needs a C++ compiler)" >&2; exit 1; }
	@cargo run --quiet --locked --manifest-path fuzz/Cargo.toml --no-default-features --example seeds
	@cargo fuzz build --sanitizer none
	@set -e; for target in $$(cargo fuzz list); do \
	  echo "fuzzing $$target for $(SECONDS) seconds"; \
	  cargo fuzz run --sanitizer none $$target -- -max_total_time=$(SECONDS) -verbosity=0 -print_funcs=0 -print_final_stats=1; \
	done

mutants: cargo ## Change each rule and see that a test fails (an hour; needs cargo-mutants)
	@command -v cargo-mutants >/dev/null || { echo "error: cargo-mutants is missing: cargo install --locked cargo-mutants" >&2; exit 1; }
	cargo mutants --output target

coverage: cargo ## Print what the tests of the rules cover (needs cargo-llvm-cov)
	@command -v cargo-llvm-cov >/dev/null || { echo "error: cargo-llvm-cov is missing: cargo install --locked cargo-llvm-cov" >&2; exit 1; }
	cargo llvm-cov --locked $(RULES) --ignore-filename-regex '/(tests|xtask)/'

build: cargo ## Build target/request-id-filter.wasm and print its size
	@cargo xtask build

check-config: cargo ## Check a configuration before it is deployed: FILE=… (bare JSON or a manifest)
	@test -n "$(FILE)" || { echo "error: which file? make check-config FILE=…" >&2; exit 1; }
	@cargo run --quiet --locked --package xtask -- check-config "$(FILE)"

schema: cargo ## Write envoy/config.schema.json, the JSON Schema of the configuration
	@cargo xtask schema

lint: cargo ## Check formatting and run clippy, native and wasm
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo clippy --locked --test tools -- -D warnings
	cargo clippy --locked --lib --target wasm32-wasip1 -- -D warnings

.PHONY: cargo
cargo:
	@command -v cargo >/dev/null || { echo "error: cargo is missing: install Rust from https://rustup.rs" >&2; exit 1; }
