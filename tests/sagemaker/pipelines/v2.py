"""Pipelines on version 2 of the SageMaker SDK: each function compiles to a committed definition."""

from __future__ import annotations

import boto3
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.lambda_helper import Lambda
from sagemaker.parameter import ContinuousParameter, IntegerParameter
from sagemaker.processing import ProcessingOutput, Processor
from sagemaker.tuner import HyperparameterTuner
from sagemaker.workflow.callback_step import CallbackOutput, CallbackOutputTypeEnum, CallbackStep
from sagemaker.workflow.condition_step import ConditionStep
from sagemaker.workflow.conditions import (
    ConditionEquals,
    ConditionGreaterThan,
    ConditionGreaterThanOrEqualTo,
    ConditionIn,
    ConditionLessThan,
    ConditionNot,
    ConditionOr,
)
from sagemaker.workflow.emr_step import EMRStep, EMRStepConfig
from sagemaker.workflow.execution_variables import ExecutionVariables
from sagemaker.workflow.fail_step import FailStep
from sagemaker.workflow.functions import Join, JsonGet
from sagemaker.workflow.lambda_step import LambdaOutput, LambdaOutputTypeEnum, LambdaStep
from sagemaker.workflow.parameters import (
    ParameterBoolean,
    ParameterFloat,
    ParameterInteger,
    ParameterString,
)
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.pipeline_context import PipelineSession
from sagemaker.workflow.properties import PropertyFile
from sagemaker.workflow.retry import (
    SageMakerJobExceptionTypeEnum,
    SageMakerJobStepRetryPolicy,
    StepExceptionTypeEnum,
    StepRetryPolicy,
)
from sagemaker.workflow.steps import CacheConfig, ProcessingStep, TrainingStep, TuningStep

ROLE = "arn:aws:iam::111122223333:role/example"
IMAGE = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/example:1"
SESSION = PipelineSession(
    boto_session=boto3.Session(
        aws_access_key_id="none", aws_secret_access_key="none", region_name="eu-west-1"
    ),
    sagemaker_config={
        "SchemaVersion": "1.0",
        "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
    },
)
COMMON = {"role": ROLE, "sagemaker_session": SESSION, "instance_type": "ml.m5.large"}


def measure(name: str = "Measure") -> tuple[ProcessingStep, PropertyFile]:
    report = PropertyFile("Report", output_name="report", path="nested/report.json")
    step = ProcessingStep(
        name,
        step_args=Processor(image_uri=IMAGE, instance_count=1, **COMMON).run(
            outputs=[
                ProcessingOutput(
                    output_name="report",
                    source="/opt/ml/processing/report",
                    destination=Join(
                        on="/",
                        values=["s3://example", ExecutionVariables.PIPELINE_EXECUTION_ID, "report"],
                    ),
                )
            ],
        ),
        property_files=[report],
    )
    return step, report


def estimator() -> Estimator:
    return Estimator(image_uri=IMAGE, instance_count=1, output_path="s3://example/models", **COMMON)


def lambda_step(name: str, inputs: dict[str, object], *outputs: LambdaOutput) -> LambdaStep:
    function = Lambda(
        function_arn="arn:aws:lambda:eu-west-1:111122223333:function:example", session=SESSION
    )
    return LambdaStep(name, lambda_func=function, inputs=inputs, outputs=list(outputs))


def conditions() -> Pipeline:
    """Every condition of the SDK, with an else branch."""
    step, report = measure()
    stage = ParameterString("Stage", default_value="dev", enum_values=["dev", "test", "prod"])
    limit = ParameterFloat("Limit", default_value=0.25)
    count = ParameterInteger("Count", default_value=3)
    strict = ParameterBoolean("Strict", default_value=False)
    error = JsonGet(step_name=step.name, property_file=report, json_path="errors[0]['mean']")
    check = ConditionStep(
        "Check",
        conditions=[
            ConditionOr(
                [ConditionLessThan(error, limit), ConditionNot(ConditionEquals(strict, True))]
            ),
            ConditionIn(stage, ["test", "prod"]),
            ConditionGreaterThan(count, 1),
            ConditionGreaterThanOrEqualTo(count, 2.5),
        ],
        if_steps=[lambda_step("Announce", {"error": error.to_string()})],
        else_steps=[FailStep("Refuse", error_message=Join(on=": ", values=["error", error]))],
    )
    return Pipeline(
        "conditions", [stage, limit, count, strict], steps=[step, check], sagemaker_session=SESSION
    )


