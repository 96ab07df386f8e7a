# Roomkeeper's commands. `make` alone prints them.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
CRATES := roomkeeper-crds roomkeeper-graph roomkeeper-service roomkeeper-operator roomkeeper-webhook-server \
          kubectl-roomkeeper roomkeeper-controlplane graph-sim booking-sim dependency-policy least-data roomkeeper-e2e
# Builds for tests alone: a clock that can be moved, failpoints.
REHEARSAL := roomkeeper-operator/rehearsal,roomkeeper-e2e/rehearsal
KEEP ?=
BENCH ?=
# What tests and demo leave for the last step: every request line that the Graph simulator got, and what the daemons wrote.
LEAST_DATA := $(CURDIR)/target/least-data
RECORDED := GRAPH_SIM_REQUEST_LOG=$(LEAST_DATA)/requests ROOMKEEPER_KEEP_WRITTEN=$(LEAST_DATA)/written

.PHONY: help
help: ## Print this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-19s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: prerequisites
prerequisites:
	@for tool in $(CARGO) go git cc; do command -v "$$tool" >/dev/null || { echo "make: $$tool is missing: install $$tool and run this again" >&2; exit 1; }; done

.PHONY: controlplane
controlplane: prerequisites ## Build kube-apiserver, etcd and kubectl into the cache folder, once
	$(CARGO) run --quiet --locked -p roomkeeper-controlplane -- build

.PHONY: build
build: prerequisites ## Build every program
	$(CARGO) build --locked --workspace --bins

.PHONY: demo
demo: build controlplane ## The whole scenario on this machine; KEEP=1 leaves it running
	@rm -rf $(LEAST_DATA)
	$(RECORDED) $(CARGO) run --quiet --locked -p roomkeeper-e2e --bin demo -- $(if $(KEEP),--keep)
	@$(MAKE) --no-print-directory least-data

.PHONY: test
test: build controlplane ## All tests, on a real kube-apiserver and the simulators
	@rm -rf $(LEAST_DATA)
	$(RECORDED) $(CARGO) test --locked --workspace
	$(CARGO) build --locked --workspace --bins --features $(REHEARSAL)
	$(RECORDED) $(CARGO) test --locked --workspace --features $(REHEARSAL) --test rehearsal --test fortnight
	@$(MAKE) --no-print-directory least-data

.PHONY: least-data
least-data: ## Check what the last `make test` or `make demo` asked Graph for and wrote; part of both
	$(CARGO) run --quiet --locked -p least-data -- requests $(LEAST_DATA)/requests
	$(CARGO) run --quiet --locked -p least-data -- canaries $(LEAST_DATA)/written

.PHONY: prove-minimisation
prove-minimisation: prerequisites ## Plant violations of least data in a copy, one at a time, and see each caught
	bash e2e/prove_minimisation.sh

.PHONY: bench
bench: prerequisites controlplane ## Measure; BENCH=name for one. Figures go to target/bench/
	$(CARGO) build --locked --release --workspace --bins
	$(CARGO) run --quiet --locked --release -p roomkeeper-e2e --bin bench -- $(BENCH)

.PHONY: check
check: prerequisites fmt policy goldens chart clippy docs alone ## Everything that needs no cluster: format, lints, docs, goldens, chart, licences

.PHONY: fmt
fmt:
	$(CARGO) fmt --all --check

.PHONY: clippy
clippy:
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked --workspace --all-targets --features $(REHEARSAL) -- -D warnings

# A workspace build unites features and hides what a crate forgot to ask for.
.PHONY: alone
alone:
	@for crate in $(CRATES); do \
	  echo "alone: $$crate"; \
	  $(CARGO) check --quiet --locked -p "$$crate"; \
	  $(CARGO) check --quiet --locked -p "$$crate" --all-targets; \
	done

.PHONY: docs
docs:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --quiet --locked --workspace --no-deps

.PHONY: goldens
goldens: ## Compare generated files with the ones in the repository
	@rm -rf target/goldens && mkdir -p target/goldens
	@$(CARGO) run --quiet --locked -p roomkeeper-crds --features crdgen --bin crdgen -- target/goldens/crds
	@for golden in crds/yaml charts/roomkeeper/files/crds; do \
	  diff -ru "$$golden" target/goldens/crds || { echo "goldens: $$golden differs: run 'make generate' and commit" >&2; exit 1; }; \
	done

.PHONY: generate
generate: build ## Write the generated files: CRDs, command-line help
	$(CARGO) run --quiet --locked -p roomkeeper-crds --features crdgen --bin crdgen -- crds/yaml charts/roomkeeper/files/crds
	ROOMKEEPER_WRITE_GOLDENS=1 $(CARGO) test --quiet --locked -p roomkeeper-e2e --test command_line_help

.PHONY: chart
chart: prerequisites ## Lint, goldens and refusals of the chart, kubeconform, health for Argo CD and Flux
	@tools=$$($(CARGO) run --quiet --locked -p roomkeeper-controlplane -- chart-tools); \
	echo "chart: compiling the tests and running them"; \
	cd e2e/chart && go vet && HELM="$$tools/helm" KUBECONFORM="$$tools/kubeconform" go test

.PHONY: addin
addin: ## Build the consent page and test it in Chromium; needs node, npm, chromium and chromedriver
	@for tool in node npm $${CHROMIUM:-chromium} $${CHROMEDRIVER:-chromedriver}; do command -v "$$tool" >/dev/null || { echo "make: $$tool is missing: install $$tool and run this again (Debian: nodejs, npm, chromium, chromium-driver)" >&2; exit 1; }; done
	cd addin && npm ci --no-audit --no-fund && npm test

.PHONY: policy
policy:
	$(CARGO) run --quiet --locked -p dependency-policy
