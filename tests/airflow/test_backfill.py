"""The hand-written DAG of the docs in a running Airflow: a backfill of three days."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import sagebridge
from tests.airflow.test_hand_written import AGES, page_dag
from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.server import FaultyAws
from tests.kills.on_airflow import KilledAirflow, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
DAG = "nightly_ages"
DAYS = ["2026-01-01", "2026-01-02", "2026-01-03"]


class BackfilledAirflow(KilledAirflow):
    """An Airflow with the definition of the DAG next to it."""

    def prepare(self) -> None:
        super().prepare()
        definition = sagebridge.write(AGES, "sagemaker").text
        (self.home / "dags" / "ages.json").write_text(definition)

    def backfill(self, days: list[str]) -> dict[str, Any]:
        """Starts a backfill; returns it."""
        found: dict[str, Any] = self.api._request(
            "POST",
            "/api/v2/backfills",
            {
                "dag_id": DAG,
                "from_date": f"{days[0]}T00:00:00Z",
                "to_date": f"{days[-1]}T00:00:00Z",
                "max_active_runs": len(days),
                "dag_run_conf": {},
            },
        )
        return found

    def runs(self) -> dict[str, str]:
        """The state of each run of the backfill, by its id."""
        found = self.api._request("GET", f"/api/v2/dags/{DAG}/dagRuns?run_type=backfill")
        return {one["dag_run_id"]: one["state"] for one in found["dag_runs"]}


def test_backfill_runs_a_job_for_each_day_and_index(tmp_path: Path) -> None:
    text = page_dag().replace("datetime(2027,", "datetime(2026,").replace("minutes=1", "seconds=1")
    failed = JobScript(
        name="*-clean-*-0",
        statuses=("InProgress", "Failed"),
        members={"FailureReason": "no data"},
    )
    with FaultyAws() as aws:
        aws.add_scripts(JobScript(), failed)
        with BackfilledAirflow(tmp_path, aws, deferred=False, dags={DAG: text}) as airflow:
            eventually(lambda: airflow.api.dag_file(DAG), "the DAG is parsed")
            assert not airflow.api.import_errors()
            airflow.api._request("PATCH", f"/api/v2/dags/{DAG}", {"is_paused": False})
            eventually(lambda: airflow.backfill(DAYS), "the backfill starts")
            ended = eventually(
                lambda: [*airflow.runs().values()] == ["success"] * 3, "the runs end", 700
            )
            assert ended
            runs = [f"{DAG}/{one}" for one in airflow.runs()]  # another one is that of the schedule
            known = {one: airflow.records.execution(one) or {} for one in airflow.records.ids()}
            own = [one for one, body in known.items() if body["run"] in runs]
            sent, models = (
                [one for one in aws.requests(call) if one.done and one.name.split("-")[1] in own]
                for call in ("CreateProcessingJob", "CreateModel")
            )
            names = [name for one in own for name in _jobs(airflow, one)]
    assert len({one.name for one in sent}) == len(sent), [one.name for one in sent]
    arguments = sorted(one.members["AppSpecification"]["ContainerArguments"][-1] for one in sent)
    # The first job of `clean` fails on each day, and is started again.
    assert arguments == sorted([*DAYS * 2, *(["ada", "bob", "fish", "shell"] * 3)])
    containers = [one.members.get("Containers", [{}])[0] for one in models]
    data = sorted(one["ModelDataUrl"] for one in containers if "ModelDataUrl" in one)
    assert data == [f"s3://my-bucket/{day}/ages.csv" for day in DAYS]
    assert len(names) == len(set(names)) == 24


def _jobs(airflow: BackfilledAirflow, execution: str) -> list[str]:
    current = airflow.records.current(execution)
    return [one.job.name for one in current if one.job is not None]
