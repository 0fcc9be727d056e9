"""DAGs on a separate Airflow: lost workers and actions in the UI."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

import sagebridge
from sagebridge import Schedule, is_in
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step
from sagebridge_operators.launch.airflow_engine import PrivateAirflow
from sagebridge_operators.launch.private_engine import LOGIN_FILE
from sagebridge_operators.launch.workdir import Workdir
from tests.e2e.definitions import HOLD, pipeline, training
from tests.e2e.desk import REPOSITORY, Desk, eventually, marked
from tests.e2e.engines import airflow_api, with_login
from tests.intruders import assert_other_pages_are_rejected, assert_other_user_is_rejected
from tests.other_user import IS_ROOT, shared_folder

pytestmark = pytest.mark.slow
DAG = "Hold"
EXAMPLE = "AbalonePipeline"
RESOURCE = f"/api/v2/dags/{DAG}"
LOST = ("runner", "worker")
SCHEDULED = "Scheduled"


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    with shared_folder() as folder:
        yield Desk(folder)


@pytest.fixture(scope="module")
def airflow(desk: Desk) -> Iterator[PrivateAirflow]:
    """An Airflow with the DAGs of the repository, one whose job waits, and one with schedules."""
    # A cleared task finds the first start of its run in the tasks of the other steps.
    other = {"Name": "Other", "Type": "Condition", "Arguments": {"Conditions": []}}
    train = training("Train", HOLD, {"Get": "Parameters.Release"})
    definition = pipeline(other, train, Release="String")
    dags = [
        {
            "name": name,
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(path), "refresh_interval": 5},
        }
        for name, path in (
            ("hold", desk.home / "airflow" / "lab" / "dags"),
            ("example", REPOSITORY / "dags"),
            ("scheduled", scheduled_dags(desk)),
        )
    ]
    airflow = PrivateAirflow(
        desk.home / "airflow",
        sagebridge.read(definition, name=DAG).pipeline,
        dag_id=DAG,
        run_id="lab",
        execution="lab",
        parallelism=8,
        variables={
            **Workdir("local", desk.home, desk.folder, str(desk.home / "executions")).variables(),
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(dags),
            # Detect lost workers quickly.
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
        },
    )
    with airflow:
        yield airflow


def scheduled_dags(desk: Desk) -> Path:
    """A folder with the file of a pipeline that has two schedules for each minute, and one off."""
    end = (datetime.now(UTC) + timedelta(minutes=8)).isoformat()
    own: dict[str, dict[str, Any]] = {
        "three": {"Count": 3, "Slot": "<aws.scheduler.scheduled-time>"},
        "four": {"Count": "4"},
    }
    schedules = [
        *(Schedule(name, "cron(* * * * ? *)", end=end, parameters=own[name]) for name in own),
        Schedule("off", "cron(* * * * ? *)", enabled=False),
    ]
    parameters = [Parameter("Count", "Integer", 1), Parameter("Slot", "String", "none")]
    stop = Step("Stop", "Fail", {"ErrorMessage": "the parameters did not arrive"})
    right = is_in(parameters[0], [3, 4])
    check = ConditionStep("Check", conditions=[right], if_steps=[], else_steps=[stop])
    folder = desk.folder / "scheduled"
    folder.mkdir()
    text = sagebridge.write(
        Pipeline(SCHEDULED, [check], parameters, schedules=schedules), "airflow"
    )
    (folder / "scheduled.py").write_text(text.text)
    return folder


@pytest.fixture(scope="module")
def api(airflow: PrivateAirflow) -> Iterator[httpx.Client]:
    """The REST API, with the login."""
    with airflow_api(with_login(airflow.url, airflow.login)) as api:
        yield api


@pytest.fixture(scope="module")
def held(desk: Desk, api: httpx.Client) -> Iterator[dict[str, int]]:
    """The process id of the task in each run; its job waits for a file named like the run."""
    runs = (*LOST, "button", "stopped")
    for run in runs:
        trigger(api, DAG, run, {"Release": str(desk.folder / run)})
    try:
        yield {run: eventually(lambda run=run: working(desk, api, run), 90) for run in runs}  # type: ignore[misc]
    finally:
        for run in runs:
            (desk.folder / run).touch()
        eventually(lambda: not any(marked(str(desk.folder / run)) for run in runs))


@pytest.fixture(scope="module")
def lost(held: dict[str, int]) -> None:
    """Kill the task process of one run, and the executor's worker process of another."""
    for run in LOST:
        runner = psutil.Process(held[run])
        worker = runner.parent()
        assert worker is not None
        assert "LocalExecutor" in " ".join(worker.cmdline())
        (runner if run == "runner" else worker).kill()


def trigger(api: httpx.Client, dag: str, run: str, conf: dict[str, Any]) -> None:
    eventually(lambda: api.get(f"/dags/{dag}").is_success)
    body = {"dag_run_id": run, "logical_date": None, "conf": conf}
    api.post(f"/dags/{dag}/dagRuns", json=body).raise_for_status()


