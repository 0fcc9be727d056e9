"""Batch transform jobs: predictions of a registered model for the objects under a prefix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagebridge_operators.backends.local import inference
from sagebridge_operators.backends.local.algorithms.user_errors import UserError
from sagebridge_operators.backends.local.api import ApiError, arn
from sagebridge_operators.backends.local.container import failure_reason
from sagebridge_operators.backends.local.data_transfer import fetch_source, gunzip
from sagebridge_operators.backends.local.database import Records
from sagebridge_operators.backends.local.local_job_type import LocalJobType
from sagebridge_operators.backends.local.model_container import (
    ModelChain,
    containers_of,
    is_multi_model,
)
from sagebridge_operators.backends.local.supervised_job import Job, JobFailed, JobStopped, Outcome
from sagebridge_operators.backends.local.uploads import upload, upload_tree

PAYLOAD_MEGABYTES = 6


def run(job: Job) -> Outcome:
    """Run a transform job as CreateTransformJob describes.

    After a failure, complete output files are uploaded, incomplete ones are not.

    Raises:
        JobFailed: it could not start, or a result could not be uploaded.
    """
    request = job.request
    definitions = containers_of(job.records, request["ModelName"])
    if any(map(is_multi_model, definitions)):
        raise JobFailed(
            f"ClientError: model {request['ModelName']!r} has the Mode MultiModel, which batch "
            "transform does not support"
        )
    variables = {"SAGEMAKER_BATCH": "true", **request.get("Environment", {})}
    programs = definitions[-1].get("Environment", {}) | variables
    plan = _plan(job, scripted="SAGEMAKER_PROGRAM" in programs)
    results = job.host_path("/opt/ml/output/data")
    results.mkdir(parents=True, exist_ok=True)
    chain = ModelChain(job, "", definitions, variables)
    job.enter("InProgress")
    fields: dict[str, Any] = {}
    stopped = False

    def answer(payload: bytes) -> bytes:
        status, _, body = chain.answer(payload, plan["content_type"], plan["accept"])
        if status >= 500:
            raise JobFailed(failure_reason(job, "", f"the model answered with status {status}"))
        if status >= 400:
            raise UserError(body.decode(errors="replace"))
        return body

    try:
        with chain:
            chain.wait_until_ready()
            source = job.host_path("/opt/ml/input/data")
            inference.run(answer, plan, source, results, job.note)
        stopped = any(one.end and one.end.stopped for one in chain.containers)
    except JobStopped:
        stopped = True
    except JobFailed as failure:
        fields.update(failure.outcome.fields)
    except UserError as error:
        fields["FailureReason"] = failure_reason(job, f"ClientError: {error}")

    def upload_results() -> None:
        for part in results.rglob(".*.out"):
            part.unlink()
        upload_tree(job, results, request["TransformOutput"]["S3OutputPath"])

    if incomplete := upload(job, fields, "results", upload_results):
        return incomplete
    if stopped:
        return Outcome("Stopped", fields)
    return Outcome("Failed" if fields else "Completed", fields)


def _plan(job: Job, *, scripted: bool) -> dict[str, Any]:
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
    accept = output.get("Accept") or ("application/json" if scripted else "text/csv")
    return {
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
