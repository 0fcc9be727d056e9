"""A fake service with its clock and records, in which workers may stop at every access."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import EndpointConnectionError

from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.objects import StoredObject, WriteConflict
from tests.fakes import client_error

EXECUTION = "0123456789ab"
CAPACITY = "CapacityError: no instances"


class Killed(BaseException):
    """SIGKILL: nothing in the worker runs any more."""


@dataclass(slots=True)
class Job:
    """A job of the fake service; a description shows it from ``visible`` on.

    ``discarded``: its attempt was recorded as ended before the job was.
    """

    name: str
    generation: int
    visible: datetime
    status: str = "InProgress"
    reason: str = ""
    stopped: bool = False
    discarded: bool = False

    @property
    def live(self) -> bool:
        return self.status in ("InProgress", "Stopping")


@dataclass(slots=True)
class World:
    """The fake clock, service and records, and the worker that runs now."""

    now: datetime = datetime(2026, 11, 21, tzinfo=UTC)
    jobs: dict[str, Job] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    lag: timedelta = timedelta()
    store: dict[str, tuple[str, int]] = field(default_factory=dict)
    version: int = 0
    worker: Worker | None = None

    def pause(self) -> None:
        """A point at which another worker may go on."""
        if self.worker is not None:
            self.worker.pause()

    # The service: the methods of the boto3 client

    def create_training_job(self, **request: Any) -> dict[str, Any]:
        self.pause()
        name, generation = request["TrainingJobName"], request["Generation"]
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "throttled":
            raise client_error("CreateTrainingJob", "ThrottlingException")
        if fault == "failed":
            raise client_error("CreateTrainingJob", "InternalFailure", status=500)
        if fault == "limit":
            raise client_error("CreateTrainingJob", "ResourceLimitExceeded")
        if name in self.jobs:
            raise client_error("CreateTrainingJob", "ResourceInUse", f"{name} already exists")
        self.jobs[name] = Job(name, generation, self.now + self.lag)
        self.pause()
        if fault == "unanswered":
            raise EndpointConnectionError(endpoint_url="https://service")
        return {"TrainingJobArn": f"arn:{name}"}

    def describe_training_job(self, TrainingJobName: str) -> dict[str, Any]:  # noqa: N803
        self.pause()
        job = self.jobs.get(TrainingJobName)
        if job is None or job.visible > self.now:
            text = "Requested resource not found."
            raise client_error("DescribeTrainingJob", "ValidationException", text)
        return {
            "TrainingJobName": job.name,
            "TrainingJobArn": f"arn:{job.name}",
            "TrainingJobStatus": job.status,
            "FailureReason": job.reason,
        }

    def stop_training_job(self, TrainingJobName: str) -> dict[str, Any]:  # noqa: N803
        self.pause()
        job = self.jobs.get(TrainingJobName)
        if job is None or not job.live:
            raise client_error("StopTrainingJob", "ValidationException", "not found")
        job.status, job.stopped = "Stopping", True
        return {}

    # The records: the methods of Objects

    @property
    def location(self) -> str:
        return "memory"

    def read(self, key: str) -> StoredObject | None:
        self.pause()
        found = self.store.get(key)
        return None if found is None else StoredObject(json.loads(found[0]), str(found[1]))

    def put(self, key: str, body: Mapping[str, Any]) -> None:
        self.pause()
        self._write(key, body)

    def create(self, key: str, body: Mapping[str, Any]) -> None:
        self.pause()
        if key in self.store:
            raise WriteConflict(key)
        self._write(key, body)

    def replace(self, key: str, body: Mapping[str, Any], version: str) -> None:
        self.pause()
        if key not in self.store or str(self.store[key][1]) != version:
            raise WriteConflict(key)
        self._write(key, body)

    def keys(self, prefix: str) -> Iterator[str]:
        self.pause()
        return iter(sorted(key for key in self.store if key.startswith(prefix)))

    def remove(self, key: str) -> None:
        self.pause()
        self.store.pop(key, None)

    def attend(self, key: str) -> AbstractContextManager[int | None]:
        return nullcontext()

    def attended(self, key: str) -> bool | None:
        return None

    def beat(self, key: str) -> None: ...

    def last_beat(self, key: str) -> datetime | None:
        return None

    def _write(self, key: str, body: Mapping[str, Any]) -> None:
        self.version += 1
        self.store[key] = (json.dumps(body), self.version)

    # The test's own view, without pauses

    def attempts(self) -> list[Attempt]:
        bodies = [text for key, (text, _) in self.store.items() if "/steps/" in key]
        found = [Attempt.from_json(json.loads(text)) for text in bodies]
        return sorted(found, key=lambda one: one.order)


class Worker:
    """A worker in its own thread, which runs only inside :meth:`resume`."""

    def __init__(self, world: World, work: Callable[[Worker], None]) -> None:
        self.world, self._work = world, work
        self.terminated = self.done = self._killed = False
        self.error: BaseException | None = None
        self.result: Attempt | None = None
        self._go, self._paused = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def resume(self, steps: int = 1) -> None:
        """Lets the worker go on to its next ``steps`` pauses. Raises what it raised."""
        for _ in range(steps):
            if self.done:
                break
            self.world.worker = self
            self._go.release()
            self._paused.acquire()
            self.world.worker = None
        if self.error is not None:
            raise self.error

    def kill(self) -> None:
        self._killed = True
        self.resume()
        self._thread.join()

    def pause(self) -> None:
        self._paused.release()
        self._go.acquire()
        if self._killed:
            raise Killed

    def _run(self) -> None:
        self._go.acquire()
        try:
            if not self._killed:
                self._work(self)
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 - raised in the test's thread
            self.error = error
        self.done = True
        self._paused.release()
