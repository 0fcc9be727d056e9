"""Runs the example's flow and a cancelled flow run with real local jobs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sagebridge.formats.prefect.writer import write
from sagebridge.model.expressions import plain
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge_operators.backends.local import LocalBackend
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.records import ExecutionRecords
from tests.attempts import job_of, outputs_of
from tests.prefect.conftest import FinishedRun, Run, flow_of
from tests.shapes import ROLE

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "pipelines" / "abalone"
STORE = "sagebridge-abalone"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of the local backend with the example's scripts and data."""
    home = tmp_path / "home"
    bucket = home / "s3" / STORE
    (bucket / "code").mkdir(parents=True)
    for script in ("preprocessing.py", "evaluation.py"):
        shutil.copy(EXAMPLE / script, bucket / "code" / script)
    subprocess.run([sys.executable, EXAMPLE / "sample_data.py", bucket / "data"], check=True)
    monkeypatch.setenv("SAGEBRIDGE_BACKEND", "local")
    monkeypatch.setenv("SAGEBRIDGE_HOME", str(home))
    return home


def flow() -> Any:
    return flow_of((ROOT / "flows" / "abalone.py").read_text())


def metrics(played: FinishedRun, home: Path) -> float:
    uri = outputs_of(played.steps["AbaloneEval"])["property_files"]["EvaluationReport"]
    report = json.loads(LocalBackend(home, home).read_object(uri))
    return float(report["regression_metrics"]["mse"]["value"])


def test_abalone_succeeds(play: Run, home: Path) -> None:
    played = play(flow(), {"ModelApprovalStatus": "Approved"})
    assert played.run.state.name == "Completed", played.messages
    assert played.states == {
        "AbaloneProcess": "Completed",
        "AbaloneTrain": "Completed",
        "AbaloneEval": "Completed",
        "AbaloneMSECond": "Completed",
        "AbaloneRegisterModel-RegisterModel": "Completed",
        "AbaloneCreateModel": "Completed",
        "AbaloneTransform": "Completed",
        "AbaloneMSEFail": "Skipped",
    }
    assert 3.5 < metrics(played, home) < 6.5
    client = LocalBackend(home, home).client("sagemaker")
    (package,) = client.list_model_packages(ModelPackageGroupName=STORE)["ModelPackageSummaryList"]
    assert package["ModelApprovalStatus"] == "Approved"
    data, predictions = home / "s3" / STORE / "data", home / "s3" / STORE / "executions" / played.id
    rows = (data / "abalone-dataset-batch.csv").read_text().splitlines()
    (found,) = (predictions / "predictions").rglob("*.out")
    assert len(found.read_text().splitlines()) == len(rows)


def test_missing_input_error_names_its_path(play: Run, home: Path) -> None:
    played = play(flow(), {"InputData": "s3://nowhere/data.csv"})
    assert played.run.state.name == "Failed"
    assert "s3://nowhere/data.csv" in played.run.state.message
    assert str(home) in played.run.state.message
    assert played.states["AbaloneTrain"] == "NotRun"


def sleeping() -> Pipeline:
    resources = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
    arguments = {
        "RoleArn": ROLE,
        "AppSpecification": {"ImageUri": "image", "ContainerEntrypoint": ["sleep", "600"]},
        "ProcessingResources": {"ClusterConfig": resources},
    }
    return Pipeline(
        steps=(Step("Sleep", "Processing", arguments=plain(arguments)),), name="sleeper"
    )


def test_cancelled_flow_run_leaves_no_job_running(
    server: None,
    records: ExecutionRecords,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The flow runs in its own process and is cancelled through the API."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL
    from prefect.states import Cancelling

    del server
    monkeypatch.setenv("SAGEBRIDGE_BACKEND", "local")
    monkeypatch.setenv("SAGEBRIDGE_HOME", str(tmp_path / "home"))
    file = tmp_path / "sleeper.py"
    text, _ = write(sleeping())
    assert text.endswith("\n    sleeper()\n")
    file.write_text(text.replace("\n    sleeper()\n", "\n    sleeper.serve('s')\n"))
    environment = {
        **os.environ,
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "PREFECT_RUNNER_SERVER_ENABLE": "false",
    }
    with (
        subprocess.Popen([sys.executable, file], env=environment, cwd=tmp_path) as served,
        get_client(sync_client=True) as client,
    ):
        try:
            deployment = wait_for(lambda: _deployment(client))
            run = client.create_flow_run_from_deployment(deployment.id)
            wait_for(lambda: [one for one in _steps(records) if one.job])
            client.set_flow_run_state(run.id, Cancelling())
            wait_for(lambda: _state(client, run.id) == "Cancelled")
            (step,) = wait_for(lambda: [one for one in _steps(records) if not one.running])
        finally:
            served.terminate()
            try:
                served.wait(20)
            except subprocess.TimeoutExpired:
                served.kill()
    assert step.state == "Stopped"
    (execution,) = records.ids()
    assert (records.end(execution) or {})["status"] == "Stopped"
    job = LocalBackend(tmp_path / "home", tmp_path).client("sagemaker")
    description = job.describe_processing_job(ProcessingJobName=job_of(step).name)
    assert description["ProcessingJobStatus"] == "Stopped"


def _deployment(client: Any) -> Any:
    from prefect.exceptions import ObjectNotFound

    try:
        return client.read_deployment_by_name("sleeper/s")
    except ObjectNotFound:
        return None


def _state(client: Any, run: Any) -> str:
    return str(client.read_flow_run(run).state.name)


def _steps(records: ExecutionRecords) -> list[Attempt]:
    return [step for execution in records.ids() for step in records.steps(execution).values()]


def wait_for(look: Callable[[], Any], patience: float = 90.0) -> Any:
    until = time.monotonic() + patience
    while not (found := look()):
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.3)
    return found
