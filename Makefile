# Everything on a fresh machine with Python 3.11 or later: `make demo`, `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# More than the two cores of the smallest machine: many tests wait for a server or a clock.
WORKERS ?= 3

PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.PHONY: demo test lint types docs lowest scripts wheel-smoke bench clean

demo: $(VENV)/.demo
	$(if $(DATABASE_URL),DATABASE_URL="$(DATABASE_URL)") $(BIN)/python -m examples.demo

# Coverage is measured on SQLite and the newest PostgreSQL: it makes a test take half as long again, and the code that the
# others run is the same. A server of yours is one only, and leaves nothing for the second line (5: no tests).
test: $(VENV)/.test
ifdef TESTS
	$(PYTEST) $(TESTS)
else
	$(PYTEST) --cov --cov-report=term -k "not pg16 and not pg18-schema"
	$(PYTEST) -k "pg16 or pg18-schema" || test $$? -eq 5
endif

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.lint
	$(BIN)/mypy

docs: $(VENV)/.docs
	$(BIN)/mkdocs build --strict

lowest:
	.ci/lowest $(PYTHON)

wheel-smoke: $(VENV)/.test
	.ci/wheel-smoke $(PYTHON)

scripts: $(VENV)/.test
	$(BIN)/python -m pytest tests/migration/test_scripts.py

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build dist site .coverage .coverage.* demo.sqlite3

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "tierwright needs Python 3.11 or later")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade "pip>=25.1"

# One stamp per set of packages: a second call installs nothing.
$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	$(PIP) install -e '.[cli,postgres]'
	touch $@

$(VENV)/.test $(VENV)/.lint $(VENV)/.docs $(VENV)/.bench: pyproject.toml | $(VENV)/.demo
	$(PIP) install --group $(if $(filter %.docs,$@),docs,$(if $(filter %.bench,$@),bench --group test,$(if $(filter %.lint,$@),lint,test)))
	touch $@
