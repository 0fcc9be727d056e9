"""Retries, a lost worker and clears of a task, with Airflow's own scheduler."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("airflow")

from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.server import FaultyAws
from tests.kills.on_airflow import DAG, KilledAirflow, eventually

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(600)]
RUN = "run"


class RetryingAirflow(KilledAirflow):
    """Its DAG has ``retries=2`` in default_args."""

    def prepare(self) -> None:
        super().prepare()
        file = self.home / "dags" / f"{DAG}.py"
        text = file.read_text()
        assert "dag_id=path.stem" in text
        more = "dag_id=path.stem, retries=2, retry_delay=1"
        file.write_text(text.replace("dag_id=path.stem", more))

    def clear(self) -> str:
        """Clears the task; returns the final state of the run."""
        body = {"dry_run": False, "dag_run_id": RUN, "task_ids": ["Train"], "only_failed": False}
        self.patiently(
            lambda: self.api._request("POST", f"/api/v2/dags/{DAG}/clearTaskInstances", body)
        )
        return self.finish(RUN)


def test_retries_count_failed_jobs_and_clears_start_new_ones(tmp_path: Path) -> None:
    with FaultyAws() as aws, RetryingAirflow(tmp_path, aws, deferred=False) as airflow:
        aws.add_scripts(
            JobScript(
                statuses=("InProgress", "Failed"), seconds=8, members={"FailureReason": "Bad data"}
            )
        )
        airflow.start(RUN)
        eventually(lambda: aws.count("CreateTrainingJob") == 2, "the first retry")
        assert eventually(lambda: airflow.kill_one("task", RUN), "the task is killed")
        assert airflow.finish(RUN) == "Failed"
        attempts = sorted(airflow.attempts(RUN), key=lambda one: one.order)
        assert [(one.tries, one.state) for one in attempts] == [
            (0, "Failed"),
            (1, "Failed"),
            (2, "Failed"),
        ]
        task = airflow.task(RUN)
        assert (task["try_number"], task["max_tries"]) == (4, 4)
        assert aws.count("CreateTrainingJob") == 3

        aws.add_scripts(JobScript(seconds=0.5))
        assert [airflow.clear(), airflow.clear()] == ["Succeeded"] * 2
        names = [one.name for one in aws.requests("CreateTrainingJob")]
        assert len(names) == len(set(names)) == 5
        assert len({one.execution for one in airflow.attempts(RUN)}) == 1
