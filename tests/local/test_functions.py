"""@step functions and notebook jobs, from what the SDK uploads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

import sagebridge
from sagebridge.model.local_differences import refusals
from sagebridge_operators.backends.local import notebook_runner, remote_function
from tests.local.conftest import Bench
from tests.local.test_requirements import engine_files, wheel

ROOT = Path(__file__).parents[2]
COMPILE = ROOT / "tests" / "local" / "functions" / "compile.py"
BOOTSTRAP = "/opt/ml/input/data/sagemaker_remote_function_bootstrap/job_driver.sh"
RESULTS = "s3://bucket/root/execution/Add/results"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def function(bench: Bench, driver: str, *arguments: str, requirements: str) -> dict[str, Any]:
    """A CreateTrainingJob request for a function, with a driver instead of the SDK's."""
    bench.store.write("s3://bucket/bootstrap/job_driver.sh", driver.encode())
    bench.store.write("s3://bucket/needs/requirements.txt", requirements.encode())
    channels = {
        "sagemaker_remote_function_bootstrap": "s3://bucket/bootstrap",
        "pre_exec_script_and_dependencies": "s3://bucket/needs",
    }
    specification = {
        "ContainerEntrypoint": ["/bin/bash", BOOTSTRAP],
        "ContainerArguments": [
            *("--client_python_version", PYTHON, "--pipeline_step_name", "Add"),
            *("--dependency_settings", json.dumps({"dependency_file": "requirements.txt"})),
            *arguments,
        ],
    }
    request = bench.training({}, channels, specification=specification)
    return {**request, "OutputDataConfig": {"S3OutputPath": RESULTS}}


def test_function_without_results_fails_with_the_error_of_the_sdk(bench: Bench) -> None:
    """The SDK exits with 0 if it can neither read the function nor write its error to S3."""
    bench.store.write(f"{RESULTS}/payload.pkl", b"of an earlier attempt")
    os.utime(bench.store.path_of(f"{RESULTS}/payload.pkl"), (0, 0))
    driver = "mkdir -p /opt/ml/output; echo 'ServiceError(no S3)' > /opt/ml/output/failure"

    body = bench.run("Training", "job", function(bench, driver, requirements="sagemaker>=2,<3"))

    assert body["TrainingJobStatus"] == "Failed"
    expected = f"AlgorithmError: the function has no results in {RESULTS}: ServiceError(no S3)"
    assert body["FailureReason"].startswith(expected)


def test_function_with_results_completes(bench: Bench) -> None:
    results = bench.store.path_of(f"{RESULTS}/payload.pkl")
    driver = f"mkdir -p {results.parent}; echo 1 > {results}; whoami; echo user $LOGNAME"

    body = bench.run("Training", "job", function(bench, driver, requirements="sagemaker\n"))

    assert body["TrainingJobStatus"] == "Completed"
    log = bench.log("Training", "job")
    assert "user root" in log  # otherwise the SDK changes the permissions of /tmp
    assert "version that compiled the pipeline is installed" in log


def test_missing_index_is_the_reason_if_the_sdk_cannot_be_installed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    version = ("--client_sagemaker_pysdk_version", "2.199.0")

    body = bench.run("Training", "job", function(bench, "exit 0", *version, requirements="numpy"))

    assert "cannot install the package sagemaker==2.199.0" in body["FailureReason"]


@pytest.mark.parametrize(
    ("version", "requirement"),
    [
        ("2.257.0", "sagemaker==2.257.0"),
        ("3.27.0", "sagemaker-core>=2.27,<3"),
        ("3.0.0.dev0", "sagemaker-core>=2.0,<3"),
        ("2.9\n-r /etc/passwd", "sagemaker<3"),
        ("", "sagemaker<3"),
    ],
)
def test_sdk_is_installed_in_the_version_of_the_payload(version: str, requirement: str) -> None:
    assert remote_function._sdk(version) == requirement


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--client_python_version", "3.7"), f"(compiled with Python 3.7, here {PYTHON})"),
        (("--job_conda_env", "env"), "there is no conda"),
        (("--dependency_settings", '{"dependency_file": "env.yml"}'), "there is no conda"),
        (("--client_python_version", PYTHON, "--dependency_settings", "{}"), ""),
    ],
)
def test_function_that_cannot_run_here_is_refused(arguments: tuple[str, ...], reason: str) -> None:
    specification = {
        "TrainingImage": "image",
        "ContainerEntrypoint": ["/bin/bash", BOOTSTRAP],
        "ContainerArguments": ["--s3_base_uri", {"Get": "Parameters.Base"}, *arguments],
    }
    found = list(refusals("Training", {"AlgorithmSpecification": specification}))
    assert [reason in one for one in found] == ([True] if reason else [])


def test_notebook_job_is_not_refused() -> None:
    """Its entrypoint is a program of the image that this machine does not have, but replaces."""
    specification = {
        "TrainingImage": "image",
        "ContainerEntrypoint": ["amazon_sagemaker_scheduler"],
    }
    assert list(refusals("Training", {"AlgorithmSpecification": specification})) == []


