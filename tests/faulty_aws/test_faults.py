"""Each fault as a boto3 client sees it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ReadTimeoutError,
)

from tests.clock import Clock
from tests.faulty_aws.conftest import once
from tests.faulty_aws.fault_rules import FaultRule
from tests.faulty_aws.job_requests import (
    KINDS,
    client_error,
    create,
    describe,
    statuses,
)
from tests.faulty_aws.server import FaultyAws


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        ({"fault": "throttle"}, "ThrottlingException", 400),
        ({"fault": "error"}, "InternalFailure", 500),
        ({"fault": "error", "status": 503}, "ServiceUnavailable", 503),
        ({"fault": "error", "status": 400, "code": "Denied"}, "Denied", 400),
        ({"fault": "expired_token"}, "ExpiredTokenException", 403),
        ({"fault": "bad_signature"}, "InvalidSignatureException", 403),
        ({"fault": "access_denied"}, "AccessDeniedException", 400),
    ],
)
def test_errors_of_sagemaker(
    aws: FaultyAws, sagemaker: Any, fault: dict[str, Any], code: str, status: int
) -> None:
    aws.add_faults(FaultRule.from_json(fault | {"times": 2, "operation": "Create*"}))
    for _ in range(2):
        answer = client_error(lambda: create(sagemaker, "Training", "a"))
        assert answer[::2] == (code, status)
    assert aws.count("CreateTrainingJob") == 0
    create(sagemaker, "Training", "a")
    assert [one.fault for one in aws.requests()] == [fault["fault"]] * 2 + [""]
    assert [one.status for one in aws.requests()] == [status, status, 200]


@pytest.mark.parametrize(
    ("fault", "s3_error", "sts_error"),
    [
        ("throttle", ("SlowDown", 503), ("Throttling", 400)),
        ("error", ("InternalError", 500), ("InternalFailure", 500)),
        ("expired_token", ("ExpiredToken", 400), ("ExpiredToken", 403)),
        ("bad_signature", ("SignatureDoesNotMatch", 403), ("SignatureDoesNotMatch", 403)),
        ("access_denied", ("AccessDenied", 403), ("AccessDenied", 403)),
    ],
)
def test_errors_of_s3_and_sts(
    aws: FaultyAws, s3: Any, fault: Any, s3_error: object, sts_error: object
) -> None:
    aws.add_faults(FaultRule(fault=fault))
    assert client_error(lambda: s3.get_object(Bucket="bucket", Key="k"))[::2] == s3_error
    sts = aws.client("sts", config=once())
    assert client_error(sts.get_caller_identity)[::2] == sts_error


def test_drop(aws: FaultyAws, sagemaker: Any) -> None:
    aws.add_faults(FaultRule(fault="drop", times=1))
    with pytest.raises(ConnectionClosedError):
        create(sagemaker, "Training", "a")
    create(sagemaker, "Training", "a")
    first, second = aws.requests("CreateTrainingJob")
    assert (first.done, first.status, first.fault) == (False, 0, "drop")
    assert second.done


def test_lost_answer(aws: FaultyAws, sagemaker: Any) -> None:
    aws.add_faults(FaultRule(fault="lose_answer", operation="Create*", times=1))
    with pytest.raises(ConnectionClosedError):
        create(sagemaker, "Training", "a")
    assert statuses(sagemaker, "Training", "a", 1) == ["InProgress"]
    assert aws.count("CreateTrainingJob", "a") == 1
    assert aws.requests("CreateTrainingJob")[0].status == 0


def test_lost_answer_seen_by_a_retrying_client(aws: FaultyAws) -> None:
    aws.add_faults(FaultRule(fault="lose_answer", operation="Create*", times=1))
    answer = client_error(lambda: create(aws.client("sagemaker"), "Training", "a"))
    assert answer[0] == "ResourceInUse"
    assert [one.attempt for one in aws.requests("CreateTrainingJob")] == [1, 2]


def test_delay(aws: FaultyAws, sagemaker: Any) -> None:
    aws.add_faults(FaultRule(fault="delay", delay=0.4, times=1))
    began = time.monotonic()
    create(sagemaker, "Training", "a")
    assert time.monotonic() - began >= 0.4
    assert aws.count("CreateTrainingJob") == 1


def test_delay_beyond_the_read_timeout(aws: FaultyAws) -> None:
    aws.add_faults(FaultRule(fault="delay", delay=60, operation="Create*"))
    impatient = aws.client("sagemaker", config=once(read_timeout=0.3))
    with pytest.raises(ReadTimeoutError):
        create(impatient, "Training", "a")
    assert statuses(impatient, "Training", "a", 1) == ["InProgress"]
    began = time.monotonic()
    aws.stop()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("kind", KINDS)
def test_not_found_after_create(aws: FaultyAws, sagemaker: Any, kind: str) -> None:
    aws.add_faults(FaultRule(fault="not_found", times=2, name="late*"))
    for name in ("late-1", "late-2", "other"):
        create(sagemaker, kind, name)
    missing = client_error(lambda: describe(sagemaker, kind, "late-1"))
    unknown = client_error(lambda: describe(sagemaker, kind, "late-9"))
    assert missing[1].replace("late-1", "late-9") == unknown[1]
    client_error(lambda: describe(sagemaker, kind, "late-1"))
    assert statuses(sagemaker, kind, "late-1", 1) == ["InProgress"]
    client_error(lambda: describe(sagemaker, kind, "late-2"))
    assert statuses(sagemaker, kind, "other", 1) == ["InProgress"]


def test_not_found_for_a_while_after_create(aws: FaultyAws, sagemaker: Any, clock: Clock) -> None:
    aws.add_faults(FaultRule(fault="not_found", seconds=10))
    clock.now += 60
    create(sagemaker, "Training", "a")
    client_error(lambda: describe(sagemaker, "Training", "a"))
    clock.now += 10
    assert statuses(sagemaker, "Training", "a", 1) == ["InProgress"]


def test_outages_by_time(aws: FaultyAws, sagemaker: Any, clock: Clock) -> None:
    create(sagemaker, "Training", "a")
    outages = [FaultRule(fault="drop", start=at, seconds=15) for at in (10, 600, 1200)]
    aws.add_faults(*outages)
    began = clock.now
    worked = []
    for after in (9, 11, 24, 26, 605, 620, 1214, 1216):
        clock.now = began + after
        try:
            describe(sagemaker, "Training", "a")
        except ConnectionClosedError:
            worked.append(False)
        else:
            worked.append(True)
    assert worked == [True, False, False, True, False, True, False, True]


def test_selection(aws: FaultyAws, sagemaker: Any, s3: Any) -> None:
    aws.add_faults(
        FaultRule(fault="throttle", service="sagemaker", operation="Describe*", name="*-slow"),
        FaultRule(fault="error", service="s3", operation="PutObject", name="bucket/runs/*"),
        FaultRule(fault="expired_token", access_key="AKIAOLD"),
    )
    create(sagemaker, "Training", "a-slow")
    create(sagemaker, "Training", "a")
    describe(sagemaker, "Training", "a")
    answer = client_error(lambda: describe(sagemaker, "Training", "a-slow"))
    assert answer[0] == "ThrottlingException"
    s3.put_object(Bucket="bucket", Key="k", Body=b"")
    put = {"Bucket": "bucket", "Key": "runs/1", "Body": b""}
    assert client_error(lambda: s3.put_object(**put))[0] == "InternalError"
    old = aws.client("sagemaker", access_key="AKIAOLD", config=once())
    answer = client_error(lambda: describe(old, "Training", "a"))
    assert answer[0] == "ExpiredTokenException"


def test_skip_and_order(aws: FaultyAws, sagemaker: Any) -> None:
    aws.add_faults(
        FaultRule(fault="throttle", skip=1, times=1), FaultRule(fault="error", skip=1, times=1)
    )
    create(sagemaker, "Training", "a")
    assert client_error(lambda: describe(sagemaker, "Training", "a"))[0] == "ThrottlingException"
    assert client_error(lambda: describe(sagemaker, "Training", "a"))[0] == "InternalFailure"
    describe(sagemaker, "Training", "a")


def test_clear(aws: FaultyAws, sagemaker: Any) -> None:
    aws.add_faults(FaultRule(fault="throttle"))
    assert client_error(lambda: create(sagemaker, "Training", "a"))[0] == "ThrottlingException"
    aws.clear_faults()
    create(sagemaker, "Training", "a")
    assert describe(sagemaker, "Training", "a")["TrainingJobName"] == "a"


def test_wrong_rules() -> None:
    for rule in (
        {"fault": "explode"},
        {"fault": "drop", "secs": 1},
        {},
        {"fault": "drop", "times": "2"},
    ):
        with pytest.raises((ValueError, TypeError)):
            FaultRule.from_json(rule)


def test_fault_for_each_resource(aws: FaultyAws, sagemaker: Any, clock: Clock) -> None:
    fault = FaultRule(fault="throttle", operation="Describe*", seconds=600, per_resource=True)
    aws.add_faults(fault)
    for name in ("a", "b"):
        create(sagemaker, "Training", name)
        with pytest.raises(ClientError, match="ThrottlingException"):
            describe(sagemaker, "Training", name)
        clock.now += 601
        assert statuses(sagemaker, "Training", name, 1) == ["InProgress"]
