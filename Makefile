# The two commands: `make run` (the whole pipeline) and `make test`. Both set everything up.
PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/.ready
export VIRTUAL_ENV :=
unexport PYTHONPATH

.PHONY: run test check format ui lock setup slow bench-data bench-train bench-eval bench-flows clean

run: $(READY) ## images in, a measured and registered generator out: make run ARGS="--set ..."
	@$(BIN)/ganpipe run $(ARGS)

ui: $(READY) ## Prefect's and MLflow's pages with a worker, until Ctrl-C
	@$(BIN)/ganpipe ui $(ARGS)

test: $(READY) check ## everything that fits in a quarter of an hour
	$(BIN)/pytest -m "not slow" -n 2 --dist loadfile $(ARGS)

slow: $(READY) ## the suites that take minutes each
	$(BIN)/pytest -m slow -n 2 --dist loadfile $(ARGS)

bench-data: $(READY) ## figures of the data path, one quiet run of an hour: ARGS="--quick", part names
	@$(BIN)/python -m tests.benchmarks.bench_data $(ARGS)

bench-train: $(READY) ## figures of networks and training, hours: ARGS="--quick", "throughput --out FILE"
	@$(BIN)/python -m tests.benchmarks.bench_train $(ARGS)

bench-eval: $(READY) ## figures of evaluation, three quarters of an hour: ARGS="--quick", "inception distance --out FILE"
	@$(BIN)/python -m tests.benchmarks.bench_eval $(ARGS)

bench-flows: $(READY) ## figures of orchestration, one quiet hour: ARGS="--quick", "overhead --out FILE"
	@$(BIN)/python -m tests.benchmarks.orchestration $(ARGS)

check: $(READY) ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

setup: $(READY)

# fresh environment whenever the pinned versions change
$(READY): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is not installed: install Python 3.11, or name one with make PYTHON=..."; exit 2; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

lock: ## resolve pyproject.toml's ranges anew and pin what comes out
	rm -rf .lock && $(PYTHON) -m venv .lock
	.lock/bin/pip install --quiet --disable-pip-version-check "setuptools>=77" ".[dev]"
	.lock/bin/pip freeze --all --exclude ganpipe --exclude pip > requirements.lock
	rm -rf .lock

clean: ## the environment and tool caches; keeps .ganpipe, where runs live
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
