"""Retry policies: which failures are retried, when, and what stays recorded."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from sagebridge.model.expressions import plain
from sagebridge.model.pipeline import Step
from sagebridge.model.step_settings import RetryPolicy
from sagebridge.model.step_types import EXCEPTION_TYPES, STEP_TYPES
from sagebridge_operators.lifecycle import policy
from sagebridge_operators.lifecycle.attempt import Attempt, as_text
from sagebridge_operators.lifecycle.ending import Ending
from sagebridge_operators.lifecycle.execution import job_token
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.run_errors import FailureKind, StepFailed, StepStopped
from tests.fakes import FakeBackend, FakeSageMaker, Plan, client_error, raises
from tests.lifecycle.conftest import ARGUMENTS, EXECUTION, Make

CAPACITY, LIMIT, INTERNAL = (
    f"SageMaker.{kind}" for kind in ("CAPACITY_ERROR", "RESOURCE_LIMIT", "JOB_INTERNAL_ERROR")
)
THROTTLING, FAULT = "Step.THROTTLING", "Step.SERVICE_FAULT"
NO_CAPACITY = "CapacityError: Unable to provision requested ML compute capacity."
START = datetime(2026, 11, 21, tzinfo=UTC)


def with_policies(*policies: RetryPolicy, type_: str = "Training") -> Step:
    return Step("Train", type_, arguments=plain(ARGUMENTS[type_]), retry_policies=policies)


def at_once(*exceptions: str, **more: Any) -> RetryPolicy:
    return RetryPolicy(exceptions, interval_seconds=0, **more)


def fail_with(aws: FakeSageMaker, reason: str, times: int, key: str = "FailureReason") -> None:
    """The first jobs fail with a reason; the next one succeeds."""
    token = job_token(EXECUTION.id, 0, "Train")
    for number in range(times):
        aws.plans[f"{token}-{number}"] = Plan(("InProgress", "Failed"), ending={key: reason})


def attempts(records: ExecutionRecords) -> list[Attempt]:
    return sorted(records.attempts(EXECUTION.id), key=lambda one: one.order)


def test_failed_job_is_retried_with_a_new_job(
    make: Make, aws: FakeSageMaker, records: ExecutionRecords, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fail_with(aws, NO_CAPACITY, times=2)
    outputs = make(with_policies(at_once(CAPACITY, max_attempts=3))).run()
    first, second, third = attempts(records)
    assert [one.state for one in (first, second, third)] == ["Failed", "Failed", "Succeeded"]
    assert third.uses == (2,)
    assert [one["TrainingJobName"] for one in aws.called("create_")] == list(aws.jobs)
    assert [one.parts[-1].name for one in (first, second, third)] == list(aws.jobs)
    assert outputs["job_name"] == third.parts[-1].name
    assert NO_CAPACITY in first.reason
    assert third.begun == first.started
    told = [line for line in caplog.messages if "retry policy" in line]
    assert len(told) == 2
    assert NO_CAPACITY in told[0]
    assert f"retry policy 1 of step 'Train' applies ({CAPACITY}, at most 3 times)" in told[0]
    assert "as attempt 2 of the step" in told[0]
    assert "its retry 2 starts at" in told[1]


def test_step_fails_once_the_attempts_are_used(
    make: Make, aws: FakeSageMaker, records: ExecutionRecords
) -> None:
    fail_with(aws, NO_CAPACITY, times=9)
    step = with_policies(at_once(CAPACITY, max_attempts=2))
    with pytest.raises(StepFailed, match="CapacityError"):
        make(step).run()
    assert len(aws.jobs) == 3
    with pytest.raises(StepFailed, match="CapacityError"):
        make(step).run()  # a worker that replaces a lost one
    assert len(aws.jobs) == 3
    assert [one.state for one in attempts(records)] == ["Failed"] * 3


def test_default_is_five_retries(make: Make, aws: FakeSageMaker) -> None:
    fail_with(aws, NO_CAPACITY, times=9)
    with pytest.raises(StepFailed):
        make(with_policies(at_once(CAPACITY))).run()
    assert len(aws.jobs) == 6


@pytest.mark.parametrize(
    ("reason", "exceptions"),
    [
        ("AlgorithmError: InternalServerError in train.py", EXCEPTION_TYPES),
        ("ClientError: ResourceLimitExceeded", EXCEPTION_TYPES),
        ("the script wrote CapacityError: no", EXCEPTION_TYPES),
        (NO_CAPACITY, (LIMIT, INTERNAL, THROTTLING, FAULT)),
        ("InternalServerError: try again", (CAPACITY, FAULT)),
    ],
)
def test_other_failures_are_not_retried(
    reason: str, exceptions: tuple[str, ...], make: Make, aws: FakeSageMaker
) -> None:
    fail_with(aws, reason, times=1)
    with pytest.raises(StepFailed):
        make(with_policies(at_once(*exceptions))).run()
    assert len(aws.jobs) == 1


@pytest.mark.parametrize(
    ("reason", "exception"),
    [
        ("InternalServerError: We encountered an internal error", INTERNAL),
        ("ResourceLimitExceeded: The account-level service limit", LIMIT),
        ("Failed to launch: InsufficientInstanceCapacity", CAPACITY),
    ],
)
def test_failure_reason_matches_its_type(
    reason: str, exception: str, make: Make, aws: FakeSageMaker
) -> None:
    fail_with(aws, reason, times=1)
    make(with_policies(at_once(exception))).run()
    assert len(aws.jobs) == 2


def test_exit_message_of_a_script_is_not_matched(make: Make, aws: FakeSageMaker) -> None:
    fail_with(aws, NO_CAPACITY, times=1, key="ExitMessage")
    with pytest.raises(StepFailed):
        make(with_policies(at_once(CAPACITY), type_="Processing")).run()
    assert len(aws.jobs) == 1


def test_stopped_job_is_not_retried(make: Make, aws: FakeSageMaker) -> None:
    aws.plans[""] = Plan(("InProgress", "Stopped"), ending={"FailureReason": NO_CAPACITY})
    with pytest.raises(StepStopped):
        make(with_policies(at_once(*EXCEPTION_TYPES))).run()
    assert len(aws.jobs) == 1


def test_rejected_create_is_retried(
    make: Make, aws: FakeSageMaker, records: ExecutionRecords
) -> None:
    error = client_error("CreateTrainingJob", "ResourceLimitExceeded", "the limit is 0 instances")
    aws.before["create_training_job"] = [raises(error)] * 2
    make(with_policies(at_once(LIMIT, max_attempts=2))).run()
    names = [one["TrainingJobName"] for one in aws.called("create_")]
    assert [name[-2:] for name in names] == ["-0", "-1", "-2"]
    assert [one.state for one in attempts(records)] == ["Failed", "Failed", "Succeeded"]
    assert "the limit is 0 instances" in attempts(records)[0].reason


def test_rejected_create_without_matching_policy_fails(make: Make, aws: FakeSageMaker) -> None:
    error = client_error("CreateTrainingJob", "ResourceLimitExceeded", "the limit is 0 instances")
    aws.before["create_training_job"] = [raises(error)] * 2
    with pytest.raises(StepFailed, match="the limit is 0 instances"):
        make(with_policies(at_once(CAPACITY))).run()


@pytest.mark.parametrize("type_", ["Training", "Model"])
@pytest.mark.parametrize(
    ("error", "exception"),
    [
        (client_error("Create", "ThrottlingException"), THROTTLING),
        (client_error("Create", "Slow", status=429), THROTTLING),
        (client_error("Create", "InternalFailure", status=500), FAULT),
        (EndpointConnectionError(endpoint_url="https://api"), FAULT),
    ],
)
def test_policy_of_faults_continues_the_same_attempt(
    error: Exception,
    exception: str,
    type_: str,
    make: Make,
    aws: FakeSageMaker,
    records: ExecutionRecords,
) -> None:
    """A create request without an answer may have created the job, so its name stays."""
    method = f"create_{type_.lower()}{'_job' if type_ == 'Training' else ''}"
    aws.before[method] = [raises(error)] * 2
    step = with_policies(at_once(exception, max_attempts=2), type_=type_)
    make(step).run()
    (one,) = attempts(records)
    assert (one.state, one.uses, one.number) == ("Succeeded", (2,), 0)
    aws.before[method] = [raises(error)] * 3
    with pytest.raises(StepFailed):
        make(step, generation=1).run()
    assert attempts(records)[-1].state == "Failed"
    assert len(aws.jobs) == 1


def test_job_of_an_unanswered_create_is_adopted(make: Make, aws: FakeSageMaker) -> None:
    aws.after["create_training_job"] = [raises(EndpointConnectionError(endpoint_url="https://x"))]
    make(with_policies(at_once(FAULT, max_attempts=1))).run()
    assert len(aws.jobs) == 1
    assert not aws.called("stop_")


def test_job_of_an_unanswered_create_is_stopped_after_the_last_retry(
    make: Make, aws: FakeSageMaker
) -> None:
    aws.plans["Train"] = Plan(("InProgress",))
    aws.after["create_training_job"] = [raises(EndpointConnectionError(endpoint_url="https://x"))]
    with pytest.raises(StepFailed, match="Could not connect"):
        make(with_policies(at_once(FAULT, max_attempts=0))).run()
    assert len(aws.called("stop_")) == 1


def test_first_matching_policy_counts(
    make: Make, aws: FakeSageMaker, records: ExecutionRecords
) -> None:
    policies = (at_once(LIMIT), at_once(CAPACITY, LIMIT, max_attempts=1), at_once(CAPACITY))
    fail_with(aws, NO_CAPACITY, times=9)
    with pytest.raises(StepFailed):
        make(with_policies(*policies)).run()
    assert attempts(records)[-1].uses == (0, 1, 0)


def test_lost_worker_does_not_reset_the_counters(
    make: Make, aws: FakeSageMaker, records: ExecutionRecords
) -> None:
    fail_with(aws, NO_CAPACITY, times=9)
    step = with_policies(at_once(CAPACITY, max_attempts=2))
    save, saved = records.objects.replace, []

    def die(key: str, body: Any, version: str) -> None:
        save(key, body, version)
        saved.append(body)
        if body["phase"] == "ended" and len(aws.jobs) == 2:
            raise KeyboardInterrupt  # the worker is lost between two records

    driver = make(step)
    objects = records.objects
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(objects), "replace", lambda _, *given: die(*given))
        with pytest.raises(KeyboardInterrupt):
            driver.run()
    with pytest.raises(StepFailed):
        make(step).run()
    assert len(aws.jobs) == 3
    assert [one.uses for one in attempts(records)] == [(), (1,), (2,)]


@pytest.mark.parametrize("by", ["flag", "kill", "ending"])
def test_stop_ends_the_wait(
    by: str, make: Make, aws: FakeSageMaker, backend: FakeBackend, records: ExecutionRecords
) -> None:
    fail_with(aws, NO_CAPACITY, times=1)
    driver = make(with_policies(RetryPolicy((CAPACITY,), interval_seconds=3600)))
    errors: list[Exception] = []

    def run() -> None:
        try:
            driver.run()
        except StepStopped as stopped:
            errors.append(stopped)

    thread = threading.Thread(target=run)
    thread.start()
    until = time.monotonic() + 10
    while not (found := attempts(records)) or found[-1].phase != "waiting":
        assert time.monotonic() < until
        time.sleep(0.01)
    if by == "kill":
        driver.killed = True
    elif by == "flag":
        records.request_stop(EXECUTION.id)
    else:
        assert Ending(records, EXECUTION.id, lambda attempt: backend).stop(5.0) == []
        assert attempts(records)[-1].state == "Stopped"
    thread.join(10)
    assert not thread.is_alive()
    assert len(errors) == 1
    assert [one.state for one in attempts(records)] == ["Failed", "Stopped"]
    assert len(aws.jobs) == 1


def test_step_run_again_is_not_continued_by_a_waiting_worker(
    make: Make, aws: FakeSageMaker, records: ExecutionRecords
) -> None:
    fail_with(aws, NO_CAPACITY, times=1)
    step = with_policies(RetryPolicy((CAPACITY,), interval_seconds=1))
    driver = make(step)
    errors: list[Exception] = []

    def run() -> None:
        try:
            driver.run()
        except StepStopped as stopped:
            errors.append(stopped)

    thread = threading.Thread(target=run)
    thread.start()
    until = time.monotonic() + 10
    while not (found := attempts(records)) or found[-1].phase != "waiting":
        assert time.monotonic() < until
        time.sleep(0.01)
    make(step, generation=1).run()
    thread.join(10)
    assert len(errors) == 1
    assert len(aws.jobs) == 2


def failed(code: str, kind: FailureKind = "job", type_: str = "Training", **more: Any) -> Attempt:
    attempt = Attempt("aa", "S", type_, as_text(START), begun=as_text(START), **more)
    return attempt.with_failure(kind, "no", code, at=as_text(START))


def delays(given: RetryPolicy, count: int) -> list[float]:
    """The delay before each retry, in seconds."""
    attempt, found = failed("CapacityError"), []
    for _ in range(count):
        retry = policy.after_failure(attempt, [given])
        assert retry is not None
        found.append((retry.at - START).total_seconds())
        attempt = replace(attempt, uses=retry.uses)
    return found


def test_delays_grow_by_the_backoff_rate() -> None:
    assert delays(RetryPolicy((CAPACITY,)), 4) == [1, 2, 4, 8]
    assert delays(RetryPolicy((CAPACITY,), 30, 1), 3) == [30, 30, 30]
    assert delays(RetryPolicy((CAPACITY,), 10, 1.5), 3) == [10, 15, 22.5]
    assert delays(RetryPolicy((CAPACITY,), 1, 1e200), 4)[-1] == 14400 * 60


def test_expiry_counts_from_the_start_of_the_step() -> None:
    expiring = RetryPolicy((CAPACITY,), 60, 1, expire_after_min=10)
    late = as_text(START - timedelta(minutes=8))
    assert policy.after_failure(replace(failed("CapacityError"), begun=late), [expiring])
    late = as_text(START - timedelta(minutes=9))
    assert not policy.after_failure(replace(failed("CapacityError"), begun=late), [expiring])
    for never in (RetryPolicy((CAPACITY,), max_attempts=0), replace(expiring, expire_after_min=0)):
        assert policy.after_failure(failed("CapacityError"), [never]) is None


@pytest.mark.parametrize("kind", ["service", "outputs", "time-limit", "lost-worker", "stopped"])
def test_other_kinds_of_failure_are_not_retried(kind: FailureKind) -> None:
    everything = [RetryPolicy(EXCEPTION_TYPES)]
    for code in ("CapacityError", "InternalServerError", "ThrottlingException"):
        assert policy.after_failure(failed(code, kind), everything) is None


@pytest.mark.parametrize(
    ("type_", "code", "retried"),
    [
        ("Tuning", "CapacityError", True),
        ("Tuning", "InternalServerError", False),
        ("AutoML", "InternalServerError", False),
        ("Processing", "InternalServerError", True),
        ("Model", "ResourceLimitExceeded", False),
        ("RegisterModel", "ResourceLimitExceeded", False),
        ("Condition", "CapacityError", False),
        ("NoSuchType", "CapacityError", False),
    ],
)
def test_types_of_steps_limit_what_is_retried(type_: str, code: str, retried: bool) -> None:
    everything = [RetryPolicy(EXCEPTION_TYPES)]
    assert (policy.after_failure(failed(code, type_=type_), everything) is not None) is retried


def test_retried_exceptions_of_each_type() -> None:
    assert {name: row.retried for name, row in STEP_TYPES.items() if row.makes == "resource"} == {
        "Model": (FAULT, THROTTLING),
        "RegisterModel": (FAULT, THROTTLING),
        "EndpointConfig": (FAULT, THROTTLING),
        **dict.fromkeys(("Endpoint", "InferenceComponent", "Lineage"), ()),
    }
    assert STEP_TYPES["Training"].retried == (FAULT, THROTTLING, INTERNAL, CAPACITY, LIMIT)
    assert "Emr.RESOURCE_LIMIT" in STEP_TYPES["EMRServerless"].retried
