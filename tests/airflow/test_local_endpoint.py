"""A pipeline on this machine that trains a model, deploys it and transforms data with it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from sagebridge.model.expressions import plain, properties_of
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge_operators.backends.local import LocalBackend
from sagebridge_operators.commands.execution_view import ExecutionReader
from sagebridge_operators.launch.workdir import Workdir
from tests.dagtest import new_id, play
from tests.local.models import IMAGE
from tests.shapes import ROLE

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


def pipeline() -> Pipeline:
    train = {
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "HyperParameters": {"num_round": "20", "objective": "reg:squarederror"},
        "InputDataConfig": [
            {
                "ChannelName": "train",
                "ContentType": "text/csv",
                "DataSource": {
                    "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/train"}
                },
            }
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/models"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }
    model = {
        "ExecutionRoleArn": ROLE,
        "PrimaryContainer": {
            "Image": IMAGE,
            "ModelDataUrl": properties_of("Train").ModelArtifacts.S3ModelArtifacts,
        },
    }
    name = properties_of("Model").ModelName
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": name,
        "InitialInstanceCount": 1,
        "InstanceType": "ml.m5.large",
    }
    transform = {
        "ModelName": name,
        "TransformInput": {
            "ContentType": "text/csv",
            "DataSource": {
                "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/batch"}
            },
        },
        "TransformOutput": {"S3OutputPath": "s3://bucket/out"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }
    endpoint = {
        "EndpointName": "deployed",
        "EndpointConfigName": properties_of("Config").EndpointConfigName,
    }
    steps = (
        Step("Train", "Training", arguments=plain(train)),
        Step("Model", "Model", arguments=plain(model)),
        Step("Batch", "Transform", arguments=plain(transform)),
        Step("Config", "EndpointConfig", arguments=plain({"ProductionVariants": [variant]})),
        Step("Endpoint", "Endpoint", arguments=plain(endpoint)),
    )
    return Pipeline(name="deployed", steps=steps)


def test_endpoint_outlives_the_run_and_predicts_as_the_transform_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from sagebridge_operators.airflow import build

    home = tmp_path / "home"
    monkeypatch.setenv("SAGEBRIDGE_BACKEND", "local")
    monkeypatch.setenv("SAGEBRIDGE_HOME", str(home))
    monkeypatch.setenv("SAGEBRIDGE_RECORDS", str(tmp_path / "executions"))
    features = np.random.default_rng(0).random((100, 3)).round(3)
    for name, rows in {
        "train": np.column_stack([features.sum(1), features]),
        "batch": features[:5],
    }.items():
        (folder := home / "s3/bucket" / name).mkdir(parents=True)
        np.savetxt(folder / "data.csv", rows, "%g", delimiter=",")
    played = play(build(pipeline(), dag_id=new_id(), retry_delay=timedelta()))
    try:
        assert set(played.states.values()) == {"success"}, played.states
        backend = LocalBackend(home, tmp_path)
        answer = backend.client("sagemaker-runtime").invoke_endpoint(
            EndpointName="deployed",
            ContentType="text/csv",
            Body=(home / "s3/bucket/batch/data.csv").read_bytes(),
        )
        expected = backend.read_object("s3://bucket/out/data.csv.out").decode().split()
        assert answer["Body"].read().decode().split(",") == expected
        (shown,) = (
            step.made
            for step in ExecutionReader(Workdir.of(home, "local")).view(played.execution).steps
            if step.name == "Endpoint"
        )
        assert f"curl --config {home}/endpoints/deployed.curl" in shown["call"]
        assert "endpoint deployed answers at http://127.0.0.1:" in capfd.readouterr().out
    finally:
        backend = LocalBackend(home, tmp_path)
        backend.client("sagemaker").delete_endpoint(EndpointName="deployed")
        backend.client("sagemaker").get_waiter("endpoint_deleted").wait(
            EndpointName="deployed", WaiterConfig={"Delay": 1}
        )
