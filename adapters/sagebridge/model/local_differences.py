"""What steps do on this machine that AWS does otherwise: one row per difference.

The check before the first job, the log of a job and docs/local.md read this table. Types that
cannot run here at all have the reason in the table of step types (``needs_aws``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

from sagebridge.model.function_arguments import (
    DRIVER,
    NOTEBOOK,
    PYTHON,
    needs_conda,
    other_python,
)
from sagebridge.model.request_differences import (
    Difference,
    has,
    is_set,
    lacks,
    more_than,
    one_of,
    values_at,
    without,
)

PROGRAM_PATH = (
    f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)
"""The PATH of jobs, after the folder of the job's environment."""
SERVED = "model of a Transform step or an endpoint"
"""The Model steps whose models are used, in place of a step type."""


def _is_missing(program: object) -> bool:
    """Whether a program without a path is not installed on this machine."""
    if not isinstance(program, str) or "/" in program or program.startswith("python"):
        return False
    return program != NOTEBOOK and which(program, path=PROGRAM_PATH) is None


_PROCESSING = ("Processing", "ClarifyCheck", "QualityCheck")
"""The types whose jobs are processing jobs."""
_CHECKS = r"sagemaker-(model-monitor-analyzer|clarify-processing)[^/]*$"
"""Images that have a program in ``backends/local/checks``."""
_HERE = (
    "no effect: a job has the permissions of your user, the cores and the memory of this machine, "
    "and the Python and packages of the engine's environment"
)
_SCRIPT = (
    "AlgorithmSpecification.ContainerEntrypoint",
    "HyperParameters.sagemaker_program",
    "Environment.SAGEMAKER_PROGRAM",
)
_ONE = "one instance, which gets all of the data"
_NETWORK = "no effect: the job has the network of this machine"
_KEYS = "no effect: data is not encrypted, and only your user can enter the working folder"
_UNSUPPORTED = "not supported"
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
    Difference(
        types=_PROCESSING,
        field="AppSpecification.ImageUri",
        applies=lacks(_CHECKS),
        unless=("AppSpecification.ContainerEntrypoint",),
        shown="no `AppSpecification.ContainerEntrypoint`",
        here="images are not run, so the job needs a ContainerEntrypoint",
        refused=True,
    ),
    Difference(
        types=("Training",),
        field="AlgorithmSpecification.TrainingImage",
        applies=lacks("xgboost[^/]*$"),
        unless=_SCRIPT,
        shown="an image other than XGBoost, without a script",
        here=(
            "images are not run, so the job needs a ContainerEntrypoint, the hyperparameter "
            "sagemaker_program (script mode) or an xgboost image"
        ),
        refused=True,
    ),
    *(
        Difference(
            types=types,
            field=f"{field}.ContainerEntrypoint[0]",
            applies=_is_missing,
            shown="a program of the image, such as `smspark-submit`",
            here="images are not run, and this machine does not have the program",
            refused=True,
        )
        for types, field in (
            (_PROCESSING, "AppSpecification"),
            (("Training",), "AlgorithmSpecification"),
        )
    ),
    *(
        Difference(
            types=(SERVED,),
            field=f"{container}.Image",
            applies=lacks("xgboost[^/]*$"),
            unless=(f"{container}.Environment.SAGEMAKER_PROGRAM",),
            shown="an image other than XGBoost, without a script",
            here=(
                "images are not run, so the model needs the variable SAGEMAKER_PROGRAM or an "
                "xgboost image"
            ),
            refused=True,
        )
        for container in ("PrimaryContainer", "Containers[]")
    ),
    Difference(
        types=("Training",),
        field="AlgorithmSpecification.AlgorithmName",
        unless=_SCRIPT,
        here="algorithms of the marketplace are not supported",
        refused=True,
    ),
    Difference(
        types=("Training",),
        field="AlgorithmSpecification.ContainerArguments",
        applies=lambda arguments: bool(other_python(arguments)),
        shown="`@step`: a Python version that differs from that of the engine's environment",
        here=(
            "a pickled function runs only with the Python version that compiled it; compile the "
            "pipeline with the version of the engine's environment"
        ),
        found=lambda arguments: f" (compiled with Python {other_python(arguments)}, here {PYTHON})",
        refused=True,
    ),
    *(
        Difference(
            types=("Training",),
            field=field,
            applies=applies,
            shown="`@step`: `job_conda_env`, or an environment.yml as `dependencies`",
            here="there is no conda; use a requirements.txt as `dependencies`",
            refused=True,
        )
        for field, applies in (
            ("AlgorithmSpecification.ContainerArguments", needs_conda),
            ("Environment.SAGEMAKER_JOB_CONDA_ENV", is_set),
        )
    ),
    Difference(
        types=("Training",),
        field="AlgorithmSpecification.ContainerEntrypoint[]",
        applies=has(r"/spark_app\.py$"),
        shown="`@step`: `spark_config`",
        here="there is no Spark",
        refused=True,
    ),
    Difference(
        types=("Training",),
        field="ServerlessJobConfig",
        here="jobs without an image run only on AWS",
        refused=True,
    ),
    Difference(
        types=("Training",),
        field="InputDataConfig[].DataSource",
        applies=without("S3DataSource"),
        shown="`InputDataConfig[].DataSource.FileSystemDataSource`",
        here="only S3DataSource is supported",
        refused=True,
    ),
    Difference(
        types=("Training",),
        field="InputDataConfig[].InputMode",
        applies=one_of("Pipe"),
        shown="`InputMode` Pipe",
        here="Pipe mode is not supported; use File",
        refused=True,
    ),
    Difference(
        types=("Training",),
        field="AlgorithmSpecification.TrainingInputMode",
        applies=one_of("Pipe"),
        unless=("InputDataConfig[].InputMode",),
        shown="`TrainingInputMode` Pipe",
        here="Pipe mode is not supported; use File",
        refused=True,
    ),
    Difference(
        types=("Training",),
        field="InputDataConfig[].DataSource.S3DataSource.S3DataType",
        applies=one_of("AugmentedManifestFile", "Converse"),
        shown="`S3DataType` AugmentedManifestFile or Converse",
        here=_UNSUPPORTED,
        refused=True,
    ),
    Difference(
        types=_PROCESSING,
        field="ProcessingInputs[]",
        applies=without("S3Input"),
        shown="`ProcessingInputs[].DatasetDefinition`",
        here="queries of Athena and Redshift are not supported",
        refused=True,
    ),
    Difference(
        types=_PROCESSING,
        field="ProcessingInputs[].S3Input.S3InputMode",
        applies=one_of("Pipe"),
        shown="`S3InputMode` Pipe",
        here="Pipe mode is not supported; use File",
        refused=True,
    ),
    *(
        Difference(
            types=_PROCESSING,
            field=field,
            applies=lacks("^/opt/ml(/|$)"),
            shown=f"`{field}` outside `/opt/ml`",
            here="not under /opt/ml, the only private folder of a job",
            refused=True,
        )
        for field in (
            "ProcessingInputs[].S3Input.LocalPath",
            "ProcessingOutputConfig.Outputs[].S3Output.LocalPath",
        )
    ),
    Difference(
        types=_PROCESSING,
        field="ProcessingOutputConfig.Outputs[]",
        applies=without("S3Output"),
        shown="`ProcessingOutputConfig.Outputs[].FeatureStoreOutput`",
        here="there is no feature store",
        refused=True,
    ),
    Difference(
        types=("ClarifyCheck",),
        field="CheckType",
        applies=one_of("MODEL_BIAS", "MODEL_EXPLAINABILITY"),
        shown="`CheckType` MODEL_BIAS or MODEL_EXPLAINABILITY",
        here="the analysis needs AWS, where it invokes the model on an endpoint",
        refused=True,
    ),
    Difference(
        types=("Transform",),
        field="TransformInput.SplitType",
        applies=one_of("RecordIO", "TFRecord"),
        shown="`SplitType` RecordIO or TFRecord",
        here=_UNSUPPORTED,
        refused=True,
    ),
    Difference(
        types=_PROCESSING,
        field="AppSpecification.ImageUri",
        applies=has(_CHECKS),
        unless=("AppSpecification.ContainerEntrypoint",),
        shown="images of Model Monitor and Clarify",
        here="a program of sagebridge analyzes the data, and writes no KLL sketches and no report",
    ),
    Difference(
        types=_PROCESSING,
        field="Environment.publish_cloudwatch_metrics",
        applies=one_of("Enabled"),
        shown="`publish_cloudwatch_metrics`",
        here="no effect: no metrics are published",
    ),
    Difference(
        types=("Tuning",),
        field="HyperParameterTuningJobConfig.Strategy",
        applies=lambda value: value == "Bayesian" and find_spec("optuna") is None,
        shown="`Strategy` Bayesian without the extra `tuning`",
        here="it needs optuna; install sagebridge[tuning], or use Random",
        refused=True,
    ),
    Difference(
        types=("Tuning",),
        field="Autotune.Mode",
        applies=one_of("Enabled"),
        shown="`Autotune`",
        here="not supported; give the ranges of the hyperparameters",
        refused=True,
    ),
    Difference(
        types=("EndpointConfig",),
        field="ProductionVariants[]",
        applies=without("ModelName"),
        shown="`ProductionVariants[]` without `ModelName`",
        here="inference components need instances of an AWS endpoint",
        refused=True,
    ),
    *(
        Difference(types=types, field=field, shown="roles, images and instance types", here=_HERE)
        for types, field in (
            ((*_PROCESSING, "Training"), "RoleArn"),
            (_PROCESSING, "AppSpecification.ImageUri"),
            (("Training",), "AlgorithmSpecification.TrainingImage"),
            (_PROCESSING, "ProcessingResources.ClusterConfig.InstanceType"),
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
            (_PROCESSING, "ProcessingResources.ClusterConfig.InstanceCount"),
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
        types=_PROCESSING,
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
            (_PROCESSING, "NetworkConfig.EnableNetworkIsolation"),
            (_PROCESSING, "NetworkConfig.VpcConfig"),
            (("Training", "Model", "EndpointConfig"), "EnableNetworkIsolation"),
            (("Training", "Model", "EndpointConfig"), "VpcConfig"),
        )
    ),
    *(
        Difference(types=types, field=field, shown="KMS keys", here=_KEYS)
        for types, field in (
            (_PROCESSING, "ProcessingOutputConfig.KmsKeyId"),
            (_PROCESSING, "ProcessingResources.ClusterConfig.VolumeKmsKeyId"),
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
