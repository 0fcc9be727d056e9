"""Runs of deployments, started by Prefect's API and run by a process worker."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from sagebridge.formats.prefect.writer import write
from sagebridge.model.expressions import parameter, plain
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge_operators.backends.local import LocalBackend
from sagebridge_operators.launch.prefect_engine import PrefectServer
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.execution import execution_id
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.records import ExecutionRecords
from tests.attempts import job_of
from tests.deploy.conftest import Project
from tests.shapes import ROLE

pytestmark = [pytest.mark.prefect, pytest.mark.slow, pytest.mark.usefixtures("worker")]

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "pipelines" / "abalone"
STORE = "s3://sagebridge-abalone"
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def wait_for(look: Callable[[], Any], patience: float = 180.0) -> Any:
    until = time.monotonic() + patience
    while not (found := look()):
        assert time.monotonic() < until, f"not within {patience:.0f} s"
        time.sleep(0.3)
    return found


class Deployed:
    """A deployment of a project, its runs and their records."""

    def __init__(self, project: Project, flow: str) -> None:
        self.project, self.api, self.flow = project, project.api, flow
        self.id = project.deployment(flow)["id"]
        self.home = project.folder / "work"
        self.records = ExecutionRecords(Folder(self.home / "executions"))
        self.backend = LocalBackend(self.home, project.folder)

    def start(self, **parameters: Any) -> httpx.Response:
        """Request a run; retry while the server is busy, as Prefect's client does."""
        body = {"parameters": parameters, "idempotency_key": uuid.uuid4().hex}
        answer = self.api.post(f"deployments/{self.id}/create_flow_run", json=body)
        while answer.is_server_error:
            time.sleep(1)
            answer = self.api.post(f"deployments/{self.id}/create_flow_run", json=body)
        return answer

    def started(self, **parameters: Any) -> str:
        """Start a run and return its id."""
        answer = self.start(**parameters)
        assert answer.is_success, f"{answer.status_code} {answer.text}"
        return str(answer.json()["id"])

    def state(self, run: str) -> dict[str, Any]:
        state: dict[str, Any] = self.api.get(f"flow_runs/{run}").json()["state"]
        return state

    def ended(self, run: str) -> dict[str, Any]:
        wait_for(lambda: self.state(run)["type"] in ENDED)
        return self.state(run)

    def tasks(self, run: str) -> dict[str, str]:
        """The final states of a run's tasks; they may arrive after that of the run."""
        body = {"flow_runs": {"id": {"any_": [run]}}}

        def ended() -> dict[str, str]:
            found = self.api.post("task_runs/filter", json=body).json()
            every = all(one["state"]["type"] in ENDED for one in found)
            return {one["name"]: one["state"]["name"] for one in found} if every else {}

        states: dict[str, str] = wait_for(ended)
        return states

    def steps(self, run: str) -> dict[str, Attempt]:
        return self.records.steps(execution_id("prefect", self.flow, run))

    def description(self, run: str, step: str, kind: str) -> dict[str, Any]:
        """The Describe response for the job of a step."""
        name = job_of(self.steps(run)[step]).name
        client = self.backend.client("sagemaker")
        found: dict[str, Any] = getattr(client, f"describe_{kind}_job")(
            **{f"{kind.capitalize()}JobName": name}
        )
        return found


@pytest.fixture(scope="module")
def abalone(
    tmp_path_factory: pytest.TempPathFactory, server: PrefectServer, api: httpx.Client
) -> Deployed:
    """The example's definition with its scripts and sample data, deployed."""
    folder = tmp_path_factory.mktemp("abalone")
    project = Project(folder, server, api)
    shutil.copy(EXAMPLE / "definition.json", folder)
    subprocess.run([sys.executable, EXAMPLE / "sample_data.py", folder / "data"], check=True)
    shutil.copytree(folder / "data", folder / "more")
    uploads = {
        f"{EXAMPLE}/preprocessing.py": f"{STORE}/code/preprocessing.py",
        f"{EXAMPLE}/evaluation.py": f"{STORE}/code/evaluation.py",
        "data": f"{STORE}/data",
        "more": f"{STORE}/more",
    }
    words = [word for one in uploads.items() for word in ("--upload", "=".join(one))]
    project.deploy(
        "definition.json", "--name", "Abalone", "--backend", "local", "--workdir", "work", *words
    )
    return Deployed(project, "Abalone")


DATA = f"{STORE}/more/abalone-dataset.csv"


@pytest.fixture(scope="module")
def runs(abalone: Deployed) -> dict[str, str]:
    """Two runs at the same time."""
    given = {"InputData": DATA, "ModelApprovalStatus": "Approved", "MseThreshold": 7}
    return {"good": abalone.started(**given), "bad": abalone.started(MseThreshold=1.0)}


def test_run_with_parameters_completes(abalone: Deployed, runs: dict[str, str]) -> None:
    run = runs["good"]
    ended = abalone.ended(run)
    assert (ended["type"], ended["name"]) == ("COMPLETED", "Completed"), ended
    assert abalone.tasks(run) == {
        "AbaloneProcess": "Completed",
        "AbaloneTrain": "Completed",
        "AbaloneEval": "Completed",
        "AbaloneMSECond": "Completed",
        "AbaloneRegisterModel-RegisterModel": "Completed",
        "AbaloneCreateModel": "Completed",
        "AbaloneTransform": "Completed",
        "AbaloneMSEFail": "Skipped",
    }
    processed = abalone.description(run, "AbaloneProcess", "processing")
    assert processed["ProcessingInputs"][0]["S3Input"]["S3Uri"] == DATA
    package = job_of(abalone.steps(run)["AbaloneRegisterModel-RegisterModel"]).name
    client = abalone.backend.client("sagemaker")
    registered = client.describe_model_package(ModelPackageName=package)
    assert registered["ModelApprovalStatus"] == "Approved"


