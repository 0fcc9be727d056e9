"""Execution records in S3 and in a folder: the same answers from both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from sagebridge_operators.lifecycle.records import ExecutionRecords, Folder, open_objects
from sagebridge_operators.run_errors import UnknownExecution


@pytest.fixture(params=["folder", "s3://bucket", "s3://bucket/deep/records", "s3://bucket/slash/"])
def records(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ExecutionRecords]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="bucket")
        location = str(tmp_path) if request.param == "folder" else request.param
        yield ExecutionRecords(open_objects(location, lambda: s3))


def test_what_was_written_is_found(records: ExecutionRecords) -> None:
    for hour, execution in enumerate(("aa11", "aa22")):
        body = {"id": execution, "started": f"2026-11-21T0{hour}:00:00+00:00"}
        records.begin(execution, body, lambda: {"Steps": []})
    records.step("aa11", "Train", {"name": "Train", "status": "Executing"})
    records.step("aa11", "Train", {"name": "Train", "status": "Succeeded"})
    records.step("aa11", "Eval", {"name": "Eval", "status": "Executing"})
    records.request_stop("aa22")

    assert records.ids() == ["aa22", "aa11"]
    assert {name: step["status"] for name, step in records.steps("aa11").items()} == {
        "Train": "Succeeded",
        "Eval": "Executing",
    }
    assert records.steps("aa22") == {}
    assert records.resolve("aa1") == "aa11"
    assert records.stop_requested("aa22")
    assert not records.stop_requested("aa11")
    assert records.end("aa11") is None


def test_an_id_that_is_not_there(records: ExecutionRecords) -> None:
    with pytest.raises(UnknownExecution, match="there are none"):
        records.resolve("aa")


def test_what_is_being_written_is_not_read(tmp_path: Path) -> None:
    records = ExecutionRecords(Folder(tmp_path))
    records.step("aa11", "Train", {"name": "Train", "status": "Executing"})
    (tmp_path / "aa11" / "steps" / ".half").touch()
    assert list(records.steps("aa11")) == ["Train"]
    assert records.ids() == []