def outputs() -> Pipeline:
    """Typed outputs of Lambda and Callback steps, and steps that use them."""
    types = LambdaOutputTypeEnum
    ask = lambda_step(
        "Ask",
        {"started": ExecutionVariables.START_DATETIME, "nested": {"list": [1, 2.5, True, None]}},
        LambdaOutput("text", types.String),
        LambdaOutput("whole", types.Integer),
        LambdaOutput("broken", types.Float),
        LambdaOutput("yes", types.Boolean),
    )
    wait = CallbackStep(
        "Wait",
        sqs_queue_url="https://sqs.eu-west-1.amazonaws.com/111122223333/example",
        inputs={"from": ask.properties.Outputs["text"], "count": ask.properties.Outputs["whole"]},
        outputs=[CallbackOutput("answer", CallbackOutputTypeEnum.String)],
        cache_config=CacheConfig(enable_caching=True, expire_after="P1D"),
    )
    use = lambda_step("Use", {"answer": wait.properties.Outputs["answer"]})
    last = lambda_step("Last", {})
    last.add_depends_on([use])
    return Pipeline("outputs", steps=[ask, wait, use, last], sagemaker_session=SESSION)


def retries() -> Pipeline:
    """Retry policies and caching, and an execution without an experiment."""
    step, _ = measure()
    step.cache_config = CacheConfig(enable_caching=True, expire_after="30d")
    step.add_retry_policy(
        StepRetryPolicy(
            exception_types=[StepExceptionTypeEnum.SERVICE_FAULT, StepExceptionTypeEnum.THROTTLING],
            interval_seconds=5,
            backoff_rate=1.5,
            max_attempts=3,
        )
    )
    train = TrainingStep(
        "Train",
        step_args=estimator().fit(
            {
                "train": TrainingInput(
                    step.properties.ProcessingOutputConfig.Outputs["report"].S3Output.S3Uri
                )
            }
        ),
        cache_config=CacheConfig(enable_caching=False),
        retry_policies=[
            SageMakerJobStepRetryPolicy(
                exception_types=[
                    SageMakerJobExceptionTypeEnum.INTERNAL_ERROR,
                    SageMakerJobExceptionTypeEnum.CAPACITY_ERROR,
                ],
                expire_after_mins=90,
            ),
            SageMakerJobStepRetryPolicy(
                exception_types=[SageMakerJobExceptionTypeEnum.RESOURCE_LIMIT], max_attempts=1
            ),
        ],
    )
    return Pipeline(
        "retries",
        steps=[step, train],
        pipeline_experiment_config=None,
        sagemaker_session=SESSION,
    )


def tuning() -> Pipeline:
    """A tuning job with its best and second-best model."""
    tune = TuningStep(
        "Tune",
        step_args=HyperparameterTuner(
            estimator(),
            objective_metric_name="validation:rmse",
            objective_type="Minimize",
            metric_definitions=[{"Name": "validation:rmse", "Regex": "rmse=([0-9.]+)"}],
            hyperparameter_ranges={
                "eta": ContinuousParameter(0.1, 0.5),
                "depth": IntegerParameter(2, 8),
            },
            max_jobs=4,
            max_parallel_jobs=2,
        ).fit({"train": TrainingInput("s3://example/train")}),
    )
    use = lambda_step(
        "Use",
        {
            "best": tune.get_top_model_s3_uri(top_k=0, s3_bucket="example", prefix="models"),
            "second": tune.properties.TrainingJobSummaries[1].TrainingJobName,
        },
    )
    return Pipeline("tuning", steps=[tune, use], sagemaker_session=SESSION)


def emr() -> Pipeline:
    """One step on a running cluster, and one on its own cluster."""
    cluster = ParameterString("Cluster")
    config = EMRStepConfig(
        jar="command-runner.jar",
        args=["spark-submit", Join(on="/", values=["s3://example", cluster])],
        main_class="com.example.Main",
        properties=[{"Key": "size", "Value": "small"}],
    )
    here = EMRStep("Here", "On a running cluster", "d", cluster_id=cluster, step_config=config)
    own = EMRStep(
        "Own",
        "On its own cluster",
        "d",
        cluster_id=None,
        step_config=EMRStepConfig(jar="s3://example/job.jar", args=[here.properties.Status.State]),
        cluster_config={
            "ReleaseLabel": "emr-7.0.0",
            "ServiceRole": "emr",
            "JobFlowRole": "ec2",
            "Instances": {
                "InstanceGroups": [
                    {"InstanceRole": "MASTER", "InstanceCount": 1, "InstanceType": "m5.xlarge"}
                ]
            },
        },
        depends_on=[here],
        cache_config=CacheConfig(enable_caching=True, expire_after="PT12H"),
    )
    return Pipeline("emr", [cluster], steps=[here, own], sagemaker_session=SESSION)
