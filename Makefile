PYTHON ?= python3
PORT ?= 8501
VENV := .venv
BIN := $(VENV)/bin
ALONE := tests/metrics tests/e2e

.PHONY: run test lint clean

# MODELS=my_models.py adds the models of a Python file of yours
run: $(VENV)/.run-installed
	$(BIN)/python -m streamlit run app.py --server.port $(PORT) $(if $(MODELS),-- --models $(abspath $(MODELS)))

# First what may run side by side, one thread each; then what measures time or drives a browser, on a quiet machine.
test: $(VENV)/.test-installed
	$(BIN)/ruff check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(ALONE:%=--ignore=%)
	$(BIN)/python -m pytest $(ALONE)

lint: $(VENV)/.test-installed
	$(BIN)/ruff check .

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run-installed: requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements.txt
	touch $@

$(VENV)/.test-installed: requirements.txt requirements-test.txt requirements-openvino.txt requirements-text.txt requirements-timm.txt $(VENV)/.run-installed
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements-test.txt
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache
