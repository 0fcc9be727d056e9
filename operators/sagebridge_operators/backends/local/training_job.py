"""Training jobs: a ContainerEntrypoint, script mode, or the built-in XGBoost algorithm."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sagebridge_operators.backends.local import notebook, remote_function, script_mode
from sagebridge_operators.backends.local.container import Exit
from sagebridge_operators.backends.local.container import run as run_container
from sagebridge_operators.backends.local.data_transfer import (
    fetch_prefix,
    fetch_source,
    gunzip,
)
from sagebridge_operators.backends.local.local_job_type import DAY, LocalJobType
from sagebridge_operators.backends.local.resource_config import resource_config
from sagebridge_operators.backends.local.supervised_job import Job, JobFailed, Outcome, image_parts
from sagebridge_operators.backends.local.training_program import Program
from sagebridge_operators.backends.local.uploads import upload, upload_archive, upload_tree

XGBOOST = "sagebridge_operators.backends.local.algorithms.xgboost"
NUMBER = r"([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"
CHECKPOINTS = "/opt/ml/checkpoints"
SEARCH = Path(__file__).with_name("metric_search.py")
METRIC_SECONDS = 5


def run(job: Job) -> Outcome:
    """Run a training job as CreateTrainingJob describes.

    Raises:
        JobFailed: it could not start, or an artifact could not be uploaded.
    """
    request = job.request
    hyperparameters = dict(request.get("HyperParameters", {}))
    resources = resource_config(request.get("ResourceConfig", {}))
    channels = _channels(request)
    job.write_config("/opt/ml/input/config/hyperparameters.json", hyperparameters)
    job.write_config("/opt/ml/input/config/inputdataconfig.json", channels)
    job.write_config("/opt/ml/input/config/resourceconfig.json", resources)
    for folder in ("model", "output/data", "output/intermediate", "input/data", "code"):
        job.host_path(f"/opt/ml/{folder}").mkdir(parents=True, exist_ok=True)
    job.enter("Downloading", "Downloading input data")
    for channel in request.get("InputDataConfig", []):
        _fetch(job, channel)
    checkpoints = _checkpoints(job)
    decoded = script_mode.decode(hyperparameters)
    program = _program(job, decoded)
    environment = script_mode.environment(decoded, channels, resources)
    environment |= {"TRAINING_JOB_NAME": job.name, "TRAINING_JOB_ARN": job.arn}
    environment |= dict(program.environment) | dict(request.get("Environment", {}))

    job.enter("Training", "Training image download completed. Training in progress.")
    limit = request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds")
    end = run_container(job, program.command, environment, limit, program.cwd)
    job.enter("Uploading", "Uploading generated training model")
    fields: dict[str, Any] = {}
    if metrics := _metrics(job, program):
        fields["FinalMetricDataList"] = metrics
    kept = end.succeeded or end.stopped or end.timed_out
    if not kept:
        fields["FailureReason"] = end.reason(job, job.message("failure"))
    elif end.succeeded and (missing := program.missing()):
        fields["FailureReason"] = missing

    def upload_artifacts() -> None:
        fields.update(_upload(job, model=kept))
        if checkpoints:
            upload_tree(job, *checkpoints)

    if incomplete := upload(job, fields, "an artifact", upload_artifacts):
        return incomplete
    return _outcome(end, fields)


def _outcome(end: Exit, fields: Mapping[str, Any]) -> Outcome:
    if end.stopped:
        return Outcome("Stopped", fields, message="Training job stopped")
    if end.timed_out:
        message = "Training job runtime exceeded MaxRuntimeInSeconds provided"
        return Outcome("Stopped", fields, "MaxRuntimeExceeded", message)
    if "FailureReason" not in fields:
        return Outcome("Completed", fields, message="Training job completed")
    return Outcome("Failed", fields)


def _channels(request: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    mode = request["AlgorithmSpecification"].get("TrainingInputMode", "File")
    channels = {}
    for channel in request.get("InputDataConfig", []):
        s3 = channel.get("DataSource", {}).get("S3DataSource", {})
        config = {
            "TrainingInputMode": channel.get("InputMode", mode),
            "S3DistributionType": s3.get("S3DataDistributionType", "FullyReplicated"),
            "RecordWrapperType": channel.get("RecordWrapperType", "None"),
        }
        if content := channel.get("ContentType"):
            config["ContentType"] = content
        channels[channel["ChannelName"]] = config
    return channels


def _fetch(job: Job, channel: Mapping[str, Any]) -> None:
    name = channel["ChannelName"]
    folder = job.host_path(f"/opt/ml/input/data/{name}")
    folder.mkdir(parents=True, exist_ok=True)
    files = fetch_source(job, name, channel["DataSource"]["S3DataSource"], folder)
    if channel.get("CompressionType") == "Gzip":
        gunzip(job, files)


def _checkpoints(job: Job) -> tuple[Path, str] | None:
    config = job.request.get("CheckpointConfig")
    if not config:
        return None
    folder = job.host_path(config.get("LocalPath", CHECKPOINTS))
    folder.mkdir(parents=True, exist_ok=True)
    if job.store.list(config["S3Uri"]):
        fetch_prefix(job, "checkpoints", config["S3Uri"], folder)
    return folder, config["S3Uri"]


def _program(job: Job, hyperparameters: Mapping[str, Any]) -> Program:
    specification = job.request["AlgorithmSpecification"]
    image = specification.get("TrainingImage", "")
    if remote_function.is_function(job.request):
        return remote_function.program(job)
    if notebook.is_notebook(job.request):
        return notebook.program(job)
    if entrypoint := specification.get("ContainerEntrypoint"):
        return Program([*entrypoint, *specification.get("ContainerArguments", [])], {})
    variables = job.request.get("Environment", {})
    program = hyperparameters.get("sagemaker_program") or variables.get("SAGEMAKER_PROGRAM")
    if program:
        source = hyperparameters.get("sagemaker_submit_directory") or variables.get(
            "SAGEMAKER_SUBMIT_DIRECTORY", script_mode.CODE
        )
        code = script_mode.fetch_code(job, str(source))
        if not (job.host_path(code) / str(program)).is_file():
            raise JobFailed(
                f"ClientError: {source} does not contain the sagemaker_program {program}"
            )
        command = script_mode.command(job, code, str(program), hyperparameters)
        return Program(command, {"PYTHONPATH": code}, code)
    repository, tag = image_parts(image)
    if "xgboost" not in repository:
        raise JobFailed("ClientError: AlgorithmSpecification has no TrainingImage")
    command = ["python", "-m", XGBOOST, "train", _model_format(tag)]
    return Program(command, {}, built_in=True)


def _model_format(tag: str) -> str:
    """The model format of an image: XGBoost images up to 1.2 pickle the Booster."""
    version = re.match(r"(\d+)\.(\d+)", tag)
    old = tag in {"1", "latest"} or (version and tuple(map(int, version.groups())) < (1, 3))
    return "pickle" if old else "save"


def _metrics(job: Job, program: Program) -> list[dict[str, Any]]:
    """The last value of each metric in the log. SageMaker's logs contain #011 instead of a tab."""
    definitions = list(job.request["AlgorithmSpecification"].get("MetricDefinitions", []))
    text = job.log.read_text(encoding="utf-8", errors="replace")
    if program.built_in:
        known = {definition["Name"] for definition in definitions}
        shown = sorted(set(re.findall(r"\t((?:train|validation)-[\w@.-]+):", text)))
        definitions += [
            {"Name": name, "Regex": rf".*\[[0-9]+\].*#011{re.escape(metric)}:{NUMBER}"}
            for metric in shown
            if (name := metric.replace("-", ":", 1)) not in known
        ]
    metrics = []
    for definition in definitions:
        name, regex = definition["Name"], definition["Regex"]
        try:
            found = subprocess.run(
                [sys.executable, "-I", "-S", str(SEARCH), regex],
                input=text,
                capture_output=True,
                text=True,
                encoding="utf-8",
                timeout=METRIC_SECONDS,
                check=True,
            ).stdout
            metrics.append({"MetricName": name, "Value": float(found), "Timestamp": time.time()})
        except subprocess.TimeoutExpired:
            job.note(f"metric {name!r} is omitted: {regex!r} took more than {METRIC_SECONDS} s")
        except subprocess.CalledProcessError as error:
            job.note(f"metric {name!r}: {regex!r}: {error.stderr.strip()}")
        except ValueError:
            continue
    return metrics


