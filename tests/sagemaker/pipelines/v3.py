"""Pipelines on version 3 of the SageMaker SDK: each function compiles to a committed definition."""

from __future__ import annotations

import os

os.environ.setdefault("AWS_DEFAULT_REGION", "eu-west-1")  # importing the SDK needs one

import boto3
from sagemaker.core.lambda_helper import Lambda
from sagemaker.core.processing import Processor
from sagemaker.core.shapes import ProcessingOutput, ProcessingS3Output
from sagemaker.core.workflow.conditions import ConditionLessThan
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join, JsonGet
from sagemaker.core.workflow.parameters import ParameterFloat, ParameterString
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow.callback_step import (
    CallbackOutput,
    CallbackOutputTypeEnum,
    CallbackStep,
)
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.emr_serverless_step import EMRServerlessJobConfig, EMRServerlessStep
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.lambda_step import LambdaOutput, LambdaOutputTypeEnum, LambdaStep
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.retry import StepExceptionTypeEnum, StepRetryPolicy
from sagemaker.mlops.workflow.steps import CacheConfig, ProcessingStep

ROLE = "arn:aws:iam::111122223333:role/example"
SESSION = PipelineSession(
    boto_session=boto3.Session(
        aws_access_key_id="none", aws_secret_access_key="none", region_name="eu-west-1"
    ),
    sagemaker_config={
        "SchemaVersion": "1.0",
        "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
    },
)


def lambda_step(name: str, inputs: dict[str, object], *outputs: LambdaOutput) -> LambdaStep:
    function = Lambda(
        function_arn="arn:aws:lambda:eu-west-1:111122223333:function:example", session=SESSION
    )
    return LambdaStep(name, lambda_func=function, inputs=inputs, outputs=list(outputs))


def mixed() -> Pipeline:
    """A condition on a job's report, and a callback for approval."""
    limit = ParameterFloat("Limit", default_value=6.0)
    report = PropertyFile("Report", output_name="report", path="report.json")
    measure = ProcessingStep(
        "Measure",
        step_args=Processor(
            role=ROLE,
            image_uri="111122223333.dkr.ecr.eu-west-1.amazonaws.com/example:1",
            instance_count=1,
            instance_type="ml.m5.large",
            sagemaker_session=SESSION,
        ).run(
            outputs=[
                ProcessingOutput(
                    output_name="report",
                    s3_output=ProcessingS3Output(
                        s3_uri="s3://example/report",
                        local_path="/opt/ml/processing/report",
                        s3_upload_mode="EndOfJob",
                    ),
                )
            ]
        ),
        property_files=[report],
        cache_config=CacheConfig(enable_caching=True, expire_after="P7D"),
    )
    error = JsonGet(step_name=measure.name, property_file=report, json_path="error")
    ask = CallbackStep(
        "Ask",
        sqs_queue_url="https://sqs.eu-west-1.amazonaws.com/111122223333/example",
        inputs={"error": error, "run": ExecutionVariables.PIPELINE_EXECUTION_ARN},
        outputs=[CallbackOutput("Approved", CallbackOutputTypeEnum.Boolean)],
    )
    check = ConditionStep(
        "Check",
        conditions=[ConditionLessThan(error, limit)],
        if_steps=[ask, lambda_step("Report", {"approved": ask.properties.Outputs["Approved"]})],
        else_steps=[FailStep("Refuse", error_message=Join(on=" ", values=["over", limit]))],
    )
    return Pipeline("mixed", [limit], steps=[measure, check], sagemaker_session=SESSION)


def serverless() -> Pipeline:
    """Spark on an existing EMR Serverless application, and on its own application."""
    application = ParameterString("Application")
    job = {"sparkSubmit": {"entryPoint": "s3://example/job.py"}}
    choose = lambda_step("Choose", {}, LambdaOutput("size", LambdaOutputTypeEnum.Integer))
    here = EMRServerlessStep(
        "Here",
        "On an application that exists",
        "d",
        job_config=EMRServerlessJobConfig(
            job_driver={
                "sparkSubmit": {
                    **job["sparkSubmit"],
                    "entryPointArguments": [choose.properties.Outputs["size"].to_string()],
                }
            },
            execution_role_arn=ROLE,
            execution_timeout_minutes=30,
        ),
        application_id=application,
        retry_policies=[StepRetryPolicy([StepExceptionTypeEnum.THROTTLING], max_attempts=2)],
    )
    own = EMRServerlessStep(
        "Own",
        "On a separate application",
        "d",
        job_config=EMRServerlessJobConfig(job_driver=job, execution_role_arn=ROLE, name="own"),
        application_config={"name": "own", "releaseLabel": "emr-7.0.0", "type": "SPARK"},
        depends_on=[here],
        cache_config=CacheConfig(enable_caching=True, expire_after="P1D"),
    )
    return Pipeline(
        "serverless", [application], steps=[choose, here, own], sagemaker_session=SESSION
    )
