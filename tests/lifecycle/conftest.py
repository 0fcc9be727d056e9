"""Runs steps against the fake SageMaker and reads their records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sagebridge.model.expressions import (
    plain,
)
from sagebridge.model.pipeline import Step
from sagebridge.model.step_settings import OutputParameter
from sagebridge_operators.lifecycle import advance, drive
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.execution import Execution
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_task import StepTask
from sagebridge_operators.steps import JOB_TYPES
from tests.fakes import STARTED, FakeBackend, FakeSageMaker

EXECUTION = Execution("0123456789ab", "abalone", "airflow", "dag/run", STARTED, {"Rate": 0.2})
ROLE = "arn:aws:iam::111122223333:role/r"
ARGUMENTS: dict[str, dict[str, Any]] = {
    "Processing": {
        "RoleArn": ROLE,
        "AppSpecification": {"ImageUri": "image"},
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceCount": 1,
                "InstanceType": "ml.m5.large",
                "VolumeSizeInGB": 1,
            }
        },
    },
    "Training": {
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/model"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    },
    "Transform": {
        "ModelName": "model",
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/x"}}
        },
        "TransformOutput": {"S3OutputPath": "s3://b/y"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    },
    "Tuning": {
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "auc"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 1},
        },
        "TrainingJobDefinition": {
            "RoleArn": ROLE,
            "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
            "OutputDataConfig": {"S3OutputPath": "s3://bucket/model"},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        },
    },
    "AutoML": {
        "RoleArn": ROLE,
        "InputDataConfig": [
            {
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/x"}},
                "TargetAttributeName": "y",
            }
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://b/y"},
    },
    "Job": {
        "RoleArn": ROLE,
        "JobCategory": "AgentRFT",
        "JobConfigSchemaVersion": "1.0.0",
        "JobConfigDocument": '{"OutputDataConfig": {"S3OutputPath": "s3://b/y"}}',
    },
    "EndpointConfig": {
        "ProductionVariants": [
            {"VariantName": "all", "ModelName": "model", "InstanceType": "ml.m5.large"}
        ]
    },
    "Endpoint": {"EndpointName": "endpoint", "EndpointConfigName": "config"},
    "InferenceComponent": {
        "InferenceComponentName": "component",
        "EndpointName": "endpoint",
        "VariantName": "all",
        "Specification": {"ModelName": "model"},
        "RuntimeConfig": {"CopyCount": 1},
    },
    "Lineage": {
        "Actions": [
            {"ActionName": "run", "ActionType": "Training", "Source": {"SourceUri": "s3://b/run"}}
        ],
        "Artifacts": [{"ArtifactType": "Model", "Source": {"SourceUri": "s3://b/model"}}],
        "Contexts": [
            {"ContextName": "shop", "ContextType": "Project", "Source": {"SourceUri": "s3://b"}}
        ],
        "Associations": [
            {
                "Source": {"Name": "run", "Type": "Action"},
                "Destination": {"Name": "shop", "Type": "Context"},
            }
        ],
    },
    "Model": {"ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": "image"}},
    "RegisterModel": {"ModelPackageGroupName": "group"},
    "Lambda": {"Place": "s3://bucket/out"},
    "Callback": {"Place": "s3://bucket/out"},
    "EMRServerless": {
        "ApplicationId": "app",
        "ExecutionRoleArn": ROLE,
        "JobConfig": {"jobDriver": {"sparkSubmit": {"entryPoint": "s3://bucket/job.py"}}},
    },
    "EMR": {
        "ClusterId": "j-1",
        "StepConfig": {"HadoopJarStep": {"Jar": "s3://bucket/job.jar"}},
    },
}
for _check in ("ClarifyCheck", "QualityCheck"):
    _s3 = {"S3Uri": "s3://bucket/checks", "LocalPath": "/opt/ml", "S3UploadMode": "EndOfJob"}
    _outputs = {"Outputs": [{"OutputName": "results", "S3Output": _s3}]}
    ARGUMENTS[_check] = {**ARGUMENTS["Processing"], "ProcessingOutputConfig": _outputs}
_FLAGS = {"SkipCheck": True, "RegisterNewBaseline": True}
MORE: dict[str, dict[str, Any]] = {
    "Callback": {
        "extra": {"SqsQueueUrl": "https://sqs/111122223333/callbacks"},
        "output_parameters": [OutputParameter("Place")],
    },
    "Lambda": {
        "extra": {"FunctionArn": "function"},
        "output_parameters": [OutputParameter("Place")],
    },
    "ClarifyCheck": {"extra": plain({"CheckType": "DATA_BIAS", **_FLAGS})},
    "QualityCheck": {"extra": plain({"CheckType": "DATA_QUALITY", **_FLAGS})},
}
"""Further arguments of Step, by type."""
STOPPABLE = {name for name, job in JOB_TYPES.items() if job.stop and job.service == "sagemaker"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits for no outage; a missing job has disappeared at once."""
    monkeypatch.setattr(drive, "PATIENCE", 0.0)
    monkeypatch.setattr(advance, "UNSEEN_FOR", timedelta())


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def aws(backend: FakeBackend) -> FakeSageMaker:
    return backend.sagemaker


@pytest.fixture
def records(tmp_path: Path) -> ExecutionRecords:
    return ExecutionRecords(Folder(tmp_path))


@pytest.fixture
def record(records: ExecutionRecords) -> Callable[..., Attempt]:
    def find(name: str = "Train") -> Attempt:
        return records.steps(EXECUTION.id)[name]

    return find


Make = Callable[..., StepDriver]
Find = Callable[..., Attempt]


@pytest.fixture
def make(backend: FakeBackend, records: ExecutionRecords) -> Make:
    def build(
        step: Step | str = "Training", upstream: Any = None, name: str = "Train", **more: Any
    ) -> StepDriver:
        if isinstance(step, str):
            step = Step(name, step, arguments=plain(ARGUMENTS[step]), **MORE.get(step, {}))
        given: Mapping[str, Any] = upstream or {}
        return StepDriver(StepTask(step, EXECUTION, backend, records, given.get, **more))

    return build


def training(**arguments: Any) -> Step:
    return Step("Train", "Training", arguments=plain({**ARGUMENTS["Training"], **arguments}))
