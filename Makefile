# Each target sets up what it needs: a virtual environment in .venv, the pinned CPU build of torch, the core and all plugins
# from this folder, then the tools.

PYTHON ?= python3
PIP = .venv/bin/python -m pip --disable-pip-version-check -q
PLUGINS = $(sort $(wildcard plugins/*))
EDITABLE = -e .[pdf,train] $(addprefix -e ,$(PLUGINS))
SOURCES = vedcore $(wildcard plugins/*/vedcore_plugin_*)
TOOLS = pytest pytest-cov pytest-xdist hypothesis tensorboard transformers ruff mypy build hatchling

.PHONY: demo test check lint types format bench bench-full bench-lines bench-pages lines wheels clean

demo: .venv/.installed
	.venv/bin/vedcore read examples/images
	.venv/bin/vedcore read examples/pages/letter.png

test: .venv/.tools
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n 2 --cov --cov-report=term --cov-fail-under=95

check: lint types test

lint: .venv/.tools
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

types: .venv/.tools
	.venv/bin/mypy $(SOURCES)

format: .venv/.tools
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

bench: .venv/.tools
	.venv/bin/python -m tests.bench

bench-full: .venv/.tools
	.venv/bin/python -m tests.bench full

bench-lines: .venv/.tools
	.venv/bin/python -m tests.bench_lines

bench-pages: .venv/.tools .venv/rapidocr/.installed
	.venv/bin/python -m tests.bench_pages

# RapidOCR needs other packages than vedcore. Without it, the table has no column for it.
.venv/rapidocr/.installed: .venv/.tools
	-$(PYTHON) -m venv .venv/rapidocr
	-.venv/rapidocr/bin/python -m pip --disable-pip-version-check -q install rapidocr==3.10.0 onnxruntime==1.32.0 && touch $@

lines: .venv/.tools
	.venv/bin/python -m tests.lines

wheels: .venv/.tools
	.venv/bin/python tests/wheels.py

clean:
	rm -rf .venv dist

.venv/.installed: pyproject.toml constraints.txt Makefile $(wildcard plugins/*/pyproject.toml)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vedcore needs python 3.11 or newer, this is " + sys.version)'
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	$(PIP) install -c constraints.txt torch
	$(PIP) install -c constraints.txt $(EDITABLE)
	touch $@

.venv/.tools: .venv/.installed
	$(PIP) install -c constraints.txt $(TOOLS)
	touch $@