def task(api: httpx.Client, run: str) -> Any:
    return api.get(f"/dags/{DAG}/dagRuns/{run}/taskInstances/Train").raise_for_status().json()


def log(api: httpx.Client, run: str, try_number: int) -> list[Any]:
    """The events in the log file of a task."""
    url = f"/dags/{DAG}/dagRuns/{run}/taskInstances/Train/logs/{try_number}"
    headers = {"Accept": "application/json"}
    found = api.get(url, headers=headers).raise_for_status().json()["content"]
    return list(found)


def working(desk: Desk, api: httpx.Client, run: str) -> int | None:
    """The process of a task whose job has started."""
    return task(api, run)["pid"] if marked(str(desk.folder / run)) else None


def final_state(api: httpx.Client, dag: str, run: str) -> str:
    """Wait for the end of a DAG run and return its state."""

    def state() -> str:
        found = api.get(f"/dags/{dag}/dagRuns/{run}").raise_for_status().json()["state"]
        return str(found) if found in ("success", "failed") else ""

    return eventually(state, 150)


def jobs(desk: Desk, run: str) -> list[Any]:
    """The training jobs of a run."""
    execution = desk.execution(f"{DAG}/{run}")
    listed = desk.sagemaker.list_training_jobs(NameContains=execution)["TrainingJobSummaries"]
    return list(listed)


def test_task_marked_failed_stops_its_job(
    desk: Desk, api: httpx.Client, held: dict[str, int], lost: None
) -> None:
    """Runs while Airflow detects the lost workers of the other runs."""
    del held
    path = f"/dags/{DAG}/dagRuns/button/taskInstances/Train"
    api.patch(path, json={"new_state": "failed"}).raise_for_status()

    eventually(lambda: not marked(str(desk.folder / "button")), 45)
    assert [job["TrainingJobStatus"] for job in jobs(desk, "button")] == ["Stopped"]
    assert final_state(api, DAG, "button") == "failed"
    shown = desk.show(desk.execution(f"{DAG}/button"))
    assert shown["steps"]["Train"]["state"] == "Stopped"


def test_cleared_task_gets_a_new_job(desk: Desk, api: httpx.Client, lost: None) -> None:
    assert final_state(api, DAG, "button") == "failed"
    again = {"dry_run": False, "dag_run_id": "button", "task_ids": ["Train"]}
    api.post(f"/dags/{DAG}/clearTaskInstances", json=again).raise_for_status()

    eventually(lambda: len(jobs(desk, "button")) == 2)
    (desk.folder / "button").touch()

    assert final_state(api, DAG, "button") == "success"
    statuses = {job["TrainingJobStatus"] for job in jobs(desk, "button")}
    assert statuses == {"Stopped", "Completed"}
    assert desk.show(desk.execution(f"{DAG}/button"))["status"] == "Succeeded"


def test_cleared_task_of_a_stopped_execution_fails(
    desk: Desk, api: httpx.Client, held: dict[str, int]
) -> None:
    del held
    execution = desk.execution(f"{DAG}/stopped")
    stop = desk.type("executions", "stop", execution)
    assert stop.stdout == f"{execution}: no jobs are running; the execution is Stopped\n"
    assert final_state(api, DAG, "stopped") == "failed"

    again = {"dry_run": False, "dag_run_id": "stopped", "task_ids": ["Train"]}
    api.post(f"/dags/{DAG}/clearTaskInstances", json=again).raise_for_status()

    url = f"/dags/{DAG}/dagRuns/stopped/taskInstances/Train/xcomEntries/failure_reason"
    eventually(lambda: "start a new run" in api.get(url).text)
    assert final_state(api, DAG, "stopped") == "failed"
    reason = "the execution was stopped before this step started; start a new run"
    # Airflow's own group of messages follows.
    *_, last, _, _ = log(api, "stopped", task(api, "stopped")["try_number"])
    assert last["event"] == f"Task failed with exception: {reason}"
    assert "error_detail" not in last
    assert [job["TrainingJobStatus"] for job in jobs(desk, "stopped")] == ["Stopped"]
    assert desk.show(execution)["status"] == "Stopped"


def test_every_definition_in_the_folder_is_a_dag(api: httpx.Client) -> None:
    eventually(lambda: api.get("/dags/abalone").is_success)

    tasks = api.get("/dags/abalone/tasks").raise_for_status().json()["tasks"]
    assert "AbaloneTrain" in {one["task_id"] for one in tasks}
    assert api.get("/importErrors").raise_for_status().json()["import_errors"] == []


