# Every recipe is one call; CI calls these too.
.DEFAULT_GOAL := help
.PHONY: help init setup demo base up run down env logs shell doctor sbom \
	emr-plan emr-run emr-status emr-logs emr-stop emr-down emr-setup emr-prices emr-up emr-chaos history test test-faults test-lab test-wheel test-releases test-s3-servers test-emr test-jobs test-clients lint bench bench-scale bench-int8 bench-pages bench-lab bench-peers data shards sample pictures lock clean distclean
.PHONY: notebook notebook-html session

PYTHON_VENV := .venv/bin/python
LOCK := .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade
# Of the nodes, whatever machine this is: Python 3.11 on Linux with glibc 2.34, the same set for both processors.
JOB_LOCK := .venv/bin/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--constraint requirements.lock --group job --python-platform
# The lab itself needs Docker and the standard library of any Python from 3.11 on, whose name may not be python3.
LAB = $(or $(PYTHON),$(shell for each in python3 python3.13 python3.12 python3.11; do \
	"$$each" -c 'import tomllib' 2>/dev/null && echo "$$each" && break; done),python3) -m lab
TARGET ?= lab
INPUT ?= data/sample
MODEL ?= lite0
JOB ?=
OUTPUT ?= out/$(TARGET)
RELEASE ?=
EMR_ANY_RELEASE ?=
S3_SERVER ?=
INSTANCE_TYPE ?=
SERVICE ?=
ARGS ?=
# Of emrlab, where ARGS are those of a JOB: FLAGS="--keep --minutes 60".
FLAGS ?=
# Of a run or a session on Amazon EMR, or with TARGET=emr-lab in the EMR lab.
REGION ?= eu-west-3
MAX_USD ?= 5
emr-% history: TARGET = emr
shards: OUTPUT = out/shards
notebook notebook-html: OUTPUT = out/notebook
NOTEBOOK = $(PYTHON_VENV) -m launch notebook --target "$(TARGET)" --input "$(INPUT)" --output "$(OUTPUT)" \
	--model "$(MODEL)" $(OF_SESSION) $(if $(NOTEBOOKS),--notebooks "$(NOTEBOOKS)") $(FLAGS)
EMR = $(PYTHON_VENV) -m launch $@ --target "$(TARGET)" --region "$(REGION)"
OF_BUCKET = $(addprefix --bucket ,$(or $(BUCKET),$(if $(filter emr-lab,$(TARGET)),emrlab)))
OF_CLUSTER = $(addprefix --cluster ,$(CLUSTER))
# A job of one's own with its arguments, or the image pipeline with its flags.
OF_JOB = $(FLAGS) $(if $(JOB),"$(JOB)" -- $(ARGS),--input "$(INPUT)" --output "$(OUTPUT)" --model "$(MODEL)" $(ARGS))
OF_SPEC = $(OF_BUCKET) $(OF_CLUSTER) --max-usd "$(MAX_USD)" $(addprefix --release ,$(RELEASE)) \
	$(addprefix --instance-type ,$(INSTANCE_TYPE)) $(if $(YES),--yes)
OF_RUN = $(OF_SPEC) $(OF_JOB)
OF_SESSION = $(if $(filter emr emr-lab,$(TARGET)),--region "$(REGION)" $(OF_SPEC))

export RELEASE EMR_ANY_RELEASE INSTANCE_TYPE S3_SERVER S3_PORT CONSOLE_PORT MASTER_UI_PORT APP_UI_PORT HISTORY_PORT SESSIONS_PORT CONNECT_PORT

help: ## this help
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

init: setup ## write a small job with its test into a folder: make init FOLDER=my-job
	@$(PYTHON_VENV) -m launch init $(if $(FOLDER),"$(FOLDER)")

setup: ## set up what is missing: Python packages, Java 17, a faster Spark start
	@sh setup.sh

demo: setup ## the whole job on the sample photographs, no Docker; ends with out/demo/report.html
	@$(PYTHON_VENV) -m launch demo

base: ## the base image: pulled, or made here where no registry answers; with this machine's CA certificates
	@sh docker/base

up: ## start the Docker lab, building what is missing: make up [RELEASE=emr-7.14.0] [INSTANCE_TYPE=r5.xlarge] [S3_SERVER=versitygw] [S3_PORT=0]
	@$(LAB) up

run: setup ## a job in the lab: make run [INPUT=…] [OUTPUT=…] [MODEL=…] [ARGS="--components 50"], or your own: make run JOB=job.py [ARGS=…]; TARGET=local without Docker
	@$(PYTHON_VENV) -m launch run --target "$(TARGET)" $(OF_JOB)

