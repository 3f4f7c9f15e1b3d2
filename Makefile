# Everything a developer does here. The targets are thin: the work is in xtask/.

.DEFAULT_GOAL := help
# The first build says what it compiles, later ones are quiet.
xtask := cargo run $(if $(wildcard target/debug/xtask),--quiet) --package xtask --

.PHONY: help demo up down test test-offline bench lint generate

help: ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 22

demo: linux root cargo ## Move six documents between two Elasticsearch clusters on a Kubernetes of this machine, and leave all running
	@$(xtask) demo

up: linux root cargo ## Start a one-node Kubernetes on this machine (kubeconfig: target/cluster/kubeconfig)
	@$(xtask) up

down: linux root cargo ## Stop it and remove what it left; caches stay
	@$(xtask) down

test: linux root cargo ## Run the tests, those in the cluster too
	@$(xtask) test

test-offline: cargo ## Run the tests that need no cluster
	@$(xtask) test --offline

bench: linux root cargo ## Measure copies beside what else one could do, and write docs/benchmarks.md; options in BENCH, as --only=NAME
	@cargo run $(if $(wildcard target/harness/xtask),--quiet) --profile harness --package xtask -- bench $(BENCH)

lint: cargo ## Check the format, and what clippy has to say
	@cargo fmt --all --check
	@cargo clippy --quiet --workspace --all-targets -- --deny warnings
	@cargo clippy --quiet --workspace --all-targets --features=reindex-operator/otel -- --deny warnings

generate: cargo ## Write definitions, plain manifests, API reference, the chart's README and the benchmarks' page anew, after a change of src/api, charts or the page's words
	@cargo run --quiet --bin reindex-operator -- crd crds charts/reindex-operator/files/crds
	@$(xtask) render

.PHONY: linux root cargo
linux:
	@[ "$$(uname -sm)" = "Linux x86_64" ] || { echo "the cluster runs on Linux on x86_64 only: use such a machine, or 'make test-offline'"; exit 1; }
root:
	@[ "$$(id -u)" = 0 ] || { echo "the cluster needs root (it mounts, makes a bridge and runs containers): run this as root, or 'make test-offline'"; exit 1; }
cargo:
	@command -v cargo >/dev/null || { echo "cargo is missing (builds the operator and the harness): install Rust"; exit 1; }
