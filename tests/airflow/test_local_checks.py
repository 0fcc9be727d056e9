"""A quality check on this machine, whose baseline a later step registers, in a DAG."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sagebridge.model.expressions import execution, join, parameter, plain, properties_of
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge_operators.backends.local import LocalBackend
from tests.dagtest import FinishedRun, new_id, play
from tests.local.api_requests import INFERENCE, INSTANCE, ROLE
from tests.local.test_checks import DRIFTS, table

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

OUTPUT = join("/", "s3://bucket/checks", execution.pipeline_execution_id)
CHECK = {
    "RoleArn": ROLE,
    "AppSpecification": {"ImageUri": "0.dkr.ecr.aws.example/sagemaker-model-monitor-analyzer"},
    "ProcessingResources": {"ClusterConfig": INSTANCE},
    "ProcessingInputs": [
        {
            "InputName": "baseline_dataset_input",
            "S3Input": {
                "S3Uri": parameter("Data"),
                "LocalPath": "/opt/ml/processing/input/baseline_dataset_input",
                "S3DataType": "S3Prefix",
                "S3InputMode": "File",
            },
        }
    ],
    "ProcessingOutputConfig": {
        "Outputs": [
            {
                "OutputName": "quality_check_output",
                "S3Output": {
                    "S3Uri": OUTPUT,
                    "LocalPath": "/opt/ml/processing/output",
                    "S3UploadMode": "EndOfJob",
                },
            }
        ]
    },
    "Environment": {
        "output_path": "/opt/ml/processing/output",
        "publish_cloudwatch_metrics": "Disabled",
        "dataset_format": '{"csv": {"header": true, "output_columns_position": "START"}}',
        "dataset_source": "/opt/ml/processing/input/baseline_dataset_input",
    },
}


def pipeline() -> Pipeline:
    baselines = {
        file: {
            "ContentType": "application/json",
            "S3Uri": getattr(properties_of("Check"), f"CalculatedBaseline{file}"),
        }
        for file in ("Constraints", "Statistics")
    }
    check = Step(
        "Check",
        "QualityCheck",
        arguments=plain(CHECK),
        extra=plain(
            {
                "CheckType": "DATA_QUALITY",
                "ModelPackageGroupName": "group",
                "SkipCheck": parameter("First"),
                "RegisterNewBaseline": parameter("First"),
            }
        ),
    )
    register = Step(
        "Register",
        "RegisterModel",
        arguments=plain(
            {
                "ModelPackageGroupName": "group",
                "ModelApprovalStatus": "Approved",
                "InferenceSpecification": INFERENCE,
                "DriftCheckBaselines": {"ModelDataQuality": baselines},
            }
        ),
    )
    parameters = (Parameter("Data", "String"), Parameter("First", "Boolean", default=False))
    return Pipeline(name="checked", parameters=parameters, steps=(check, register))


def test_registered_baseline_passes_its_data_and_finds_each_drift(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sagebridge_operators.airflow import build

    home = tmp_path / "home"
    monkeypatch.setenv("SAGEBRIDGE_BACKEND", "local")
    monkeypatch.setenv("SAGEBRIDGE_HOME", str(home))
    monkeypatch.setenv("SAGEBRIDGE_RECORDS", str(tmp_path / "executions"))
    drifted = table()
    for drift in DRIFTS:
        drifted = drift(drifted)
    for name, data in (("same", table()), ("drifted", drifted)):
        folder = home / "s3/bucket" / name
        folder.mkdir(parents=True)
        data.to_csv(folder / "data.csv", index=False)

    def run(data: str, **parameters: Any) -> FinishedRun:
        dag = build(pipeline(), dag_id=new_id(), retry_delay=timedelta())
        return play(dag, {"Data": f"s3://bucket/{data}", **parameters})

    first = run("same", First=True)
    assert first.states == {"Check": "success", "Register": "success"}
    second = run("same")
    assert second.states == {"Check": "success", "Register": "success"}
    used = second.xcom("Check", "used_constraints")
    assert used == first.xcom("Check", "calculated_constraints")
    assert second.xcom("Check", "calculated_constraints") != used
    sagemaker = LocalBackend(home, tmp_path).client("sagemaker")
    arn = "arn:aws:sagemaker:us-east-1:000000000000:model-package/group/2"
    package = sagemaker.describe_model_package(ModelPackageName=arn)
    registered = package["DriftCheckBaselines"]["ModelDataQuality"]["Constraints"]["S3Uri"]
    assert registered == second.xcom("Check", "calculated_constraints")

    third = run("drifted")

    assert third.states == {"Check": "failed", "Register": "upstream_failed"}
    reason = str(third.xcom("Check", "failure_reason"))
    assert f"DATA_QUALITY found {len(DRIFTS)} violations of the baseline {registered}" in reason
    for feature, check in DRIFTS.values():
        assert f"{feature}: {check} (" in reason
