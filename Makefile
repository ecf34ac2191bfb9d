# Everything runs in a virtual environment that the first target makes; only Python and make are needed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
JOBS ?= 2
SEEDS ?= 5
T ?=

# Without a target: what there is.
.DEFAULT_GOAL := help
.PHONY: docs pages reference demo test lint format numerics verdicts exact composed branches uses causes flips mutants bench faults soak fuzz mistakes readme clean help

help:
	@echo "make demo      set up and check the shipped specs"
	@echo "make test      set up and run all tests (T=words selects)"
	@echo "make lint      ruff, mypy strict, import-linter"
	@echo "make numerics  rates of the finite differences over 76 functions"
	@echo "make verdicts  verdicts on right and wrong gradients, beside tf.test.compute_gradient"
	@echo "make exact     what exact arithmetic decides over all collections, and contradictions"
	@echo "make composed  verdicts on ops put together at random"
	@echo "make branches  gradients that are wrong on one side of a hidden condition, and right twins"
	@echo "make uses      ops by every way in which TensorFlow uses a gradient"
	@echo "make causes    causes that are named for a wrong rule inside an op put together at random"
	@echo "make flips     verdicts that change with the seed (SEEDS=5)"
	@echo "make mutants   small mistakes in the judges of gradients that the unit tests notice"
	@echo "make bench     times against the peers, each a ratio with its bound"
	@echo "make faults    every fault of users' code, machine and specs, for real"
	@echo "make soak      five hundred cases in one run: memory and open files of the parent"
	@echo "make fuzz      random specs (10^5), .npy files and caches (10^4) and ops (500) through reader and checker"
	@echo "make mistakes  write the table of classic mistakes into specs/README.md"
	@echo "make readme    draw the README's picture"
	@echo "make format    let ruff format the code"
	@echo "make docs      build the documentation into docs/site"
	@echo "make reference write the pages that are made from the code"
	@echo "make pages     run the commands of all pages and write what they print"

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,lint]'
	$(BIN)/python -m compileall -q gradcheck
	@touch $@

demo: $(VENV)/.ready
	$(BIN)/gradcheck run specs/ -j $(JOBS)

test: $(VENV)/.ready
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadscope $(if $(T),-k '$(T)')

lint: $(VENV)/.ready
	$(BIN)/ruff check gradcheck tests specs
	$(BIN)/ruff format --check gradcheck tests specs
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.ready
	$(BIN)/ruff format gradcheck tests specs
	$(BIN)/ruff check --fix gradcheck tests specs

numerics: $(VENV)/.ready
	$(BIN)/python -m tests.rates.numerics

verdicts: $(VENV)/.ready
	$(BIN)/python -m tests.rates.verdicts -j $(JOBS)

exact: $(VENV)/.ready
	$(BIN)/python -m tests.rates.exact -j $(JOBS)

composed: $(VENV)/.ready
	$(BIN)/python -m tests.rates.composed -j $(JOBS)

branches: $(VENV)/.ready
	$(BIN)/python -m tests.rates.branches -j $(JOBS)

uses: $(VENV)/.ready
	$(BIN)/python -m tests.rates.uses -j $(JOBS)

causes: $(VENV)/.ready
	$(BIN)/python -m tests.rates.causes -j $(JOBS)

flips: $(VENV)/.ready
	$(BIN)/python -m tests.rates.flips -j $(JOBS) --seeds $(SEEDS)

mutants: $(VENV)/.ready
	$(BIN)/python -m tests.mutants -j $(JOBS)

bench: $(VENV)/.ready
	$(BIN)/python -m tests.benchmarks.bench --json bench.json

faults: $(VENV)/.ready
	$(BIN)/python -m tests.faults.matrix

soak: $(VENV)/.ready
	$(BIN)/python -m tests.faults.soak

fuzz: $(VENV)/.ready
	FUZZ_SPECS=100000 FUZZ_FILES=10000 FUZZ_CASES=63 $(BIN)/python -m pytest -q tests/fuzz

mistakes: $(VENV)/.ready
	$(BIN)/python -m tests.mistakes

readme: $(VENV)/.ready
	$(BIN)/python -m tests.picture

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache

$(VENV)/.docs: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	@touch $@

docs: $(VENV)/.docs
	$(BIN)/mkdocs build --quiet --strict --config-file docs/mkdocs.yml

reference: $(VENV)/.ready
	$(BIN)/python -m tests.reference

pages: $(VENV)/.ready
	$(BIN)/python -m tests.pages --write
