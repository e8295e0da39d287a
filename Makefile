# `make` alone prints what there is.
.DEFAULT_GOAL := help
.PHONY: help run test test-tools soak build image check-config schema lint

help: ## Print this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 24

run: cargo ## Run the filter in Envoy on 127.0.0.1:10000 (PORT=… ADMIN_PORT=… ENVOY=/path/to/envoy)
	@cargo xtask run

test: cargo ## Run all tests, with a real Envoy (ENVOY=/path/to/envoy)
	cargo test --locked --workspace

test-tools: cargo ## Run the tests that need Debian's chromium, docker-registry, kubernetes-client, npm, prometheus and skopeo
	cargo test --locked --test tools

soak: SOAK ?= 1000000
soak: cargo ## Send a million requests of all kinds, with and without the filter (SOAK=number)
	SOAK=$(SOAK) cargo test --locked --test envoy -- soak:

build: cargo ## Build target/request-id-filter.wasm and print its size and sha256
	@cargo xtask build

image: cargo ## Make an OCI image of the module, under target/, and print its digest (SOURCE=URL of the sources)
	@cargo xtask image

check-config: cargo ## Check a configuration before it is deployed: FILE=… (bare JSON or a manifest)
	@test -n "$(FILE)" || { echo "error: which file? make check-config FILE=…" >&2; exit 1; }
	@cargo run --quiet --locked --package xtask -- check-config "$(FILE)"

schema: cargo ## Write envoy/config.schema.json, the JSON Schema of the configuration
	@cargo xtask schema

lint: cargo ## Check formatting and run clippy, native and wasm
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo clippy --locked --test tools -- -D warnings
	cargo clippy --locked --lib --target wasm32-wasip1 -- -D warnings

.PHONY: cargo
cargo:
	@command -v cargo >/dev/null || { echo "error: cargo is missing: install Rust from https://rustup.rs" >&2; exit 1; }
