"""One step of each job type: its arguments, what refers to it, and how the service answers.

A new job type needs a row here and, if the fake AWS does not have it yet, one in
``tests/faulty_aws/sagemaker_kinds.py``. Everything else follows from its ``JobType``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sagebridge.model.expressions import execution, join, parameter, plain, properties_of
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import Step
from sagebridge.model.step_settings import OutputParameter
from sagebridge.model.values import Value
from sagebridge_operators.steps import JOB_TYPES
from sagebridge_operators.steps.job_type import JobType
from tests.fakes import operations

ROLE = "arn:aws:iam::111122223333:role/sagebridge"
REASON = "AlgorithmError: exit code 7"
TEXT = Parameter("Text", "String", "a text")
_FOLDER = join("/", "s3://bucket", execution.pipeline_execution_id, "out")
_ENVIRONMENT = {"TEXT": parameter("Text")}
_RUN = join("-", "run", execution.pipeline_execution_id)
_SHORT = "pip*"
"""Names of at most 32 characters do not have the name of the step."""
_CLUSTER = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A step of one type, named after it.

    Args:
        arguments: its ``Arguments``, with expressions.
        refers: the property that a later step refers to, below ``Steps.<name>``.
        outputs: its main outputs; ``{job}`` is the name of its job, ``{execution}`` the id.
        kind: the kind of resource, as the faulty AWS names it.
        resource: a glob for the name of its resource; the default is our name for it.
        job: the job in messages and outputs; ``{}`` is the name of its resource.
        failed, stopped: the words for these ends in messages.
        own: its other keys and output parameters, as arguments of Step.
        attempts: the attempts at one call inside botocore (``config_of`` in backends/aws.py).
        objects: the JSON objects that it finds in S3, by URI.
        names: a glob for our name, if the name of the step is not part of it.
        failure: members of the description of a failed job, with the reason ``REASON``.
    """

    type: str
    arguments: Mapping[str, Any]
    refers: str
    outputs: Mapping[str, Any]
    kind: str
    resource: str = ""
    job: str = "{}"
    failed: str = "Failed"
    stopped: str = "Stopped"
    own: Mapping[str, Any] = field(default_factory=dict)
    attempts: int = 4
    objects: Mapping[str, Any] = field(default_factory=dict)
    names: str = ""
    failure: Mapping[str, Any] = field(default_factory=lambda: {"FailureReason": REASON})

    @property
    def job_type(self) -> JobType:
        return JOB_TYPES[self.type]

    @property
    def glob(self) -> str:
        return self.resource or self.names or f"*-{self.type}-*"

    def nth(self, number: int) -> str:
        """A glob for the name of the job of attempt ``number``, from 0."""
        return f"group/{number + 1}" if self.resource else f"{self.glob}-{number}"

    @property
    def updates(self) -> str:
        """The operation that updates a resource that exists; empty if each step makes its own."""
        update = getattr(self.job_type, "update", "")
        return operations()[update] if update else ""

    def operation(self, method: str) -> str:
        """The operation of the boto3 method ``create``, ``describe`` or ``stop``."""
        return operations(self.job_type.service)[getattr(self.job_type, method)]

    def step(self, **more: Any) -> Step:
        arguments = plain(dict(self.arguments))
        return Step(self.type, self.type, arguments=arguments, **{**self.own, **more})

    def later_step(self, path: str = "") -> Step:
        """A step with a reference to the job; by default to the property ``refers``."""
        reference: Value = properties_of(self.type)
        for name in (path or self.refers).split("."):
            key, _, item = name.partition("[")
            reference = getattr(reference, key)
            named = item.strip("']")
            position = int(named) if named.isdigit() else named
            reference = reference[position] if item else reference
        container = {"Image": "image", "Environment": {"GIVEN": reference}}
        return Step(
            f"After{self.type}",
            "Model",
            arguments=plain({"ExecutionRoleArn": ROLE, "PrimaryContainer": container}),
        )


