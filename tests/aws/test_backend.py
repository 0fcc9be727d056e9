"""What S3 refuses, told with the object that it is about."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from sagebridge_operators.backends.aws import AwsBackend
from sagebridge_operators.run_errors import StoreError
from tests.fakes import client_error


class Refusing:
    """An S3 whose answer to every request is an error."""

    def __init__(self, code: str, status: int) -> None:
        self.error = client_error("GetObject", code, status=status)

    def get_object(self, **given: Any) -> Any:
        raise self.error


@pytest.mark.parametrize(("code", "status"), [("AccessDenied", 403), ("NoSuchKey", 404)])
def test_an_object_that_cannot_be_read_is_named(code: str, status: int) -> None:
    backend = AwsBackend(lambda: lambda service: Refusing(code, status))

    with pytest.raises(StoreError, match=r"^s3://bucket/a/b\.json: ") as refused:
        backend.read_object("s3://bucket/a/b.json")
    assert ("AccessDenied" in str(refused.value)) is (code == "AccessDenied")


def test_a_fault_of_s3_is_no_verdict_on_the_object() -> None:
    backend = AwsBackend(lambda: lambda service: Refusing("SlowDown", 503))

    with pytest.raises(ClientError):
        backend.read_object("s3://bucket/a/b.json")


def test_renewed_clients_come_from_a_new_session() -> None:
    opened: list[int] = []

    def open_session() -> Any:
        opened.append(len(opened))
        session = len(opened)
        return lambda service: f"{service} of session {session}"

    backend = AwsBackend(open_session)
    assert not opened, "a session is opened when it is needed"
    assert {backend.client("s3") for _ in range(3)} == {"s3 of session 1"}
    assert backend.client("sts") == "sts of session 1"
    backend.renew()
    assert backend.client("s3") == "s3 of session 2"
    assert backend.client("sts") == "sts of session 2"
