# make demo: a gallery of what every unit of the bundled network sees. make test: the tests.
# Both build .venv first where it is missing, or older than pyproject.toml and constraints.txt.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
# uv does not read pip's setting for a folder of wheels by itself.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)

BIN := .venv/bin
STAMP := .venv/.stamp

.PHONY: demo test check lint format types clean

demo: $(STAMP)
	$(BIN)/python tools/demo.py

test: $(STAMP)
	$(BIN)/python -m pytest -q -n 2

# The demo is made anew here, so that what is looked at is what this checkout draws.
check: lint types test
	rm -rf demo
	$(MAKE) demo
	$(BIN)/python tools/check_demo.py demo/atlas demo/site
	$(BIN)/python tools/check_wheel.py

lint: $(STAMP)
	$(BIN)/ruff format --check
	$(BIN)/ruff check

format: $(STAMP)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

types: $(STAMP)
	$(BIN)/mypy

clean:
	rm -rf .venv demo dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The stamp is written last, so that an installation that broke off is done again.
$(STAMP): pyproject.toml constraints.txt
	@if command -v uv >/dev/null; then \
	  set -ex; \
	  uv venv --quiet --allow-existing --python "$(PYTHON)" .venv; \
	  uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]'; \
	else \
	  set -ex; \
	  "$(PYTHON)" -m venv .venv; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'; \
	fi
	@touch $@
