# The one menu: `make` lists it.

VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.made
PYTEST := $(BIN)/python -m pytest

# Where it is set, every process compiles anew whatever it imports: half a second for each daemon.
unexport PYTHONDONTWRITEBYTECODE

# Side by side in `make test`, each with a cluster of its own; what takes longest begins first.
WORKERS ?= 2

# Tried in this order until one is new enough; `make PYTHON=/path/to/python3` names one.
PYTHON ?= python3.13 python3.12 python3.11 python3.14 python3 python

.DEFAULT_GOAL := help
.PHONY: help venv check format test unit wire parity plane e2e demo demo-down bench bench-agents inspector soak cluster-up cluster-down \
	tools types crds lock clean

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  PODS=1  cluster-up, demo: with pods that become Ready     KEEP=1  demo: leave all of it running"
	@echo "  WORKERS=2  test: so many processes, each with a cluster of its own (half a GiB)"
	@echo "  ARGS=   test, unit, wire, parity, plane, e2e, bench, soak: further arguments, as in ARGS='-k prune'"

demo: $(STAMP) ## Show all of it on a cluster of its own: push, delete, edit by hand, webhook
	@$(BIN)/python -m demo $(if $(PODS),--pods) $(if $(KEEP),--keep) $(ARGS)

demo-down: $(STAMP) ## End what `make demo KEEP=1` left running
	@$(BIN)/python -m demo --down

test: check tools ## Check and test everything, on a real cluster too
	@$(PYTEST) -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS) \
		tests/e2e tests/plane tests/wire tests/parity tests/unit

venv: $(STAMP) ## Make .venv with everything that is needed to work on gitopsd

check: $(STAMP) ## Lint, formatting, types, and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Format the code, and fix what can be fixed by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

unit: $(STAMP) ## Test what is pure, in seconds
	$(PYTEST) -n $(WORKERS) --dist worksteal tests/unit $(ARGS)

wire: $(STAMP) ## Test against real servers: Git over HTTP, TLS
	$(PYTEST) tests/wire $(ARGS)

parity: tools ## Compare with the real kustomize, and whole fleets with what was recorded
	$(PYTEST) tests/parity $(ARGS)

plane: tools ## Test against a real API server
	$(PYTEST) tests/plane $(ARGS)

e2e: tools ## Test the daemon as a process
	$(PYTEST) tests/e2e $(ARGS)

bench: tools ## Measure it beside a raw client and print the table
	@$(BIN)/python -m bench $(ARGS)

bench-agents: tools ## Measure what calls of the MCP server cost with 300 Kustomizations
	@$(BIN)/python -m bench.agents $(ARGS)

inspector: $(STAMP) ## Try the MCP server with the Inspector's command line from npm (needs Node.js)
	@$(BIN)/python -m bench.inspector $(ARGS)

soak: tools ## Kill it 20 times in the middle of 1000 objects, the API server too, and 20 times in releases
	@$(BIN)/python -m bench.soak $(ARGS)

cluster-up: $(STAMP) ## Start a Kubernetes control plane on loopback, in .run
	@$(BIN)/python -m devcluster up $(if $(PODS),--pods)

cluster-down: $(STAMP) ## Stop what cluster-up started
	@$(BIN)/python -m devcluster down

tools: $(STAMP) ## Build the cluster, paper nodes, a registry, cosign, helm, kustomize, notation and sops into the cache, the first time in minutes
	@$(BIN)/python -m devcluster tools >/dev/null

types: $(STAMP) ## Write the table of Kubernetes' own types from its sources
	$(BIN)/python -m devcluster.gotypes

crds: $(STAMP) ## Write the CRDs from the types
	$(BIN)/python -m api.schema

lock: $(STAMP) ## Resolve the requirements anew
	$(BIN)/python -m pip install --quiet uv
	$(LOCK) --output-file requirements.txt pyproject.toml
	$(LOCK) --extra mcp --output-file requirements-mcp.txt pyproject.toml
	$(LOCK) --extra dev --output-file requirements-dev.txt pyproject.toml

LOCK := $(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes \
	--no-header --no-annotate --no-emit-index-url

clean: ## Stop the cluster and delete what was made here; the builds in the cache stay
	@if [ -x $(BIN)/python ] && [ -d .run ]; then $(BIN)/python -m demo --down; \
		$(BIN)/python -m devcluster down --purge; fi
	rm -rf $(VENV) .run build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements-dev.txt pyproject.toml
	@[ -x $(BIN)/python ] && exit; \
	for each in $(PYTHON); do \
		if "$$each" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			python="$$each"; break; \
		fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "gitopsd needs Python 3.11 or newer, and none of these is: $(PYTHON)" >&2; \
		echo "macOS: brew install python; Debian, Ubuntu: apt install python3 python3-venv;" >&2; \
		echo "or name one: make PYTHON=/path/to/python3" >&2; exit 1; \
	fi; \
	echo "making $(VENV) with $$(command -v "$$python"), a minute or so"; \
	"$$python" -m venv $(VENV) || { rm -rf $(VENV); \
		echo "Debian, Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
