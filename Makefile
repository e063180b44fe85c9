# Every target does its own set-up: the first call makes .venv, later calls start at once.
# Works with GNU make 3.81 or later and any POSIX shell.

VERSIONS = 3.13 3.12 3.11
PYTHON ?=
ARGS ?=
NAME ?=
ROOM ?=
CANDIDATES = $(if $(PYTHON),"$(PYTHON)",$(VERSIONS:%=python%) python3 python)

PY = .venv/bin/python
READY = .venv/ready
SITE_READY = .venv/ready-site
PEERS = .venv-peers
PEERS_READY = $(PEERS)/ready
LOWEST = build/lowest
NOTEBOOKS = $(wildcard notebooks/*.ipynb)
# A stored notebook holds no progress bars, so nbval's kernels must draw none (before 1e9 seconds).
# Its timeouts are last resorts: a busy machine fails no cell.
NBVAL = TQDM_DELAY=1e9 $(PY) -m pytest --nbval --nbval-current-env --nbval-cell-timeout 3600 \
  --nbval-kernel-startup-timeout 600

export PIP_DISABLE_PIP_VERSION_CHECK = 1
unexport MPLBACKEND # a backend chosen by a shell would keep figures out of the notebooks

.DEFAULT_GOAL = help
.PHONY: help run test test-all test-lowest coverage check lab site bench bench-peers study attribution mutants refresh new-notebook slides hooks lock clean

help: ## print this list
	@echo 'make TARGET [ARGS="..."] [PYTHON=python3.12]'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F '|' '{printf "%-14s %s\n", $$1, $$2}'

run: $(READY) ## execute the walk on data and write a report; ARGS="--source sample"
	@$(PY) -m helpers run $(ARGS)

test: $(SITE_READY) check ## every check and test but the slow ones
	$(PY) -m pytest -n 2 --dist loadfile --doctest-modules -m "not slow" tests helpers
	$(if $(NOTEBOOKS),$(NBVAL) -n 2 --dist loadfile notebooks)

test-all: $(SITE_READY) check ## every check and test
	$(PY) -m pytest -n 2 --dist loadfile --doctest-modules tests helpers
	$(if $(NOTEBOOKS),$(NBVAL) -n 2 --dist loadfile notebooks)

# Old packages warn of what newer ones took away: here a warning is no error. What is installed does
# not agree with constraints.txt, as one file tests.
test-lowest: $(READY) ## the tests with the lowest versions that pyproject.toml allows
	@$(PY) -m pip install --quiet "uv>=0.9,<1"
	@rm -rf $(LOWEST) && mkdir -p $(LOWEST)
	@.venv/bin/uv pip compile --quiet --resolution lowest-direct --all-extras --no-annotate --no-header \
	  --python-version $(lastword $(VERSIONS)) --output-file $(LOWEST)/versions.txt pyproject.toml
	@.venv/bin/uv venv --quiet --no-python-downloads --python $(lastword $(VERSIONS)) $(LOWEST)/venv
	@.venv/bin/uv pip install --quiet --python $(LOWEST)/venv -r $(LOWEST)/versions.txt
	@.venv/bin/uv pip install --quiet --python $(LOWEST)/venv --no-deps -e .
	$(LOWEST)/venv/bin/python -m pytest -n 2 --dist loadfile -m "not slow" -o filterwarnings=default \
	  --disable-warnings --ignore tests/test_environment.py $(or $(ARGS),tests)

coverage: $(SITE_READY) ## what the tests run of helpers: build/coverage/index.html
	@rm -f .coverage .coverage.*
	$(PY) -m coverage run -m pytest -n 2 --dist loadfile --doctest-modules -m "not slow" \
	  $(or $(ARGS),tests helpers)
	@$(PY) -m coverage combine --quiet
	@$(PY) -m coverage html --quiet --fail-under=0
	$(PY) -m coverage report $(if $(ARGS),--fail-under=0)

check: $(READY) ## style and types of the code
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

lab: $(READY) ## open the workbook in JupyterLab
	@$(PY) -m jupyterlab notebooks/00_start_here.ipynb $(ARGS)

site: $(SITE_READY) ## build the reading edition: build/site/index.html
	@$(PY) site/build.py $(ARGS)

bench: $(READY) ## print times and memory on this machine
	@set -e; for script in bench/bench_*.py; do $(PY) "$$script" $(ARGS); done

bench-peers: $(READY) $(PEERS_READY) ## compare with JAX, Opacus, BackPACK and TF-Privacy
	@$(PY) bench/peers/bench_peers.py $(ARGS)

study: $(READY) ## scores, actions and subsets judged at full size; ARGS="--source sample"
	@$(PY) bench/study.py $(ARGS)
	@$(PY) bench/verdict.py

attribution: $(READY) ## do scores foretell retraining? Many random halves
	@$(PY) bench/attribution.py $(ARGS)

mutants: $(READY) ## plant small faults that the tests must notice; ROOM=evaluation ARGS="--again"
	@$(PY) -m bench.mutants $(ROOM) $(ARGS)

refresh: $(READY) ## execute and tidy the notebooks; ARGS="03_train_recommender"
	@$(PY) -m helpers.notebooks refresh $(ARGS)
	@$(PY) site/headline.py

new-notebook: $(READY) ## a notebook from the template; NAME=09_do_thing
	@$(PY) -m helpers.notebooks new $(NAME)

slides: $(READY) ## notebooks as talks, in build/slides; ARGS="02_measure_loss"
	@$(PY) -m helpers.notebooks slides $(ARGS)

hooks: $(READY) ## check style and notebooks before each commit
	@$(PY) -m pip install --quiet "pre-commit>=4,<5"
	@.venv/bin/pre-commit install

lock: $(READY) ## renew constraints.txt with the newest versions that pyproject.toml allows
	@$(PY) -m pip install --quiet "uv>=0.9,<1"
	@.venv/bin/uv pip compile --quiet --universal --upgrade --fork-strategy fewest \
	  --python-version $(lastword $(VERSIONS)) --all-extras --no-annotate --no-header \
	  --output-file .venv/constraints.txt pyproject.toml
	@if grep -n '://\|^-' .venv/constraints.txt; then \
	  echo 'lock: the lines above are no plain versions; constraints.txt stays as it was.' >&2; exit 1; fi
	@mv .venv/constraints.txt constraints.txt

clean: ## remove .venv, caches and build files; runs/ stays
	@rm -rf .venv $(PEERS) .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info
	@find helpers tests bench notebooks \( -name __pycache__ -o -name .ipynb_checkpoints \) \
	  -prune -exec rm -rf {} + 2>/dev/null || true

# The file .venv/ready is written after a whole installation and holds the folder's path: an
# interrupted installation, new versions or a moved folder install again.
ifneq ($(shell cat $(READY) 2>/dev/null),$(shell pwd -P))
.PHONY: $(READY)
endif

$(READY): $(PY) pyproject.toml constraints.txt
	@rm -f $@
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PY) -m ensurepip # interrupted before it had pip
	@$(PY) -m pip install -c constraints.txt -e ".[test]"
	@pwd -P > $@

# What builds the site is small; it is left out of the first installation all the same.
$(SITE_READY): $(READY)
	@$(PY) -m pip install --quiet -c constraints.txt -e ".[test,site]"
	@: > $@

# TF-Privacy needs an old TensorFlow, which installs on Python 3.11 only: it has a second environment.
$(PEERS_READY): bench/peers/requirements.txt bench/peers/requirements-legacy.txt | $(READY)
	@rm -rf $(PEERS)
	@$(PY) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install -r bench/peers/requirements.txt
	@$(PY) -m venv $(PEERS)/legacy
	@$(PEERS)/legacy/bin/python -m pip install -r bench/peers/requirements-legacy.txt || \
	  { rm -rf $(PEERS)/legacy; echo 'bench-peers: TF-Privacy cannot be installed here and is left out.' >&2; }
	@: > $@

# Takes the first candidate that can make an environment, else says in one sentence why not.
$(PY):
	@wrong=; bare=; \
	for name in $(CANDIDATES); do \
	  version=`"$$name" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null` || continue; \
	  case " $(VERSIONS) " in *" $$version "*) ;; *) wrong="$$name is $$version"; continue;; esac; \
	  "$$name" -c 'import ensurepip, venv' 2>/dev/null || { bare="$$name ($$version)"; continue; }; \
	  echo "Making .venv with $$name ($$version); this takes some minutes, once."; \
	  "$$name" -m venv --clear .venv && exit 0; \
	  rm -rf .venv; exit 1; \
	done; \
	if [ -n "$$bare" ]; then \
	  echo "$$bare lacks the modules venv and ensurepip: install them (Debian, Ubuntu: apt install python3-venv)." ; \
	else \
	  echo "Python 3.11, 3.12 or 3.13 is needed and was not found$${wrong:+ ($$wrong)}: install one," \
	    "or name it (make run PYTHON=/path/to/python3.12)."; \
	fi >&2; exit 1