def test_executed_notebook_has_one_dot_in_its_name() -> None:
    assert notebook_runner.output_name("a.b-2026:01.ipynb") == "a-b-2026-01.ipynb"


def compiled(sdk: str, folder: Path) -> Path:
    """The definition of the pipeline on a version of the SDK, and its uploads in ``s3/``."""
    python = ROOT / ".venvs" / sdk / "bin" / "python"
    if not python.exists():
        pytest.skip(f"there is no environment of the SDK: python3 tools/bootstrap.py {sdk}")
    subprocess.run([python, COMPILE, folder], check=True, capture_output=True)
    return folder / "definition.json"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A working folder for all runs, so that packages are installed once."""
    bench = Bench(tmp_path_factory.mktemp("functions"))
    wheel(bench.base / "wheels", "tinylib", "1.0")
    return bench


def notebook(bench: Bench, name: str, language: str, *cells: str) -> dict[str, Any]:
    """Run a notebook job with the parameter ``size`` and an init script."""
    code: dict[str, Any] = {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
    }
    content = {
        "cells": [
            {**code, "id": f"cell-{number}", "source": [cell]} for number, cell in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"language": language, "name": "any", "display_name": "any"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    bench.store.write(f"s3://bucket/{name}/in.ipynb", json.dumps(content).encode())
    bench.store.write(f"s3://bucket/{name}/init.sh", b"export SECOND=2\n")
    specification = {"ContainerEntrypoint": ["amazon_sagemaker_scheduler"]}
    channels = {"sagemaker_headless_execution": f"s3://bucket/{name}/"}
    variables = {
        "SM_INPUT_NOTEBOOK_NAME": "in.ipynb",
        "SM_OUTPUT_NOTEBOOK_NAME": "out.ipynb",
        "SM_KERNEL_NAME": "any",
        "SM_INIT_SCRIPT": "init.sh",
    }
    request = bench.training({"size": "7"}, channels, specification=specification)
    return bench.run("Training", name, {**request, "Environment": variables})


def outputs(bench: Bench, folder: str) -> dict[str, str]:
    """The files of the output of the only job below a folder."""
    (archive,) = bench.store.path_of(folder).rglob("output.tar.gz")
    with tarfile.open(archive) as tar:
        files = {member.name: tar.extractfile(member) for member in tar.getmembers()}
        return {name: file.read().decode() for name, file in files.items() if file is not None}


@pytest.mark.slow
@pytest.mark.parametrize("sdk", ["sagemaker", "sagemaker-3"])
def test_pipeline_of_functions_and_a_notebook_runs(
    sdk: str, shared: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sagebridge_operators.airflow import build
    from tests.dagtest import new_id, play

    monkeypatch.setenv("SAGEBRIDGE_BACKEND", "local")
    monkeypatch.setenv("SAGEBRIDGE_HOME", str(shared.home))
    monkeypatch.setenv("SAGEBRIDGE_RECORDS", str(shared.home / "executions"))
    monkeypatch.setenv("PIP_FIND_LINKS", str(shared.base / "wheels"))
    pipeline = sagebridge.read(compiled(sdk, tmp_path), name="functions").pipeline
    uploads = tmp_path / "s3"
    for file in filter(Path.is_file, uploads.rglob("*")):
        shared.store.write(f"s3://{file.relative_to(uploads)}", file.read_bytes())
    before = engine_files()

    run = play(build(pipeline, dag_id=new_id()), {"Start": 2})

    assert run.states == dict.fromkeys(("Count", "Add", "Check", "Show"), "success") | {
        "Small": "skipped"
    }
    assert engine_files() == before
    found = outputs(shared, f"s3://example/notebooks/functions/{run.execution}")
    (executed,) = (name for name in found if name.startswith("show-"))
    assert "the total is 5" in found[executed]


@pytest.mark.slow
def test_notebook_has_its_parameters_and_its_init_script(shared: Bench) -> None:
    body = notebook(shared, "good", "python", "import os; print(size, os.environ['SECOND'])")

    assert body["TrainingJobStatus"] == "Completed", shared.log("Training", "good")
    found = outputs(shared, "s3://bucket/models/good")
    assert sorted(found) == ["in.ipynb", "out.ipynb", "sagemaker_job_execution.log"]
    assert "7 2" in found["out.ipynb"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("language", "reason"),
    [
        ("python", "In [3]: ZeroDivisionError: division by zero"),
        ("R", "it is written in r; jobs on this machine have only Python"),
    ],
)
def test_notebook_that_fails(language: str, reason: str, shared: Bench) -> None:
    body = notebook(shared, f"bad-{language}", language, "1", "1 / 0", "print('after')")

    assert body["TrainingJobStatus"] == "Failed"
    # In [1] sets the parameters.
    assert f"AlgorithmError: Error with executing notebook: {reason}" in body["FailureReason"]
