"""A bench for jobs of the local backend: real records and real jobs."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from sagebridge_operators.backends.local import LocalBackend, supervisor
from sagebridge_operators.backends.local.algorithms import xgboost as algorithm
from sagebridge_operators.backends.local.database import Records
from sagebridge_operators.backends.local.local_job_type import local_job_type
from sagebridge_operators.backends.local.store import FolderStore
from sagebridge_operators.backends.local.supervised_job import TERMINAL, Outcome, job_folder
from tests.local.models import IMAGE, SCRIPT, tarball


class Bench:
    """A home folder with its store and records."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.base = root
        self.store = FolderStore(self.home / "s3", root)
        self.records = Records(self.home / "records.db")

    def create(self, kind: str, name: str, request: dict[str, Any]) -> None:
        arn = f"arn:aws:sagemaker:eu-west-1:000000000000:{kind.lower()}-job/{name}"
        body = {
            f"{kind}JobName": name,
            f"{kind}JobArn": arn,
            f"{kind}JobStatus": "InProgress",
            "CreationTime": time.time(),
            **request,
        }
        self.records.insert(kind, name, body)

    def start(self, kind: str, name: str, request: dict[str, Any]) -> None:
        self.create(kind, name, request)
        supervisor.start(self.home, kind, name, self.base)

    def wait(self, kind: str, name: str, seconds: float = 60) -> dict[str, Any]:
        """Wait until a job has ended and return its record."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            body = supervisor.reap(self.records, kind, name)
            if body[local_job_type(kind).status] in TERMINAL:
                return body
            time.sleep(0.05)
        raise AssertionError(f"{name} has not ended:\n{self.log(kind, name)}")

    def run(self, kind: str, name: str, request: dict[str, Any]) -> dict[str, Any]:
        self.start(kind, name, request)
        return self.wait(kind, name)

    def log(self, kind: str, name: str) -> str:
        log = job_folder(self.home, kind, name) / "log"
        return log.read_text() if log.exists() else ""

    def wait_for_log(self, kind: str, name: str, text: str, seconds: float = 30) -> str:
        """Wait until the log of a job contains ``text`` and return it."""
        give_up = time.monotonic() + seconds
        while text not in (log := self.log(kind, name)):
            assert time.monotonic() < give_up, f"no {text!r} in:\n{log}"
            time.sleep(0.02)
        return log

    def text(self, uri: str) -> str:
        return self.store.read(uri).decode()

    @staticmethod
    def processing(
        script: str,
        *arguments: str,
        inputs: dict[str, tuple[str, str]] | None = None,
        outputs: dict[str, tuple[str, str]] | None = None,
        seconds: int | None = None,
        entrypoint: list[str] | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        """A CreateProcessingJob request that runs a script; inputs are (uri, path)."""
        request: dict[str, Any] = {
            "AppSpecification": {
                "ImageUri": "0.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-scikit-learn:1.2-1",
                "ContainerEntrypoint": entrypoint or ["python3", "-c", script],
                "ContainerArguments": list(arguments),
            },
            "ProcessingResources": {
                "ClusterConfig": {
                    "InstanceCount": 1,
                    "InstanceType": "ml.m5.large",
                    "VolumeSizeInGB": 30,
                }
            },
            "ProcessingInputs": [
                {
                    "InputName": name,
                    "S3Input": {"S3Uri": uri, "LocalPath": path, "S3DataType": "S3Prefix"},
                }
                for name, (uri, path) in (inputs or {}).items()
            ],
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": name,
                        "S3Output": {"S3Uri": uri, "LocalPath": path, "S3UploadMode": "EndOfJob"},
                    }
                    for name, (uri, path) in (outputs or {}).items()
                ]
            },
            **more,
        }
        if seconds is not None:
            request["StoppingCondition"] = {"MaxRuntimeInSeconds": seconds}
        return request

    @staticmethod
    def training(
        hyperparameters: dict[str, str],
        channels: dict[str, str],
        *,
        image: str = "0.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:1.0-1-cpu-py3",
        content_type: str = "text/csv",
        specification: dict[str, Any] | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        """A CreateTrainingJob request; channels map names to S3 prefixes."""
        return {
            "AlgorithmSpecification": {
                "TrainingImage": image,
                "TrainingInputMode": "File",
                **(specification or {}),
            },
            "HyperParameters": hyperparameters,
            "InputDataConfig": [
                {
                    "ChannelName": name,
                    "ContentType": content_type,
                    "DataSource": {"S3DataSource": {"S3Uri": uri, "S3DataType": "S3Prefix"}},
                }
                for name, uri in channels.items()
            ],
            "OutputDataConfig": {"S3OutputPath": "s3://bucket/models"},
            "ResourceConfig": {
                "InstanceCount": 1,
                "InstanceType": "ml.m5.large",
                "VolumeSizeInGB": 30,
            },
            **more,
        }


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def boosted(bench: Bench, tmp_path: Path) -> Bench:
    """A bench with an XGBoost model "model", trained on y = x0 + x1."""
    x = np.random.default_rng(0).random((200, 2)) * 10
    model = xgboost.train({"eta": 0.5}, xgboost.DMatrix(x, label=x.sum(1)), 40)
    algorithm.save(model, tmp_path / "xgboost-model", "pickle")
    content = (tmp_path / "xgboost-model").read_bytes()
    bench.store.write("s3://bucket/model.tar.gz", tarball({"xgboost-model": content}))
    container = {"Image": IMAGE, "ModelDataUrl": "s3://bucket/model.tar.gz"}
    bench.records.insert("Model", "model", {"ModelName": "model", "PrimaryContainer": container})
    return bench


@pytest.fixture
def scripted(bench: Bench) -> Bench:
    """A bench with a model "model" whose script multiplies by 3."""
    files = {"factor.json": b"3", "code/serve.py": SCRIPT.encode()}
    bench.store.write("s3://bucket/model.tar.gz", tarball(files))
    container = {
        "Image": "0.dkr.ecr.eu-west-1.amazonaws.com/pytorch-inference:2.3-cpu",
        "ModelDataUrl": "s3://bucket/model.tar.gz",
        "Environment": {"SAGEMAKER_PROGRAM": "serve.py"},
    }
    bench.records.insert("Model", "model", {"ModelName": "model", "Containers": [container]})
    return bench


@pytest.fixture
def living() -> Iterator[ExitStack]:
    """Holds the supervisor locks of jobs; closing it makes the supervisors look dead."""
    with ExitStack() as locks:
        yield locks


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, living: ExitStack) -> LocalBackend:
    """A backend that starts no process, with network connections forbidden."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the local backend opened a connection")

    def start(home: Path, kind: str, name: str, base: Path, lock: int) -> None:
        del base
        living.callback(os.close, os.dup(lock))
        Records(home / "records.db").update(
            kind, name, lambda body: body.update(_supervisor={"pid": 1})
        )

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(supervisor, "start", start)
    return LocalBackend(tmp_path / "home", tmp_path)


@pytest.fixture
def sagemaker(backend: LocalBackend) -> Any:
    return backend.client("sagemaker")


@pytest.fixture
def end(backend: LocalBackend) -> Callable[..., None]:
    """Returns a function that ends a job as its supervisor would."""

    def end(kind: str, name: str, status: str, **fields: Any) -> None:
        records = Records(backend.home / "records.db")
        records.update(kind, name, lambda body: Outcome(status, fields).record(body, kind))

    return end
