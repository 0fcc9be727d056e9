"""Compiles a pipeline of @step functions and notebook jobs, without an AWS account.

``PYTHON compile.py FOLDER`` runs in an environment of the SageMaker SDK, version 2 or 3. It writes
``definition.json`` and, below ``s3/``, all objects that the SDK uploads.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

os.environ["AWS_DEFAULT_REGION"] = "eu-west-1"  # importing the SDK needs one
os.environ["AWS_REQUEST_CHECKSUM_CALCULATION"] = "when_required"  # keeps bodies as they are

import boto3
from botocore.awsrequest import AWSResponse, HTTPHeaders

if version("sagemaker").startswith("2."):
    from sagemaker.workflow.condition_step import ConditionStep
    from sagemaker.workflow.conditions import ConditionGreaterThan
    from sagemaker.workflow.fail_step import FailStep
    from sagemaker.workflow.function_step import step
    from sagemaker.workflow.notebook_job_step import NotebookJobStep
    from sagemaker.workflow.parameters import ParameterInteger
    from sagemaker.workflow.pipeline import Pipeline
    from sagemaker.workflow.pipeline_context import PipelineSession
else:
    from sagemaker.core.workflow.conditions import ConditionGreaterThan
    from sagemaker.core.workflow.parameters import ParameterInteger
    from sagemaker.core.workflow.pipeline_context import PipelineSession
    from sagemaker.mlops.workflow.condition_step import ConditionStep
    from sagemaker.mlops.workflow.fail_step import FailStep
    from sagemaker.mlops.workflow.function_step import step
    from sagemaker.mlops.workflow.notebook_job_step import NotebookJobStep
    from sagemaker.mlops.workflow.pipeline import Pipeline

HERE = Path(__file__).parent
IMAGE = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/example:1"
SETTINGS = {
    "image_uri": IMAGE,
    "instance_type": "ml.m5.large",
    "role": "arn:aws:iam::111122223333:role/example",
}


class Nothing:
    """The body of an empty response."""

    def stream(self) -> list[bytes]:
        return []


class RecordedUploads:
    """Answers S3 requests and writes the uploaded objects to a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, request: Any, **_: Any) -> AWSResponse:
        if request.method == "PUT":
            url = urlsplit(request.url)
            bucket = url.netloc.partition(".s3.")[0]
            path = self.folder / bucket / unquote(url.path).lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            body = request.body
            path.write_bytes(body if isinstance(body, bytes) else body.read())
        return AWSResponse(request.url, 200, HTTPHeaders(), Nothing())


def pipeline(session: PipelineSession, requirements: Path) -> Pipeline:
    """Two functions, a condition on the result of the second, and a notebook job with it."""
    start = ParameterInteger("Start", default_value=1)

    def count(start: int) -> dict[str, list[int]]:
        return {"counts": [start, start + 1]}

    def add(first: int, second: int) -> dict[str, int]:
        return {"sum": first + second}

    settings = {"dependencies": str(requirements), **SETTINGS}
    counts = step(count, name="Count", **settings)(start)["counts"]
    added: Any = step(add, name="Add", **settings)(counts[0], second=counts[1])
    show = NotebookJobStep(
        name="Show",
        input_notebook=str(HERE / "show.ipynb"),
        kernel_name="conda_python3",
        parameters={"total": added["sum"].to_string()},
        **SETTINGS,
    )
    check = ConditionStep(
        "Check",
        conditions=[ConditionGreaterThan(added["sum"], 2)],
        if_steps=[show],
        else_steps=[FailStep("Small", error_message="too small")],
    )
    return Pipeline("functions", [start], steps=[check], sagemaker_session=session)


def main(folder: Path) -> None:
    boto_session = boto3.Session(
        aws_access_key_id="none", aws_secret_access_key="none", region_name="eu-west-1"
    )
    record: Any = RecordedUploads(folder / "s3")
    boto_session.events.register("before-send.s3", record)
    modules = {"TelemetryOptOut": True, "RemoteFunction": {"S3RootUri": "s3://example/root"}}
    modules["NotebookJob"] = {"S3RootUri": "s3://example/notebooks"}
    session = PipelineSession(
        boto_session=boto_session,
        sagemaker_config={
            "SchemaVersion": "1.0",
            "SageMaker": {"PythonSDK": {"Modules": modules}},
        },
    )
    session._default_bucket = "example"  # otherwise it is looked up, even if it is not used
    requirements = folder / "requirements.txt"  # SDK 2.257 adds itself to this file
    requirements.write_text("tinylib==1.0\n")
    (folder / "definition.json").write_text(pipeline(session, requirements).definition())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
