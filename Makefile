# `make demo` and `make test` need git, make and python3 >= 3.11. They install only into .venvs/.

PYTHON ?= python3
BOOTSTRAP = $(PYTHON) tools/bootstrap.py
AIRFLOW = .venvs/airflow/bin
# `make demo ENGINE=prefect` runs the demo on Prefect.
ENGINE ?= airflow
DEMO = .venvs/$(ENGINE)/bin
RUN ?=
# Longest first: `make test` runs two at a time, since tests spend much of their time waiting.
TESTS = test-airflow-slow test-prefect test-airflow test-prefect-3.7 test-airflow-3.1 \
    test-airflow-3.0 test-airflow-2.11 test-airflow-3.4 test-sagemaker test-sagemaker-3

# Without bytecode, each process of an engine compiles all modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test $(TESTS) test-airflow-2.11-scheduler test-airflow-3.0-scheduler check news bench screenshots requirements clean airflow

demo:
	@$(BOOTSTRAP) $(ENGINE)
	$(DEMO)/python pipelines/abalone/sample_data.py .sagebridge/sample
	$(DEMO)/sagebridge run pipelines/abalone/definition.json --name AbalonePipeline \
	    --on $(ENGINE) --backend local \
	    --upload pipelines/abalone/preprocessing.py=s3://sagebridge-abalone/code/preprocessing.py \
	    --upload pipelines/abalone/evaluation.py=s3://sagebridge-abalone/code/evaluation.py \
	    --upload .sagebridge/sample=s3://sagebridge-abalone/data $(RUN)

test:
	@echo "testing nine environments, two at a time; each prints its results when it ends"
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target --keep-going $(TESTS)

test-airflow:
	@$(BOOTSTRAP) airflow
	$(AIRFLOW)/pytest -m "not slow"

# Some of these tests compare Airflow with Prefect, and some compile pipelines with the SDK.
test-airflow-slow:
	@$(BOOTSTRAP) airflow prefect sagemaker sagemaker-3
	$(AIRFLOW)/pytest -m slow

test-airflow-3.1:
	@$(BOOTSTRAP) airflow-3.1
	.venvs/airflow-3.1/bin/pytest -m airflow31

# Other test modules import what these versions lack.
test-airflow-2.11 test-airflow-3.0: test-%:
	@$(BOOTSTRAP) $*
	.venvs/$*/bin/pytest -m managed tests/managed tests/airflow/test_missed_slots.py \
	    tests/airflow/test_retries.py tests/airflow/test_start_operator.py

# Runs the processes of an old Airflow, such as its scheduler, for minutes. Not in CI.
test-airflow-2.11-scheduler test-airflow-3.0-scheduler: test-%-scheduler:
	@$(BOOTSTRAP) $*
	.venvs/$*/bin/pytest tests/managed/scheduler.py

test-airflow-3.4:
	@$(BOOTSTRAP) airflow-3.4
	.venvs/airflow-3.4/bin/pytest tests/importer

# These suites have their own processes: Prefect sends all events of one to its first server.
test-prefect:
	@$(BOOTSTRAP) prefect
	.venvs/prefect/bin/pytest tests/prefect tests/deploy \
	    tests/formats/prefect/test_tracer.py tests/formats/prefect/test_traced_statements.py \
	    tests/formats/prefect/test_constructs.py \
	    tests/formats/prefect/test_import_inputs.py \
	    tests/formats/prefect/test_pipeline_flow.py \
	    tests/formats/prefect/test_printed_output.py \
	    tests/formats/prefect/test_run_time_values.py \
	    tests/commands tests/launch tests/e2e
	.venvs/prefect/bin/pytest tests/standard/test_prefect.py
	.venvs/prefect/bin/pytest tests/whole_pipelines/test_prefect.py

test-prefect-3.7:
	@$(BOOTSTRAP) prefect-3.7
	.venvs/prefect-3.7/bin/pytest tests/prefect \
	    tests/deploy/test_runs.py tests/deploy/test_server_access.py \
	    tests/e2e/test_mishaps.py tests/e2e/test_prefect.py
	.venvs/prefect-3.7/bin/pytest tests/standard/test_prefect.py

test-sagemaker test-sagemaker-3: test-%:
	@$(BOOTSTRAP) $*
	.venvs/$*/bin/pytest tests/sagemaker

check: airflow
	$(AIRFLOW)/ruff check
	$(AIRFLOW)/ruff format --check
	$(AIRFLOW)/mypy
	$(AIRFLOW)/lint-imports --no-logo layers.toml
	$(AIRFLOW)/python tools/check_wording.py
	$(AIRFLOW)/python tools/request_shapes.py --check

# Installs the newest releases into a temporary folder; needs a package index.
news: airflow
	$(AIRFLOW)/python -m tools.news

bench:
	$(BOOTSTRAP) airflow prefect
	$(AIRFLOW)/python benchmarks/write_page.py

# Needs the Debian package chromium.
screenshots:
	@$(BOOTSTRAP) airflow prefect
	.venvs/prefect/bin/python tools/screenshots.py prefect
	$(AIRFLOW)/python tools/screenshots.py airflow

airflow:
	@$(BOOTSTRAP) airflow

# Keeps pins that still satisfy pyproject.toml. `make requirements UPGRADE=--upgrade` upgrades all.
# The older versions of Airflow are resolved as of their release (--exclude-newer). That gives the
# versions of Airflow's own constraint files (constraints-3.1.8 on GitHub), which are not used, since
# they are not on the package index.
UPGRADE ?=
UV = $(or $(shell command -v uv),.venvs/uv/bin/uv)
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --custom-compile-command 'make requirements' $(UPGRADE)
TOOLS = --group build --group test

requirements:
	@$(BOOTSTRAP) uv
	$(COMPILE) --group bootstrap --output-file requirements/uv.txt
	$(COMPILE) pyproject.toml --extra airflow --extra local --extra tuning $(TOOLS) --group cloud \
	    --group check --group postgres --group workers \
	    --output-file requirements/airflow.txt
	$(COMPILE) pyproject.toml --extra airflow --extra local $(TOOLS) --group cloud \
	    --group airflow211 --exclude-newer 2025-06-03 --output-file requirements/airflow-2.11.txt
	$(COMPILE) pyproject.toml --extra airflow --extra local $(TOOLS) --group cloud \
	    --group airflow30 --exclude-newer 2025-09-05 --output-file requirements/airflow-3.0.txt
	$(COMPILE) pyproject.toml --extra airflow --extra local $(TOOLS) --group cloud --group airflow31 \
	    --exclude-newer 2026-03-20 --output-file requirements/airflow-3.1.txt
	$(COMPILE) pyproject.toml --extra airflow --extra local $(TOOLS) --group airflow34 \
	    --output-file requirements/airflow-3.4.txt
	$(COMPILE) pyproject.toml --extra prefect --extra local --extra tuning $(TOOLS) \
	    --output-file requirements/prefect.txt
	$(COMPILE) pyproject.toml --extra prefect --extra local $(TOOLS) --group prefect37 \
	    --output-file requirements/prefect-3.7.txt
	$(COMPILE) pyproject.toml --extra sagemaker $(TOOLS) --group sagemaker2 \
	    --output-file requirements/sagemaker.txt
	$(COMPILE) pyproject.toml --extra sagemaker $(TOOLS) --group sagemaker3 \
	    --output-file requirements/sagemaker-3.txt

clean:
	rm -rf .airflow .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .sagebridge .venvs build dist
