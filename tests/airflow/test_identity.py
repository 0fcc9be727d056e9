"""The execution and the job of a task, even if other runs have the same names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.models import dagrun
from airflow.sdk import DAG

from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.airflow import (
    ModelOperator,
    StepOperator,
    TrainingOperator,
    build,
    task_runtime,
)
from sagebridge_operators.airflow.task_runtime import STARTED, first_start, prepare
from sagebridge_operators.lifecycle.objects import Folder, StoredObject
from sagebridge_operators.lifecycle.opening import retry_execution
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.run_errors import (
    MissingStartDate,
    RecordsUnreachable,
    StepFailed,
    StepStopped,
)
from tests.dagtest import FinishedRun, migrated, new_id, play
from tests.fakes import FakeBackend, FakeSageMaker, Plan, raises
from tests.faulty_aws.server import FaultyAws
from tests.shapes import ROLE, model, training

pytestmark = pytest.mark.airflow

REPOSITORY = Path(__file__).parents[2]
AT = datetime(2026, 11, 21, 5, 43, tzinfo=UTC)
LATER = AT + timedelta(hours=1)


class WorkerLost(Exception):
    """Ends a worker without a result for the step."""


@dataclass
class FakeRun:
    """A DAG run as its tasks see it, with the XComs of its task instances."""

    run_id: str = "manual"
    start_date: datetime | None = AT
    logical_date: datetime | None = None
    clear_number: int = 0
    xcoms: dict[tuple[str, str], Any] = field(default_factory=dict)

    def clear(self, *task_ids: str) -> None:
        """Clears tasks as Airflow does: a new start; XComs are deleted when a task runs again."""
        self.start_date = LATER
        self.clear_number += 1
        for task_id, key in list(self.xcoms):
            if task_id in task_ids:
                del self.xcoms[task_id, key]


@dataclass
class FakeTaskInstance:
    """A task instance, as a worker sees it."""

    run: FakeRun
    task_id: str
    max_tries: int = 2
    try_number: int = 1
    map_index: int = -1

    def xcom_push(self, key: str, value: Any) -> None:
        self.run.xcoms[self.task_id, key] = value

    def xcom_pull(self, task_ids: str | Iterable[str], key: str = "return_value") -> Any:
        if isinstance(task_ids, str):
            return self.run.xcoms.get((task_ids, key))
        return [self.run.xcoms.get((task_id, key)) for task_id in task_ids]


def work(dag: DAG, task_id: str, run: FakeRun, **instance: Any) -> str:
    """Runs a task of a DAG run; returns the id of its execution."""
    task = dag.get_task(task_id)
    assert isinstance(task, StepOperator)
    context: Any = {"dag_run": run, "ti": FakeTaskInstance(run, task_id, **instance), "params": {}}
    driver = prepare(task, context)
    with suppress(WorkerLost):
        driver.run()
    return driver.task.execution.id


def dag_of(*names: str) -> DAG:
    return build(Pipeline(steps=tuple(model(name) for name in names)), dag_id="same")


def models(aws: FakeSageMaker) -> list[str]:
    return [request["ModelName"] for request in aws.called("create_model")]


def test_same_dag_and_run_id_give_two_executions(
    backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example, after a run is deleted and triggered again, or in two installations."""
    monkeypatch.setattr(task_runtime, "is_dag_test", lambda ti: False)
    dag_id, create = new_id("twice"), dagrun.get_or_create_dagrun
    played: list[FinishedRun] = []
    for start in (AT, LATER):

        def starts(start: datetime = start, **run: Any) -> Any:
            return create(**{**run, "start_date": start})

        monkeypatch.setattr(dagrun, "get_or_create_dagrun", starts)
        played.append(play(build(Pipeline(steps=(model("A"),)), dag_id=dag_id), at=AT))

    first, second = played
    assert first.run_id == second.run_id
    bodies = [first.records.execution(one) or {} for one in first.records.ids()]
    assert [(body["run"], body["started"]) for body in bodies] == [
        (f"{dag_id}/{first.run_id}", start.isoformat()) for start in (LATER, AT)
    ]
    assert len(set(models(backend.sagemaker))) == 2
    for body in bodies:
        (name,) = [one for one in models(backend.sagemaker) if body["id"] in one]
        job = first.records.steps(body["id"])["A"].job
        assert job is not None
        assert job.name == name


