"""Two process workers without a common working folder; records in S3 of the faulty AWS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sagebridge.formats.prefect.writer import write
from sagebridge.model.expressions import plain
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge_operators.launch.prefect_engine import PREFECT, PrefectServer
from sagebridge_operators.launch.process_keeper import ProcessKeeper
from sagebridge_operators.lifecycle.execution import execution_id
from tests.deploy.conftest import Project
from tests.deploy.test_runs import Deployed, flow_process, wait_for
from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.server import FaultyAws
from tests.lifecycle.conftest import ARGUMENTS

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

KEYS = ("AKIAONE", "AKIATWO")
"""The workers, by the access key of their requests."""
WORKER = (*PREFECT, "worker", "start", "--pool", "several", "--type", "process", "--limit", "1")


@pytest.fixture
def aws() -> Iterator[FaultyAws]:
    with FaultyAws() as aws:
        aws.create_bucket("records")
        aws.add_scripts(JobScript(statuses=("InProgress",)))
        yield aws


@pytest.fixture
def trainer(tmp_path: Path, server: PrefectServer, api: httpx.Client) -> Deployed:
    """A flow with one job, deployed to the pool of both workers."""
    project = Project(tmp_path, server, api)
    steps = (Step("Train", "Training", arguments=plain(ARGUMENTS["Training"])),)
    (tmp_path / "trainer.py").write_text(write(Pipeline(steps=steps, name="trainer"))[0])
    project.deploy("trainer.py", "--work-pool", "several")
    return Deployed(project, "trainer")


@pytest.fixture
def workers(
    tmp_path: Path, server: PrefectServer, aws: FaultyAws, trainer: Deployed
) -> dict[str, ProcessKeeper]:
    del trainer
    started = {}
    for key in KEYS:
        folder = tmp_path / key
        folder.mkdir()
        variables = {
            **aws.environment(key),
            "HOME": str(folder),
            "SAGEBRIDGE_BACKEND": "aws",
            "SAGEBRIDGE_HOME": str(folder / "sagebridge"),
            "SAGEBRIDGE_RECORDS": "s3://records/executions",
        }
        started[key] = server.add(key, WORKER, variables=variables, folder=folder)
    return started


def test_another_worker_finds_the_job_of_a_lost_worker(
    trainer: Deployed, workers: dict[str, ProcessKeeper], aws: FaultyAws
) -> None:
    runs = [trainer.started() for _ in KEYS]
    wait_for(lambda: len({one.name for one in aws.requests("DescribeTrainingJob")}) > 1)
    created = aws.requests("CreateTrainingJob")
    assert {one.access_key for one in created} == set(KEYS), "each worker runs one flow run"

    lost, kept = runs
    (job,) = (one for one in created if name_of(lost) in one.name)
    process = flow_process(lost)
    workers[job.access_key].kill()
    process.kill()
    aws.add_scripts(JobScript(statuses=("Completed",), running=True))
    assert trainer.ended(kept)["type"] == "COMPLETED"
    assert trainer.state(lost)["type"] == "RUNNING", "no process is left to report the crash"

    crashed = {"state": {"type": "CRASHED"}, "force": True}
    trainer.api.post(f"flow_runs/{lost}/set_state", json=crashed).raise_for_status()
    trainer.project.run("-m", "prefect", "flow-run", "retry", lost)
    wait_for(lambda: trainer.state(lost)["type"] == "COMPLETED")

    assert len(aws.requests("CreateTrainingJob")) == len(runs)
    looks = aws.requests("DescribeTrainingJob", job.name)
    assert {one.access_key for one in looks} == set(KEYS)


def name_of(run: str) -> str:
    """The id of a flow run's execution, which the names of its jobs contain."""
    return execution_id("prefect", "trainer", run)
