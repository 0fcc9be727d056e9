"""Artifacts of a flow run: links, tables of steps and metrics."""

from __future__ import annotations

from typing import Any

import pytest

from sagebridge.formats.prefect.writer import write
from sagebridge.model.expressions import plain
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge.model.step_settings import CacheConfig, PropertyFile
from tests.fakes import FakeBackend, FakeSageMaker, Plan
from tests.prefect.conftest import FinishedRun, Run, flow_of
from tests.shapes import ROLE, TRUE, branch, fail, model, training

pytestmark = pytest.mark.prefect


def _artifacts(played: FinishedRun) -> list[Any]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[played.run.id]))
    with get_client(sync_client=True) as client:
        return list(client.read_artifacts(artifact_filter=of_run))


def test_link_artifacts_of_a_job(run: Run, backend: FakeBackend, aws: FakeSageMaker) -> None:
    backend.name = "aws"
    aws.plans["Bad"] = Plan(("InProgress", "Failed"))
    played = run(training("Bad"))
    (job,) = aws.jobs
    found = {one.key: str(one.data) for one in _artifacts(played)}
    assert f"#/jobs/{job}" in found["bad-sagemaker-console"]
    assert f"logStreamNameFilter$3D{job}".lower() in found["bad-cloudwatch-log"].lower()
    assert f"{job}%2F" in found["bad-s3-output"]


def test_artifacts_show_steps_and_metrics(run: Run, backend: FakeBackend) -> None:
    report = Step(
        "Evaluate",
        "Processing",
        arguments=plain(
            {
                "RoleArn": ROLE,
                "AppSpecification": {"ImageUri": "i"},
                "ProcessingResources": {
                    "ClusterConfig": {
                        "InstanceCount": 1,
                        "InstanceType": "ml.m5.large",
                        "VolumeSizeInGB": 1,
                    }
                },
                "ProcessingOutputConfig": {
                    "Outputs": [
                        {
                            "OutputName": "o",
                            "S3Output": {
                                "S3Uri": "s3://b/o",
                                "LocalPath": "/opt/ml/processing/o",
                                "S3UploadMode": "EndOfJob",
                            },
                        }
                    ]
                },
            }
        ),
        property_files=(PropertyFile("Report", "o", "r.json"),),
    )
    backend.objects["s3://b/o/r.json"] = b'{"regression_metrics": {"mse": {"value": 4.5}}}'
    played = run(report, branch("Check", TRUE, model("Yes"), otherwise=(fail("No"),)))
    artifacts = {one.type: one.data for one in _artifacts(played) if one.key != "check-condition"}
    assert '"Step": "No"' in artifacts["table"]
    assert "Skipped" in artifacts["table"]
    assert "| regression\\_metrics.mse.value | 4.5 |" in artifacts["markdown"]
    assert "Succeeded" in artifacts["markdown"]


def test_cached_step_is_shown(play: Run, aws: FakeSageMaker) -> None:
    step = training("A", cache_config=CacheConfig(True, "P1D"))
    pipeline = Pipeline(steps=(step, model("B", after=("A",))), name="cached")
    first, second = (play(flow_of(write(pipeline)[0])) for _ in range(2))
    assert first.states == {"A": "Completed", "B": "Completed"}
    assert second.states == {"A": "Cached", "B": "Completed"}
    source = f"{first.id}/A"
    assert second.messages["A"] == f"the job of {source} is reused"
    assert len(aws.called("create_training_job")) == 1
    data = [str(one.data) for one in _artifacts(second)]
    assert any(f"Succeeded (cached from {source})" in one for one in data)
