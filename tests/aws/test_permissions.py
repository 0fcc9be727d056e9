"""The IAM policy of docs/aws.md allows every call of a run, and no others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from sagebridge_operators.steps import JOB_TYPES
from tests.aws.conftest import Moto
from tests.aws.test_aws import EXAMPLE, Abalone, abalone
from tests.dagtest import new_id

__all__ = ["abalone"]
pytestmark = pytest.mark.airflow
PAGE = Path(__file__).parent.parent.parent / "docs" / "aws.md"
WITHOUT_CALL = {"sagemaker:AddTags", "iam:PassRole"}
"""AWS checks these permissions for a Create request; there is no call for them."""
OF_RECORDS = {"s3:PutObject", "s3:DeleteObject", "s3:ListBucket"}
GROUPS = {"sagemaker:CreateModelPackageGroup", "sagemaker:DescribeModelPackageGroup"}
EXPERIMENTS = {
    f"sagemaker:{verb}{kind}" for verb in ("Create", "Describe") for kind in ("Experiment", "Trial")
}
S3 = {"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject"}


def policy() -> set[str]:
    """The actions of the policy on the page."""
    block = re.search(r"^```json\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert block
    found: set[str] = set()
    for statement in json.loads(block[1])["Statement"]:
        action = statement["Action"]
        found |= {action} if isinstance(action, str) else set(action)
    return found


def calls_of_job_types() -> Iterator[str]:
    for job in JOB_TYPES.values():
        for call in filter(None, (job.create, job.describe, job.stop)):
            yield f"{job.service}:{''.join(word.capitalize() for word in call.split('_'))}"


def action(request: dict[str, Any]) -> str | None:
    """The permission that a recorded request needs; None for the calls of the test itself."""
    service, _, operation = request["headers"].get("X-Amz-Target", "").partition(".")
    if service == "SageMaker":
        return f"sagemaker:{operation}"
    if "s3" in request["headers"].get("Authorization", ""):
        path = urlsplit(request["url"]).path.strip("/")
        return "s3:ListBucket" if "/" not in path else S3[request["method"]]
    return None


def test_policy_has_the_calls_of_every_step_type() -> None:
    setup = GROUPS | EXPERIMENTS | WITHOUT_CALL
    assert policy() == {*calls_of_job_types(), *setup, *OF_RECORDS, "s3:GetObject"}


def test_policy_allows_every_request_of_a_run(
    abalone: Abalone, moto: Moto, connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    moto.put("s3://records/x", b"")
    monkeypatch.setenv("SAGEBRIDGE_RECORDS", "s3://records/of/executions")
    monkeypatch.setenv("SAGEBRIDGE_RECORDS_CREDENTIALS", connection)
    before = len(moto.requests())
    assert abalone(EXAMPLE, new_id("permissions")).state == "success"
    setup = ("s3:PutObject", "s3:ListBucket")  # the test puts the evaluation before the run
    sent = {found for one in moto.requests()[before:] if (found := action(one))}
    assert "s3:GetObject" in sent
    assert sent - set(setup) <= policy()
    assert {"sagemaker:CreateTrainingJob", "sagemaker:DescribeModelPackageGroup"} <= sent
