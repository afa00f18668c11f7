# `make demo` and `make test` set up what they need in .venv; a second call reuses it.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin

.PHONY: test lint docs demo demo-flow clean

$(VENV)/ready: pyproject.toml setup.cfg setup.py constraints.txt basis_blur/bridges/basicsr/hook.py
	$(PYTHON) -m venv $(VENV)
	$(RUN)/pip install --quiet -c constraints.txt torch setuptools wheel
	$(RUN)/pip install --quiet -c constraints.txt --no-build-isolation -e '.[test,demo]'
	touch $@

lint: $(VENV)/ready
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy

# Two processes of one thread each: twice as fast on two cores as one process of two threads.
test: $(VENV)/ready
	OMP_NUM_THREADS=1 $(RUN)/python -m pytest -n 2 --dist loadfile

# The pages, the reference and the examples, which are run; a warning is an error.
docs: $(VENV)/ready
	$(RUN)/pip install --quiet -c constraints.txt --no-build-isolation -e '.[docs]'
	$(RUN)/sphinx-build -W --keep-going -b html docs docs/_build/html
	@echo 'Open docs/_build/html/index.html in a browser.'

# Threads that wait by spinning take the cores from those that work; the commands see to it themselves.
demo demo-flow: export OMP_WAIT_POLICY := PASSIVE

demo: $(VENV)/ready
	$(RUN)/python scripts/demo.py

demo-flow: $(VENV)/ready
	$(RUN)/python scripts/demo_flow.py

clean:
	rm -rf results/demo results/demo_flow docs/_build docs/gallery docs/outside