def _check_arguments(output: str) -> dict[str, Any]:
    """The processing job of a check, with the name and the S3 URI of its output."""
    return {
        "RoleArn": ROLE,
        "AppSpecification": {"ImageUri": "image"},
        "Environment": _ENVIRONMENT,
        "ProcessingResources": {"ClusterConfig": _CLUSTER},
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": output,
                    "S3Output": {
                        "S3Uri": f"s3://bucket/{output}",
                        "LocalPath": "/opt/ml/processing/output",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    }


def bias(value: float) -> dict[str, Any]:
    """An ``analysis.json`` of Clarify with one bias metric."""
    metrics = [{"name": "CI", "description": "Class imbalance", "value": value}]
    facets = {"Sex": [{"value_or_threshold": "0", "metrics": metrics}]}
    return {"version": "1.0", "pre_training_bias_metrics": {"label": "Class", "facets": facets}}


SAMPLES = {
    sample.type: sample
    for sample in (
        Sample(
            type="Processing",
            kind="ProcessingJob",
            arguments={
                "RoleArn": ROLE,
                "AppSpecification": {
                    "ImageUri": "image",
                    "ContainerArguments": ["--text", parameter("Text")],
                },
                "Environment": _ENVIRONMENT,
                "ProcessingResources": {"ClusterConfig": _CLUSTER},
                "ProcessingOutputConfig": {
                    "Outputs": [
                        {
                            "OutputName": "train",
                            "S3Output": {
                                "S3Uri": _FOLDER,
                                "LocalPath": "/opt/ml/processing/train",
                                "S3UploadMode": "EndOfJob",
                            },
                        }
                    ]
                },
                "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
                "Tags": [{"Key": "text", "Value": parameter("Text")}],
            },
            refers="ProcessingOutputConfig.Outputs['train'].S3Output.S3Uri",
            outputs={"outputs": {"train": "s3://bucket/{execution}/out"}},
        ),
        Sample(
            type="Training",
            kind="TrainingJob",
            arguments={
                "RoleArn": ROLE,
                "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
                "HyperParameters": {"max_depth": "5", "text": parameter("Text")},
                "Environment": _ENVIRONMENT,
                "OutputDataConfig": {"S3OutputPath": _FOLDER},
                "ResourceConfig": _CLUSTER,
                "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
                "Tags": [{"Key": "text", "Value": parameter("Text")}],
            },
            refers="ModelArtifacts.S3ModelArtifacts",
            outputs={"model_artifact": "s3://bucket/{execution}/out/{job}/output/model.tar.gz"},
        ),
        Sample(
            type="Transform",
            kind="TransformJob",
            arguments={
                "ModelName": "model",
                "TransformInput": {
                    "DataSource": {
                        "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/in"}
                    }
                },
                "TransformOutput": {"S3OutputPath": _FOLDER},
                "TransformResources": {"InstanceCount": 1, "InstanceType": "ml.m5.large"},
                "Environment": _ENVIRONMENT,
            },
            refers="TransformOutput.S3OutputPath",
            outputs={"output": "s3://bucket/{execution}/out"},
        ),
        Sample(
            type="Tuning",
            kind="HyperParameterTuningJob",
            names=_SHORT,
            arguments={
                "HyperParameterTuningJobConfig": {
                    "Strategy": "Bayesian",
                    "ResourceLimits": {"MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": 3},
                },
                "TrainingJobDefinitions": [
                    {
                        "DefinitionName": name,
                        "TuningObjective": {"Type": "Minimize", "MetricName": "rmse"},
                        "AlgorithmSpecification": {
                            "TrainingImage": "image",
                            "TrainingInputMode": "File",
                        },
                        "StaticHyperParameters": {"text": parameter("Text")},
                        "RoleArn": ROLE,
                        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
                        "ResourceConfig": _CLUSTER,
                        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
                    }
                    for name in ("first", "second")
                ],
            },
            refers="TrainingJobSummaries[1].TrainingJobName",
            outputs={
                "best_training_job": "{job}-001-0a1b2c3d",
                "model_artifact": ("s3://bucket/out/{job}-001-0a1b2c3d/output/model.tar.gz"),
            },
        ),
        Sample(
            type="AutoML",
            kind="AutoMLJob",
            names=_SHORT,
            arguments={
                "RoleArn": ROLE,
                "InputDataConfig": [
                    {
                        "DataSource": {
                            "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/in"}
                        },
                        "TargetAttributeName": parameter("Text"),
                    }
                ],
                "OutputDataConfig": {"S3OutputPath": _FOLDER},
                "AutoMLJobConfig": {"Mode": "ENSEMBLING"},
            },
            refers="BestCandidateProperties.ModelInsightsJsonReportPath",
            outputs={
                "best_candidate": "{job}-best",
                "model_artifact": "s3://bucket/{execution}/out/{job}/models/{job}-best/model.tar.gz",
                "output": "s3://bucket/{execution}/out",
            },
        ),
        Sample(
            type="Job",
            kind="Job",
            arguments={
                "RoleArn": ROLE,
                "JobCategory": "AgentRFT",
                "JobConfigSchemaVersion": "1.0.0",
                "JobConfigDocument": join(
                    "",
                    '{"InputData": "',
                    parameter("Text"),
                    '", "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"}}',
                ),
            },
            refers="JobConfigDocument.OutputModelPackageArn",
            outputs={
                "model_package_arn": (
                    "arn:aws:sagemaker:eu-west-1:111122223333:model-package/tuned/1"
                )
            },
        ),
        Sample(
            type="Model",
            kind="Model",
            arguments={
                "ExecutionRoleArn": ROLE,
                "PrimaryContainer": {"Image": "image", "Environment": _ENVIRONMENT},
            },
            refers="ModelName",
            outputs={"model_name": "{job}"},
        ),
        Sample(
            type="EndpointConfig",
            kind="EndpointConfig",
            arguments={
                "ProductionVariants": [
                    {
                        "VariantName": "all",
                        "ModelName": "model",
                        "InstanceType": "ml.m5.large",
                        "InitialInstanceCount": 1,
                    }
                ],
                "KmsKeyId": parameter("Text"),
            },
            refers="EndpointConfigName",
            outputs={"endpoint_config_name": "{job}"},
        ),
        Sample(
            type="Endpoint",
            kind="Endpoint",
            names="standard-endpoint",
            arguments={
                "EndpointName": "standard-endpoint",
                "EndpointConfigName": "config",
                "DeploymentConfig": {
                    "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": parameter("Text")}]}
                },
            },
            refers="EndpointArn",
            outputs={"endpoint_name": "{job}", "endpoint_config_name": "config"},
        ),
        Sample(
            type="InferenceComponent",
            kind="InferenceComponent",
            names="standard-component",
            arguments={
                "InferenceComponentName": "standard-component",
                "EndpointName": "endpoint",
                "VariantName": "all",
                "Specification": {
                    "ModelName": "model",
                    "ComputeResourceRequirements": {"MinMemoryRequiredInMb": 1024},
                },
                "RuntimeConfig": {"CopyCount": 1},
                "Tags": [{"Key": "text", "Value": parameter("Text")}],
            },
            refers="InferenceComponentArn",
            outputs={"inference_component_name": "{job}", "endpoint_name": "endpoint"},
        ),
        Sample(
            type="RegisterModel",
            kind="ModelPackage",
            resource="group*",
            job="arn:aws:sagemaker:eu-west-1:111122223333:model-package/{}",
            arguments={
                "ModelPackageGroupName": "group",
                "ModelPackageDescription": parameter("Text"),
                "ModelApprovalStatus": "PendingManualApproval",
            },
            refers="ModelPackageArn",
            outputs={"model_package_arn": "{job}"},
            failure={
                "ModelPackageStatusDetails": {
                    "ValidationStatuses": [
                        {"Name": "scan", "Status": "Failed", "FailureReason": REASON}
                    ]
                }
            },
        ),
        Sample(
            type="Lineage",
            kind="Action",
            names="run-*",
            arguments={
                "Actions": [
                    {
                        "ActionName": _RUN,
                        "ActionType": "ModelTraining",
                        "Source": {"SourceUri": "s3://bucket/run"},
                        "Properties": {"text": parameter("Text")},
                    }
                ],
                "Artifacts": [
                    {
                        "ArtifactName": "model",
                        "ArtifactType": "Model",
                        "Source": {"SourceUri": _FOLDER},
                    }
                ],
                "Associations": [
                    {
                        "Source": {"Name": _RUN, "Type": "Action"},
                        "Destination": {"Name": "model", "Type": "Artifact"},
                        "AssociationType": "Produced",
                    }
                ],
            },
            refers="ArtifactArns['model']",
            outputs={
                "action_arns": {"{job}": "arn:aws:sagemaker:eu-west-1:111122223333:action/{job}"}
            },
        ),
        Sample(
            type="Lambda",
            kind="Invocation",
            resource="standard-function",
            own={
                "extra": {"FunctionArn": "standard-function"},
                "output_parameters": [
                    OutputParameter("Place"),
                    OutputParameter("Count", "Integer"),
                ],
            },
            attempts=1,
            arguments={"Place": "s3://bucket/out", "Count": "3", "Environment": _ENVIRONMENT},
            refers="OutputParameters['Place']",
            outputs={"output_parameters": {"Place": "s3://bucket/out", "Count": 3}},
        ),
        Sample(
            type="Callback",
            kind="Callback",
            resource="*",
            failed="Failure",
            own={
                "extra": {"SqsQueueUrl": "https://sqs/111122223333/standard-callbacks"},
                "output_parameters": [
                    OutputParameter("Place"),
                    OutputParameter("Count", "Integer"),
                ],
            },
            arguments={"Place": "s3://bucket/out", "Count": "3", "Environment": _ENVIRONMENT},
            refers="OutputParameters['Place']",
            outputs={"output_parameters": {"Place": "s3://bucket/out", "Count": 3}},
        ),
        Sample(
            type="EMRServerless",
            kind="JobRun",
            job="app/{}",
            failed="FAILED",
            stopped="CANCELLED",
            failure={"stateDetails": REASON},
            arguments={
                "ApplicationId": "app",
                "ExecutionRoleArn": ROLE,
                "JobConfig": {
                    "jobDriver": {
                        "sparkSubmit": {
                            "entryPoint": "s3://bucket/job.py",
                            "entryPointArguments": ["--text", parameter("Text")],
                        }
                    }
                },
            },
            refers="executionRole",
            outputs={"application_id": "app"},
        ),
        Sample(
            type="EMR",
            kind="Step",
            job="j-STANDARD/{}",
            failed="FAILED",
            stopped="CANCELLED",
            attempts=1,
            arguments={
                "ClusterId": "j-STANDARD",
                "StepConfig": {
                    "HadoopJarStep": {
                        "Jar": "s3://bucket/job.jar",
                        "Args": ["--text", parameter("Text")],
                        "Properties": [{"key": "a", "value": "b"}],
                    }
                },
            },
            refers="Config.Jar",
            outputs={"cluster_id": "j-STANDARD"},
        ),
        Sample(
            type="ClarifyCheck",
            kind="ProcessingJob",
            arguments=_check_arguments("analysis_result"),
            own={
                "extra": plain(
                    {
                        "CheckType": "DATA_BIAS",
                        "SuppliedBaselineConstraints": "s3://bucket/prior/analysis.json",
                        "RegisterNewBaseline": True,
                    }
                )
            },
            objects={
                "s3://bucket/prior/analysis.json": bias(0.3),
                "s3://bucket/analysis_result/analysis.json": bias(-0.2),
            },
            refers="BaselineUsedForDriftCheckConstraints",
            outputs={
                "calculated_constraints": "s3://bucket/analysis_result/analysis.json",
                "used_constraints": "s3://bucket/analysis_result/analysis.json",
            },
        ),
        Sample(
            type="QualityCheck",
            kind="ProcessingJob",
            arguments=_check_arguments("quality_check_output"),
            own={
                "extra": plain(
                    {
                        "CheckType": "DATA_QUALITY",
                        "SuppliedBaselineConstraints": "s3://bucket/prior/constraints.json",
                        "SuppliedBaselineStatistics": "s3://bucket/prior/statistics.json",
                    }
                )
            },
            refers="CalculatedBaselineStatistics",
            outputs={
                "calculated_constraints": "s3://bucket/quality_check_output/constraints.json",
                "calculated_statistics": "s3://bucket/quality_check_output/statistics.json",
                "used_constraints": "s3://bucket/prior/constraints.json",
                "used_statistics": "s3://bucket/prior/statistics.json",
            },
        ),
    )
}
