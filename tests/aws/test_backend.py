"""Errors of the AWS backend when reading objects, and new clients after renew()."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from sagebridge_operators.backends.aws import AwsBackend
from sagebridge_operators.run_errors import StoreError
from tests.fakes import client_error


class FailingS3:
    """An S3 client that fails every request."""

    def __init__(self, code: str, status: int) -> None:
        self.error = client_error("GetObject", code, status=status)

    def get_object(self, **arguments: Any) -> Any:
        raise self.error


@pytest.mark.parametrize(("code", "status"), [("AccessDenied", 403), ("NoSuchKey", 404)])
def test_unreadable_object_is_named(code: str, status: int) -> None:
    backend = AwsBackend(lambda: lambda service: FailingS3(code, status))

    with pytest.raises(StoreError, match=r"^s3://bucket/a/b\.json: ") as raised:
        backend.read_object("s3://bucket/a/b.json")
    assert ("AccessDenied" in str(raised.value)) is (code == "AccessDenied")


def test_s3_outage_is_not_a_store_error() -> None:
    backend = AwsBackend(lambda: lambda service: FailingS3("SlowDown", 503))

    with pytest.raises(ClientError):
        backend.read_object("s3://bucket/a/b.json")


def test_renew_opens_a_new_session() -> None:
    opened: list[int] = []

    def open_session() -> Any:
        opened.append(len(opened))
        session = len(opened)
        return lambda service: f"{service} of session {session}"

    backend = AwsBackend(open_session)
    assert not opened, "the session must be opened on first use"
    assert {backend.client("s3") for _ in range(3)} == {"s3 of session 1"}
    assert backend.client("sts") == "sts of session 1"
    backend.renew()
    assert backend.client("s3") == "s3 of session 2"
    assert backend.client("sts") == "sts of session 2"
