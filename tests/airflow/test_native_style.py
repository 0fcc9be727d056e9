"""DAGs of the Amazon provider's operators, as ``--style native`` writes them, on the fake AWS."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import sagebridge
from tests.dagtest import FinishedRun, play, run_id
from tests.faulty_aws.fault_rules import FaultRule
from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.server import FaultyAws

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(300)]

REPOSITORY = Path(__file__).parents[2]
ABALONE = REPOSITORY / "pipelines" / "abalone" / "definition.json"
AT = datetime(2026, 11, 28, 6, tzinfo=UTC)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FaultyAws]:
    monkeypatch.setenv("SAGEBRIDGE_RECORDS", str(tmp_path))  # of FinishedRun; a native DAG has none
    with FaultyAws() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server


def native_dag(name: str) -> Any:
    """The native DAG of the example, with operators that wait a moment instead of 30 seconds."""
    text = sagebridge.translate(ABALONE, "airflow", document="native", name=name).text
    assert "sagebridge_operators" not in text
    namespace: dict[str, Any] = {}
    exec(compile(text, "native.py", "exec"), namespace)
    dag = next(one.dag for one in namespace.values() if hasattr(one, "task_id"))
    for task in dag.tasks:
        if hasattr(task, "check_interval"):
            task.check_interval = 0.1
    return dag


def run(aws: FaultyAws, name: str, mse: float, at: datetime) -> FinishedRun:
    """One run, in which each job ends at once; its S3 objects are there from the start."""
    bucket = "s3://sagebridge-abalone"
    folder = f"{bucket}/executions/{run_id(at)}"
    aws.put_json(
        {
            f"{folder}/evaluation/evaluation.json": {"regression_metrics": {"mse": {"value": mse}}},
            **{f"{folder}/{name}/part": {} for name in ("train", "validation", "test")},
            f"{bucket}/data/abalone-dataset.csv": {},
            f"{bucket}/data/abalone-dataset-batch.csv": {},
        }
    )
    aws.add_scripts(JobScript(statuses=("Completed",)))
    return play(native_dag(name), at=at)


def test_native_dag_registers_and_deploys_through_faults(aws: FaultyAws) -> None:
    aws.add_faults(
        FaultRule(fault="throttle", operation="Describe*", times=2),
        FaultRule(fault="drop", operation="CreateTrainingJob", times=1),
    )
    done = run(aws, "native", 2.5, AT)

    assert done.state == "success"
    assert done.states.pop("AbaloneMSEFail") == "skipped"
    kinds = ("ProcessingJob", "TrainingJob", "Model", "ModelPackage", "TransformJob")
    assert [len(aws.resources(kind)) for kind in kinds] == [2, 1, 1, 1, 1]
    assert aws.count("CreateModelPackage") == aws.count("CreateModelPackageGroup") == 1


def test_native_dag_fails_with_the_message_of_the_pipeline(aws: FaultyAws) -> None:
    done = run(aws, "native-fail", 9.5, AT + timedelta(hours=1))

    assert done.state == "failed"
    assert done.states["AbaloneMSEFail"] == "failed"
    assert done.states["AbaloneTransform"] == "skipped"
    assert aws.resources("Model*") == []
