# A fresh machine needs Python 3.11 or later and this file: every target makes .venv first.
PYTHON ?= python3
RECORD ?= mlruns
STUDY ?= schedules
BIN := .venv/bin
# A recipe reads them as the shell's variables, in quotes: whatever is in a path, it stays one word.
export PYTHON RECORD STUDY
# Jupyter refuses to run as root, the usual user in a container. It listens to this machine only.
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: study test test-long faults ui dashboard notebooks report lint bench
study: .venv/ready
	if [ -e "$$STUDY" ]; then set -- "$$STUDY"; else set -f; set -- $$STUDY; fi; \
	$(BIN)/python study/run.py --study "$$@" --record "$$RECORD"

PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations 15

test: .venv/ready
	$(PYTEST) -m "not long"

test-long: .venv/ready
	$(PYTEST) -m long

faults: .venv/ready
	FAULT_KILLS=20 $(BIN)/python -m pytest tests/faults -s

ui: .venv/ready
	$(BIN)/python study/ui.py --record "$$RECORD"

dashboard: .venv/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dashboard]'
	$(BIN)/python study/ui.py --record "$$RECORD" --optuna

notebooks: .venv/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[notebooks]'
	case "$$RECORD" in /*) ;; *) RECORD="$$PWD/$$RECORD" ;; esac; \
	ABLATION_RECORD="$$RECORD" $(BIN)/jupyter lab --ip 127.0.0.1 --notebook-dir analysis $(AS_ROOT)

report: .venv/ready
	$(BIN)/python analysis/report.py --record "$$RECORD"

lint: .venv/ready
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

bench: .venv/ready
	$(BIN)/python -m benchmarks.bench

.venv/ready: pyproject.toml constraints.txt
	"$$PYTHON" -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@
