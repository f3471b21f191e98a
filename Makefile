# One command a job; CI runs the same ones. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup demo demo-live services services-stop test test-slow parity parity-flights mutants simulate faults soak fuzz lint format bench bench-all lock gpu clean

VENV ?= .venv
BIN := $(abspath $(VENV))/bin
READY := $(VENV)/.onefold-ready
KERNEL := setup.py $(wildcard onefold/features/kernel/*)
SPARK := $(VENV)/.onefold-spark
SERVICES := $(VENV)/.onefold-services
SERVICES_DIR ?= .services
REDIS_PORT ?= 6390
KAFKA_PORT ?= 9390
# The extras are those of scripts/setup.
EXPORT := --quiet --frozen --no-header --no-annotate --no-emit-project --extra flights --extra kafka --extra redis --extra formats --extra otel --extra postgresql
PYTEST_ARGS ?=
export PATH := $(BIN):$(PATH)
# Many commands start Python anew; without bytecode each would compile its libraries again.
export PYTHONDONTWRITEBYTECODE :=
export PYTHON

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: $(READY) ## install into .venv (with uv, or with Python >= 3.11 and pip)

$(READY): pyproject.toml uv.lock requirements.txt scripts/setup $(KERNEL)
	@scripts/setup $(VENV)
	@touch $@

# Spark is large and needs Java: only what runs every engine waits for it.
$(SPARK): $(READY) requirements-spark.txt scripts/java scripts/apt
	@scripts/java
	@scripts/setup $(VENV) spark
	@touch $@

# Redis, and the jars of a Kafka broker and of Spark's connector to one.
$(SERVICES): $(READY) scripts/services scripts/java scripts/apt $(wildcard deploy/kafka/* deploy/spark/*)
	@scripts/services install
	@$(BIN)/python -m tests.services warm
	@touch $@

demo: $(READY) ## real flights: training set, model, a replayed December, and the proof
	@$(BIN)/onefold demo

demo-live: $(SERVICES) ## the same through Kafka and Redis, with two workers that get killed: [DAYS=3] [SEED=0]
	@$(BIN)/python -m tests.services run -- $(BIN)/onefold demo --live --folder .demo-live \
	  --kafka {kafka} --redis {redis} $(if $(DAYS),--days $(DAYS)) $(if $(SEED),--seed $(SEED))

services: $(SERVICES) ## a Redis and a Kafka broker that stay: [REDIS_PORT=6390] [KAFKA_PORT=9390] [SERVICES_DIR=.services]
	@$(BIN)/python -m tests.services start --folder "$(SERVICES_DIR)" --redis-port $(REDIS_PORT) --kafka-port $(KAFKA_PORT)

services-stop: $(READY) ## end these two; their data stays
	@$(BIN)/python -m tests.services stop --folder "$(SERVICES_DIR)"

lint: $(READY) ## ruff, mypy strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## sort the imports, lay out the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: lint $(SPARK) $(SERVICES) ## lint, then every test that is not slow, some files at a time: [WORKERS=2]
	$(BIN)/python -m pytest -m "not slow" -n $(or $(WORKERS),2) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-slow: $(SPARK) $(SERVICES) ## the slow tests
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

parity: $(SPARK) ## random cases over all engines, judged by the oracle: make parity MINUTES=60 [WORKERS=2]
	@$(BIN)/python -m tests.parity --minutes $(or $(MINUTES),1) --workers $(or $(WORKERS),1) \
	  $(if $(ENGINES),--engines $(ENGINES)) $(if $(SEED),--seed $(SEED))

parity-flights: $(SPARK) ## all engines on all of the flights, row by row, and what must change nothing
	@$(BIN)/python -m pytest -v -m slow tests/parity/test_flights.py $(PYTEST_ARGS)

mutants: $(SPARK) ## plant faults in the engines, and see that the parity tests find each
	$(BIN)/python -m tests.parity.mutants

simulate: $(READY) ## seeded faults over the real worker: make simulate SEEDS=100000 [WORKERS=2], or SEED=123 step by step
	@$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),10000) --first $(or $(FIRST),0) \
	  --workers $(or $(WORKERS),2) $(if $(SEED),--seed $(SEED))

faults: $(SERVICES) ## workers killed in the middle of their flushes, over a real Kafka and Redis: make faults [KILLS=1000] [SEED=1]
	@$(BIN)/python -m tests.faults $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED))

soak: $(SERVICES) ## the service at half its peak, with flat memory and no error: make soak MINUTES=60
	@SOAK_MINUTES=$(or $(MINUTES),60) $(BIN)/python -m pytest -m slow -s tests/serving/test_load.py -k soak $(PYTEST_ARGS)

fuzz: $(READY) ## spoiled states through the native kernel below sanitizers: make fuzz [MINUTES=1] [FIRST=0] (needs gcc)
	@$(BIN)/python -m tests.native --minutes $(or $(MINUTES),1) --first $(or $(FIRST),0)

# A script that would hide the library whose name it has is called with_NAME.py.
BENCHMARK = $(firstword $(wildcard benchmarks/$(NAME).py benchmarks/with_$(NAME).py))
bench: $(READY) ## one benchmark: make bench NAME=lookup
	@test -n "$(NAME)" -a -f "$(BENCHMARK)" || { \
	  echo "bench: no benchmark '$(NAME)'; there are:" \
	    "$$(ls benchmarks/*.py 2>/dev/null | xargs -r -n1 basename -s .py | grep -v '^_' | sed 's/^with_//' | tr '\n' ' ')" >&2; \
	  echo "bench: try make bench NAME=lookup" >&2; exit 2; }
	@$(BIN)/python $(BENCHMARK)

bench-all: $(READY) ## every benchmark, some 15 minutes; rewrites the tables of docs/benchmarks.md
	@$(BIN)/python benchmarks/_all.py

lock: ## after a change of dependencies: uv.lock, and requirements.txt for pip (needs uv)
	uv lock
	uv export $(EXPORT) --output-file requirements.txt
	uv export $(EXPORT) --extra spark | grep -vxFf requirements.txt > requirements-spark.txt

gpu: $(READY) ## swap xgboost-cpu for the CUDA build in .venv (docs/gpu.md)
	scripts/swap-xgboost $(BIN)/python

clean: ## remove what was built, and the demos' folders; keeps .venv and .services
	rm -rf build dist onefold.egg-info .demo .demo-live .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find onefold tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
