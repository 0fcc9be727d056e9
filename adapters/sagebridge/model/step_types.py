"""The table of step types, one row per type, for readers, writers, rules and operators.

A new step type needs a row here and a module in ``sagebridge_operators/steps/``. To run its jobs
locally, it also needs a module in ``sagebridge_operators/backends/local/``.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from sagebridge.model.display import words

EXCEPTION_TYPES = words(
    "Step.SERVICE_FAULT Step.THROTTLING SageMaker.JOB_INTERNAL_ERROR "
    "SageMaker.CAPACITY_ERROR SageMaker.RESOURCE_LIMIT Emr.RESOURCE_LIMIT"
)
"""The values of ``ExceptionType`` in a retry policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepType:
    """One type of step.

    Attributes:
        summary: the docstring of its operator and its Prefect function; names the AWS call.
        metadata: its member of PipelineExecutionStepMetadata; the default is its name.
        makes: what the step creates on AWS; ``nothing`` if it makes no AWS call.
        resource: what it creates, as SageMaker's API names it: CreateTrainingJob creates a
            ``TrainingJob``. ``requests``, ``filled_in`` and ``outputs`` follow from it.
        members: Python arguments for keys next to ``Arguments``, such as ``function_arn`` for
            ``FunctionArn``.
        required: the required ones of these keys; if there are any, ``Arguments`` is optional.
        ignored: the ones without an effect.
        takes: the keys shared with other types (``CacheConfig``, ``RetryPolicies``,
            ``PropertyFiles``, ``OutputParameters``) that have an effect.
        not_retried: exception types of ``RetryPolicies`` that SageMaker does not retry.
        cached_by: the values that the cache of a step compares: dotted paths in the request, or
            keys next to ``Arguments``. A type without any does not cache.
        check_types: the values of ``CheckType``; empty if the step is not a check.
        most: the most items of lists in ``Arguments``.
        source_steps: the path in ``Arguments`` of a list of objects with ``StepName``; the step
            runs after these steps.
        one_of: keys of ``Arguments``; exactly one of them is required.
        required_arguments: keys that ``Arguments`` must have, in addition to those of the request.
        refused: keys of ``Arguments`` that the service sets itself.
        requests: the API request in ``Arguments`` (key ``""``) or in one of its keys, or in each
            item of one of its lists (``Actions[]``), as
            ``service:Operation`` or ``service:Operation/Member``.
        filled_in: required fields of these requests that the service sets.
        outputs: the API responses that contain the properties of the step.
        synthetic: properties that the service adds to these responses.
        json_documents: properties that are JSON text; a reference may continue inside them.
        list_keys: for each list in the Describe response, the key that identifies an item.
        console_page: the page of its jobs in the SageMaker console.
        results: what ``run`` prints for a successful step: label to path in the Describe response.
            For a folder the local path is printed too.
        limits: what AWS or sagebridge limits, one sentence part each, for the docs.
        answered: whether another program ends the step; outside SageMaker it answers differently.
        runs: whether ``sagebridge_operators/steps/`` can run it.
        local: whether its jobs and resources can be created on this machine, too;
            ``local_differences.py`` has what they do otherwise there.
        needs_aws: the reason why its steps run only on AWS; empty if they run on this machine, too.
        has_operator: if False, DAGs and flows declare the step with ``StepOperator`` and ``step``.
    """

    name: str
    summary: str
    metadata: str = ""
    makes: Literal["job", "resource", "call", "nothing"] = "job"
    resource: str = ""
    members: Mapping[str, str] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    not_retried: tuple[str, ...] = ()
    cached_by: tuple[str, ...] = ()
    check_types: tuple[str, ...] = ()
    most: Mapping[str, int] = field(default_factory=dict)
    source_steps: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    required_arguments: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    requests: Mapping[str, str] = field(default_factory=dict)
    filled_in: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    synthetic: tuple[str, ...] = ()
    json_documents: tuple[str, ...] = ()
    list_keys: Mapping[str, str] = field(default_factory=dict)
    console_page: str | None = None
    results: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[str, ...] = ()
    answered: bool = False
    runs: bool = True
    local: bool = False
    needs_aws: str = ""
    has_operator: bool = True

    def __post_init__(self) -> None:
        defaults: dict[str, Any] = {"metadata": self.name}
        if self.resource:
            defaults["requests"] = {"": f"sagemaker:Create{self.resource}"}
            defaults["filled_in"] = (f"{self.resource}Name",)
            if not self.check_types:  # its properties are not those of its job
                defaults["outputs"] = (f"sagemaker:Describe{self.resource}",)
        if not self.local and self.makes != "nothing":
            defaults["needs_aws"] = "they need AWS"
        for name, value in defaults.items():
            if not getattr(self, name):
                object.__setattr__(self, name, value)

    @property
    def retried(self) -> tuple[str, ...]:
        """The exception types that its ``RetryPolicies`` can match."""
        if "RetryPolicies" not in self.takes:
            return ()
        emr = any(request.startswith("emr") for request in self.requests.values())
        services = ["Step"]
        if self.makes == "job":
            services += ["SageMaker", *(["Emr"] if emr else [])]
        possible = [one for one in EXCEPTION_TYPES if one.partition(".")[0] in services]
        return tuple(one for one in possible if one not in self.not_retried)

    @property
    def operator(self) -> str:
        """The name of the Airflow operator."""
        return f"{self.name}Operator"

    @property
    def function(self) -> str:
        """The name of the Prefect function, with ``_`` appended if it is a Python keyword."""
        words = snake_case(self.name)
        return f"{words}_" if keyword.iskeyword(words) else words


