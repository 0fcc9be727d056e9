"""The SDK's step that adds an inference script to a model runs on this machine as it is."""

from __future__ import annotations

import importlib
import io
import tarfile
import time
from pathlib import Path

import pytest

from sagebridge_operators.backends.local import LocalBackend
from sagebridge_operators.backends.local.store import FolderStore
from tests.sagemaker.conftest import installed

PACKAGE = "sagemaker.workflow" if installed() == "2" else "sagemaker.mlops.workflow"
SOURCE = "s3://bucket/code/sourcedir.tar.gz"
MODEL = "s3://bucket/train/output/model.tar.gz"


def archive(**files: bytes) -> bytes:
    with tarfile.open(fileobj=(buffer := io.BytesIO()), mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_repacked_model_has_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")  # version 3 needs one at import
    sdk = importlib.import_module(f"{PACKAGE}._utils")
    files = {
        sdk.REPACK_SCRIPT: Path(str(sdk.__file__)).with_name(sdk.REPACK_SCRIPT).read_bytes(),
        sdk.REPACK_SCRIPT_LAUNCHER: sdk.LAUNCH_REPACK_SCRIPT_CMD.encode(),
        "inference.py": b"def model_fn(model_dir): ...",
        "requirements.txt": b"no-such-package",
    }
    backend = LocalBackend(tmp_path / "home", tmp_path)
    store = FolderStore(backend.home / "s3", tmp_path)
    store.write(SOURCE, archive(**files))
    store.write(MODEL, archive(**{"xgboost-model": b"trees"}))
    sagemaker = backend.client("sagemaker")
    sagemaker.create_training_job(
        TrainingJobName="repack",
        RoleArn="arn:aws:iam::000000000000:role/role",
        AlgorithmSpecification={
            "TrainingImage": "0.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1",
            "TrainingInputMode": "File",
        },
        # as in the definition that RegisterModel and ModelStep compile to
        HyperParameters={
            "inference_script": '"inference.py"',
            "model_archive": MODEL,
            "dependencies": "null",
            "source_dir": '"code"',
            "sagemaker_submit_directory": f'"{SOURCE}"',
            "sagemaker_program": f'"{sdk.REPACK_SCRIPT_LAUNCHER}"',
        },
        InputDataConfig=[
            {
                "ChannelName": "training",
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": MODEL}},
            }
        ],
        OutputDataConfig={"S3OutputPath": "s3://bucket/repacked"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
        StoppingCondition={"MaxRuntimeInSeconds": 86400},
    )
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
