"""Batch transform jobs: a model of the records answers the objects under a prefix."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sagebridge_operators
from sagebridge.errors import SagebridgeError
from sagebridge_operators.backends.local import script_mode
from sagebridge_operators.backends.local.api import ApiError, arn
from sagebridge_operators.backends.local.container import run as run_container
from sagebridge_operators.backends.local.data_transfer import (
    extract,
    fetch_prefix,
    fetch_source,
    gunzip,
    upload_tree,
)
from sagebridge_operators.backends.local.database import Records
from sagebridge_operators.backends.local.inference import PLAN
from sagebridge_operators.backends.local.local_job_type import LocalJobType
from sagebridge_operators.backends.local.resource_config import note_instances
from sagebridge_operators.backends.local.supervised_job import Job, JobFailed, Outcome, image_parts

INFERENCE = "sagebridge_operators.backends.local.inference"
MODEL_CODE = "/opt/ml/model/code"
PAYLOAD_MEGABYTES = 6


def run(job: Job) -> Outcome:
    """Run a transform job to its end; follows CreateTransformJob.

    Files answered before a failure are uploaded, parts of files are not.

    Raises:
        JobFailed: it could not start, or its results could not be uploaded.
    """
    request = job.request
    note_instances(job, request["TransformResources"])
    container = _container(job)
    _fetch_model(job, container)
    variables = dict(container.get("Environment", {})) | dict(request.get("Environment", {}))
    program, code = _program(job, container.get("Image", ""), variables)
    job.write_config(f"/opt/ml/{PLAN}", _plan(job, program, code))
    job.place("/opt/ml/output/data").mkdir(parents=True, exist_ok=True)
    job.enter("InProgress")

    root = str(Path(next(iter(sagebridge_operators.__path__))).parent)
    environment = {"SAGEMAKER_BATCH": "true", **variables, "PYTHONPATH": root}
    end = run_container(job, ["python", "-m", INFERENCE], environment)
    fields: dict[str, Any] = {}
    if not end.succeeded and not end.stopped:
        fields["FailureReason"] = end.reason(job, job.message("failure"))
    output = request["TransformOutput"]["S3OutputPath"]
    try:
        for part in job.place("/opt/ml/output/data").rglob(".*.out"):
            part.unlink()
        upload_tree(job, job.place("/opt/ml/output/data"), output)
    except (SagebridgeError, OSError) as error:
        problem = f"ClientError: results could not be uploaded: {error}"
        if fields.setdefault("FailureReason", problem) != problem:
            job.note(problem)
        return Outcome("Failed", fields)
    if end.stopped:
        return Outcome("Stopped", fields)
    return Outcome("Completed" if end.succeeded else "Failed", fields)


def _container(job: Job) -> Mapping[str, Any]:
    name = job.request["ModelName"]
    model = job.records.get("Model", name)
    if model is None:
        raise JobFailed(f"ClientError: there is no model {name!r}")
    containers = [model["PrimaryContainer"]] if model.get("PrimaryContainer") else []
    containers += model.get("Containers", [])
    if len(containers) != 1:
        raise JobFailed(
            f"ClientError: model {name!r} is a pipeline of {len(containers)} containers, of which "
            "the local backend runs one"
        )
    container = dict(containers[0])
    if package := container.get("ModelPackageName"):
        found = job.records.get("ModelPackage", package.rpartition("model-package/")[2]) or {}
        packaged = found.get("InferenceSpecification", {}).get("Containers", [])
        if len(packaged) != 1:
            raise JobFailed(
                f"ClientError: model package {package} has {len(packaged)} containers here, of "
                "which the local backend runs one"
            )
        container = packaged[0] | container
    return container


def _fetch_model(job: Job, container: Mapping[str, Any]) -> None:
    """Unpack the model's archive, or copy its files, to /opt/ml/model."""
    folder = job.place("/opt/ml/model")
    folder.mkdir(parents=True, exist_ok=True)
    source = container.get("ModelDataSource", {}).get("S3DataSource", {})
    uri = container.get("ModelDataUrl") or source.get("S3Uri")
    if not uri:
        raise JobFailed(
            f"ClientError: model {job.request['ModelName']!r} has no ModelDataUrl, which the local "
            "backend needs"
        )
    if source.get("CompressionType") == "None":
        fetch_prefix(job, "model", uri, folder)
        return
    if not job.store.exists(uri):
        raise JobFailed(f"ClientError: no model data at {uri}: looked for {job.store.path_of(uri)}")
    archive = job.tmp / "model.tar.gz"
    job.store.fetch(uri, archive)
    extract(archive, folder, uri)
    archive.unlink()


def _program(job: Job, image: str, variables: Mapping[str, str]) -> tuple[str, str]:
    """The script that serves the model and its folder under /opt/ml; empty for the algorithm."""
    if program := variables.get("SAGEMAKER_PROGRAM"):
        source = variables.get("SAGEMAKER_SUBMIT_DIRECTORY", MODEL_CODE).removeprefix("file://")
        code = script_mode.fetch_code(job, source)
        if not (job.place(code) / program).is_file():
            raise JobFailed(f"ClientError: {source} has no {program}, the SAGEMAKER_PROGRAM")
        return program, code.removeprefix("/opt/ml/")
    if "xgboost" in image_parts(image)[0]:
        return "", ""
    raise JobFailed(
        f"ClientError: image {image or '(none)'} cannot serve here: the local backend transforms "
        "with xgboost images, and with models whose SAGEMAKER_PROGRAM names a script"
    )


def _plan(job: Job, program: str, code: str) -> dict[str, Any]:
    """What inference.py is to do, after the inputs have been copied."""
    request = job.request
    given, output = request["TransformInput"], request["TransformOutput"]
    split = given.get("SplitType", "None")
    if split not in {"None", "Line"}:
        raise JobFailed(f"ClientError: the local backend has no SplitType {split}")
    folder = job.place("/opt/ml/input/data")
    folder.mkdir(parents=True, exist_ok=True)
    files = fetch_source(job, "TransformInput", given["DataSource"]["S3DataSource"], folder)
    targets = [f"{file.relative_to(folder.resolve())}.out" for file in files]
    if given.get("CompressionType") == "Gzip":
        files = gunzip(files)
    sources = [str(file.relative_to(folder.resolve())) for file in files]
    accept = output.get("Accept") or ("application/json" if program else "text/csv")
    return {
        "program": program,
        "code": code,
        "content_type": given.get("ContentType") or "text/csv",
        "accept": accept,
        "split": split,
        "batch": request.get("BatchStrategy", "MultiRecord"),
        "max_payload": request.get("MaxPayloadInMB", PAYLOAD_MEGABYTES),
        "assemble": output.get("AssembleWith", "None"),
        "processing": request.get("DataProcessing", {}),
        "files": list(zip(sources, targets, strict=True)),
    }


def _check(request: Mapping[str, Any], records: Records, region: str) -> None:
    if records.get("Model", request["ModelName"]) is None:
        model = arn(region, f"model/{request['ModelName']}")
        raise ApiError("ValidationException", f'Could not find model "{model}".')


JOB = LocalJobType(
    kind="Transform",
    run=run,
    check=_check,
    summary=("FailureReason",),
    undescribed=("LastModifiedTime",),
)
