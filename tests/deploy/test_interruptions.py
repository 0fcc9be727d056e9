"""Suspended runs, and runs with killed processes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import httpx
import pytest

from sagebridge.formats.prefect.writer import write
from sagebridge.model.expressions import parameter, plain
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge_operators.launch.prefect_engine import PrefectServer
from sagebridge_operators.lifecycle.execution import execution_id
from tests.attempts import job_of
from tests.deploy.conftest import WORKER, Project
from tests.deploy.test_runs import Deployed, flow_process, processes, wait_for
from tests.shapes import ROLE

pytestmark = [pytest.mark.prefect, pytest.mark.slow, pytest.mark.usefixtures("worker")]


def _processing(name: str, seconds: object, **more: object) -> Step:
    resources = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
    arguments = {
        "RoleArn": ROLE,
        "AppSpecification": {"ImageUri": "image", "ContainerEntrypoint": ["sleep", seconds]},
        "ProcessingResources": {"ClusterConfig": resources},
    }
    return Step(name, "Processing", arguments=plain(arguments), **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def napper(
    tmp_path_factory: pytest.TempPathFactory, server: PrefectServer, api: httpx.Client
) -> Deployed:
    """Two jobs, one after the other."""
    steps = (
        _processing("Nap", parameter("Seconds")),
        _processing("After", "0", depends_on=("Nap",)),
    )
    seconds = Parameter("Seconds", "String", "8")
    project = Project(tmp_path_factory.mktemp("napper"), server, api)
    (project.folder / "napper.py").write_text(
        write(Pipeline(steps=steps, parameters=(seconds,), name="napper"))[0]
    )
    project.deploy("napper.py", "--backend", "local", "--workdir", "work")
    return Deployed(project, "napper")


def napping(napper: Deployed, run: str) -> bool:
    step = napper.steps(run).get("Nap")
    job = step.job if step is not None else None
    return job is not None and any("sleep" in one.cmdline() for one in processes(job.name))


def is_alive(run: str) -> bool:
    try:
        return flow_process(run).is_running()
    except StopIteration:
        return False


def test_suspended_run_continues_when_resumed(napper: Deployed) -> None:
    run = napper.started()
    wait_for(partial(napping, napper, run))
    details = {"pause_reschedule": True, "pause_timeout": "2100-01-01T00:00:00Z"}
    suspended = {"type": "PAUSED", "name": "Suspended", "state_details": details}
    body = {"state": suspended}
    wait_for(lambda: napper.api.post(f"flow_runs/{run}/set_state", json=body).is_success)
    wait_for(lambda: not is_alive(run))
    assert napper.state(run)["type"] == "PAUSED"
    job = job_of(napper.steps(run)["Nap"]).name
    assert napper.steps(run)["Nap"].state == "Succeeded"
    assert "After" not in napper.steps(run)

    wait_for(lambda: napper.api.post(f"flow_runs/{run}/resume").is_success)
    assert napper.ended(run)["type"] == "COMPLETED"
    assert job_of(napper.steps(run)["Nap"]).name == job
    assert napper.steps(run)["After"].state == "Succeeded"


def test_killed_flow_process_leaves_no_job(napper: Deployed) -> None:
    run = napper.started(Seconds="600")
    wait_for(partial(napping, napper, run))
    flow_process(run).kill()
    assert napper.ended(run)["type"] == "CRASHED"
    wait_for(lambda: not napper.steps(run)["Nap"].running)
    assert napper.steps(run)["Nap"].state == "Stopped"
    assert not processes(job_of(napper.steps(run)["Nap"]).name)
    end = {"status": "Stopped", "reason": "the flow run crashed"}
    execution = execution_id("prefect", "napper", run)
    wait_for(lambda: end.items() <= (napper.records.end(execution) or {}).items())


@pytest.fixture
def next_worker(server: PrefectServer) -> Iterator[None]:
    """Start a new worker after the test, which kills the old one."""
    yield
    server.add("next-worker", WORKER)


@pytest.mark.usefixtures("next_worker")
def test_sweep_stops_job_after_worker_and_flow_are_killed(napper: Deployed) -> None:
    """No process is left to call the cancellation hook, so cancelling stops nothing."""
    run = napper.started(Seconds="600")
    wait_for(partial(napping, napper, run))
    flow = flow_process(run)
    for process in processes(" ".join(WORKER[1:])):
        process.kill()
    if flow.is_running():
        flow.kill()
    wait_for(lambda: not is_alive(run))
    body = {"state": {"type": "CANCELLING"}}
    assert napper.api.post(f"flow_runs/{run}/set_state", json=body).is_success
    job = job_of(napper.steps(run)["Nap"]).name
    assert processes(job)

    sweep = ("executions", "sweep", "--lost-for", "0", "--workdir", "work")
    done = napper.project.run("-m", "sagebridge.cli", *sweep)

    assert f"Nap {job} Stopped" in done.stdout
    assert napper.steps(run)["Nap"].state == "Stopped"
    assert not processes(job)
