"""Notebook jobs: the notebook runs with papermill, as in SageMaker's images.

The program of these images, sagemaker-headless-execution-driver 0.0.13, is not used: it changes
/home and the permissions of /tmp.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sagebridge.model.function_arguments import NOTEBOOK
from sagebridge_operators.backends.local import script_mode
from sagebridge_operators.backends.local.supervised_job import Job
from sagebridge_operators.backends.local.training_program import Program

REQUIREMENTS = ("papermill==2.7.0", "nbclient==0.11.0", "ipykernel==7.4.0")
RUNNER = Path(__file__).with_name("notebook_runner.py")
# The init script is sourced, so that the notebook has its variables.
SCRIPT = """\
set -eo pipefail
mkdir -p "$1/output/data"
{
    cd "$SM_EXECUTION_INPUT_PATH"
    if [ -n "${SM_LCC_INIT_SCRIPT:-}" ]; then sh "./$SM_LCC_INIT_SCRIPT"; fi
    if [ -n "${SM_INIT_SCRIPT:-}" ]; then . "./$SM_INIT_SCRIPT"; fi
    exec python "$0" "$1"
} 2>&1 | tee "$1/output/data/sagemaker_job_execution.log"
"""


def is_notebook(request: Mapping[str, Any]) -> bool:
    """Whether a CreateTrainingJob request runs a notebook."""
    entrypoint: list[str] = request["AlgorithmSpecification"].get("ContainerEntrypoint", [])
    return entrypoint == [NOTEBOOK]


def program(job: Job) -> Program:
    """The program of a notebook job."""
    command = ["/bin/bash", "-c", SCRIPT, str(RUNNER), "/opt/ml"]
    # Jobs that are not steps have no such variable.
    folder = "/opt/ml/input/data/sagemaker_headless_execution"
    environment = {"SM_EXECUTION_INPUT_PATH": folder}
    return Program(script_mode.installing(job, REQUIREMENTS, command), environment)
