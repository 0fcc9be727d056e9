"""A moto server, an Airflow connection to it, and the requests that it received."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config

collect_ignore_glob = [] if find_spec("airflow") and find_spec("moto") else ["*"]

KEY, SECRET = "AKIALOOPBACKONLY", "secret-of-the-connection"
REGION = "eu-west-1"


@dataclass(frozen=True, slots=True)
class Moto:
    """The server at ``url``, with the requests since the start of the test."""

    url: str

    def client(self, service: str, region: str = REGION) -> Any:
        make: Any = boto3.client
        return make(
            service,
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            config=Config(s3={"addressing_style": "path"}),
        )

    def requests(self) -> list[dict[str, Any]]:
        """All requests so far: method, url, headers, body."""
        text = requests.get(f"{self.url}/moto-api/recorder/download-recording", timeout=10).text
        return [json.loads(line) for line in text.splitlines()]

    def created(self) -> list[dict[str, Any]]:
        """The Create requests to SageMaker, in order, as operation and body."""
        found = []
        for request in self.requests():
            service, _, operation = request["headers"].get("X-Amz-Target", "").partition(".")
            if service == "SageMaker" and operation.startswith("Create"):
                body = json.loads(base64.b64decode(request["body"]))
                found.append({"operation": operation, "request": body})
        return found

    def put(self, uri: str, body: bytes) -> None:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        s3 = self.client("s3", "us-east-1")
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key=key, Body=body)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from moto.moto_api import recorder
    from moto.server import ThreadedMotoServer

    # moto reads MOTO_RECORDER_FILEPATH only at import (moto/moto_api/_internal/recorder/models.py).
    recorder._location = str(tmp_path_factory.mktemp("moto") / "recording")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
def moto(server: str) -> Iterator[Moto]:
    for action in ("reset", "recorder/reset-recording", "recorder/start-recording"):
        requests.post(f"{server}/moto-api/{action}", timeout=10).raise_for_status()
    yield Moto(server)
    requests.post(f"{server}/moto-api/recorder/stop-recording", timeout=10)


@pytest.fixture(autouse=True)
def no_aws_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide credentials, configuration and instance metadata of this machine."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "SAGEBRIDGE_BACKEND"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("SAGEBRIDGE_RECORDS", str(tmp_path / "executions"))


@pytest.fixture
def connection(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of an Airflow connection to the server."""
    extra = {"region_name": REGION, "endpoint_url": moto.url}
    text = {"conn_type": "aws", "login": KEY, "password": SECRET, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_TEST", json.dumps(text))
    return "aws_test"


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Any:
    """Compare a value with a file of ``tests/golden/requests``, or update the file."""

    def compare(name: str, value: Any) -> None:
        path = Path(__file__).parent.parent / "golden" / "requests" / f"{name}.json"
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(value, indent=2) + "\n")
        assert value == json.loads(path.read_text()), "to accept the change: pytest --update-golden"

    return compare
