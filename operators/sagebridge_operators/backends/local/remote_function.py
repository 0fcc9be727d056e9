"""Jobs of @step and @remote functions, run from what the SageMaker SDK has uploaded.

The ``job_driver.sh`` of the SDK runs unchanged. It installs the requirements of the function, reads
the function and its arguments from S3 and writes the results there.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from sagebridge.model.function_arguments import DRIVER, dependency_file, function_options
from sagebridge_operators.backends.local import script_mode
from sagebridge_operators.backends.local.supervised_job import Job
from sagebridge_operators.backends.local.training_program import Program

DEPENDENCIES = "/opt/ml/input/data/pre_exec_script_and_dependencies"


def is_function(request: Mapping[str, Any]) -> bool:
    """Whether a CreateTrainingJob request runs a function."""
    return any(word.endswith(DRIVER) for word in _command(request))


def program(job: Job) -> Program:
    """The program of a function; its channels have been copied."""
    command = _command(job.request)
    options = function_options(command)
    file = job.host_path(f"{DEPENDENCIES}/{dependency_file(options) or 'none'}")
    if not (file.is_file() and _requires_sdk(file.read_text(encoding="utf-8", errors="replace"))):
        sdk = _sdk(options.get("--client_sagemaker_pysdk_version", ""))
        command = script_mode.installing(job, [sdk], command)
    environment = {
        # For other users, the SDK runs `sudo chmod -R 777 /tmp` (bootstrap_runtime_environment.py).
        "LOGNAME": "root",
        # job_driver.sh puts its pip cache there.
        "SAGEMAKER_MANAGED_WARMPOOL_CACHE_DIRECTORY": str(job.home / "environments/cache"),
    }
    started = time.time()
    return Program(command, environment, missing=lambda: _missing_results(job, options, started))


def _command(request: Mapping[str, Any]) -> list[str]:
    specification = request["AlgorithmSpecification"]
    entrypoint = specification.get("ContainerEntrypoint", [])
    return [*entrypoint, *specification.get("ContainerArguments", [])]


def _requires_sdk(requirements: str) -> bool:
    """Whether a requirements.txt installs the SDK. SDK 2.257 itself adds this line."""
    return bool(re.search(r"(?m)^\s*sagemaker([-_]core)?\s*([\[<>=!~;#]|$)", requirements))


def _sdk(version: str) -> str:
    """The requirement for the SDK's version of a payload, such as ``2.257.0``.

    The full version 3 is not installed: pip does not find versions of its dependencies that fit
    those of Airflow. Functions need only sagemaker-core: 2.27 belongs to 3.27.
    """
    if not re.fullmatch(r"\d+(\.\w+)+", version):
        return "sagemaker<3"
    major, minor, *_ = version.split(".")
    return f"sagemaker-core>=2.{minor},<3" if major == "3" else f"sagemaker=={version}"


def _missing_results(job: Job, options: Mapping[str, str], started: float) -> str:
    """The reason if the function has no results. The SDK exits with 0 if it cannot reach S3."""
    output = str(job.request["OutputDataConfig"]["S3OutputPath"]).rstrip("/")
    parts = ("--s3_base_uri", "--pipeline_execution_id", "--pipeline_step_name")
    old = "/".join(options.get(part, "").rstrip("/") for part in parts)
    for folder in (output, f"{output}/results", f"{old}/results"):
        for stored in job.store.list(f"{folder}/payload.pkl"):
            if stored.modified >= started - 1:
                return ""
    text = job.message("failure") or job.tail() or "no output"
    return f"AlgorithmError: the function has no results in {output}: {text}. Log: {job.log}"
