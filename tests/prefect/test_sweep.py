"""A sweep in Prefect: what it knows about the flow runs of lost jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sagebridge_operators.lifecycle.attempt import FORMAT
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.opening import open_execution
from sagebridge_operators.lifecycle.records import ExecutionRecords
from tests.attempts import attempt_of
from tests.fakes import FakeBackend, Plan
from tests.lifecycle.conftest import ARGUMENTS

pytestmark = pytest.mark.prefect
UNKNOWN = "00000000-0000-0000-0000-000000000000"


@pytest.mark.usefixtures("server")
def test_ended_flow_run_leaves_no_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A running flow run, or one of another server, keeps its job until its next look is late."""
    from prefect.client.orchestration import get_client
    from prefect.states import Crashed, Running

    from sagebridge_operators.prefect import sweep_flow

    backend = FakeBackend()
    monkeypatch.setattr(sweep_flow, "backend_of", lambda settings: backend)
    monkeypatch.setenv("SAGEBRIDGE_RECORDS", str(tmp_path))
    records = ExecutionRecords(Folder(tmp_path))
    backend.sagemaker.plans["job"] = Plan(("InProgress",), stopping=("Stopped",))
    runs = {"unknown": UNKNOWN}
    with get_client(sync_client=True) as client:
        for name, state in (("running", Running()), ("crashed", Crashed())):
            created = client.create_flow_run(sweep_flow.sweep, name=name)
            client.set_flow_run_state(created.id, state, force=True)
            runs[name] = str(created.id)
    present = datetime.now(UTC)
    for name, run in runs.items():
        body = {
            "format": FORMAT,
            "id": name,
            "engine": "prefect",
            "run": f"nightly/{run}",
            "backend": "fake",
            "started": present.isoformat(),
        }
        open_execution(records, name, body, dict)
        job = f"job-{name}"
        backend.sagemaker.create_training_job(TrainingJobName=job, **ARGUMENTS["Training"])
        next_look = (present + timedelta(hours=1)).isoformat()
        records.save(attempt_of(name, "Train", "Training", job=job, next_look=next_look))

    swept = sweep_flow.sweep()

    assert [(one["execution"], one["job"], one["state"]) for one in swept] == [
        ("crashed", "job-crashed", "Stopped")
    ]
    assert [name for name, job in backend.sagemaker.jobs.items() if job.stops] == ["job-crashed"]
