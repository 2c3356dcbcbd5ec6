# `make run` serves, `make test` tests; both set up .venv by themselves. `make help` lists the rest.

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest
ORACLE_TESTS := tests/conformance tests/clients tests/security/test_hostile.py tests/admin/test_recorded.py
# Changes of these alone make a set-up out of date: the packages are installed editable.
RECIPE := pyproject.toml hatch_build.py Makefile

# Some hundred brokers are started; modules that are compiled once take half a start.
test oracle image soak: export PYTHONDONTWRITEBYTECODE =

.PHONY: help run test install lint oracle image soak bench bench-quick bench-micro bench-growth bench-durability clean
.DEFAULT_GOAL := help

help:
	@echo "make run      set up .venv and serve AMQP on 127.0.0.1:5672 (more options: $(BIN)/leveret serve --help)"
	@echo "make test     set up .venv and run the test suite"
	@echo "make install  set up .venv, for $(BIN)/leveret"
	@echo "make lint     ruff, mypy --strict, import-linter, hadolint, shellcheck"
	@echo "make oracle   conformance and client tests on RabbitMQ, and comparisons (needs rabbitmq-server, node, prometheus and chromium)"
	@echo "make image    the Docker image, built and run (needs root, dockerd and debootstrap)"
	@echo "make soak     the tests that take minutes"
	@echo "make bench    Leveret next to RabbitMQ, as a table (needs cc, and rabbitmq-server to compare)"
	@echo "make bench-quick  has the broker become slower? Under a minute"
	@echo "make bench-micro  what the parts of a message's path cost"
	@echo "make bench-growth  how cost grows with queues, bindings, connections ..."
	@echo "make bench-durability  what durability costs, as tables: many minutes and ten gigabytes of disk"
	@echo "make clean    remove .venv and the caches"

run: install
	exec $(BIN)/leveret serve

install: $(VENV)/.run-ready

test: $(VENV)/.test-ready
	$(PYTEST) tests -m "not soak and not oracle and not alone" --numprocesses 3 --dist worksteal
	$(PYTEST) tests -m "alone and not soak and not oracle"

lint: $(VENV)/.test-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint docker/Dockerfile
	$(BIN)/shellcheck docker/*.sh .ci/*

oracle: $(VENV)/.test-ready
	.ci/oracle
	$(PYTEST) $(ORACLE_TESTS) -m "not soak" --broker rabbitmq
	$(PYTEST) tests -m oracle

image: $(VENV)/.test-ready
	.ci/packages "make image" dockerd=docker.io debootstrap=debootstrap ip=iproute2
	$(PYTEST) tests/docker -m soak

soak: $(VENV)/.test-ready
	$(PYTEST) tests -m soak --ignore tests/docker
	$(PYTEST) tests/conformance tests/clients -m "not soak" --broker-testing --numprocesses 3

bench: $(VENV)/.test-ready
	$(BIN)/python -m bench.compare

bench-quick: $(VENV)/.test-ready
	$(BIN)/python -m bench.guard

bench-micro: $(VENV)/.test-ready
	$(INSTALL) --editable ".[bench]"
	$(PYTEST) bench/micro --benchmark-only --benchmark-disable-gc --benchmark-sort=name --benchmark-columns=min,median,ops

bench-growth: $(VENV)/.test-ready
	$(BIN)/python -m bench.growth

bench-durability: $(VENV)/.test-ready
	$(BIN)/python -m bench.durability

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# Each stamp is written last, so that a set-up which was interrupted starts again.
$(VENV)/.run-ready: $(VENV)/.created $(RECIPE)
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.test-ready: $(VENV)/.created $(RECIPE)
	$(INSTALL) --editable ".[test,dev]"
	@touch $@ $(VENV)/.run-ready

# The newest Python there is. A name that is found may still not run (pyenv's shims), so each is tried.
$(VENV)/.created:
	@for python in python3.14 python3.13 python3.12 python3.11 python3 python; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	        found=$$python; \
	        if $$python -c 'import ensurepip, venv' >/dev/null 2>&1; then \
	            echo "Setting up $(VENV) with $$($$python --version)"; \
	            $$python -m venv --clear $(VENV) && touch $@; \
	            exit $$?; \
	        fi; \
	    fi; \
	done; \
	if [ -n "$$found" ]; then \
	    echo "Leveret: $$($$found --version) can't make virtual environments: install its venv module (Debian, Ubuntu: python3-venv)." >&2; \
	else \
	    echo "Leveret needs Python 3.11 or newer. Found: $$(python3 --version 2>/dev/null || echo 'no python3')." >&2; \
	fi; \
	exit 1
