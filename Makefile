# `make` alone prints what there is.
.DEFAULT_GOAL := help
.PHONY: help run test test-tools build image bench check-config schema lint

help: ## Print this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 24

run: cargo ## Run the filter in Envoy on 127.0.0.1:10000 (PORT=… ADMIN_PORT=… ENVOY=/path/to/envoy)
	@cargo xtask run

test: cargo ## Run all tests, with a real Envoy (ENVOY=/path/to/envoy)
	cargo test --locked --workspace

test-tools: cargo ## Run the tests that need Debian's chromium, docker-registry, kubernetes-client, nghttp2-client, npm, prometheus, skopeo and valgrind
	cargo test --locked --test tools

build: cargo ## Build target/request-id-filter.wasm and print its size and sha256
	@cargo xtask build

image: cargo ## Make an OCI image of the module, under target/, and print its digest (SOURCE=URL of the sources)
	@cargo xtask image

bench: cargo ## Measure what the filter costs, with Debian's nghttp2-client and valgrind (ROUNDS=15 REQUESTS=2000)
	@cargo run --quiet --locked --package xtask --features bench -- bench

check-config: cargo ## Check a configuration before it is deployed: FILE=… (bare JSON or a manifest)
	@test -n "$(FILE)" || { echo "error: which file? make check-config FILE=…" >&2; exit 1; }
	@cargo run --quiet --locked --package xtask -- check-config "$(FILE)"

schema: cargo ## Write envoy/config.schema.json, the JSON Schema of the configuration
	@cargo xtask schema

lint: cargo ## Check formatting and run clippy, native and wasm
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo clippy --locked --package xtask --features bench --all-targets -- -D warnings
	cargo clippy --locked --test tools -- -D warnings
	cargo clippy --locked --package request-id-filter --package textbook --lib --target wasm32-wasip1 -- -D warnings

.PHONY: cargo
cargo:
	@command -v cargo >/dev/null || { echo "error: cargo is missing: install Rust from https://rustup.rs" >&2; exit 1; }
