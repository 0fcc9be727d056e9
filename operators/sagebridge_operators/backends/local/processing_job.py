"""Processing jobs: download the inputs, run the command, upload the outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagebridge_operators.backends.local.container import run as run_container
from sagebridge_operators.backends.local.data_transfer import fetch_source, gunzip
from sagebridge_operators.backends.local.local_job_type import DAY, LocalJobType
from sagebridge_operators.backends.local.resource_config import resource_config
from sagebridge_operators.backends.local.supervised_job import Job, JobFailed, Outcome, shorten
from sagebridge_operators.backends.local.uploads import upload, upload_tree

CONFIG = (
    *("AppSpecification", "Environment", "NetworkConfig", "ProcessingInputs", "ProcessingJobArn"),
    *("ProcessingJobName", "ProcessingOutputConfig", "ProcessingResources", "RoleArn"),
    "StoppingCondition",
)
CHECKS = {
    "sagemaker-model-monitor-analyzer": "monitor",
    "sagemaker-clarify-processing": "data_bias",
}
"""The programs in ``checks`` that replace images without a ContainerEntrypoint."""


def run(job: Job) -> Outcome:
    """Run a processing job as CreateProcessingJob describes.

    Outputs are uploaded even after a failure or a stop.

    Raises:
        JobFailed: it could not start, or an output could not be uploaded.
    """
    request = job.request
    for source in request.get("ProcessingInputs", []):
        _fetch(job, source)
    outputs = _outputs(job)
    config = {name: request[name] for name in CONFIG if name in request}
    job.write_config("/opt/ml/config/processingjobconfig.json", config)
    cluster = request["ProcessingResources"]["ClusterConfig"]
    job.write_config("/opt/ml/config/resourceconfig.json", resource_config(cluster))
    job.host_path("/opt/ml/output").mkdir(exist_ok=True)
    job.enter("InProgress")

    limit = request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds")
    end = run_container(
        job,
        _command(request["AppSpecification"]),
        request.get("Environment", {}),
        limit,
    )
    message = job.message("message")
    fields: dict[str, Any] = {"ExitMessage": shorten(message)} if message else {}
    if end.timed_out:
        fields["FailureReason"] = (
            f"ClientError: the job ran for more than MaxRuntimeInSeconds ({limit})"
        )
    elif not end.succeeded and not end.stopped:
        fields["FailureReason"] = end.reason(job, message)

    def upload_outputs() -> None:
        for folder, uri in outputs:
            upload_tree(job, folder, uri)

    if incomplete := upload(job, fields, "an output", upload_outputs):
        return incomplete
    if end.stopped or end.timed_out:
        return Outcome("Stopped", fields)
    return Outcome("Completed" if end.succeeded else "Failed", fields)


def _command(application: Mapping[str, Any]) -> list[str]:
    """The command of the request, or the program for the image of a check."""
    command = list(application.get("ContainerEntrypoint") or [])
    if not command:
        image = application["ImageUri"].rpartition("/")[2]
        program = next(program for name, program in CHECKS.items() if name in image)
        command = ["python", "-m", f"{__package__}.checks.{program}"]
    return command + list(application.get("ContainerArguments") or [])


def _fetch(job: Job, source: dict[str, Any]) -> None:
    name = source["InputName"]
    if source.get("AppManaged"):
        return
    s3 = source["S3Input"]
    if "LocalPath" not in s3:
        raise JobFailed(f"ClientError: input {name!r} has no LocalPath")
    target = job.host_path(s3["LocalPath"])
    target.mkdir(parents=True, exist_ok=True)
    files = fetch_source(job, name, s3, target)
    if s3.get("S3CompressionType") == "Gzip":
        gunzip(job, files)


def _outputs(job: Job) -> list[tuple[Any, str]]:
    """The output folders, created for the script, each with its S3 URI."""
    found = []
    for output in job.request.get("ProcessingOutputConfig", {}).get("Outputs", []):
        name = output["OutputName"]
        if output.get("AppManaged"):
            continue
        s3 = output["S3Output"]
        if "LocalPath" not in s3:
            raise JobFailed(f"ClientError: output {name!r} has no LocalPath")
        folder = job.host_path(s3["LocalPath"])
        folder.mkdir(parents=True, exist_ok=True)
        found.append((folder, s3["S3Uri"]))
    return found


JOB = LocalJobType(
    kind="Processing",
    run=run,
    defaults={"StoppingCondition": {"MaxRuntimeInSeconds": DAY}},
    summary=("FailureReason", "ExitMessage"),
)
