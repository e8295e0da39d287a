# `make` alone prints what there is.
.DEFAULT_GOAL := help
.PHONY: help run run-docker test test-tools test-kubernetes test-matrix soak fuzz mutants coverage build image bench check-config schema lint deny

help: ## Print this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 24

run: cargo ## Run the filter in Envoy on 127.0.0.1:10000 (PORT=… ADMIN_PORT=… ENVOY=/path/to/envoy)
	@cargo xtask run

run-docker: cargo docker ## Run the same in Envoy's official image (PORT=… ADMIN_PORT=…)
	@cargo xtask build
	docker compose --file envoy/docker-compose.yaml up

test: cargo ## Run all tests, with a real Envoy (ENVOY=/path/to/envoy)
	cargo test --locked --workspace

test-tools: cargo ## Run the tests that need chromium, docker-registry, h2load, kubectl, Node.js, prometheus, skopeo and valgrind
	cargo test --locked --test tools

test-kubernetes: cargo ## Run the manifests and the documentation in a real Kubernetes API server, Istio and Envoy Gateway (needs Go)
	setpriv --pdeathsig TERM cargo test --locked --test kubernetes

test-matrix: cargo ## Run the tests with each Envoy of envoy/versions.env
	@. envoy/versions.env; unset ENVOY; failed=; \
	for version in $$ENVOY_MATRIX; do \
		echo "Envoy $$version"; \
		ENVOY_VERSION=$$version HOSTILE_REQUESTS=30000 cargo test --quiet --locked --test envoy -- --quiet || failed="$$failed $$version"; \
	done; \
	test -z "$$failed" || { echo "error: tests fail with Envoy$$failed" >&2; exit 1; }

soak: SOAK ?= 1000000
soak: cargo ## Send a million requests of all kinds, with and without the filter (SOAK=number)
	SOAK=$(SOAK) cargo test --locked --test envoy -- soak:

# The tests of the rules: they need no Envoy.
RULES = --package request-id-rules --package request-id-filter --lib --test table --test configuration --test comparison --test properties
SECONDS = 30
fuzz: cargo-fuzz ## Fuzz each target of fuzz/, for SECONDS=30 each, beginning with the table of cases
	@cargo run --quiet --locked --manifest-path fuzz/Cargo.toml --no-default-features --example seeds
	@cargo fuzz build --sanitizer none
	@set -e; for target in $$(cargo fuzz list); do \
	  echo "fuzzing $$target for $(SECONDS) seconds"; \
	  cargo fuzz run --sanitizer none $$target -- -max_total_time=$(SECONDS) -verbosity=0 -print_funcs=0 -print_final_stats=1; \
	done

mutants: cargo-mutants ## Change each rule and see that a test fails (long; needs cargo-mutants)
	cargo mutants --output target $(RULES:%=--cargo-arg=%)

coverage: cargo-llvm-cov ## Print how much of the rules their tests run, at least 99 % of the lines (needs cargo-llvm-cov)
	cargo llvm-cov --locked $(RULES) --ignore-filename-regex '/(tests|xtask)/' --fail-under-lines 99

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
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo clippy --locked --package xtask --features bench --all-targets -- -D warnings
	cargo clippy --locked --test tools -- -D warnings
	cargo clippy --locked --package request-id-rules --package request-id-filter --package textbook --lib --target wasm32-wasip1 -- -D warnings

deny: cargo-deny ## Check licences and sources of the dependencies, and that the module has none twice
	cargo deny --locked check licenses sources
	cargo deny --locked --exclude xtask --exclude-dev --target wasm32-wasip1 check bans

.PHONY: cargo docker cargo-fuzz cargo-mutants cargo-llvm-cov cargo-deny
cargo-fuzz: HINT = (it needs a C++ compiler)
cargo-fuzz cargo-mutants cargo-llvm-cov cargo-deny: cargo
	@command -v $@ >/dev/null || { echo "error: $@ is missing: cargo install --locked $@$(if $(HINT), $(HINT))" >&2; exit 1; }
docker:
	@docker compose version >/dev/null 2>&1 || { echo "error: docker compose is missing: install Docker with its Compose plugin, or try make run, which needs neither" >&2; exit 1; }
cargo:
	@command -v cargo >/dev/null || { echo "error: cargo is missing: install Rust from https://rustup.rs" >&2; exit 1; }
