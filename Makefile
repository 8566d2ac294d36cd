# The one way in: what a person, CI and the README call. Logic lives in the
# crates and in .ci/; every target here is short. `make help` lists them.

CARGO     ?= cargo
BENCH     ?=
ONLY      ?=
SOAK      ?=
SCALE     ?=
LOAD      ?=
GUARD     ?=
FUZZ_RUNS ?= 1000000
PSYCOPG   ?=
NODE_POSTGRES ?=

.DEFAULT_GOAL := help
.PHONY: help deps run test deep drivers lint bench guard soak scale load fuzz

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## install what building, testing and linting need (Debian 12, root or sudo)
	@.ci/deps build run test lint

run: ## build, then run a complete sample: proxy, pool, PostgreSQL, manager
	@.ci/deps build run
	$(CARGO) build --release --bin bs9
	target/release/bs9 quickstart

test: ## all tests of the workspace
	@.ci/deps build run test
	$(CARGO) nextest run --workspace --no-fail-fast
	$(CARGO) test --workspace --doc --quiet

deep: ## the tests that are short in `make test` at full length: 10,000 connections, 1 GiB bodies, 100 kills, PostgreSQL's regression SQL, the API fuzzed
	@.ci/deps build run test
	BS9_DEEP=1 $(CARGO) nextest run -p bs9 --test kept --test bulk --test killed --test api_fuzz --test regression --test crowd --test pool_faults --no-fail-fast --no-capture

drivers: ## drivers' own test suites, direct and pooled (PSYCOPG=, NODE_POSTGRES=: checkouts of those)
	@.ci/deps build run test
	BS9_DEEP=1 $(CARGO) nextest run -p bs9 --test suites --run-ignored all --no-fail-fast --no-capture -E 'not test(checkout_of)'
	$(if $(PSYCOPG),BS9_DEEP=1 PSYCOPG=$(PSYCOPG) $(CARGO) nextest run -p bs9 --test suites --run-ignored all --no-capture checkout_of_psycopg)
	$(if $(NODE_POSTGRES),BS9_DEEP=1 NODE_POSTGRES=$(NODE_POSTGRES) $(CARGO) nextest run -p bs9 --test suites --run-ignored all --no-capture checkout_of_node_postgres)

# cargo-deny's `advisories` check is left out: it downloads a database from a
# host that a sealed build machine cannot reach. Run it where there is a network.
lint: ## formatting, clippy, licences and sources of dependencies
	@.ci/deps build lint
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) deny check bans licenses sources

bench: ## measure bs9 beside its peers (ONLY=http-keepalive for a row, PGBOUNCER=another to compare as well, BENCH="--json out.json")
	@.ci/deps build run bench
	@# The peer takes the cores that linking bs9 leaves idle.
	nice -n 19 $(CARGO) build --release --locked --manifest-path bench/pingora/Cargo.toml & \
	pingora=$$!; $(CARGO) build --release --locked --bin bs9 --bin bs9-bench && wait $$pingora
	target/release/bs9-bench $(ONLY:%=--only %) $(PGBOUNCER:%=--binary pgbouncer-newer=%) $(BENCH)

guard: ## instructions and allocations of the hot paths against bench/baseline.json (GUARD=--update)
	@.ci/deps build run guard
	$(CARGO) build --release --locked --bin bs9 --bin bs9-bench
	target/release/bs9-bench guard $(GUARD)

soak: ## three minutes of everything at once: nothing may grow (SOAK="--seconds 3600")
	@.ci/deps build run
	$(CARGO) build --release --locked --bin bs9 --bin bs9-bench
	target/release/bs9-bench soak $(SOAK)

scale: ## what a request costs as routes, endpoints, connections, shards grow (SCALE="--json out.json")
	@.ci/deps build run guard
	$(CARGO) build --release --locked --bin bs9 --bin bs9-bench
	target/release/bs9-bench scale $(SCALE)

load: ## put load on a running `make run` (LOAD="…" is passed to bs9 loadtest)
	@.ci/deps build
	$(CARGO) build --release --bin bs9
	target/release/bs9 loadtest $(LOAD)

fuzz: ## every fuzz target, FUZZ_RUNS inputs each
	@.ci/deps build fuzz
	@.ci/fuzz $(FUZZ_RUNS)