def snake_case(name: str) -> str:
    """``auto_ml_job`` for ``AutoMLJob``, as boto3 does."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


_CHECK_MEMBERS = {
    "check_type": "CheckType",
    "model_package_group_name": "ModelPackageGroupName",
    "skip_check": "SkipCheck",
    "fail_on_violation": "FailOnViolation",
    "register_new_baseline": "RegisterNewBaseline",
    "supplied_baseline_statistics": "SuppliedBaselineStatistics",
    "supplied_baseline_constraints": "SuppliedBaselineConstraints",
}
_CHECK_KEYS = words(
    "AppSpecification Environment NetworkConfig ProcessingInputs ProcessingResources "
    "RoleArn StoppingCondition SkipCheck RegisterNewBaseline ModelPackageGroupName "
    "SuppliedBaselineConstraints"
)
_TUNED = words(
    "AlgorithmSpecification HyperParameterRanges InputDataConfig StaticHyperParameters "
    "TuningObjective"
)
# Key attributes: https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-default-keys.html
_ROWS = (
    StepType(
        name="Processing",
        summary="A Processing step: CreateProcessingJob.",
        metadata="ProcessingJob",
        takes=("CacheConfig", "RetryPolicies", "PropertyFiles"),
        cached_by=("AppSpecification", "Environment", "ProcessingInputs"),
        list_keys={"Outputs": "OutputName", "ProcessingInputs": "InputName"},
        console_page="processing-jobs",
        resource="ProcessingJob",
        synthetic=("PropertyFiles",),
        local=True,
    ),
    StepType(
        name="Training",
        summary="A Training step: CreateTrainingJob.",
        metadata="TrainingJob",
        takes=("CacheConfig", "RetryPolicies"),
        cached_by=words(
            "AlgorithmSpecification CheckpointConfig DebugHookConfig "
            "DebugRuleConfigurations Environment HyperParameters InputDataConfig"
        ),
        list_keys={"FinalMetricDataList": "MetricName", "InputDataConfig": "ChannelName"},
        console_page="jobs",
        results={"model artifact": "ModelArtifacts.S3ModelArtifacts"},
        resource="TrainingJob",
        local=True,
    ),
    StepType(
        name="Tuning",
        summary="A Tuning step: CreateHyperParameterTuningJob.",
        metadata="TuningJob",
        takes=("CacheConfig", "RetryPolicies"),
        cached_by=(
            "HyperParameterTuningJobConfig",
            *(f"TrainingJobDefinition.{one}" for one in _TUNED),
            "TrainingJobDefinitions",
        ),
        not_retried=("SageMaker.JOB_INTERNAL_ERROR",),
        one_of=("TrainingJobDefinition", "TrainingJobDefinitions"),
        resource="HyperParameterTuningJob",
        outputs=(
            "sagemaker:DescribeHyperParameterTuningJob",
            "sagemaker:ListTrainingJobsForHyperParameterTuningJob",
        ),
        synthetic=("TrainingJobSummaries",),
        console_page="hyper-tuning-jobs",
        results={"best training job": "BestTrainingJob.TrainingJobName"},
        local=True,
    ),
    StepType(
        name="AutoML",
        summary="An AutoML step: CreateAutoMLJob.",
        metadata="AutoMLJob",
        takes=("CacheConfig", "RetryPolicies"),
        cached_by=words(
            "AutoMLJobConfig.CandidateGenerationConfig AutoMLJobConfig.CompletionCriteria "
            "AutoMLJobConfig.DataSplitConfig AutoMLJobConfig.Mode AutoMLJobObjective "
            "InputDataConfig ProblemType"
        ),
        not_retried=("SageMaker.JOB_INTERNAL_ERROR",),
        refused=("ModelDeployConfig", "GenerateCandidateDefinitionsOnly"),
        resource="AutoMLJob",
        synthetic=("BestCandidateProperties",),
        limits=("only the mode ENSEMBLING",),
        results={"best candidate": "BestCandidate.CandidateName"},
        needs_aws="AWS trains and compares the candidates with its own algorithms",
    ),
    StepType(
        name="Job",
        summary="A Job step: CreateJob, such as a fine-tuning job of an agent.",
        takes=("CacheConfig", "RetryPolicies"),
        cached_by=("JobCategory", "JobConfigDocument", "JobConfigSchemaVersion"),
        json_documents=("JobConfigDocument",),
        resource="Job",
        needs_aws="they need a service of AWS that runs the job, such as its fine-tuning of models",
    ),
    StepType(
        name="Model",
        summary="A Model step: CreateModel.",
        makes="resource",
        takes=("RetryPolicies",),
        console_page="models",
        results={"model": "ModelArn"},
        resource="Model",
        local=True,
    ),
    StepType(
        name="RegisterModel",
        summary="A RegisterModel step: CreateModelPackage.",
        makes="resource",
        takes=("RetryPolicies",),
        results={"model package": "ModelPackageArn", "approval": "ModelApprovalStatus"},
        resource="ModelPackage",
        local=True,
    ),
    StepType(
        name="Transform",
        summary="A Transform step: CreateTransformJob.",
        metadata="TransformJob",
        takes=("CacheConfig", "RetryPolicies"),
        cached_by=("DataProcessing", "Environment", "ModelName", "TransformInput"),
        console_page="transform-jobs",
        results={"predictions": "TransformOutput.S3OutputPath"},
        resource="TransformJob",
        local=True,
    ),
    StepType(
        name="Condition",
        summary="A Condition step: a branch on conditions.",
        makes="nothing",
    ),
    StepType(
        name="ForEach",
        summary="A ForEach step: runs the steps of its body once for each item.",
        makes="nothing",
        synthetic=words(
            "Status InputItemCount TotalStepCount SucceededStepCount FailedStepCount "
            "StoppedStepCount IterationOutputs Selected"
        ),
        limits=(
            "a list has 1 to 100 items",
            "`MaxConcurrency` is 1 to 50",
            "its body has no Condition, Fail or ForEach",
        ),
    ),
    StepType(
        name="Fail",
        summary="A Fail step: fails the execution with ``error_message``, and is never retried.",
        makes="nothing",
    ),
    StepType(
        name="Lambda",
        summary="A Lambda step: invokes ``function_arn`` with the arguments as its event.",
        makes="call",
        members={"function_arn": "FunctionArn"},
        required=("FunctionArn",),
        takes=("CacheConfig", "OutputParameters"),
        limits=("at most 50 outputs of 1,024 characters each",),
        local=True,
    ),
    StepType(
        name="Callback",
        summary="A Callback step: sends a message to ``sqs_queue_url`` and waits for its answer.",
        makes="call",
        members={"sqs_queue_url": "SqsQueueUrl"},
        required=("SqsQueueUrl",),
        takes=("CacheConfig", "OutputParameters"),
        answered=True,
        limits=("at most 50 outputs of 1,024 characters each",),
        local=True,
    ),
    StepType(
        name="ClarifyCheck",
        summary="A ClarifyCheck step: bias of data or model, or explainability.",
        members={**_CHECK_MEMBERS, "model_name": "ModelName"},
        ignored=("SuppliedBaselineStatistics",),
        takes=("CacheConfig", "RetryPolicies"),
        cached_by=(*_CHECK_KEYS, "ModelName"),
        check_types=("DATA_BIAS", "MODEL_BIAS", "MODEL_EXPLAINABILITY"),
        resource="ProcessingJob",
        console_page="processing-jobs",
        limits=(
            "`ProcessingOutputConfig` needs one output, or one named `analysis_result`",
            "only SHAP values are compared for MODEL_EXPLAINABILITY",
        ),
        local=True,
    ),
    StepType(
        name="QualityCheck",
        summary="A QualityCheck step: data or model quality against a baseline.",
        members=_CHECK_MEMBERS,
        takes=("CacheConfig", "RetryPolicies"),
        cached_by=(*_CHECK_KEYS, "SuppliedBaselineStatistics"),
        check_types=("DATA_QUALITY", "MODEL_QUALITY"),
        resource="ProcessingJob",
        console_page="processing-jobs",
        limits=(
            "`ProcessingOutputConfig` needs one output, or one named `quality_check_output`",
            "the container must be Model Monitor's, which compares the baseline",
        ),
        local=True,
    ),
    StepType(
        name="EMR",
        summary="An EMR step on an existing cluster, or on one created for the step.",
        takes=("CacheConfig", "RetryPolicies"),
        cached_by=("ClusterId", "ClusterConfig", "StepConfig"),
        one_of=("ClusterId", "ClusterConfig"),
        required_arguments=("StepConfig",),
        requests={"ClusterConfig": "emr:RunJobFlow", "StepConfig": "emr:AddJobFlowSteps/Steps"},
        filled_in=("Name",),
        outputs=("emr:DescribeStep/Step",),
        synthetic=("ClusterId",),
        limits=("at most 256 pending steps on a cluster",),
        needs_aws="they need Amazon EMR",
    ),
    StepType(
        name="EMRServerless",
        summary="An EMR Serverless job run.",
        takes=("CacheConfig", "RetryPolicies"),
        one_of=("ApplicationId", "ApplicationConfig"),
        required_arguments=("JobConfig",),
        requests={
            "ApplicationConfig": "emr-serverless:CreateApplication",
            "JobConfig": "emr-serverless:StartJobRun",
        },
        filled_in=("applicationId", "executionRoleArn"),
        needs_aws="they need Amazon EMR Serverless",
    ),
    StepType(
        name="Endpoint",
        summary="An Endpoint step: CreateEndpoint, or UpdateEndpoint if the endpoint exists.",
        makes="resource",
        takes=("CacheConfig",),
        cached_by=("DeploymentConfig", "EndpointConfigName", "EndpointName"),
        list_keys={"ProductionVariants": "VariantName"},
        console_page="endpoints",
        results={"endpoint": "EndpointArn"},
        resource="Endpoint",
        local=True,
    ),
    StepType(
        name="EndpointConfig",
        summary="An EndpointConfig step: CreateEndpointConfig.",
        makes="resource",
        takes=("CacheConfig", "RetryPolicies"),
        cached_by=words(
            "AsyncInferenceConfig DataCaptureConfig EnableNetworkIsolation "
            "ExecutionRoleArn ExplainerConfig KmsKeyId ProductionVariants "
            "ShadowProductionVariants VpcConfig"
        ),
        list_keys={"ProductionVariants": "VariantName"},
        console_page="endpointConfig",
        results={"endpoint configuration": "EndpointConfigArn"},
        resource="EndpointConfig",
        local=True,
    ),
    StepType(
        name="InferenceComponent",
        summary=(
            "An InferenceComponent step: CreateInferenceComponent, or UpdateInferenceComponent if "
            "the component exists."
        ),
        makes="resource",
        results={"inference component": "InferenceComponentArn"},
        resource="InferenceComponent",
        needs_aws="they need instances of an AWS endpoint",
    ),
    StepType(
        name="Lineage",
        summary="A Lineage step: CreateAction, CreateArtifact, CreateContext and AddAssociation.",
        makes="resource",
        most={"Actions": 5, "Artifacts": 5, "Contexts": 5, "Associations": 10},
        requests={
            "Actions[]": "sagemaker:CreateAction",
            "Artifacts[]": "sagemaker:CreateArtifact",
            "Contexts[]": "sagemaker:CreateContext",
        },
        synthetic=("ActionArns", "ArtifactArns", "ContextArns", "Associations"),
        limits=("at most 5 actions, artifacts and contexts each, and 10 associations",),
        local=True,
    ),
    StepType(
        name="Cleanup",
        summary="A Cleanup step: deletes S3 objects that other steps of the execution wrote.",
        makes="nothing",
        required_arguments=("Resources",),
        source_steps=("Resources", "S3"),
        limits=(
            "whole folders only for Training; the objects of other steps are in S3Uris",
            "an object from before or after the job of its step is not deleted",
        ),
    ),
)

STEP_TYPES: Mapping[str, StepType] = MappingProxyType({row.name: row for row in _ROWS})
"""Every step type in AWS's guide or the SDK."""
OPERATOR_TYPES: Mapping[str, StepType] = MappingProxyType(
    {row.name: row for row in _ROWS if row.has_operator}
)
"""The step types with a dedicated Airflow operator and Prefect function."""
UNPUBLISHED: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(
        words(
            "Athena BedrockCustomModel BedrockCustomModelDeployment BedrockModelImport "
            "BedrockProvisionedModelThroughput HubContent"
        ),
        "no definition of such a step is published, by AWS or in its SDK",
    )
)
"""Members of PipelineExecutionStepMetadata without a step type, and the reason.

Not even the value of their ``Type`` is published. A step of an unknown type is kept unchanged, and
refused when it runs.
"""