@pytest.mark.airflow31
def test_example_dag_runs_from_the_trigger_form(desk: Desk, api: httpx.Client) -> None:
    pipelines = REPOSITORY / "pipelines" / "abalone"
    maker = [sys.executable, str(pipelines / "sample_data.py"), str(desk.folder / "sample")]
    subprocess.run(maker, check=True, capture_output=True)
    code = desk.stored("s3://sagebridge-abalone/code")
    code.mkdir(parents=True)
    for script in ("preprocessing.py", "evaluation.py"):
        (code / script).write_bytes((pipelines / script).read_bytes())

    refused = api.post(
        f"/dags/{EXAMPLE}/dagRuns",
        json={"logical_date": None, "conf": {"ProcessingInstanceCount": "two"}},
    )
    trigger(
        api,
        EXAMPLE,
        "form",
        {
            "InputData": "sample/abalone-dataset.csv",
            "BatchData": "sample/abalone-dataset-batch.csv",
            "ModelApprovalStatus": "Rejected",
        },
    )

    details = api.get(f"/dags/{EXAMPLE}/details").raise_for_status().json()
    assert details["params"]["MseThreshold"]["value"] == 6.0
    assert details["params"]["MseThreshold"]["schema"]["type"] == "number"
    assert refused.status_code == 400
    assert final_state(api, EXAMPLE, "form") == "success"
    shown = desk.show(desk.execution(f"{EXAMPLE}/form"))
    states = {name: step["state"] for name, step in shown["steps"].items()}
    assert states.pop("AbaloneMSEFail") == "Skipped"
    assert set(states.values()) == {"Succeeded"}
    package = shown["steps"]["AbaloneRegisterModel-RegisterModel"]["job"]
    found = desk.sagemaker.describe_model_package(ModelPackageName=package)
    assert found["ModelApprovalStatus"] == "Rejected"


@pytest.mark.airflow31
@pytest.mark.parametrize("run", LOST)
def test_retry_finds_the_job_of_a_lost_worker(
    desk: Desk, api: httpx.Client, lost: None, run: str
) -> None:
    eventually(lambda: task(api, run)["try_number"] == 2 and task(api, run)["pid"], 120)
    assert [job["TrainingJobStatus"] for job in jobs(desk, run)] == ["InProgress"]
    (desk.folder / run).touch()

    assert final_state(api, DAG, run) == "success"
    assert [job["TrainingJobStatus"] for job in jobs(desk, run)] == ["Completed"]
    assert task(api, run)["try_number"] == 2
    assert desk.show(desk.execution(f"{DAG}/{run}"))["status"] == "Succeeded"


def test_schedules_fire_by_themselves_with_their_parameters(desk: Desk, api: httpx.Client) -> None:
    def ended() -> dict[str, Any]:
        """The runs that have ended, by id."""
        found = api.get(f"/dags/{SCHEDULED}/dagRuns").raise_for_status().json()["dag_runs"]
        return {run["dag_run_id"]: run for run in found if run["end_date"]}

    def slots(runs: dict[str, Any]) -> list[str]:
        """Slots with two runs that have ended."""
        every = [run.partition("__")[2] for run in runs]
        return [slot for slot in every if every.count(slot) == 2]

    eventually(lambda: api.get(f"/dags/{SCHEDULED}").is_success, 120)
    runs = eventually(lambda: found if slots(found := ended()) else None, 180)
    slot = slots(runs)[0]
    three, four = (runs[f"{SCHEDULED}.{name}__{slot}"] for name in ("three", "four"))
    assert [three["state"], four["state"]] == ["success", "success"]
    assert three["conf"] == {"Count": 3, "Slot": slot.replace("+00:00", "Z")}
    assert four["conf"] == {"Count": 4}
    parameters = desk.show(desk.execution(f"{SCHEDULED}/{four['dag_run_id']}"))["parameters"]
    assert parameters == {"Count": 4, "Slot": "none"}
    off = api.get(f"/dags/{SCHEDULED}.off/dagRuns").raise_for_status().json()
    assert off["total_entries"] == 0


def test_requests_without_login_are_rejected(airflow: PrivateAirflow) -> None:
    with httpx.Client(base_url=airflow.url, timeout=60, trust_env=False) as client:
        assert client.get("/auth/token").status_code == httpx.codes.FORBIDDEN
        assert client.get("/auth/token/login").status_code == httpx.codes.FORBIDDEN
        for path in ("/api/v2/dags", "/ui/config", "/api/v2/connections"):
            assert client.get(path).status_code == httpx.codes.UNAUTHORIZED, path
        for password in ("admin", "airflow", " "):
            body = {"username": "admin", "password": password}
            assert client.post("/auth/token", json=body).status_code == httpx.codes.UNAUTHORIZED
    file = airflow.home / LOGIN_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_requests_of_other_pages_are_rejected(airflow: PrivateAirflow, api: httpx.Client) -> None:
    login = {"authorization": api.headers["authorization"]}

    assert_other_pages_are_rejected(airflow.url, login, RESOURCE)
    # The UI sends the login as a cookie; browsers send it from all ports of a host.
    token = login["authorization"].partition(" ")[2]
    assert_other_pages_are_rejected(airflow.url, {"cookie": f"_token={token}"}, RESOURCE)


if IS_ROOT:

    def test_other_user_of_the_machine_is_rejected(desk: Desk, airflow: PrivateAirflow) -> None:
        assert_other_user_is_rejected(airflow, RESOURCE, desk.home)
