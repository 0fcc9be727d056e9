"""What the processes of Airflow that fork tasks have loaded before they fork."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.airflow, pytest.mark.airflow31]
FORKED = """
import os, sys
sys.argv = ["airflow", *sys.argv[1:]]
import airflow
before = "sagebridge_operators.airflow.task_runtime" in sys.modules
child = os.fork()
if not child:
    there = {"boto3", "sagebridge_operators.airflow.task_runtime"} <= sys.modules.keys()
    print(before, there, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.mark.parametrize(
    ("command", "loaded"),
    [
        (("scheduler",), True),
        (("celery", "worker", "--queues", "default"), True),
        (("dag-processor",), True),
        (("api-server",), False),
        (("dags", "list"), False),
    ],
)
def test_tasks_find_their_modules_loaded(
    command: tuple[str, ...], loaded: bool, tmp_path: Path
) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FORKED, *command],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert ran.stdout.splitlines()[-1] == f"False {loaded}"
    assert "could not load" not in ran.stderr


def test_sessions_share_service_models() -> None:
    import boto3

    from sagebridge_operators.backends.aws import session_clients

    given: dict[str, Any] = {
        "region_name": "eu-west-1",
        "aws_access_key_id": "x",
        "aws_secret_access_key": "y",
    }
    one, two = (session_clients(given)("sagemaker") for _ in range(2))
    other = boto3.Session(**given).client("sagemaker")

    def shapes(client: object) -> object:
        return client.meta.service_model._service_description["shapes"]  # type: ignore[attr-defined]

    assert shapes(one) is shapes(two)
    assert shapes(one) is not shapes(other)
