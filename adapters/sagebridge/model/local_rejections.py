"""What of a request this machine cannot do: rows of the table in ``local_differences.py``."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from shutil import which

from sagebridge.model.function_arguments import (
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
    one_of,
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


PROCESSING = ("Processing", "ClarifyCheck", "QualityCheck")
"""The types whose jobs are processing jobs."""
CHECKED_IMAGES = r"sagemaker-(model-monitor-analyzer|clarify-processing)[^/]*$"
"""Images that have a program in ``backends/local/checks``."""
_SCRIPT = (
    "AlgorithmSpecification.ContainerEntrypoint",
    "HyperParameters.sagemaker_program",
    "Environment.SAGEMAKER_PROGRAM",
)
_UNSUPPORTED = "not supported"

REJECTIONS: tuple[Difference, ...] = (
    Difference(
        types=PROCESSING,
        field="AppSpecification.ImageUri",
        applies=lacks(CHECKED_IMAGES),
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
            (PROCESSING, "AppSpecification"),
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
        types=PROCESSING,
        field="ProcessingInputs[]",
        applies=without("S3Input"),
        shown="`ProcessingInputs[].DatasetDefinition`",
        here="queries of Athena and Redshift are not supported",
        refused=True,
    ),
    Difference(
        types=PROCESSING,
        field="ProcessingInputs[].S3Input.S3InputMode",
        applies=one_of("Pipe"),
        shown="`S3InputMode` Pipe",
        here="Pipe mode is not supported; use File",
        refused=True,
    ),
    *(
        Difference(
            types=PROCESSING,
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
        types=PROCESSING,
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
        types=("Tuning",),
        field="HyperParameterTuningJobConfig.Strategy",
        applies=lambda value: value == "Bayesian" and find_spec("optuna") is None,
        shown="`Strategy` Bayesian without the extra `tuning`",
        here="it needs optuna; install the extra 'tuning', or use Random",
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
)
