# `make bench`: the main job. `make test`: the tests. Both set everything up on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: bench test test-all benchmarks peers gpu docs wheel pictures lint format setup clean

bench: $(READY)
	$(BIN)/rlnet-bench run quick --store rlnet-store
	$(BIN)/rlnet-bench table --store rlnet-store --suite quick
	$(BIN)/rlnet-bench report --store rlnet-store --suite quick --out quick-report

test: $(READY) browser axe
	$(BIN)/python -m pytest tests --ignore tests/benchmarks -n 2 --dist worksteal

test-all: $(READY) browser axe
	$(BIN)/python -m pytest tests --ignore tests/benchmarks -n 2 --dist worksteal --slow all

benchmarks: $(READY)
	$(BIN)/python -m pytest tests/benchmarks -s --slow all --benchmark-disable-gc

# Training speed against JaxMARL and BenchMARL, in turns; builds their environments in .peers/ once.
peers: $(READY)
	$(BIN)/python tests/benchmarks/peers $(ROWS)

# The smoke set and the scaling table on a machine with CUDA; elsewhere it says that there is none.
gpu: $(READY)
	$(BIN)/python tests/gpu

# The API reference, from the docstrings: build/api/index.html.
docs: $(READY)
	$(BIN)/python docs/api.py build/api

# dist/*.whl
wheel: $(READY)
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w dist .

# The pictures of README.md, from the published results; wants Chromium.
pictures: $(READY)
	PATH="$(abspath $(BIN)):$$PATH" bash docs/pictures/make.sh

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# The browser tests want Debian's Chromium; without root they are skipped by name.
.PHONY: browser
browser:
	@command -v chromium >/dev/null || test "$$(id -u)" != 0 || ! command -v apt-get >/dev/null || \
	  { apt-get update -qq && apt-get install -y -qq chromium >/dev/null; } || echo "no chromium: browser tests will be skipped"

# The accessibility checks want axe-core from the npm registry; without npm they are skipped by name.
AXE := .axe/node_modules/axe-core/axe.min.js
.PHONY: axe
axe:
	@test -f $(AXE) || { mkdir -p .axe && command -v npm >/dev/null && \
	  npm install --silent --no-audit --no-fund --prefix .axe axe-core@4.14.1; } || echo "no axe-core: its tests will be skipped"

clean:
	rm -rf .axe $(VENV) rlnet-store quick-report build *.egg-info
