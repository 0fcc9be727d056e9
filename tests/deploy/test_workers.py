"""Flow runs on two machines without a common folder; records in S3 of the faulty AWS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
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
"""The access keys of two machines."""
Start = Callable[..., ProcessKeeper]


@pytest.fixture
def aws() -> Iterator[FaultyAws]:
    with FaultyAws() as aws:
        aws.create_bucket("records")
        aws.add_scripts(JobScript(statuses=("InProgress",)))
        yield aws


def deployed(project: Project, pool: str) -> Deployed:
    """A flow with one job, deployed to a pool."""
    steps = (Step("Train", "Training", arguments=plain(ARGUMENTS["Training"])),)
    (project.folder / "trainer.py").write_text(write(Pipeline(steps=steps, name="trainer"))[0])
    project.deploy("trainer.py", "--work-pool", pool)
    return Deployed(project, "trainer")


@pytest.fixture
def start(server: PrefectServer, aws: FaultyAws, tmp_path: Path) -> Start:
    """Starts a Prefect command as on another machine, with an access key."""

    def start(key: str, *words: str) -> ProcessKeeper:
        folder = tmp_path / key
        folder.mkdir()
        variables = {
            **aws.environment(key),
            "HOME": str(folder),
            "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR": "reschedule",
            "SAGEBRIDGE_BACKEND": "aws",
            "SAGEBRIDGE_HOME": str(folder / "sagebridge"),
            "SAGEBRIDGE_RECORDS": "s3://records/executions",
        }
        return server.add(key, (*PREFECT, *words), variables=variables, folder=folder)

    return start


def test_another_worker_finds_the_job_of_a_lost_worker(
    project: Project, start: Start, aws: FaultyAws
) -> None:
    trainer = deployed(project, "several")
    words = ("worker", "start", "--pool", "several", "--type", "process", "--limit", "1")
    workers = {key: start(key, *words) for key in KEYS}
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


def test_rescheduled_run_finds_its_job(project: Project, start: Start, aws: FaultyAws) -> None:
    """As in a pod that is evicted: SIGTERM, then another pod executes the flow run."""
    trainer = deployed(project, "without-workers")
    run = trainer.started()
    evicted = start(KEYS[0], "flow-run", "execute", run)
    wait_for(lambda: aws.count("DescribeTrainingJob") > 1)
    processes = psutil.Process(evicted.session).children(recursive=True)
    processes[0].terminate()
    wait_for(lambda: trainer.state(run)["type"] == "SCHEDULED")

    aws.add_scripts(JobScript(statuses=("Completed",), running=True))
    start(KEYS[1], "flow-run", "execute", run)
    assert trainer.ended(run)["type"] == "COMPLETED"
    assert len(aws.requests("CreateTrainingJob")) == 1
    assert not aws.requests("StopTrainingJob")
    for process in processes:  # Prefect kills the process of the flow run after 30 seconds
        with suppress(psutil.NoSuchProcess):
            process.kill()


def name_of(run: str) -> str:
    """The id of a flow run's execution, which the names of its jobs contain."""
    return execution_id("prefect", "trainer", run)
