"""Parts of the pipelines on version 3.27 of the SageMaker SDK."""

from __future__ import annotations

import os

os.environ.setdefault("AWS_DEFAULT_REGION", "eu-west-1")  # importing the SDK needs one

from collections.abc import Mapping
from typing import Any

import boto3
from sagemaker.core.lambda_helper import Lambda
from sagemaker.core.workflow.pipeline_context import (
    PipelineSession,
    _ModelStepArguments,
    _StepArguments,
)
from sagemaker.core.workflow.properties import Properties
from sagemaker.mlops.workflow.lambda_step import LambdaOutput, LambdaStep
from sagemaker.mlops.workflow.model_step import ModelStep
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.steps import ProcessingStep, Step, TrainingStep

ROLE = "arn:aws:iam::111122223333:role/example"
IMAGE = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/example:1"
SESSION = PipelineSession(
    boto_session=boto3.Session(
        aws_access_key_id="none", aws_secret_access_key="none", region_name="eu-west-1"
    ),
    default_bucket="example",
    sagemaker_config={
        "SchemaVersion": "1.0",
        "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
    },
)
Request = Mapping[str, Any]
_CLUSTER = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}


class CapturedRequest:
    """Gives a step its request as the SDK's job classes do; some of those need a service."""

    def __init__(self, caller: str, request: Request) -> None:
        self.sagemaker_session = SESSION
        self.source_code = None
        self.caller = caller
        self.request = dict(request)

    def hand_over(self) -> None:
        SESSION._intercept_create_request(dict(self.request), None, self.caller)

    def step_args(self) -> _StepArguments:
        return _StepArguments(self.caller, CapturedRequest.hand_over, self)


def captured(caller: str, request: Request) -> _StepArguments:
    return CapturedRequest(caller, request).step_args()


def processing(
    name: str, arguments: list[Any] | None = None, folder: Any = "s3://example/out", **more: Any
) -> ProcessingStep:
    """A Processing step with the output ``out``."""
    output = {"S3Uri": folder, "LocalPath": "/opt/ml/processing/out", "S3UploadMode": "EndOfJob"}
    container = {"ContainerArguments": arguments} if arguments else {}
    request = {
        "ProcessingJobName": "none",
        "RoleArn": ROLE,
        "AppSpecification": {"ImageUri": IMAGE, **container},
        "ProcessingResources": {"ClusterConfig": _CLUSTER},
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "out", "S3Output": output}]},
    }
    return ProcessingStep(name, step_args=captured("run", request), **more)


def training(
    name: str, data: Any = "s3://example/data", depth: Any = "5", **more: Any
) -> TrainingStep:
    source = {"S3DataType": "S3Prefix", "S3Uri": data}
    request = {
        "TrainingJobName": "none",
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "HyperParameters": {"max_depth": depth},
        "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
        "OutputDataConfig": {"S3OutputPath": "s3://example/models"},
        "ResourceConfig": _CLUSTER,
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    }
    return TrainingStep(name, step_args=captured("train", request), **more)


def model(name: str, data: Any, **more: Any) -> ModelStep:
    step_args = _ModelStepArguments(CapturedRequest("create_model", {}))
    container = {"Image": IMAGE, "ModelDataUrl": data, "Environment": {}}
    step_args.create_model_request = {
        "ModelName": "none",
        "ExecutionRoleArn": ROLE,
        "PrimaryContainer": container,
    }
    step_args.caller_name = "create_model"
    return ModelStep(name, step_args=step_args, **more)


def lambda_step(
    name: str, inputs: dict[str, Any] | None = None, *outputs: LambdaOutput, **more: Any
) -> LambdaStep:
    function = Lambda(
        function_arn="arn:aws:lambda:eu-west-1:111122223333:function:example", session=SESSION
    )
    return LambdaStep(name, function, inputs=inputs or {}, outputs=list(outputs), **more)


def out_of(step: ProcessingStep) -> Properties:
    """The S3 URI of the output ``out``."""
    return step.properties.ProcessingOutputConfig.Outputs["out"].S3Output.S3Uri


def pipeline(name: str, parameters: list[Any], *steps: Step) -> Pipeline:
    return Pipeline(name, parameters, steps=list(steps), sagemaker_session=SESSION)
