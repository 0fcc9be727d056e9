"""The SDK's step that adds an inference script to a model runs on this machine as it is."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import time
from pathlib import Path
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse, HTTPHeaders

from sagebridge_operators.backends.local import LocalBackend
from sagebridge_operators.backends.local.store import FolderStore
from tests.local.functions.compile import RecordedUploads
from tests.sagemaker.conftest import installed

if installed() == "2":
    from sagemaker.workflow._utils import _RepackModelStep
    from sagemaker.workflow.pipeline import Pipeline
    from sagemaker.workflow.pipeline_context import PipelineSession
else:
    from sagemaker.core.workflow.pipeline_context import PipelineSession
    from sagemaker.mlops.workflow._utils import _RepackModelStep
    from sagemaker.mlops.workflow.pipeline import Pipeline

MODEL = "s3://bucket/train/output/model.tar.gz"
DENIED = b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"


class Denied:
    """The response of IAM, which version 3 asks about the role."""

    def __call__(self, request: Any, **_: Any) -> AWSResponse:
        return AWSResponse(request.url, 403, HTTPHeaders(), self)

    def stream(self) -> list[bytes]:
        return [DENIED]


def compiled(folder: Path) -> dict[str, Any]:
    """The arguments of the step; what the SDK uploads is below ``s3``."""
    boto_session = boto3.Session(
        aws_access_key_id="none", aws_secret_access_key="none", region_name="eu-west-1"
    )
    answers: dict[str, Any] = {"s3": RecordedUploads(folder / "s3"), "iam": Denied()}
    for service, answer in answers.items():
        boto_session.events.register(f"before-send.{service}", answer)
    modules = {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}
    config = {"SchemaVersion": "1.0", "SageMaker": modules}
    session = PipelineSession(boto_session=boto_session, sagemaker_config=config)
    session._default_bucket = "example"
    (source := folder / "source").mkdir()
    (source / "inference.py").write_text("def model_fn(model_dir): ...\n")
    (source / "requirements.txt").write_text("no-such-package\n")
    step = _RepackModelStep(
        name="Repack",
        sagemaker_session=session,
        role="arn:aws:iam::111122223333:role/example",
        model_data=MODEL,
        entry_point="inference.py",
        source_dir=str(source),
    )
    text = Pipeline("repack", steps=[step], sagemaker_session=session).definition()
    arguments: dict[str, Any] = json.loads(text)["Steps"][0]["Arguments"]
    return arguments


def test_repacked_model_has_the_script(tmp_path: Path) -> None:
    arguments = compiled(tmp_path)
    backend = LocalBackend(tmp_path / "home", tmp_path)
    shutil.copytree(tmp_path / "s3", backend.home / "s3")
    store = FolderStore(backend.home / "s3", tmp_path)
    with tarfile.open(fileobj=(buffer := io.BytesIO()), mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("xgboost-model"))
    store.write(MODEL, buffer.getvalue())
    sagemaker = backend.client("sagemaker")
    sagemaker.create_training_job(TrainingJobName="repack", **arguments)
    until = time.monotonic() + 60
    while (found := sagemaker.describe_training_job(TrainingJobName="repack"))[
        "TrainingJobStatus"
    ] not in ("Completed", "Failed"):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert found["TrainingJobStatus"] == "Completed", found["FailureReason"]
    content = store.read(found["ModelArtifacts"]["S3ModelArtifacts"])
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        names = {member.name.removeprefix("./") for member in tar if member.isfile()}
    assert {"xgboost-model", "code/inference.py", "code/requirements.txt"} <= names
