# Every recipe is one call; CI calls these too.
.DEFAULT_GOAL := help
.PHONY: help setup demo run test lint bench sample lock clean

PYTHON_VENV := .venv/bin/python
TARGET ?= local
INPUT ?= data/sample
OUTPUT ?= out/run
MODEL ?= lite0
ARGS ?=

help: ## this help
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## set up what is missing: Python packages, Java 17, a faster Spark start
	@sh setup.sh

demo: setup ## the whole job on the sample photographs, no Docker; ends with out/demo/report.html
	@$(PYTHON_VENV) -m launch run --input data/sample --output out/demo --image-size 100

run: setup ## your own photographs: make run INPUT=… OUTPUT=… [MODEL=…] [TARGET=local] [ARGS="--components 50"]
	@$(PYTHON_VENV) -m launch run --target "$(TARGET)" --input "$(INPUT)" --output "$(OUTPUT)" --model "$(MODEL)" $(ARGS)

test: setup ## the unit and S3 tests: no Docker, no network beyond the package registries
	@$(PYTHON_VENV) -m pytest tests/unit tests/s3 $(ARGS)

lint: setup ## ruff and mypy
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy

bench: setup ## speed and memory beside peers on this machine; writes bench/results.md
	@$(PYTHON_VENV) -m bench

sample: setup ## draw data/sample anew
	@$(PYTHON_VENV) -m data.draw

lock: setup ## resolve requirements.lock anew from pyproject.toml
	@.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade pyproject.toml --group laptop --group test --output-file requirements.lock

clean: ## remove what was set up and what was made: .venv, .cache, out
	@rm -rf .venv .cache out
