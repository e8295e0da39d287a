# `make` without a target prints the list of commands.
.DEFAULT_GOAL := help
.PHONY: help run run-docker test test-tools test-kubernetes test-matrix soak fuzz mutants coverage build image bench check-config schema lint deny notices pictures

help: ## Print this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 24

run: cargo ## Run Envoy with the filter on 127.0.0.1:10000 (PORT=… ADMIN_PORT=… ENVOY=/path/to/envoy)
	@cargo xtask run

run-docker: cargo docker ## Run the same in the official Envoy image, with Docker Compose (PORT=… ADMIN_PORT=…)
	@cargo xtask build
	@trap : INT; docker compose --file envoy/docker-compose.yaml up; status=$$?; \
	docker compose --file envoy/docker-compose.yaml down; \
	test $$status -eq 130 || exit $$status # Ctrl-C is no error

test: cargo ## Run all tests, from unit tests to a real Envoy (ENVOY=/path/to/envoy)
	cargo test --locked --workspace

test-tools: cargo ## Run the tests that need further tools: chromium, docker-registry, h2load, kubectl, Node.js, prometheus, skopeo, valgrind
	cargo test --locked --test external_tools

test-kubernetes: cargo ## Run the manifests and the documentation in a real Kubernetes API server, Istio and Envoy Gateway (needs Go)
	setpriv --pdeathsig TERM cargo test --locked --test kubernetes

test-matrix: cargo ## Run the tests against every Envoy version in envoy/versions.env
	@. envoy/versions.env; unset ENVOY; failed=; \
	for version in $$ENVOY_MATRIX; do \
		echo "Envoy $$version"; \
		ENVOY_VERSION=$$version HOSTILE_REQUESTS=30000 cargo test --quiet --locked --test envoy -- --quiet || failed="$$failed $$version"; \
	done; \
	test -z "$$failed" || { echo "error: the tests failed with Envoy$$failed" >&2; exit 1; }

soak: SOAK ?= 1000000
soak: cargo ## Send a million requests of every kind, with and without the filter (SOAK=number of requests)
	SOAK=$(SOAK) cargo test --locked --test envoy -- soak::

# The tests of the rules, which need no Envoy.
RULES = --package request-id-rules --package request-id-configuration --package request-id-filter --lib --test table --test configuration --test comparison --test properties
SECONDS = 30
fuzz: cargo-fuzz ## Fuzz every target in fuzz/ for SECONDS=30 each, starting from the table of cases
	@cargo run --quiet --locked --manifest-path fuzz/Cargo.toml --no-default-features --example seeds
	@cargo fuzz build --sanitizer none
	@set -e; for target in $$(cargo fuzz list); do \
	  echo "fuzzing $$target for $(SECONDS) seconds"; \
	  cargo fuzz run --sanitizer none $$target -- -max_total_time=$(SECONDS) -verbosity=0 -print_funcs=0 -print_final_stats=1; \
	done

mutants: cargo-mutants ## Change the rules one by one and check that a test fails (slow; needs cargo-mutants)
	PROPTEST_CASES=$(or $(PROPTEST_CASES),500) cargo mutants --package request-id-configuration --package request-id-rules --output target $(RULES:%=--cargo-arg=%)

coverage: cargo-llvm-cov ## Measure the test coverage of the rules; fails below 99 % of the lines (needs cargo-llvm-cov)
	cargo llvm-cov --locked $(RULES) --ignore-filename-regex '^$(CURDIR)/(crates/bench|crates/test-support|tests|xtask)/' --fail-under-lines 99

build: cargo ## Build target/request-id-filter.wasm and print its size and sha256
	@cargo xtask build

image: cargo ## Build an OCI image of the module in target/image and print its digest (SOURCE=URL of the sources)
	@cargo xtask image

bench: cargo ## Measure what the filter costs (ROUNDS=15 REQUESTS=2000; needs h2load and valgrind)
	@cargo run --quiet --locked --package bench

check-config: cargo ## Check a configuration, bare or inside a manifest: FILE=…
	@test -n "$(FILE)" || { echo "error: no file given: make check-config FILE=…" >&2; exit 1; }
	@cargo run --quiet --locked --package xtask -- check-config "$(FILE)"

schema: cargo ## Write envoy/config.schema.json, the JSON Schema of the configuration
	@cargo xtask schema

lint: cargo ## Check formatting and run clippy, native and wasm
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo clippy --locked --test kubernetes --test external_tools -- -D warnings
	cargo clippy --locked --package request-id-rules --package request-id-configuration --package request-id-filter --package sdk-example --lib --target wasm32-wasip1 -- -D warnings

notices: cargo-about ## Write THIRD-PARTY-NOTICES.txt: the licences of what is linked into the module (needs cargo-about)
	@cargo fetch --locked --quiet
	cargo about generate --offline --locked --config .cargo/about.toml --output-file THIRD-PARTY-NOTICES.txt .cargo/about.hbs

pictures: cargo ## Make the screenshot in docs/images anew (needs chromium and prometheus)
	PICTURES=docs/images cargo test --locked --test external_tools -- prometheus_shows_the_counters

deny: cargo-deny ## Check the licences and sources of the dependencies, and that none is linked twice (needs cargo-deny)
	cargo deny --locked check licenses sources
	cargo deny --locked --exclude xtask --exclude bench --exclude-dev --target wasm32-wasip1 check bans

.PHONY: cargo docker cargo-about cargo-fuzz cargo-mutants cargo-llvm-cov cargo-deny
cargo-about: HINT = --features cli
cargo-fuzz: HINT = (building it needs a C++ compiler)
cargo-about cargo-fuzz cargo-mutants cargo-llvm-cov cargo-deny: cargo
	@command -v $@ >/dev/null || { echo "error: $@ is missing: install it with cargo install --locked $@$(if $(HINT), $(HINT))" >&2; exit 1; }
docker:
	@docker compose version >/dev/null 2>&1 || { echo "error: docker compose is missing: install Docker with the Compose plugin, or use make run, which needs neither" >&2; exit 1; }
cargo:
	@command -v cargo >/dev/null || { echo "error: cargo is missing: install Rust from https://rustup.rs" >&2; exit 1; }
