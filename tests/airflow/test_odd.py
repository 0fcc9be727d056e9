"""Odd names and strings under Airflow are neither executed nor rendered."""

from __future__ import annotations

from typing import Any

import pytest

import sagebridge
from tests import odd
from tests.dagtest import play
from tests.fakes import FakeBackend

pytestmark = pytest.mark.airflow


@pytest.mark.parametrize("failing", [False, True])
def test_odd_values_reach_aws_unchanged(failing: bool, backend: FakeBackend) -> None:
    pipeline = sagebridge.read(odd.request(failing=failing), name=f"odd-{failing}").pipeline
    names: dict[str, Any] = {}
    exec(compile(sagebridge.write(pipeline, "airflow").text, "generated.py", "exec"), names)
    dag = next(one.dag for one in names.values() if hasattr(one, "task_id"))
    assert dag.description == pipeline.description
    for step in odd.NAMES:
        task = dag.get_task(step)
        assert (task.doc_md, task.task_display_name) == (
            task.step.description,
            task.step.display_name,
        )
    played = play(dag)
    jobs = {step: one.job.name for step, one in played.steps.items() if one.job}
    odd.check_requests(backend.sagemaker.called("create_model"), jobs)
    assert set(jobs) == (set(odd.NAMES[:-1]) if failing else set(odd.NAMES))
    assert played.state == ("failed" if failing else "success")
    if failing:
        assert played.xcom("Stop", "failure_reason") == odd.FAILING
