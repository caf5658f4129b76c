# The few verbs. Everything else is behind them: `python -m tests.cluster -h`, `pytest -h`.
PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin
READY := .venv/.synced

.DEFAULT_GOAL := help
.PHONY: help venv up down test check bench manifests images

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

venv: $(READY) ## Make .venv with wsnode and wsfleet in it, from the lock file

up: $(READY) ## Bring up a cluster, the operator and a sample fleet (CLUSTER=local, or current)
	@$(BIN)/python -m tests.cluster demo

down: ## Remove the local cluster and all that belongs to it
	@$(PYTHON) -m tests.cluster down

test: $(READY) ## Run all tests; those marked cluster use the local cluster (ARGS="-m 'not cluster'" leaves them out)
	@$(BIN)/pytest $(ARGS)

check: $(READY) ## Format, lint, types, import floors, and the CRD against its models
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m wsfleet.api.crd --check

bench: $(READY) ## Measure the node beside its peers, about 35 minutes (ARGS="-h" for cases, servers, runs)
	@$(BIN)/python -m tests.bench $(ARGS)

manifests: $(READY) ## Write the CRD from its models
	@$(BIN)/python -m wsfleet.api.crd

images: $(READY) ## Build the images (OUTPUT=folder also writes archives for docker load and podman load)
	@$(BIN)/python -m tests.cluster images $(if $(OUTPUT),--output $(OUTPUT))

# The environment, from the lock file alone.
$(READY): pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv sync --quiet --frozen --all-extras
	@touch $@
