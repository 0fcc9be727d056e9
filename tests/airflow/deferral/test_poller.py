"""What a poller calls, and what its watches end with. Minutes pass at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from sagebridge_operators.steps import JOB_TYPES
from tests.fakes import FakeBackend, FakeSageMaker, Plan, client_error, raises

poller = pytest.importorskip("sagebridge_operators.airflow.deferral.poller")
EXECUTION = "0123456789ab"
PREFIX = "pipelines-"
TRAINING = JOB_TYPES["Training"]
HOUR = 3600.0


class Aws(FakeSageMaker):
    """The fake client with ListTrainingJobs."""

    def list_training_jobs(self, **request: Any) -> dict[str, Any]:
        self.calls.append(("list_training_jobs", request))
        if self.before["list_training_jobs"]:
            self.before["list_training_jobs"].pop(0)()
        start = int(request.get("NextToken", 0))
        running = [
            {"TrainingJobName": name}
            for name, job in self.jobs.items()
            if request["NameContains"] in name and job.coming[0] == request["StatusEquals"]
        ]
        token = {"NextToken": str(start + 100)} if len(running) > start + 100 else {}
        return {"TrainingJobSummaries": running[start : start + 100], **token}


class Watching:
    """A poller with a clock that a sleep moves forward."""

    def __init__(self) -> None:
        self.aws = Aws()
        self.now = 0.0
        self.happenings: list[tuple[float, Callable[[], None]]] = []
        self.poller = poller.Poller(
            TRAINING, FakeBackend(self.aws), self._call, self._pause, lambda: self.now
        )

    async def _call(self, call: Callable[[], Any]) -> Any:
        return call()

    async def _pause(self, seconds: float) -> None:
        self.now += seconds
        for one in [one for one in self.happenings if one[0] <= self.now]:
            self.happenings.remove(one)
            one[1]()
        await asyncio.sleep(0)

    def job(self, name: str, *, status: str = "InProgress") -> str:
        full = f"{PREFIX}{EXECUTION}-{name}"
        self.aws.plans[full] = Plan((status,))
        arguments = {
            "RoleArn": "arn:aws:iam::111122223333:role/r",
            "AlgorithmSpecification": {"TrainingImage": "i", "TrainingInputMode": "File"},
            "OutputDataConfig": {"S3OutputPath": "s3://bucket/model"},
            "ResourceConfig": {
                "InstanceCount": 1,
                "InstanceType": "ml.m5.large",
                "VolumeSizeInGB": 1,
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        }
        self.aws.create_training_job(TrainingJobName=full, **arguments)
        self.aws.calls.clear()
        return full

    def jobs(self, count: int) -> list[str]:
        return [self.job(f"{number:04}-x") for number in range(count)]

    def at(self, seconds: float, name: str, status: str = "Completed") -> None:
        def change() -> None:
            self.aws.jobs[name].coming = [status]

        self.happenings.append((seconds, change))

    def watch(self, names: Iterable[str], **limits: float) -> list[Any]:
        """Watches jobs until all have ended; returns what was seen, in their order."""

        async def watched() -> list[Any]:
            times = {"deadline": 10 * HOUR, **limits}
            watches = [self.poller.watch(poller.WatchedJob(one, PREFIX, **times)) for one in names]
            return list(await asyncio.wait_for(asyncio.gather(*watches), 30))

        return asyncio.run(watched())

    def called(self, method: str) -> int:
        return len(self.aws.called(method))


@pytest.fixture
def watching() -> Watching:
    return Watching()


@pytest.mark.parametrize("status", ["Completed", "Failed", "Stopped"])
def test_few_jobs_are_described_until_they_have_ended(status: str, watching: Watching) -> None:
    name = watching.job("a")
    watching.at(HOUR, name, status)
    (seen,) = watching.watch([name])
    assert seen.status == "ended"
    assert HOUR <= watching.now <= HOUR + 45
    assert watching.called("list_training_jobs") == 0
    assert HOUR / 45 < watching.called("describe_training_job") < HOUR / 20
    assert seen.looks == watching.called("describe_training_job")


def test_new_job_is_looked_at_within_seconds(watching: Watching) -> None:
    name = watching.job("a", status="Completed")
    watching.watch([name])
    assert watching.now <= 15


def test_thousand_jobs_cost_few_calls_per_minute(watching: Watching) -> None:
    names = watching.jobs(1000)
    for name in names:
        watching.at(HOUR, name)
    assert {one.status for one in watching.watch(names)} == {"ended"}
    assert watching.called("describe_training_job") == 1000  # the verdict on each
    assert watching.called("list_training_jobs") < 30 * watching.now / 60


def test_denied_list_is_not_tried_again(watching: Watching) -> None:
    names = watching.jobs(50)
    denied = client_error("ListTrainingJobs", "AccessDeniedException")
    watching.aws.before["list_training_jobs"] = [raises(denied)]
    for name in names:
        watching.at(600, name)
    assert {one.status for one in watching.watch(names)} == {"ended"}
    assert watching.called("list_training_jobs") == 1
    assert watching.called("describe_training_job") < 50 * (600 / 20)


def test_list_crowded_with_other_jobs_is_left(watching: Watching) -> None:
    names = watching.jobs(1000)[:6]
    for name in names:
        watching.at(HOUR, name)
    watching.watch(names)
    assert watching.called("list_training_jobs") <= 2 * (HOUR / 600 + 2)


def test_looks_become_rare_when_throttled_and_frequent_again(watching: Watching) -> None:
    name = watching.job("a")
    throttled = raises(client_error("DescribeTrainingJob", "ThrottlingException"))
    watching.aws.before["describe_training_job"] = [throttled] * 8
    watching.at(8 * HOUR, name)
    (seen,) = watching.watch([name])
    assert seen.status == "ended"
    calls = watching.called("describe_training_job")
    assert calls < 8 * HOUR / 30
    assert watching.poller.slower == 1.0


@pytest.mark.parametrize(
    "error",
    [
        client_error("DescribeTrainingJob", "InternalFailure", status=500),
        client_error("DescribeTrainingJob", "ThrottlingException"),
        client_error("DescribeTrainingJob", "ExpiredTokenException"),
    ],
)
def test_outage_is_waited_out_until_the_deadline(error: Exception, watching: Watching) -> None:
    name = watching.job("a")
    watching.aws.before["describe_training_job"] = [raises(error)] * 10000
    (seen,) = watching.watch([name], deadline=2 * HOUR)
    assert seen.status == "deadline"
    assert 2 * HOUR <= watching.now < 3 * HOUR


def test_expired_credentials_are_renewed(watching: Watching) -> None:
    name = watching.job("a", status="Completed")
    expired = raises(client_error("DescribeTrainingJob", "ExpiredTokenException"))
    watching.aws.before["describe_training_job"] = [expired]
    (seen,) = watching.watch([name])
    assert (seen.status, watching.poller.backend.renewed) == ("ended", 1)


def test_missing_job_has_a_minute_to_appear(watching: Watching) -> None:
    name = watching.job("a", status="Completed")
    job = watching.aws.jobs.pop(name)
    watching.happenings.append((40, lambda: watching.aws.jobs.update({name: job})))
    assert watching.watch([name])[0].status == "ended"
    assert watching.watch([f"{name}-gone"])[0].status == "missing"


def test_rejected_look_is_reported_with_its_code(watching: Watching) -> None:
    name = watching.job("a")
    denied = raises(client_error("DescribeTrainingJob", "AccessDeniedException"))
    watching.aws.before["describe_training_job"] = [denied]
    (seen,) = watching.watch([name])
    assert (seen.status, seen.code) == ("error", "AccessDeniedException")


def test_unknown_status_counts_as_running_until_the_deadline(watching: Watching) -> None:
    name = watching.job("a", status="Pondering")
    (seen,) = watching.watch([name], deadline=HOUR)
    assert seen.status == "deadline"
    assert seen.looks > 10


def test_known_status_is_watched_past_the_deadline(watching: Watching) -> None:
    name = watching.job("a")
    watching.at(2 * HOUR, name)
    assert watching.watch([name], deadline=HOUR)[0].status == "ended"


def test_time_limit_ends_the_watch(watching: Watching) -> None:
    name = watching.job("a")
    (seen,) = watching.watch([name], time_limit=100.0)
    assert seen.status == "time-limit"
    assert 100 <= watching.now <= 110


def test_poller_ends_with_its_jobs_and_starts_again(watching: Watching) -> None:
    first, second = watching.job("a", status="Completed"), watching.job("b", status="Completed")

    async def watched() -> None:
        for name in (first, second):
            await watching.poller.watch(poller.WatchedJob(name, PREFIX, HOUR))
            await asyncio.sleep(0.01)
            assert watching.poller._task.done()
            assert not watching.poller.jobs

    asyncio.run(watched())


def test_cancelled_watch_is_forgotten(watching: Watching) -> None:
    name = watching.job("a")

    async def watched() -> None:
        task = asyncio.create_task(watching.poller.watch(poller.WatchedJob(name, PREFIX, HOUR)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not watching.poller.jobs

    asyncio.run(watched())
