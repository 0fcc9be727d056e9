"""Batch transform jobs: predictions of a registered model for the objects under a prefix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagebridge_operators.backends.local import script_mode
from sagebridge_operators.backends.local.api import ApiError, arn
from sagebridge_operators.backends.local.container import run as run_container
from sagebridge_operators.backends.local.data_transfer import (
    fetch_package,
    fetch_prefix,
    fetch_source,
    gunzip,
)
from sagebridge_operators.backends.local.database import Records
from sagebridge_operators.backends.local.inference import PLAN
from sagebridge_operators.backends.local.local_job_type import LocalJobType
from sagebridge_operators.backends.local.supervised_job import Job, JobFailed, Outcome, image_parts
from sagebridge_operators.backends.local.uploads import upload, upload_tree

INFERENCE = "sagebridge_operators.backends.local.inference"
MODEL_CODE = "/opt/ml/model/code"
PAYLOAD_MEGABYTES = 6


def run(job: Job) -> Outcome:
    """Run a transform job as CreateTransformJob describes.

    After a failure, complete output files are uploaded, incomplete ones are not.

    Raises:
        JobFailed: it could not start, or a result could not be uploaded.
    """
    request = job.request
    container = _container(job)
    _fetch_model(job, container)
    variables = dict(container.get("Environment", {})) | dict(request.get("Environment", {}))
    program, code = _program(job, container.get("Image", ""), variables)
    job.write_config(f"/opt/ml/{PLAN}", _plan(job, program, code))
    job.host_path("/opt/ml/output/data").mkdir(parents=True, exist_ok=True)
    job.enter("InProgress")

    command = ["python", "-m", INFERENCE]
    if program:
        command = script_mode.with_requirements(job, f"/opt/ml/{code}", command)
    end = run_container(job, command, {"SAGEMAKER_BATCH": "true", **variables})
    fields: dict[str, Any] = {}
    if not end.succeeded and not end.stopped:
        fields["FailureReason"] = end.reason(job, job.message("failure"))

    def upload_results() -> None:
        folder = job.host_path("/opt/ml/output/data")
        for part in folder.rglob(".*.out"):
            part.unlink()
        upload_tree(job, folder, request["TransformOutput"]["S3OutputPath"])

    if incomplete := upload(job, fields, "results", upload_results):
        return incomplete
    if end.stopped:
        return Outcome("Stopped", fields)
    return Outcome("Completed" if end.succeeded else "Failed", fields)


def _container(job: Job) -> Mapping[str, Any]:
    name = job.request["ModelName"]
    model = job.records.get("Model", name)
    if model is None:
        raise JobFailed(f"ClientError: the model {name!r} does not exist")
    containers = [model["PrimaryContainer"]] if model.get("PrimaryContainer") else []
    containers += model.get("Containers", [])
    if len(containers) != 1:
        raise JobFailed(
            f"ClientError: model {name!r} has {len(containers)} containers; the local backend "
            "supports exactly one"
        )
    container = dict(containers[0])
    if package := container.get("ModelPackageName"):
        found = job.records.get("ModelPackage", package.rpartition("model-package/")[2]) or {}
        packaged = found.get("InferenceSpecification", {}).get("Containers", [])
        if len(packaged) != 1:
            raise JobFailed(
                f"ClientError: model package {package} has {len(packaged)} containers; the local "
                "backend supports exactly one"
            )
        container = packaged[0] | container
    return container


def _fetch_model(job: Job, container: Mapping[str, Any]) -> None:
    """Unpack the model's archive, or copy its files, to /opt/ml/model."""
    folder = job.host_path("/opt/ml/model")
    folder.mkdir(parents=True, exist_ok=True)
    source = container.get("ModelDataSource", {}).get("S3DataSource", {})
    uri = container.get("ModelDataUrl") or source.get("S3Uri")
    if not uri:
        raise JobFailed(
            f"ClientError: model {job.request['ModelName']!r} has no ModelDataUrl, which the local "
            "backend requires"
        )
    if source.get("CompressionType") == "None":
        fetch_prefix(job, "model", uri, folder)
        return
    fetch_package(job, uri, folder, "model data")


def _program(job: Job, image: str, variables: Mapping[str, str]) -> tuple[str, str]:
    """The inference script and its folder in /opt/ml; both empty for built-in XGBoost."""
    if program := variables.get("SAGEMAKER_PROGRAM"):
        source = variables.get("SAGEMAKER_SUBMIT_DIRECTORY", MODEL_CODE)
        code = script_mode.fetch_code(job, source)
        if not (job.host_path(code) / program).is_file():
            raise JobFailed(
                f"ClientError: {source} does not contain the SAGEMAKER_PROGRAM {program}"
            )
        return program, code.removeprefix("/opt/ml/")
    if "xgboost" in image_parts(image)[0]:
        return "", ""
    raise JobFailed(
        f"ClientError: the local backend cannot run the image {image or '(none)'}: a model needs "
        "an xgboost image or a script in the variable SAGEMAKER_PROGRAM"
    )


def _plan(job: Job, program: str, code: str) -> dict[str, Any]:
    """Copy the inputs. Returns the plan for ``inference.py``."""
    request = job.request
    source, output = request["TransformInput"], request["TransformOutput"]
    split = source.get("SplitType", "None")
    folder = job.host_path("/opt/ml/input/data")
    folder.mkdir(parents=True, exist_ok=True)
    files = fetch_source(job, "TransformInput", source["DataSource"]["S3DataSource"], folder)
    targets = [f"{file.relative_to(folder.resolve())}.out" for file in files]
    if source.get("CompressionType") == "Gzip":
        files = gunzip(job, files)
    sources = [str(file.relative_to(folder.resolve())) for file in files]
    accept = output.get("Accept") or ("application/json" if program else "text/csv")
    return {
        "program": program,
        "code": code,
        "content_type": source.get("ContentType") or "text/csv",
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