def _upload(job: Job, *, model: bool) -> dict[str, Any]:
    """Upload the model and the output data. Returns fields of the Describe response."""
    config = job.request["OutputDataConfig"]
    target = f"{config['S3OutputPath'].rstrip('/')}/{job.name}/output"
    plain = config.get("CompressionType") == "NONE"
    data = job.host_path("/opt/ml/output/data")
    if data.is_dir() and any(data.iterdir()):
        if plain:
            upload_tree(job, data, f"{target}/data")
        else:
            upload_archive(job, data, f"{target}/output.tar.gz")
    if not model:
        return {}
    if plain:
        upload_tree(job, job.host_path("/opt/ml/model"), f"{target}/model")
        uri = f"{target}/model/"
    else:
        uri = f"{target}/model.tar.gz"
        upload_archive(job, job.host_path("/opt/ml/model"), uri)
    return {"ModelArtifacts": {"S3ModelArtifacts": uri}}


def _expected(request: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The location of the model, which Describe returns from the start."""
    output = request["OutputDataConfig"]
    model = "model/" if output.get("CompressionType") == "NONE" else "model.tar.gz"
    place = f"{str(output['S3OutputPath']).rstrip('/')}/{name}/output/{model}"
    return {"ModelArtifacts": {"S3ModelArtifacts": place}}


JOB = LocalJobType(
    kind="Training",
    run=run,
    defaults={
        "StoppingCondition": {"MaxRuntimeInSeconds": DAY},
        "EnableNetworkIsolation": False,
        "EnableInterContainerTrafficEncryption": False,
        "EnableManagedSpotTraining": False,
    },
    expected=_expected,
    summary=("SecondaryStatus",),
    secondary_statuses=True,
)
