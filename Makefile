# Every target is the only command needed on a fresh machine; `make help` lists them.
SHELL := bash
.DEFAULT_GOAL := help
.NOTPARALLEL:

CATALOG ?= examples/shop/opsloop.yaml
NAME ?= service-kill
# Further arguments of the command behind a target: make run ARGS="--port-base 1000".
ARGS ?=

OPSLOOP := .venv/bin/opsloop
PYTEST := .venv/bin/python -m pytest
CODE := $(wildcard src tests examples benchmarks tools)

.PHONY: setup
setup: ## make .venv and install the programs that the stack runs
	@tools/setup.sh runtime system

.PHONY: dev
dev: ## as setup, with what tests and checks need
	@tools/setup.sh dev browser system

.PHONY: run
run: setup ## start the whole stack with the demo shop, and wait until it is healthy
	@$(OPSLOOP) up --catalog $(CATALOG) $(ARGS)

.PHONY: stop
stop: ## stop everything that `make run` started
	@if [ -x $(OPSLOOP) ]; then $(OPSLOOP) down $(ARGS); else echo "nothing was set up here"; fi

.PHONY: drill
drill: setup ## break something and watch it heal: NAME=service-kill, or ALL=1
	@$(OPSLOOP) drill $(if $(ALL),--all,$(NAME)) $(ARGS)

.PHONY: validate-prometheus
validate-prometheus: setup ## compile the catalog; promtool and amtool check what comes out
	@out=$$(mktemp -d) && trap 'rm -rf "$$out"' EXIT && \
		$(OPSLOOP) build --catalog $(CATALOG) --out "$$out/build" $(ARGS)

.PHONY: test-alerts
test-alerts: setup ## compile the catalog; promtool runs the unit tests of every alert
	@out=$$(mktemp -d) && trap 'rm -rf "$$out"' EXIT && \
		$(OPSLOOP) build --catalog $(CATALOG) --out "$$out/build" --run-tests $(ARGS)

.PHONY: test
test: dev ## the core tests, under 8 minutes
	@$(PYTEST) -n 2 --dist loadfile $(ARGS)

.PHONY: test-full
test-full: dev ## the slow tests
	@tools/pytest-marked.sh full $(ARGS)

.PHONY: test-long
test-long: dev ## mutation runs, storms, the wheel elsewhere: an hour and more
	@tools/pytest-marked.sh long $(ARGS)

.PHONY: test-docker
test-docker: ## the tests that need a Docker engine
	@if grep -rqs --include='*.py' 'mark\.docker' tests; then \
		tools/setup.sh dev system && tools/pytest-marked.sh docker $(ARGS); \
	else echo "test-docker: the Docker runtime has not come yet; nothing to test"; fi

.PHONY: check
check: ## format, lint, types, import rules and rules of the house, under 60 s
	@tools/setup.sh dev
	@.venv/bin/ruff format --check --quiet $(CODE) || \
		{ echo "check: run make format"; exit 1; }
	@.venv/bin/ruff check --quiet $(CODE)
	@$(MAKE) --no-print-directory types
	@.venv/bin/lint-imports --no-logo
	@$(PYTEST) -q tests/house

.PHONY: types
types:
	@.venv/bin/mypy --no-error-summary $(CODE)

.PHONY: bench
bench: dev ## the quick form of every benchmark, as one table of goal, measured and limit
	@.venv/bin/python -m benchmarks.every --quick $(ARGS)

.PHONY: evidence
evidence: dev ## what one real run of this very code proved, in docs/evidence
	@.venv/bin/python -m tools.evidence $(ARGS)

.PHONY: docs
docs: dev ## write again what is made of code and kept figures: docs/reference
	@.venv/bin/python -m tools.reference

.PHONY: site
site: dev ## build the documentation as a site, into site/
	@.venv/bin/python -m tools.site $(ARGS)

.PHONY: lock
lock: ## make requirements/*.lock again (ARGS=--upgrade for newer versions)
	@tools/lock.sh $(ARGS)

.PHONY: format
format: ## rewrite the code in the format that check expects
	@tools/setup.sh dev
	@.venv/bin/ruff format --quiet $(CODE)
	@.venv/bin/ruff check --quiet --fix $(CODE)

.PHONY: help
help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-20s %s\n", $$1, $$2}' Makefile