def test_fail_step_message_is_run_message(abalone: Deployed, runs: dict[str, str]) -> None:
    run = runs["bad"]
    ended = abalone.ended(run)
    assert ended["type"] == "FAILED"
    assert ended["message"] == "Execution failed due to MSE > 1.0"
    tasks = abalone.tasks(run)
    assert tasks["AbaloneMSEFail"] == "Failed"
    assert {name for name, state in tasks.items() if state == "Skipped"} == {
        "AbaloneRegisterModel-RegisterModel",
        "AbaloneCreateModel",
        "AbaloneTransform",
    }


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"MseThreshold": "low"}, ("'MseThreshold'", "'low' is not of type 'number'")),
        ({"ProcessingInstanceCount": 1.5}, ("'ProcessingInstanceCount'", "'integer'")),
        ({"MseTreshold": 1.0}, ("'MseTreshold'",)),
    ],
    ids=["string for a number", "fraction for an integer", "unknown"],
)
def test_wrong_parameter_is_rejected_before_run(
    abalone: Deployed, given: dict[str, Any], words: tuple[str, ...]
) -> None:
    executions = list(abalone.records.ids())
    response = abalone.start(**given)
    assert response.status_code == httpx.codes.CONFLICT
    for word in words:
        assert word in response.json()["detail"]
    assert list(abalone.records.ids()) == executions


def sleeping() -> Pipeline:
    resources = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
    arguments = {
        "RoleArn": ROLE,
        "AppSpecification": {
            "ImageUri": "image",
            "ContainerEntrypoint": ["sleep", parameter("Seconds")],
        },
        "ProcessingResources": {"ClusterConfig": resources},
    }
    return Pipeline(
        steps=(Step("Sleep", "Processing", arguments=plain(arguments)),),
        parameters=(Parameter("Seconds", "String", "600", ("600", "601")),),
        name="sleeper",
    )


@pytest.fixture(scope="module")
def sleeper(
    tmp_path_factory: pytest.TempPathFactory, server: PrefectServer, api: httpx.Client
) -> Deployed:
    project = Project(tmp_path_factory.mktemp("sleeper"), server, api)
    (project.folder / "sleeper.py").write_text(write(sleeping())[0])
    project.deploy("sleeper.py", "--backend", "local", "--workdir", "work")
    return Deployed(project, "sleeper")


def processes(word: str) -> list[psutil.Process]:
    """The processes with this word in their command line."""

    def belongs(process: psutil.Process) -> bool:
        try:
            return word in " ".join(process.cmdline())
        except psutil.Error:
            return False

    return [process for process in psutil.process_iter() if belongs(process)]


def flow_process(run: str) -> psutil.Process:
    """The process of a flow run, started by the worker."""

    def of_run(process: psutil.Process) -> bool:
        try:
            return "prefect.engine" in " ".join(process.cmdline()) and process.environ().get(
                "PREFECT__FLOW_RUN_ID", ""
            ).replace("-", "") == run.replace("-", "")
        except psutil.Error:
            return False

    return next(process for process in psutil.process_iter() if of_run(process))


@pytest.fixture(scope="module")
def cancelled(sleeper: Deployed) -> dict[bool, str]:
    """Two cancelled runs: one normal, one with a frozen process."""
    runs = {frozen: sleeper.started() for frozen in (False, True)}
    for run in runs.values():
        wait_for(partial(asleep, sleeper, run))
    os.kill(flow_process(runs[True]).pid, signal.SIGSTOP)
    cancelling = {"state": {"type": "CANCELLING"}}
    for run in runs.values():
        sleeper.api.post(f"flow_runs/{run}/set_state", json=cancelling).raise_for_status()
    return runs


def asleep(sleeper: Deployed, run: str) -> bool:
    """Whether the job of a run has started."""
    step = sleeper.steps(run).get("Sleep")
    job = step.job if step is not None else None
    return job is not None and any("sleep" in one.cmdline() for one in processes(job.name))


@pytest.mark.parametrize("frozen", [False, True], ids=["live", "frozen"])
def test_cancelled_run_leaves_no_job(
    sleeper: Deployed, cancelled: dict[bool, str], frozen: bool
) -> None:
    """A frozen flow process is killed, and only the cancellation hook can stop the job."""
    run = cancelled[frozen]
    assert sleeper.ended(run)["type"] == "CANCELLED"
    wait_for(lambda: not processes(job_of(sleeper.steps(run)["Sleep"]).name))
    wait_for(lambda: not sleeper.steps(run)["Sleep"].running)
    assert sleeper.description(run, "Sleep", "processing")["ProcessingJobStatus"] == "Stopped"
    assert sleeper.steps(run)["Sleep"].state == "Stopped"
    execution = execution_id("prefect", "sleeper", run)
    expected = {"status": "Stopped", "reason": "the flow run was cancelled"}
    wait_for(lambda: expected.items() <= (sleeper.records.end(execution) or {}).items())


def test_value_outside_enum_is_rejected(sleeper: Deployed) -> None:
    executions = list(sleeper.records.ids())
    response = sleeper.start(Seconds="5")
    assert response.status_code == httpx.codes.CONFLICT
    assert "'Seconds'" in response.json()["detail"]
    assert "'600', '601'" in response.json()["detail"]
    assert list(sleeper.records.ids()) == executions
