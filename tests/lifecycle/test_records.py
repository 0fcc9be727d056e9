"""Execution records, the same in S3 and in a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from sagebridge_operators.lifecycle.attempt import FORMAT, Attempt, End, Part
from sagebridge_operators.lifecycle.objects import Bucket, Folder, WriteConflict, open_objects
from sagebridge_operators.lifecycle.opening import open_execution
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.run_errors import OlderRecord, RecordsUnreachable, UnknownExecution
from tests.fakes import client_error


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


def begin(records: ExecutionRecords, execution: str, hour: int = 0) -> None:
    body = {"format": FORMAT, "id": execution, "started": f"2026-11-21T0{hour}:00:00+00:00"}
    open_execution(records, execution, body, lambda: {"Steps": []})


def attempt(step: str = "Train", **more: Any) -> Attempt:
    return Attempt("aa11", step, "Training", "2026-11-21T00:00:00+00:00", **more)


def test_written_attempt_is_read_back(records: ExecutionRecords) -> None:
    begin(records, "aa11")
    begin(records, "aa22", hour=1)
    records.save(attempt())
    records.save(attempt().with_end("Succeeded", outputs={"a": [1, None]}))
    records.save(attempt("Eval/../x"))
    records.request_stop("aa22")

    assert records.ids() == ["aa22", "aa11"]
    assert {name: step.state for name, step in records.steps("aa11").items()} == {
        "Train": "Succeeded",
        "Eval/../x": "Executing",
    }
    assert records.steps("aa11")["Train"].outputs == {"a": [1, None]}
    assert records.steps("aa22") == {}
    assert records.resolve("aa1") == "aa11"
    assert records.stop_requested("aa22")
    assert not records.stop_requested("aa11")
    assert records.end("aa11") is None


def test_attempt_round_trips_through_json() -> None:
    parts = (Part("a"), Part("b", "arn:aws:b"))
    whole = attempt(index=(3, 0), generation=2, number=1, phase="stopping", parts=parts)
    ended = whole.with_failure("job", "no data", "ClientError")
    counted = attempt(tries=1, uses=(2, 0), begun="a", next_look="b", digest="c", log_position=7)
    hit = replace(counted, phase="ended", end=End("Succeeded", "d", outputs={}, cached_from="e/f"))
    succeeded = attempt().with_end("Succeeded", outputs={"x": {}})
    for one in (attempt(), whole, ended, succeeded, counted, hit):
        assert Attempt.from_json(json.loads(json.dumps(one.as_json()))) == one


def test_record_without_counters_is_read() -> None:
    end = {"state": "Failed", "at": "b", "failure": {"kind": "job", "text": "c"}, "outputs": None}
    body = {"format": FORMAT, "execution": "e", "step": "S", "type": "Training", "started": "a"}
    read = Attempt.from_json({**body, "phase": "ended", "end": end})
    assert (read.uses, read.tries, read.reason) == ((), 0, "c")


def test_waiting_attempt_can_only_go_forward(records: ExecutionRecords) -> None:
    waiting = attempt(phase="waiting", next_look="2026-11-21T00:01:00+00:00")
    assert records.save(waiting) == waiting
    assert records.save(attempt()) == attempt()
    assert records.save(waiting) == attempt()


@pytest.mark.parametrize("body", [{"name": "Train", "status": "Executing"}, {"format": 1}, {}])
def test_older_attempt_record_is_rejected(body: dict[str, Any]) -> None:
    with pytest.raises(OlderRecord, match="finish or stop running executions before upgrading"):
        Attempt.from_json(body)


def test_older_execution_record_is_rejected(records: ExecutionRecords) -> None:
    records.objects.put("aa11/execution.json", {"id": "aa11", "started": "2026-11-21"})
    records.objects.put("aa11/steps/Train.json", {"name": "Train", "status": "Executing"})
    with pytest.raises(OlderRecord):
        begin(records, "aa11")
    with pytest.raises(OlderRecord):
        records.steps("aa11")


def test_record_phases_only_go_forward(records: ExecutionRecords) -> None:
    stopping = attempt(phase="stopping", parts=(Part("job"),))
    ended = stopping.with_failure("stopped", "asked", state="Stopped")
    assert records.save(attempt()) == attempt()
    assert records.save(stopping) == stopping
    assert records.save(attempt(phase="created")) == stopping
    assert records.save(ended) == ended
    assert records.save(stopping.with_end("Succeeded", outputs={})) == ended
    assert records.steps("aa11")["Train"] == ended


def test_one_of_two_concurrent_writers_wins(records: ExecutionRecords) -> None:
    ends = [attempt().with_end("Succeeded", outputs={"n": n}) for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        (winner, *others) = set(map(str, pool.map(records.save, ends)))
    assert not others
    assert winner == str(records.steps("aa11")["Train"])


def test_conditional_writes_detect_conflicts(records: ExecutionRecords) -> None:
    objects = records.objects
    objects.create("aa/x.json", {"n": 1})
    with pytest.raises(WriteConflict):
        objects.create("aa/x.json", {"n": 2})
    stored = objects.read("aa/x.json")
    assert stored is not None
    objects.replace("aa/x.json", {"n": 2}, stored.version)
    with pytest.raises(WriteConflict):
        objects.replace("aa/x.json", {"n": 3}, stored.version)
    with pytest.raises(WriteConflict):
        objects.replace("aa/y.json", {"n": 3}, stored.version)
    assert objects.read("aa/x.json").body == {"n": 2}  # type: ignore[union-attr]


def test_steps_returns_the_most_important_attempt(records: ExecutionRecords) -> None:
    succeeded = attempt(index=(0,)).with_end("Succeeded", outputs={})
    failed = attempt(index=(1,)).with_failure("job", "no")
    again = attempt(index=(1,), generation=1)
    for one in (succeeded, failed):
        records.save(one)
    assert records.steps("aa11")["Train"] == failed
    records.save(again)
    assert records.steps("aa11")["Train"] == again
    assert set(map(str, records.current("aa11"))) == {str(succeeded), str(again)}


def test_unknown_execution_id(records: ExecutionRecords) -> None:
    with pytest.raises(UnknownExecution, match="there are no executions"):
        records.resolve("aa")


def test_partial_files_are_not_read(tmp_path: Path) -> None:
    records = ExecutionRecords(Folder(tmp_path))
    records.save(attempt())
    (tmp_path / "aa11" / "steps" / "Train" / ".half").touch()
    assert list(records.steps("aa11")) == ["Train"]
    assert records.ids() == []


def test_expired_credentials_of_records_are_renewed() -> None:
    renewed: list[bool] = []

    class Client:
        exceptions = boto3.client("s3", region_name="us-east-1").exceptions

        def get_object(self, **request: Any) -> Any:
            del request
            if not renewed:
                raise client_error("GetObject", "ExpiredToken")
            return {"Body": BytesIO(b"{}"), "ETag": "1"}

    bucket = Bucket("s3://bucket", Client, lambda: renewed.append(True))

    with pytest.raises(RecordsUnreachable, match="ExpiredToken"):
        bucket.read("a.json")
    assert bucket.read("a.json") is not None