def test_repeated_dag_test_with_same_date_runs_again(backend: FakeBackend) -> None:
    """``dag.test`` replaces the run; its start is the logical date both times."""
    dag_id = new_id("again")
    for _ in range(2):
        played = play(build(Pipeline(steps=(model("A"),)), dag_id=dag_id), at=AT)
        assert played.state == "success"
    assert len(set(models(backend.sagemaker))) == 2


def test_workers_with_separate_folders_agree_on_execution(
    backend: FakeBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dag, run = dag_of("A"), FakeRun()
    found = set()
    for folder in ("one", "two"):
        monkeypatch.setenv("SAGEBRIDGE_RECORDS", str(tmp_path / folder))
        found.add(work(dag, "A", run))
    assert len(found) == 1
    assert len(models(backend.sagemaker)) == 1


def test_installation_changes_execution_id(
    backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For copies of a metadata database, whose runs are otherwise the same."""
    dag = dag_of("A")
    original = work(dag, "A", FakeRun())
    monkeypatch.setenv("SAGEBRIDGE_INSTALLATION", "copy")
    assert work(dag, "A", FakeRun()) != original
    assert len(set(models(backend.sagemaker))) == 2


def test_command_sets_execution_id_of_its_run_only(
    backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGEBRIDGE_EXECUTION", "p=1=0123456789ab")
    dag = dag_of("A")
    assert work(dag, "A", FakeRun("p=1")) == "0123456789ab"
    assert work(dag, "A", FakeRun("p=2")) != "0123456789ab"
    assert len(models(backend.sagemaker)) == 2


def test_execution_opens_after_records_outage(
    backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, calls = Folder.read, []

    def fails_first(folder: Folder, key: str) -> StoredObject | None:
        calls.append(key)
        if len(calls) == 1:
            raise RecordsUnreachable(key, str(folder.path), "Stale file handle")
        return read(folder, key)

    monkeypatch.setattr(Folder, "read", fails_first)
    work(dag_of("A"), "A", FakeRun())
    assert len(models(backend.sagemaker)) == 1


@pytest.mark.parametrize("cleared", [("A",), ("B",), ("C",), ("A", "B"), ("B", "C")])
def test_cleared_task_keeps_execution(cleared: tuple[str, ...], backend: FakeBackend) -> None:
    """Airflow gives a cleared run a new start; the other tasks keep the first one."""
    dag, run = dag_of("A", "B", "C"), FakeRun()
    before = {work(dag, name, run) for name in "ABC"}
    run.clear(*cleared)
    after = {work(dag, name, run, max_tries=5) for name in cleared}
    assert after == before
    assert len(set(models(backend.sagemaker))) == 3 + len(cleared)
    (execution,) = before
    records = ExecutionRecords(Folder(Path(os.environ["SAGEBRIDGE_RECORDS"])))
    assert (records.execution(execution) or {})["started"] == AT.isoformat()


def test_retried_execution_keeps_succeeded_steps(
    backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new Airflow counts tries from 1 again; jobs of the retry have new names all the same."""
    records = ExecutionRecords(Folder(Path(os.environ["SAGEBRIDGE_RECORDS"])))
    dag = build(Pipeline(steps=(training("A"), training("B"))), dag_id="same")

    def runs(run_id: str, *names: str, **instance: Any) -> None:
        monkeypatch.setenv("SAGEBRIDGE_EXECUTION", f"{run_id}=0123456789ab")
        for name in names:
            with suppress(StepFailed):
                work(dag, name, FakeRun(run_id), **instance)

    backend.sagemaker.plans["-B-"] = Plan(("Failed",))
    runs("first", "A", "B")
    runs("first", "B", try_number=4, max_tries=5)  # cleared
    for run_id in ("second", "third"):
        retry_execution(records, "0123456789ab")
        assert "B" not in records.steps("0123456789ab")
        runs(run_id, "A", "B")
    jobs = [one["TrainingJobName"] for one in backend.sagemaker.called("create_training_job")]
    assert len(jobs) == len(set(jobs)) == 1 + 4

    del backend.sagemaker.plans["-B-"]
    runs("third", "B", try_number=2, max_tries=5)
    runs("third", "A", try_number=2, max_tries=5)  # cleared, although it had succeeded
    assert records.steps("0123456789ab")["B"].state == "Succeeded"
    assert len(backend.sagemaker.called("create_training_job")) == 1 + 4 + 2


def test_cleared_step_reopens_an_ended_execution(backend: FakeBackend) -> None:
    del backend
    records = ExecutionRecords(Folder(Path(os.environ["SAGEBRIDGE_RECORDS"])))
    dag, run = dag_of("A", "B"), FakeRun()
    (execution,) = {work(dag, name, run) for name in "AB"}
    end = {"status": "Failed", "reason": "no", "ended": AT.isoformat()}
    records.objects.put(f"{execution}/end.json", end)
    work(dag, "A", run, try_number=2)  # a lost worker
    assert records.end(execution) == end
    run.clear("A")
    work(dag, "A", run, max_tries=5, try_number=3)
    assert records.end(execution) is None


def test_cleared_dag_run_keeps_execution(backend: FakeBackend) -> None:
    """Its first task finds the XComs of the others, which exist until they run again."""
    dag, run = dag_of("A", "B", "C"), FakeRun()
    before = {work(dag, name, run) for name in "ABC"}
    run.start_date, run.clear_number = LATER, 1
    after = set()
    for name in "ABC":
        run.xcoms = {key: value for key, value in run.xcoms.items() if key[0] != name}
        after.add(work(dag, name, run, max_tries=5))
    assert after == before
    assert len(set(models(backend.sagemaker))) == 6


def test_first_start_after_clear_comes_from_another_task() -> None:
    run = FakeRun(start_date=LATER, clear_number=1)
    run.xcoms["B", STARTED] = AT.isoformat()
    instance = FakeTaskInstance(run, "A")
    assert first_start(run, instance, ["C", "B"]) == AT
    assert run.xcoms["A", STARTED] == AT.isoformat()
    assert first_start(run, instance, ["C"]) == LATER
    assert first_start(run, instance, []) == LATER


def test_uncleared_run_uses_its_own_start() -> None:
    run = FakeRun()
    run.xcoms["B", STARTED] = LATER.isoformat()
    assert first_start(run, FakeTaskInstance(run, "A"), ["B"]) == AT


def test_run_without_start_date_raises(backend: FakeBackend) -> None:
    """Any other time would be another execution, so the task is retried."""
    run = FakeRun(start_date=None)
    with pytest.raises(MissingStartDate, match="manual"):
        work(dag_of("A"), "A", run)
    assert not backend.sagemaker.calls
    assert not run.xcoms


def test_task_without_run_start_is_retried(
    backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sagebridge_operators.airflow import task_runtime

    known = task_runtime.first_start
    unknown = [True]

    def starts(dag_run: Any, *more: Any, **options: Any) -> datetime:
        if unknown.pop() if unknown else False:
            raise MissingStartDate(dag_run.run_id)
        return known(dag_run, *more, **options)

    monkeypatch.setattr(task_runtime, "first_start", starts)
    dag = build(Pipeline(steps=(model("A"),)), dag_id=new_id(), retry_delay=timedelta())
    played = play(dag)
    assert (played.state, played.tries) == ("success", {"A": 2})
    assert len(models(backend.sagemaker)) == 1


def test_editing_retries_between_tries_starts_no_second_job(
    backend: FakeBackend,
) -> None:
    aws, run = backend.sagemaker, FakeRun()
    aws.plans["Train"] = Plan(("InProgress", "InProgress", "Completed"))
    aws.before["describe_training_job"] = [lambda: None, lambda: None, raises(WorkerLost())]
    before = build(Pipeline(steps=(training("Train"),)), dag_id="same")
    edited = build(Pipeline(steps=(training("Train"),)), dag_id="same", retries=9)
    assert work(before, "Train", run) == work(edited, "Train", run)
    assert len(aws.called("create_training_job")) == 1


@pytest.mark.parametrize("retries", [0, 1, 9])
def test_editing_retries_of_running_task_starts_no_second_job(
    retries: int, backend: FakeBackend
) -> None:
    aws = backend.sagemaker
    aws.plans["Train"] = Plan(("InProgress", "InProgress", "Completed"))
    dag = build(Pipeline(steps=(training("Train"),)), dag_id=new_id(), retry_delay=timedelta())

    def edit() -> None:
        dag.get_task("Train").retries = retries
        raise ConnectionError("the worker lost its connection")

    aws.before["describe_training_job"] = [lambda: None, lambda: None, edit]
    played = play(dag)
    assert played.state == "success"
    assert len(aws.called("create_training_job")) == 1
    (attempt,) = played.records.attempts(played.execution)
    assert (attempt.state, attempt.number) == ("Succeeded", 0)


def test_cleared_running_task_gets_new_job(
    backend: FakeBackend,
) -> None:
    """Airflow ends its worker and counts another try, but no clear of the task."""
    aws, run = backend.sagemaker, FakeRun()
    aws.plans["Train"] = Plan(("InProgress",), ("Stopped",))
    dag = build(Pipeline(steps=(model("A"), training("Train"))), dag_id="same")
    before = work(dag, "A", run)
    context: Any = {"dag_run": run, "ti": FakeTaskInstance(run, "Train"), "params": {}}
    task = dag.get_task("Train")
    assert isinstance(task, StepOperator)
    driver = prepare(task, context)
    kill = lambda: setattr(driver, "killed", True)  # noqa: E731 - one line per callback
    aws.before["describe_training_job"] = [lambda: None, lambda: None, kill]
    with pytest.raises(StepStopped):
        driver.run()

    run.clear("Train")
    aws.plans["Train"] = Plan()
    assert work(dag, "Train", run, try_number=2) == before
    first, second = aws.called("create_training_job")
    assert first["TrainingJobName"] != second["TrainingJobName"]
    assert len(aws.called("stop_training_job")) == 1
    records = ExecutionRecords(Folder(Path(os.environ["SAGEBRIDGE_RECORDS"])))
    assert (records.execution(before) or {})["started"] == AT.isoformat()
    assert records.steps(before)["Train"].state == "Succeeded"


def arguments(number: int) -> dict[str, Any]:
    return {"ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": f"image-{number}"}}


def test_each_mapped_task_has_its_own_job(backend: FakeBackend) -> None:
    aws = backend.sagemaker
    with DAG(new_id("mapped"), schedule=None) as dag:
        ModelOperator.partial(task_id="Make", retry_delay=timedelta()).expand(
            arguments=[arguments(number) for number in range(3)]
        )
    played = play(dag)
    assert played.state == "success"
    images = [one["PrimaryContainer"]["Image"] for one in aws.called("create_model")]
    assert sorted(images) == ["image-0", "image-1", "image-2"]
    attempts = played.records.attempts(played.execution)
    assert sorted(one.index for one in attempts) == [(0,), (1,), (2,)]
    assert {one.job.name for one in attempts if one.job} == set(aws.jobs)


def test_retried_mapped_task_finds_its_own_job(backend: FakeBackend) -> None:
    aws = backend.sagemaker
    aws.plans["Train"] = Plan(("InProgress", "Completed"))
    request = dict(training("Train").arguments)
    with DAG(new_id("mapped"), schedule=None) as dag:
        TrainingOperator.partial(task_id="Train", retry_delay=timedelta()).expand(
            arguments=[request] * 3
        )
    lost = raises(ConnectionError("the worker lost its connection"))
    aws.before["describe_training_job"] = [lambda: None] * 2 + [lost]
    played = play(dag)
    assert played.state == "success"
    assert len(aws.called("create_training_job")) == 3
    assert {one.number for one in played.records.attempts(played.execution)} == {0}


def test_cleared_task_downstream_of_mapped_task_keeps_execution(backend: FakeBackend) -> None:
    """Only the mapped tasks have the first start."""
    with DAG("same", schedule=None) as dag:
        mapped = ModelOperator.partial(task_id="Make").expand(arguments=[arguments(0)])
        mapped >> ModelOperator(task_id="After", arguments=arguments(1))
    run = FakeRun()
    before = work(dag, "After", run)
    run.xcoms["Make", STARTED] = AT.isoformat()
    run.clear("After")
    assert work(dag, "After", run, max_tries=5) == before
    assert len(set(models(backend.sagemaker))) == 2


PLAY = """
import json, sys
from datetime import datetime
from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.airflow import build
from tests.dagtest import play
from tests.shapes import model, training

steps = (training("Train"), model("Make", after=("Train",)))
options = {"backend": "aws", "aws_conn_id": None, "region_name": "eu-west-1"}
dag = build(Pipeline(steps=steps), dag_id="same", **options)
played = play(dag, at=datetime.fromisoformat(sys.argv[1]))
jobs = {name: step.job.name for name, step in played.steps.items()}
print(json.dumps({"run": played.run_id, "state": played.state, "jobs": jobs}), file=sys.stderr)
"""


def play_elsewhere(home: Path, aws: FaultyAws) -> Any:
    """Runs a DAG in a process with its own Airflow home and records."""
    home.mkdir()
    shutil.copy(migrated(), home / "airflow.db")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("AWS_")
    } | {
        "AIRFLOW_HOME": str(home),
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_ACCESS_KEY_ID": "AKIALOOPBACKONLY",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_EC2_METADATA_DISABLED": "true",
        "SAGEBRIDGE_RECORDS": str(home / "executions"),
    }
    done = subprocess.run(
        [sys.executable, "-c", PLAY, AT.isoformat()],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stderr.splitlines()[-1])


@pytest.mark.timeout(300)
def test_two_airflows_with_same_run_create_separate_jobs(tmp_path: Path) -> None:
    with FaultyAws() as aws:
        found = [play_elsewhere(tmp_path / name, aws) for name in ("one", "two")]
        created = [aws.count("CreateTrainingJob"), aws.count("CreateModel")]
    assert found[0]["run"] == found[1]["run"]
    assert {one["state"] for one in found} == {"success"}
    assert created == [2, 2]
    for step in ("Train", "Make"):
        assert len({one["jobs"][step] for one in found}) == 2


def test_jobs_of_other_executions_are_untouched(backend: FakeBackend) -> None:
    """Even if the job's name contains the same step."""
    aws, dag = backend.sagemaker, build(Pipeline(steps=(training("Train"),)), dag_id="same")
    aws.plans["Train"] = Plan(("InProgress", "Completed"))
    work(dag, "Train", FakeRun())
    (ours,) = aws.jobs
    work(dag, "Train", FakeRun("another"))
    work(dag, "Train", FakeRun(start_date=LATER))
    assert len(aws.jobs) == 3
    assert not aws.called("stop_")
    looked = [request["TrainingJobName"] for request in aws.called("describe_")]
    first = next(position for position, name in enumerate(looked) if name != ours)
    assert ours not in looked[first:]