notebook: setup ## the pipeline step by step in JupyterLab, the work on the lab's nodes: make notebook [TARGET=local|emr-lab] [INPUT=…] [NOTEBOOKS=folder], or on Amazon's: TARGET=emr BUCKET=… [MAX_USD=5] [YES=1]
	@$(NOTEBOOK) $(ARGS)

notebook-html: setup ## run the notebook from top to bottom and write it as a page: out/notebook/pipeline.html
	@$(NOTEBOOK) --html out/notebook/pipeline.html $(ARGS)

session: setup ## a Spark Connect session for any IDE, until Ctrl-C: make session [TARGET=local|emr-lab] [ARGS="--conf KEY=VALUE"], or TARGET=emr BUCKET=… [CLUSTER=j-…] [MAX_USD=5] [YES=1]
	@$(PYTHON_VENV) -m launch session --target "$(TARGET)" $(OF_SESSION) $(FLAGS) $(ARGS)

down: ## stop the lab; its data stay
	@$(LAB) down

env: ## the AWS_* variables by which any client reaches the lab, with its key: export $$(make -s env)
	@$(LAB) env

logs: ## what the lab's services say: make logs [SERVICE=worker-1]
	@$(LAB) logs $(SERVICE)

shell: ## a shell on the lab's master, or on the EMR lab's primary node
	@$(LAB) shell

doctor: ## what this machine lacks, and the fix
	@$(LAB) doctor

sbom: ## what is in the lab's images, package by package: CycloneDX documents in out/sbom; after make up
	@$(LAB) sbom

clean: ## remove the lab with its data, and the keys where no other lab needs them; say what was removed
	@$(LAB) clean

emr-plan: setup ## what a run on Amazon EMR would ask for, its rights and its cost; calls nothing: make emr-plan BUCKET=… [JOB=…]
	@$(EMR) $(OF_RUN)

emr-setup: setup ## make the AWS account ready: make emr-setup BUCKET=… [REGION=…] [BUDGET_USD=… EMAIL=…] [ARGS=--dry-run]
	@$(EMR) $(OF_BUCKET) $(addprefix --budget-usd ,$(BUDGET_USD)) $(addprefix --email ,$(EMAIL)) $(ARGS)

emr-run: setup ## a job on Amazon EMR: make emr-run BUCKET=… [JOB=…] [REGION=…] [CLUSTER=j-…] [MAX_USD=5] [YES=1] [TARGET=emr-lab]
	@$(EMR) $(OF_RUN)

emr-status: setup ## the clusters that emrlab started, and their steps
	@$(EMR) $(OF_CLUSTER)

emr-logs: setup ## what the last step of a cluster wrote
	@$(EMR) $(OF_CLUSTER)

emr-stop: setup ## cancel the step that runs
	@$(EMR) $(OF_CLUSTER)

emr-down: setup ## end every cluster that emrlab started; ARGS=--account with BUCKET=… removes all that it made
	@$(if $(filter emr-lab,$(TARGET)),$(LAB) down,$(EMR) $(OF_BUCKET) $(if $(YES),--yes) $(ARGS))

history: setup ## Spark's pages of finished runs on EMR, from their event logs: make history BUCKET=… [REGION=…] [TARGET=emr-lab]; Docker
	@$(PYTHON_VENV) -m launch emr-history --target "$(TARGET)" --region "$(REGION)" $(OF_BUCKET)

emr-prices: setup ## ask Amazon's price list anew
	@$(EMR)

emr-up: ## start the EMR lab: YARN, HDFS and an EMR endpoint in Docker; then make emr-run TARGET=emr-lab; [EMR_ANY_RELEASE=1] takes clusters of every release
	@$(LAB) emr-up

emr-chaos: ## take a node of the EMR lab away as Amazon takes back spot machines: make emr-chaos [NODE=core-2] [AFTER_S=60] [ARGS="--notice-s 20"]
	@$(LAB) emr-chaos $(addprefix --node ,$(NODE)) $(addprefix --after-s ,$(AFTER_S)) $(ARGS)

test: setup ## the tests without Docker: unit, S3 and EMR by moto and Stubber; no network beyond the package registries
	@$(PYTHON_VENV) -m pytest tests/unit tests/s3 tests/emr --numprocesses auto --maxprocesses 4 --dist worksteal $(ARGS)

test-faults: setup ## whole runs over an S3 server that fails, their drivers and workers killed at every stage; no Docker, some minutes
	@$(PYTHON_VENV) -m pytest tests/faults $(ARGS)

