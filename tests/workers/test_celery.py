"""Airflow on two Celery workers without a common folder; records in S3."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.database import postgres, postgres_programs, redis
from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.server import FaultyAws
from tests.workers.celery_airflow import DAG, CeleryAirflow

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(600)]

KEYS = {"AKIAONE": "one", "AKIATWO": "two"}
"""The workers by the access key of their requests."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the user of PostgreSQL can enter, unlike ``tmp_path``."""
    folder = Path(tempfile.mkdtemp(prefix="sagebridge-celery-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def aws() -> Iterator[FaultyAws]:
    with FaultyAws() as aws:
        aws.create_bucket("records")
        aws.create_bucket("sagebridge-abalone")
        yield aws


@pytest.fixture
def airflow(folder: Path, aws: FaultyAws) -> Iterator[CeleryAirflow]:
    if not find_spec("celery"):
        pytest.skip("needs apache-airflow-providers-celery")
    if postgres_programs() is None or shutil.which("redis-server") is None:
        pytest.skip("needs PostgreSQL and Redis: run apt install postgresql redis-server")
    with (
        postgres(folder) as database,
        redis() as broker,
        CeleryAirflow(folder, database, broker, aws) as airflow,
    ):
        for key, name in KEYS.items():
            airflow.add_worker(name, key)
        yield airflow


def wait_for(condition: Callable[[], object], seconds: float, airflow: CeleryAirflow) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            logs = airflow.log_tails("scheduler", "process_keeper", *KEYS.values())
            pytest.fail(f"waited too long\n{logs}\n{airflow.task_logs()}")
        time.sleep(0.2)


def put_evaluation(aws: FaultyAws) -> None:
    """Put the result of the AbaloneEval step where its job would put it."""
    (prepare,) = aws.requests("CreateProcessingJob", "*AbaloneProcess*")
    uri = prepare.members["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    body = json.dumps({"regression_metrics": {"mse": {"value": 4.5}}})
    folder = key.rpartition("/")[0]
    aws.client("s3").put_object(
        Bucket=bucket, Key=f"{folder}/evaluation/evaluation.json", Body=body
    )


def test_another_worker_finds_the_job_of_a_lost_worker(
    airflow: CeleryAirflow, aws: FaultyAws
) -> None:
    aws.add_scripts(
        JobScript(statuses=("Completed",)),
        JobScript(name="*AbaloneTrain*", statuses=("InProgress",)),
    )
    airflow.trigger({})
    wait_for(lambda: aws.count("DescribeTrainingJob") > 1, 120, airflow)
    put_evaluation(aws)
    (made,) = aws.requests("CreateTrainingJob")
    lost = made.access_key
    airflow.kill_worker(KEYS[lost])
    looks = len(aws.requests("DescribeTrainingJob"))
    aws.add_scripts(JobScript(name="*AbaloneTrain*", statuses=("Completed",), running=True))

    def ended() -> bool:
        return airflow.api.run_state(DAG, airflow.run_id) in ("success", "failed")

    wait_for(ended, 180, airflow)

    assert airflow.api.run_state(DAG, airflow.run_id) == "success", airflow.task_logs()
    created = aws.requests("Create*", service="sagemaker")
    jobs = sorted(one.name for one in created if one.name.startswith("pipelines-"))
    assert len(jobs) == len(set(jobs)) == 5, "no job is created twice"
    assert len(aws.requests("CreateModelPackage")) == 1
    assert {one.access_key for one in created} == set(KEYS), "both workers created jobs"
    later = {one.access_key for one in aws.requests("DescribeTrainingJob")[looks:]}
    assert later == set(KEYS) - {lost}
    assert "found Training" in airflow.task_logs()
