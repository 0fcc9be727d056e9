"""Caching: which runs reuse an earlier job, and what is left of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from sagebridge.model.expressions import join, parameter, plain, properties_of
from sagebridge.model.pipeline import Step
from sagebridge.model.step_settings import CacheConfig
from sagebridge.model.step_types import STEP_TYPES
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.objects import Folder, open_objects
from sagebridge_operators.lifecycle.outputs import references_to
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_task import StepTask
from sagebridge_operators.run_errors import StepFailed
from tests.fakes import FakeBackend, FakeSageMaker, Plan
from tests.lifecycle.conftest import ARGUMENTS, EXECUTION

CACHED = CacheConfig(enabled=True, expire_after="P1D")
IDS = tuple(f"{number:012d}" for number in range(9))
Run = Callable[..., dict[str, Any]]


BOTH = pytest.mark.parametrize("records", ["folder", "s3://bucket/deep/records"], indirect=True)


@pytest.fixture
def records(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ExecutionRecords]:
    location = getattr(request, "param", "folder")
    if location == "folder":
        yield ExecutionRecords(Folder(tmp_path))
        return
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="bucket")
        yield ExecutionRecords(open_objects(location, lambda: s3))


def cached(type_: str = "Training", name: str = "Train", **arguments: Any) -> Step:
    return Step(
        name, type_, arguments=plain({**ARGUMENTS[type_], **arguments}), cache_config=CACHED
    )


@pytest.fixture
def run(backend: FakeBackend, records: ExecutionRecords) -> Run:
    def go(number: int, step: Step | None = None, pipeline: str = "abalone", **more: Any) -> Any:
        execution = replace(EXECUTION, id=IDS[number], pipeline=pipeline)
        given = {"upstream": lambda name: None, **more}
        return StepDriver(StepTask(step or cached(), execution, backend, records, **given)).run()

    return go


def attempt_of(records: ExecutionRecords, number: int, step: str = "Train") -> Attempt:
    return records.steps(IDS[number])[step]


@BOTH
def test_second_run_reuses_the_job(
    run: Run, aws: FakeSageMaker, records: ExecutionRecords, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    first = run(0)
    shown: list[Any] = []
    jobs: list[Any] = []
    second = run(1, on_request=shown.append, on_job=jobs.append)
    assert len(aws.jobs) == 1
    assert second == {**first, "cached_from": f"{IDS[0]}/Train"}
    hit = attempt_of(records, 1)
    assert (hit.state, hit.cached_from, hit.outputs) == ("Succeeded", f"{IDS[0]}/Train", first)
    assert hit.job is not None
    assert jobs == [first["job"]]
    assert shown[-1]["CachedFrom"] == f"{IDS[0]}/Train"
    assert f"found Training {first['job_name']} of {IDS[0]}/Train in the cache" in caplog.text
    assert run(1) == second  # a worker that replaces a lost one
    assert run(2)["cached_from"] == f"{IDS[0]}/Train"


@BOTH
def test_lookup_lists_no_executions(
    run: Run, records: ExecutionRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(0)
    listed: list[str] = []
    keys = type(records.objects).keys

    def spy(objects: Any, prefix: str) -> Iterator[str]:
        listed.append(prefix)
        return keys(objects, prefix)

    monkeypatch.setattr(type(records.objects), "keys", spy)
    assert run(1)["cached_from"]
    assert {prefix.split("/")[0] for prefix in listed} == {IDS[1]}


@pytest.mark.parametrize(
    "other",
    [
        {"HyperParameters": {"eta": "0.3"}},
        {"Environment": {"A": "2"}},
        {"AlgorithmSpecification": {"TrainingImage": "new", "TrainingInputMode": "File"}},
    ],
)
def test_other_key_attributes_start_a_job(
    other: dict[str, Any], run: Run, aws: FakeSageMaker
) -> None:
    run(0, cached(HyperParameters={"eta": "0.2"}, Environment={"A": "1"}))
    run(1, cached(**{"HyperParameters": {"eta": "0.2"}, "Environment": {"A": "1"}, **other}))
    assert len(aws.jobs) == 2


def test_other_attributes_do_not_matter(run: Run, aws: FakeSageMaker) -> None:
    run(0)
    run(1, cached(OutputDataConfig={"S3OutputPath": "s3://other"}, RoleArn="arn:aws:iam::1:role/x"))
    assert len(aws.jobs) == 1


def test_values_are_compared_after_they_are_resolved(run: Run, aws: FakeSageMaker) -> None:
    run(0, cached(HyperParameters={"eta": join("", parameter("Rate"))}))
    run(1, cached(HyperParameters={"eta": "0.2"}))
    assert len(aws.jobs) == 1


def test_cache_belongs_to_pipeline_and_step(run: Run, aws: FakeSageMaker) -> None:
    run(0)
    run(1, pipeline="other")
    run(2, cached(name="Train2"))
    assert len(aws.jobs) == 3


@BOTH
def test_untrusted_names_stay_below_the_cache(
    run: Run, aws: FakeSageMaker, records: ExecutionRecords
) -> None:
    for number, name in enumerate(("../../x", "a/b", "é" * 200)):
        run(2 * number, cached(name=name), pipeline=name)
        assert run(2 * number + 1, cached(name=name), pipeline=name)["cached_from"]
    assert len(aws.jobs) == 3
    keys = [key for key in records.objects.keys("") if not key.startswith(IDS[0][:8])]
    assert len(keys) == 3
    assert all(key.startswith("cache/") and key.count("/") == 3 for key in keys)


def test_disabled_cache_is_not_used(run: Run, aws: FakeSageMaker) -> None:
    run(0)
    for number, config in enumerate((CacheConfig(False, "P1D"), CacheConfig()), start=1):
        run(number, replace(cached(), cache_config=config))
    assert len(aws.jobs) == 3


@pytest.mark.parametrize(
    ("expiry", "age", "hit"),
    [
        ("30d", timedelta(days=29), True),
        ("p30d", timedelta(days=31), False),
        ("PT1H", timedelta(minutes=59), True),
        ("T16m", timedelta(minutes=17), False),
        ("30dT5h", timedelta(days=30, hours=4), True),
    ],
)
def test_expired_job_is_not_reused(
    expiry: str, age: timedelta, hit: bool, run: Run, aws: FakeSageMaker
) -> None:
    ended = datetime.now(UTC) - age
    aws.plans[""] = Plan(ending={"TrainingEndTime": ended})
    step = replace(cached(), cache_config=CacheConfig(True, expiry))
    run(0, step)
    assert ("cached_from" in run(1, step)) is hit


def test_newest_success_is_reused(run: Run, aws: FakeSageMaker) -> None:
    now = datetime.now(UTC)
    uncached = replace(cached(), cache_config=CacheConfig(True, "PT1M"))
    for number, age in enumerate((2, 3)):
        aws.plans[IDS[number]] = Plan(ending={"TrainingEndTime": now - timedelta(hours=age)})
        run(number, uncached)
    assert len(aws.jobs) == 2
    assert run(2)["cached_from"] == f"{IDS[0]}/Train"


@pytest.mark.parametrize("status", ["Failed", "Stopped"])
def test_only_successful_runs_are_reused(status: str, run: Run, aws: FakeSageMaker) -> None:
    aws.plans[IDS[0]] = Plan(("InProgress", status))
    with pytest.raises(StepFailed):
        run(0)
    assert "cached_from" not in run(1)


def test_running_job_does_not_block(
    run: Run, aws: FakeSageMaker, records: ExecutionRecords
) -> None:
    outputs: list[Any] = []
    aws.before["describe_training_job"] = [
        lambda: None,
        lambda: outputs.append(run(1)),
    ]
    run(0)
    assert "cached_from" not in outputs[0]
    assert len(aws.jobs) == 2


def test_missing_job_is_not_reused(run: Run, aws: FakeSageMaker) -> None:
    run(0)
    aws.jobs.clear()
    assert "cached_from" not in run(1)
    assert len(aws.jobs) == 1


def test_new_references_are_resolved(run: Run) -> None:
    run(0)
    reader = Step("Use", "Model", arguments=plain([properties_of("Train").ResourceConfig]))
    found = run(1, references=references_to("Train", (cached(), reader)))
    assert found["cached_from"]
    assert found["properties"]["ResourceConfig"] == ARGUMENTS["Training"]["ResourceConfig"]


def test_repeated_step_starts_a_job(run: Run, aws: FakeSageMaker) -> None:
    run(0)
    assert "cached_from" not in run(0, generation=1)
    assert len(aws.jobs) == 2


def test_environment_values_are_not_stored(run: Run, records: ExecutionRecords) -> None:
    run(0, cached(Environment={"TOKEN": "hunter2"}))
    assert "cached_from" in run(1, cached(Environment={"TOKEN": "hunter2"}))
    objects = records.objects
    stored = [json.dumps([key, objects.read(key)]) for key in objects.keys("")]
    assert "hunter2" not in "".join(stored)


@pytest.mark.parametrize("type_", ["Model", "RegisterModel"])
def test_types_without_key_attributes_are_not_cached(
    type_: str, run: Run, aws: FakeSageMaker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for number in range(2):
        assert "cached_from" not in run(number, cached(type_))
    assert f"{type_} steps are not cached" in caplog.text


@pytest.mark.parametrize("type_", ["Processing", "Transform"])
def test_other_types_are_cached(type_: str, run: Run) -> None:
    run(0, cached(type_))
    assert run(1, cached(type_))["cached_from"]


def test_every_type_with_a_cache_that_the_guide_or_the_sdk_lists_has_key_attributes() -> None:
    keyed = {name for name, row in STEP_TYPES.items() if row.cached_by}
    listed = {"Processing", "Training", "Tuning", "AutoML", "Transform", "EMR"}
    newer = {"Job", "EndpointConfig", "Endpoint"}  # SDK 3.27
    assert keyed == listed | newer | {"ClarifyCheck", "QualityCheck"}
    assert all("CacheConfig" in STEP_TYPES[name].takes for name in keyed)