test-lab: setup ## the tests against a lab of their own: Docker, some minutes
	@$(PYTHON_VENV) -m pytest tests/lab $(ARGS)

test-wheel: setup ## the wheel, installed in an empty folder: the sample and a first job in its lab, tests against it; Docker, some minutes
	@$(PYTHON_VENV) -m pytest tests/installed $(ARGS)

test-releases: setup ## the same results on every other release of releases.toml: Docker, some minutes each
	@$(PYTHON_VENV) -m tests.lab.variants RELEASE

test-s3-servers: setup ## the same results and rights on the other S3 server of docker/s3: Docker, some minutes
	@$(PYTHON_VENV) -m tests.lab.variants S3_SERVER

test-emr: setup ## the tests against an EMR lab of their own: YARN, HDFS, the EMR endpoint
	@$(PYTHON_VENV) -m pytest tests/emr_lab $(ARGS)

test-jobs: setup ## jobs that others wrote, the same output here, in a lab and in an EMR lab: Docker, the registries, half an hour
	@$(PYTHON_VENV) -m pytest tests/jobs $(ARGS)

test-clients: setup ## clients of others (AWS CLI, Airflow, mrjob…) against the endpoint, and an EMR lab of their own; ARGS="-k stand-in" without Docker
	@$(PYTHON_VENV) -m pytest tests/clients $(ARGS)

lint: setup ## ruff and mypy
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy

bench: setup ## speed and memory on this machine, and what a run on EMR will take and cost; writes bench/results.md: [ARGS="2016 20160"]
	@$(PYTHON_VENV) -m bench $(ARGS)

bench-int8: setup ## what int8 costs in accuracy and brings in speed: make bench-int8 [PHOTOS=folder]; writes bench/int8.md
	@$(PYTHON_VENV) -m bench.int8 $(if $(PHOTOS),"$(PHOTOS)")

bench-lab: setup ## the lab beside local Spark on the same cores; the lab must be up; writes bench/lab.md
	@$(PYTHON_VENV) -m bench.lab

bench-peers: setup ## how others do the same job, Ray Data, Daft and the usual notebook, beside ours; writes bench/peers.md: [ARGS="2016 20160"]
	@$(PYTHON_VENV) -m bench.peers $(ARGS)

bench-scale: setup ## a run of a million photographs, and parts of it with far more; writes bench/scale.md: make bench-scale [IMAGES=1000000]
	@$(PYTHON_VENV) -m bench.scale $(IMAGES)

bench-pages: setup ## draw the pages of figures, the picture and README's table anew from bench/*.json; measures nothing
	@$(PYTHON_VENV) -m bench.pages.publish

shards: setup ## tar archives of class folders, that take a thousandth of the requests: make shards INPUT=… OUTPUT=folder|s3://…
	@$(PYTHON_VENV) -m data.shards --input "$(INPUT)" --output "$(OUTPUT)" --target "$(TARGET)" --region "$(REGION)"

data: setup ## photographs to try it on: make data DATASET=fruits360, or https://…, or a zip or tar [DEST=folder|s3://…] [SHA256=…]
	@$(PYTHON_VENV) -m data "$(DATASET)" $(if $(DEST),--dest "$(DEST)") $(addprefix --sha256 ,$(SHA256)) \
		--target "$(TARGET)" --region "$(REGION)"

sample: setup ## draw data/sample anew
	@$(PYTHON_VENV) -m data.draw

pictures: setup ## draw docs/*.svg anew from compose.yaml
	@$(PYTHON_VENV) docs/draw.py

lock: setup ## resolve the locks anew: requirements.lock and job.lock from pyproject.toml, the others from their *.in, the jars' hashes
	@$(LOCK) pyproject.toml --extra images --group test --output-file requirements.lock
	@$(JOB_LOCK) x86_64-manylinux_2_34 --output-file job.lock
	@$(JOB_LOCK) aarch64-manylinux_2_34 | cmp - job.lock
	@$(foreach wanted,$(wildcard docker/*/*.in docker/*/*/*.in bench/*/*.in notebooks/*.in tests/clients/*/*.in),$(LOCK) $(wanted) --output-file $(wanted:.in=.lock) &&) true
	@cd tests/clients/javascript && npm update --package-lock-only --omit-lockfile-registry-resolved --no-audit --no-fund --silent
	@$(PYTHON_VENV) -m launch.jars

distclean: ## remove what was set up and made outside Docker: .venv, .cache, out
	@rm -rf .venv .cache out
