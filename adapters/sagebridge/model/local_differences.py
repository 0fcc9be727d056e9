"""What steps do on this machine that AWS does otherwise: one row per difference.

The check before the first job, the log of a job and docs/local.md read this table. Types that
cannot run here at all have the reason in the table of step types (``needs_aws``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sagebridge.model.function_arguments import DRIVER
from sagebridge.model.local_rejections import CHECKED_IMAGES, PROCESSING, REJECTIONS
from sagebridge.model.request_differences import (
    Difference,
    has,
    more_than,
    one_of,
    values_at,
)

_HERE = (
    "no effect: a job has the permissions of your user, the cores and the memory of this machine, "
    "and the Python and packages of the engine's environment"
)
_ONE = "one instance, which gets all of the data"
_NETWORK = "no effect: the job has the network of this machine"
_KEYS = "no effect: data is not encrypted, and only your user can enter the working folder"
_TUNING: tuple[tuple[str, Callable[[object], bool], str, str], ...] = (
    (
        "ResourceLimits.MaxParallelTrainingJobs",
        more_than(1),
        "`MaxParallelTrainingJobs`",
        "at most as many as this machine has processors, which the training jobs share",
    ),
    (
        "Strategy",
        one_of("Bayesian"),
        "`Strategy` Bayesian",
        "the tree-structured Parzen estimator of optuna, from the extra `tuning`",
    ),
    (
        "Strategy",
        one_of("Hyperband"),
        "`Strategy` Hyperband",
        "runs as Random, and each training job runs to its end",
    ),
    (
        "TrainingJobEarlyStoppingType",
        one_of("Auto"),
        "`TrainingJobEarlyStoppingType` Auto",
        "no effect: each training job runs to its end",
    ),
    (
        "TuningJobCompletionCriteria.ConvergenceDetected.CompleteOnConvergence",
        one_of("Enabled"),
        "`ConvergenceDetected`",
        "no effect: the search runs to its limits",
    ),
)

DIFFERENCES: tuple[Difference, ...] = (
    *REJECTIONS,
    Difference(
        types=PROCESSING,
        field="AppSpecification.ImageUri",
        applies=has(CHECKED_IMAGES),
        unless=("AppSpecification.ContainerEntrypoint",),
        shown="images of Model Monitor and Clarify",
        here="a program of sagebridge analyzes the data, and writes no KLL sketches and no report",
    ),
    Difference(
        types=PROCESSING,
        field="Environment.publish_cloudwatch_metrics",
        applies=one_of("Enabled"),
        shown="`publish_cloudwatch_metrics`",
        here="no effect: no metrics are published",
    ),
    *(
        Difference(types=types, field=field, shown="roles, images and instance types", here=_HERE)
        for types, field in (
            ((*PROCESSING, "Training"), "RoleArn"),
            (PROCESSING, "AppSpecification.ImageUri"),
            (("Training",), "AlgorithmSpecification.TrainingImage"),
            (PROCESSING, "ProcessingResources.ClusterConfig.InstanceType"),
            (("Training",), "ResourceConfig.InstanceType"),
            (("Transform",), "TransformResources.InstanceType"),
            (("EndpointConfig",), "ProductionVariants[].InstanceType"),
        )
    ),
    *(
        Difference(
            types=types,
            field=field,
            applies=more_than(1),
            shown="more than one instance",
            here=_ONE,
        )
        for types, field in (
            (PROCESSING, "ProcessingResources.ClusterConfig.InstanceCount"),
            (("Training",), "ResourceConfig.InstanceCount"),
            (("Training",), "ResourceConfig.InstanceGroups[].InstanceCount"),
            (("Transform",), "TransformResources.InstanceCount"),
        )
    ),
    Difference(
        types=("Training",),
        field="InputDataConfig[].InputMode",
        applies=one_of("FastFile"),
        shown="`InputMode` FastFile",
        here="all objects are copied before the job starts, as with File",
    ),
    Difference(
        types=PROCESSING,
        field="ProcessingOutputConfig.Outputs[].S3Output.S3UploadMode",
        applies=one_of("Continuous"),
        shown="`S3UploadMode` Continuous",
        here="uploaded at the end of the job",
    ),
    Difference(
        types=("Training",),
        field="AlgorithmSpecification.ContainerEntrypoint[]",
        applies=has(f"{DRIVER}$"),
        shown="`@step`",
        here=(
            "the SDK is not part of an image: the version that compiled the pipeline is installed "
            "for the job (of version 3 only sagemaker-core)"
        ),
    ),
    Difference(
        types=("Training",),
        field="Environment.SM_OUTPUT_FORMATS",
        shown="notebook jobs: `SM_OUTPUT_FORMATS`",
        here="the output is a notebook only",
    ),
    Difference(
        types=("Training",),
        field="Environment.SM_KERNEL_NAME",
        shown="notebook jobs: the kernel",
        here="if it is not installed, the Python of the engine's environment runs the notebook",
    ),
    Difference(
        types=("Training",),
        field="CheckpointConfig.S3Uri",
        here="checkpoints are uploaded at the end of the job",
    ),
    Difference(
        types=("Training",),
        field="EnableManagedSpotTraining",
        here="no effect: the job is never interrupted",
    ),
    *(
        Difference(types=("Training",), field=field, here="no effect: nothing is collected")
        for field in (
            "DebugHookConfig",
            "DebugRuleConfigurations",
            "ProfilerConfig.S3OutputPath",
            "ProfilerRuleConfigurations",
            "TensorBoardOutputConfig",
        )
    ),
    *(
        Difference(types=("Training",), field=field, here=here)
        for field, here in (
            ("RetryStrategy", "no effect: a failed job is not repeated, except by RetryPolicies"),
            ("ResourceConfig.KeepAlivePeriodInSeconds", "no effect: there is no warm pool"),
            ("InputDataConfig[].ShuffleConfig", "no effect: the order of the objects is kept"),
            ("RemoteDebugConfig.EnableRemoteDebug", "no effect: the job is a process here"),
        )
    ),
    Difference(
        types=("Training",),
        field="InputDataConfig[].RecordWrapperType",
        applies=one_of("RecordIO"),
        shown="`RecordWrapperType` RecordIO",
        here="no effect: files are not changed",
    ),
    Difference(
        types=("Processing", "Training", "Transform"),
        field="ExperimentConfig",
        here="no effect: there are no experiments",
    ),
    Difference(
        types=("Transform",),
        field="MaxConcurrentTransforms",
        applies=more_than(1),
        here="one request at a time",
    ),
    Difference(
        types=("Transform",),
        field="ModelClientConfig",
        here="no effect: a request has no time limit, and is not repeated",
    ),
    Difference(
        types=("RegisterModel",),
        field="ValidationSpecification",
        here="no effect: the package is not validated",
    ),
    Difference(
        types=("Processing", "Training", "Transform", "Model", "RegisterModel"),
        field="Tags",
        here="not stored",
    ),
    Difference(
        types=("Transform", "EndpointConfig"),
        field="DataCaptureConfig",
        here="no effect: nothing is captured",
    ),
    Difference(
        types=("EndpointConfig",),
        field="ProductionVariants[].InitialInstanceCount",
        applies=more_than(1),
        here="one process for each container of the model, which answers one request at a time",
    ),
    Difference(
        types=("EndpointConfig",),
        field="AsyncInferenceConfig",
        here="the endpoint answers InvokeEndpoint, not InvokeEndpointAsync",
    ),
    Difference(
        types=("EndpointConfig",),
        field="ExplainerConfig",
        here="no effect: there are no explanations",
    ),
    Difference(
        types=("EndpointConfig",),
        field="ShadowProductionVariants",
        here="no effect: shadow variants get no requests",
    ),
    Difference(
        types=("Endpoint",),
        field="DeploymentConfig",
        here="no effect: the new server takes over from the old one once its models are loaded",
    ),
    Difference(
        types=("Lambda",),
        field="FunctionArn",
        here=(
            "runs a handler of this machine, without the role, variables, layers and memory limit "
            "of the function; a stop ends it"
        ),
    ),
    Difference(
        types=("Callback",),
        field="SqsQueueUrl",
        here="the message is stored in a local queue, and `sagebridge callback` answers it",
    ),
    Difference(
        types=("Lineage",),
        field="Associations[]",
        shown="lineage of jobs",
        here="only the entities of Lineage steps are recorded; an ARN of AWS is kept as it is",
    ),
    *(
        Difference(
            types=("Tuning",),
            field=f"HyperParameterTuningJobConfig.{field}",
            applies=applies,
            shown=shown,
            here=here,
        )
        for field, applies, shown, here in _TUNING
    ),
    Difference(
        types=("Tuning",),
        field="WarmStartConfig",
        here="no effect: the search does not know the results of other tuning jobs",
    ),
    *(
        Difference(
            types=("Tuning",),
            field=f"{definition}.CheckpointConfig.S3Uri",
            shown="`CheckpointConfig.S3Uri`",
            here="each training job has its own folder in this one",
        )
        for definition in ("TrainingJobDefinition", "TrainingJobDefinitions[]")
    ),
    *(
        Difference(
            types=types,
            field=field,
            shown="`VpcConfig`, `EnableNetworkIsolation`",
            here=_NETWORK,
        )
        for types, field in (
            (PROCESSING, "NetworkConfig.EnableNetworkIsolation"),
            (PROCESSING, "NetworkConfig.VpcConfig"),
            (("Training", "Model", "EndpointConfig"), "EnableNetworkIsolation"),
            (("Training", "Model", "EndpointConfig"), "VpcConfig"),
        )
    ),
    *(
        Difference(types=types, field=field, shown="KMS keys", here=_KEYS)
        for types, field in (
            (PROCESSING, "ProcessingOutputConfig.KmsKeyId"),
            (PROCESSING, "ProcessingResources.ClusterConfig.VolumeKmsKeyId"),
            (("Training",), "OutputDataConfig.KmsKeyId"),
            (("Training",), "ResourceConfig.VolumeKmsKeyId"),
            (("Transform",), "TransformOutput.KmsKeyId"),
            (("Transform",), "TransformResources.VolumeKmsKeyId"),
            (("EndpointConfig",), "KmsKeyId"),
        )
    ),
)


def refusals(type_: str, request: Mapping[str, Any]) -> Iterator[str]:
    """What of a request this machine cannot do, each with the field; empty if it can run."""
    for difference, place, value in _found(type_, request):
        if difference.refused:
            yield f"{place}{difference.found(value)}: {difference.here}"


def notes(type_: str, request: Mapping[str, Any]) -> list[str]:
    """What this machine does otherwise for a request, one line per difference."""
    lines: dict[str, list[str]] = {}
    for difference, place, value in _found(type_, request):
        if not difference.refused:
            number = f" {value}" if isinstance(value, int) and value is not True else ""
            lines.setdefault(difference.here, []).append(place + number)
    return [f"{', '.join(places)}: {here}" for here, places in lines.items()]


def _found(type_: str, request: Mapping[str, Any]) -> Iterator[tuple[Difference, str, object]]:
    for difference in DIFFERENCES:
        if type_ in difference.types:
            for place, value in difference.places(request):
                yield difference, place, value
    if type_ == "Tuning":  # the log of each training job has its other differences
        for place, definition in _definitions(request):
            for difference, field, value in _found("Training", definition):
                if difference.refused:
                    yield difference, f"{place}.{field}", value


def _definitions(request: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The training jobs of a tuning job, as requests of training jobs."""
    for path in ("TrainingJobDefinition", "TrainingJobDefinitions[]"):
        for place, value in values_at(request, path):
            if isinstance(value, Mapping):
                static = value.get("StaticHyperParameters", {})
                yield place, {**value, "HyperParameters": static}
