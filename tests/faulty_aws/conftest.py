"""A server for each test, and an environment without AWS settings of this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config

from tests.clock import Clock
from tests.faulty_aws import fault_rules, job_scripts, sagemaker_api
from tests.faulty_aws.server import FaultyAws


@pytest.fixture(autouse=True)
def no_aws_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of fault rules and jobs."""
    clock = Clock()
    clock.patch(monkeypatch, (fault_rules, job_scripts, sagemaker_api))
    return clock


@pytest.fixture
def aws() -> Iterator[FaultyAws]:
    with FaultyAws() as server:
        yield server


@pytest.fixture
def sagemaker(aws: FaultyAws) -> Any:
    """A client that does not retry, so every fault shows."""
    return aws.client("sagemaker", config=once())


@pytest.fixture
def s3(aws: FaultyAws) -> Any:
    """A client that does not retry, and the bucket ``bucket``."""
    aws.create_bucket("bucket")
    return aws.client("s3", config=once())


def once(**options: Any) -> Config:
    """One attempt per call; ``options`` as those of Config."""
    return Config(retries={"mode": "standard", "total_max_attempts": 1}, **options)
