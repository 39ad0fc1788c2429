# make demo: a gallery of what every unit of the bundled network sees. make test: the tests.
# Both build .venv first where it is missing, or older than pyproject.toml and constraints.txt.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
# uv does not read pip's setting for a folder of wheels by itself.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)

BIN := .venv/bin
STAMP := .venv/.stamp
WEB_STAMP := .venv/.stamp-web
DEMO := demo/atlas/drawings.json
ZOO_BIN := .venv-zoo/bin
ZOO_STAMP := .venv-zoo/.stamp
comma := ,
BENCH_BIN := .venv-bench/bin
BENCH_STAMP := .venv-bench/.stamp
# Without what they depend on: torchvision would bring a torch of its own, timm a client for downloads.
NETWORKS := torchvision timm

.PHONY: demo test test-web zoo bench bench-short bench-web bench-live bench-scroll bench-explorer check lint format types clean

demo: $(STAMP)
	$(BIN)/python tools/demo.py

test: $(STAMP)
	$(BIN)/python -m pytest -q -n 2

# Drives a Chromium, Debian's or the one named in the variable CHROMIUM; downloads no other.
test-web: $(WEB_STAMP)
	$(BIN)/python -m pytest -q -n 2 -m browser tests/web

# About an hour and a half on two cores; interrupted, it goes on. `make zoo ZOO='--only timm:resnet18'` runs one network.
zoo: $(ZOO_STAMP)
	$(ZOO_BIN)/python tools/run_zoo.py $(ZOO); status=$$?; $(ZOO_BIN)/python tools/zoo_page.py && exit $$status

# An hour or so, on a machine that does nothing else. `make bench BENCH='--only gallery-zfnet'` measures one row anew.
bench: $(BENCH_STAMP)
	$(BENCH_BIN)/python -m bench.run $(BENCH)

# The same rows of small samples, under three minutes on two free cores, into build/bench-short.md.
bench-short: $(BENCH_STAMP)
	$(BENCH_BIN)/python -m bench.run --short $(BENCH)

# Some four minutes; fails where pages take longer than they may. On an atlas of yours: `make bench-web BENCH_WEB=ATLAS`.
bench-web: $(STAMP)
	$(BIN)/python -m bench.web $(BENCH_WEB)

# Seconds; fails where the first answer to a picture takes a second or longer. Makes the demo's atlas where it is missing.
bench-live: $(STAMP) $(DEMO)
	$(BIN)/python -m bench.live $(BENCH_LIVE)

# A minute; how a page of 10 000 units scrolls in a Chromium; fails where frames take longer than they may.
bench-scroll: $(WEB_STAMP)
	$(BIN)/python -m bench.scroll $(BENCH_SCROLL)

# The three above, kept, and written into docs/serve.md. On a machine that does nothing else.
bench-explorer: $(WEB_STAMP) $(DEMO)
	for measure in web live scroll; do $(BIN)/python -m bench.$$measure --results bench/results-web.json || missed=1; done; \
	  $(BIN)/python -m bench.explorer && test -z "$$missed"

$(DEMO):
	$(MAKE) demo

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
	rm -rf .venv .venv-zoo .venv-bench demo dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The stamp is written last, so that an installation that broke off is done again.
$(STAMP): pyproject.toml constraints.txt
	$(call install,.venv,-e '.[dev]',$(NETWORKS))

$(WEB_STAMP): $(STAMP)
	$(call install,.venv,-e '.[dev$(comma)browser]',$(NETWORKS))

# The networks' environment has one more package, a peer to compare with.
$(ZOO_STAMP): pyproject.toml constraints.txt
	$(call install,.venv-zoo,-e '.[dev]',$(NETWORKS) zennit)

# The benchmark's has all peers that it measures.
$(BENCH_STAMP): pyproject.toml constraints.txt bench/peers.txt
	$(call install,.venv-bench,-e '.[dev]' matplotlib tqdm,$(NETWORKS),-r bench/peers.txt)

# $(1): the environment; $(2): what is installed with all that it depends on; $(3): what is installed alone;
# $(4): what is installed alone at versions of its own.
define install
	@if command -v uv >/dev/null; then \
	  set -ex; \
	  uv venv --quiet --allow-existing --python "$(PYTHON)" $(1); \
	  uv pip install --quiet --python $(1)/bin/python -c constraints.txt $(2); \
	  uv pip install --quiet --python $(1)/bin/python -c constraints.txt --no-deps $(3); \
	  $(if $(4),uv pip install --quiet --python $(1)/bin/python --no-deps $(4),:); \
	else \
	  set -ex; \
	  "$(PYTHON)" -m venv $(1); \
	  $(1)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(2); \
	  $(1)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps $(3); \
	  $(if $(4),$(1)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $(4),:); \
	fi
	@touch $@
endef
