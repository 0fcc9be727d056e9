"""A sweep in Airflow: what it knows about the tasks of lost jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import DAG

from sagebridge_operators.airflow import SweepOperator
from sagebridge_operators.airflow.sweep_operator import watched_by
from sagebridge_operators.lifecycle.attempt import FORMAT, Attempt
from sagebridge_operators.lifecycle.opening import open_execution
from sagebridge_operators.lifecycle.records import ExecutionRecords
from tests.attempts import attempt_of
from tests.dagtest import new_id, play
from tests.fakes import FakeBackend, Plan
from tests.lifecycle.conftest import ARGUMENTS

pytestmark = pytest.mark.airflow
STARTED = "2026-11-21T05:43:00+00:00"
BODY = {"engine": "airflow", "run": "nightly/manual__1/a", "started": STARTED, "backend": "aws"}


@dataclass
class FakeTaskInstance:
    """What a task can ask about the tasks of other runs."""

    states: Mapping[str, str | None]
    started: str | None = STARTED
    asked: list[Mapping[str, Any]] = field(default_factory=list)

    def get_task_states(self, dag_id: str, run_ids: list[str]) -> dict[str, Any]:
        assert (dag_id, run_ids) == ("nightly", ["manual__1/a"])
        return {run_ids[0]: dict(self.states)} if self.states else {}

    def xcom_pull(self, **where: Any) -> Any:
        self.asked.append(where)
        return self.started


def attempt(**more: Any) -> Attempt:
    return attempt_of("0123456789ab", "Train", settings={"task_id": "group.Train"}, **more)


@pytest.mark.parametrize(
    ("state", "watched"),
    [
        ("deferred", True),
        ("running", True),
        ("up_for_retry", True),
        ("failed", False),
        ("success", False),
        ("upstream_failed", False),
        (None, None),
    ],
)
def test_state_of_the_task_decides(state: str | None, watched: bool | None) -> None:
    ti = FakeTaskInstance({"group.Train": state, "group.Train_3": "failed"})
    assert watched_by(ti)(BODY, attempt()) is watched


def test_mapped_task_has_its_index() -> None:
    ti = FakeTaskInstance({"group.Train_3": "failed", "group.Train_4": "running"})
    assert watched_by(ti)(BODY, attempt(index=(3,))) is False
    assert watched_by(ti)(BODY, attempt(index=(4,))) is True
    assert [one["map_indexes"] for one in ti.asked] == [3, 4]


@pytest.mark.parametrize(
    "ti",
    [
        FakeTaskInstance({}),
        FakeTaskInstance({"group.Train": "failed"}, started=None),
        FakeTaskInstance({"group.Train": "failed"}, started="2026-11-22T00:00:00+00:00"),
    ],
)
def test_run_of_another_airflow_is_unknown(ti: FakeTaskInstance) -> None:
    """Both may use the same records, DAG ids and run ids."""
    assert watched_by(ti)(BODY, attempt()) is None


def test_other_engines_are_unknown() -> None:
    ti = FakeTaskInstance({"group.Train": "failed"})
    assert watched_by(ti)({**BODY, "engine": "prefect"}, attempt()) is None


def test_operator_stops_lost_jobs(backend: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    from sagebridge_operators.backends import open_records

    records: ExecutionRecords = open_records(backend)
    started = datetime.now(UTC).isoformat()
    body = {**BODY, "format": FORMAT, "id": "e", "started": started, "backend": "fake"}
    open_execution(records, "e", body, dict)
    past = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    backend.sagemaker.plans["lost"] = Plan(("InProgress",), stopping=("Stopped",))
    backend.sagemaker.create_training_job(TrainingJobName="lost", **ARGUMENTS["Training"])
    records.save(attempt_of("e", "Train", "Training", job="lost", next_look=past))
    with DAG(new_id(), schedule=None) as dag:
        SweepOperator(task_id="sweep")

    played = play(dag)

    assert played.state == "success"
    (row,) = played.xcom("sweep")
    assert (row["step"], row["job"], row["state"]) == ("Train", "lost", "Stopped")
    assert backend.sagemaker.jobs["lost"].stops == 1
