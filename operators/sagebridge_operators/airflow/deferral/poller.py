"""Looks at the jobs of many deferred tasks with few calls.

A triggerer has one poller for each connection and job type.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass, field
from math import inf
from threading import Lock
from typing import Any, Literal, TypeAlias
from weakref import WeakKeyDictionary

from sagebridge_operators.airflow.aws_clients import AwsConnection
from sagebridge_operators.airflow.deferral.trigger import THREADS, in_thread
from sagebridge_operators.lifecycle.advance import UNSEEN_FOR
from sagebridge_operators.lifecycle.backend import Backend
from sagebridge_operators.lifecycle.outages import THROTTLED, code_of, is_expired, is_outage
from sagebridge_operators.steps import JOB_TYPES
from sagebridge_operators.steps.job_type import JobType

Status = Literal["ended", "deadline", "time-limit", "missing", "error"]
_AT_A_TIME = 8
"""The calls of one poller at a time: threads that parse answers slow the event loop down."""
_NEW, _SECONDS = 10.0, 30.0
"""Seconds between two looks, while a job is new and later."""
_NEW_LOOKS = 3
_CALLS_PER_SECOND = 10
_FEW = 5
"""So many jobs are described one by one; listing them would save nothing."""
_LONGEST = 300.0
_TICK = 5.0
_LIST_AGAIN = 600.0
"""Seconds until a list that was crowded with other jobs is tried again."""
_DENIED = frozenset(("AccessDenied", "AccessDeniedException", "UnauthorizedOperation"))
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seen:
    """What ended a watch.

    Args:
        status: ``missing`` if there is no such job; ``error`` if the service rejects the look.
        code: the service's error code, or the class of the exception.
        looks: how often the poller has seen the job running.
    """

    status: Status
    code: str = ""
    looks: int = 0


@dataclass(slots=True, eq=False)
class WatchedJob:
    """A job that a trigger waits for; times are seconds since the epoch.

    Args:
        prefix: how the name begins, shared with jobs of other executions; may be empty.
        deadline: when outages and unknown statuses are no longer waited out.
        time_limit: when the task has to end.
    """

    name: str
    prefix: str
    deadline: float
    time_limit: float = inf
    looks: int = 0
    looked: float = 0.0
    missing_since: float | None = None
    seen: asyncio.Future[Seen] = field(default_factory=asyncio.Future)

    def settle(self, status: Status, code: str = "") -> None:
        if not self.seen.done():
            self.seen.set_result(Seen(status, code, self.looks))


@dataclass(slots=True)
class Poller:
    """Looks at jobs of one type until none is left.

    A list of running jobs shows which jobs need no closer look; the verdict on the others comes
    from their descriptions. ``call`` runs a function in a thread, ``pause`` sleeps.
    """

    job_type: JobType
    backend: Backend
    call: Callable[[Callable[[], Any]], Awaitable[Any]] = in_thread
    pause: Callable[[float], Awaitable[object]] = asyncio.sleep
    clock: Callable[[], float] = time.time
    jobs: dict[WatchedJob, None] = field(default_factory=dict)
    slower: float = 1.0
    _may_list: bool = True
    _crowded: dict[str, float] = field(default_factory=dict)
    _calls: int = 0
    _throttled: bool = False
    _task: asyncio.Task[None] | None = None

    async def watch(self, job: WatchedJob) -> Seen:
        """Waits for the end of a job's watch."""
        self.jobs[job] = None
        if self._task is None or self._task.done():
            # In the context of a trigger, its log lines would go to the log of one task.
            context = contextvars.Context()
            self._task = asyncio.get_running_loop().create_task(self.run(), context=context)
        try:
            return await job.seen
        finally:
            self.jobs.pop(job, None)

    async def run(self) -> None:
        """Looks at the jobs in rounds, until all are gone."""
        last, jitter = self.clock(), 1.0
        try:
            while self.jobs:
                await self.pause(_TICK)
                for job in self.jobs:
                    if self.clock() >= job.time_limit:
                        job.settle("time-limit")
                if self.clock() - last >= self.interval * jitter:
                    await self.round()
                    last, jitter = self.clock(), random.uniform(0.8, 1.2)
        except Exception as error:  # noqa: BLE001 - the workers wait for their jobs instead
            _log.exception("looking at %s jobs failed", self.job_type.type)
            for job in self.jobs:
                job.settle("error", type(error).__name__)

    @property
    def interval(self) -> float:
        """Seconds between two rounds."""
        new = any(job.looks < _NEW_LOOKS for job in self.jobs)
        pause = max(_NEW if new else _SECONDS, self._calls / _CALLS_PER_SECOND)
        return min(pause * self.slower, max(pause, _LONGEST))

    async def round(self) -> None:
        """Looks at every job once, except those that the service leaves no calls for."""
        self._calls, self._throttled = 0, False
        groups = defaultdict[str, list[WatchedJob]](list)
        for job in self.jobs:
            groups[job.prefix].append(job)
        closer: list[WatchedJob] = []
        for prefix, jobs in groups.items():
            running = await self._list(prefix, jobs)
            for job in jobs:
                if job.name in running:
                    self._saw(job)
                else:
                    closer.append(job)
        closer.sort(key=lambda job: job.looked)
        for start in range(0, len(closer), _AT_A_TIME):
            if not self._throttled:
                await asyncio.gather(*map(self._look, closer[start : start + _AT_A_TIME]))
        self.slower = min(self.slower * 2, 10.0) if self._throttled else max(1.0, self.slower * 0.8)

    async def _list(self, prefix: str, jobs: Iterable[WatchedJob]) -> frozenset[str]:
        """The names of running jobs; empty if describing each job is cheaper or the only way."""
        count = len(list(jobs))
        crowded = self.clock() < self._crowded.get(prefix, 0)
        if not prefix or count <= _FEW or crowded or not self._may_list or self._throttled:
            return frozenset()

        def listed() -> frozenset[str] | None:
            client = self.job_type.client(self.backend)
            return self.job_type.list_running(client, prefix, max(2, count // 4))

        self._calls += 1 + count // 100
        try:
            found = await self.call(listed)
        except Exception as error:  # noqa: BLE001 - a description of each job shows other errors
            self._met(error)
            if code_of(error) in _DENIED:
                self._may_list = False
                _log.warning(
                    "%s is not allowed; every job is described instead", self.job_type.listing
                )
            return frozenset()
        if found is None:
            self._crowded[prefix] = self.clock() + _LIST_AGAIN
        return found or frozenset()

    async def _look(self, job: WatchedJob) -> None:
        job_type = self.job_type
        self._calls += 1
        job.looked = self.clock()
        try:
            found = await self.call(lambda: job_type.find(job_type.client(self.backend), job.name))
        except Exception as error:  # noqa: BLE001 - the worker meets the same error, and reports it
            self._met(error)
            if not is_outage(error):
                job.settle("error", code_of(error))
            elif self.clock() >= job.deadline:
                job.settle("deadline", code_of(error))
            return
        if found is None:
            since = job.missing_since = job.missing_since or self.clock()
            if self.clock() - since >= UNSEEN_FOR.total_seconds():
                job.settle("missing")
            return
        self._saw(job)
        if job_type.state(found) != "Executing":
            job.settle("ended")
        elif not job_type.knows_status(job_type.status(found)) and self.clock() >= job.deadline:
            job.settle("deadline")

    def _saw(self, job: WatchedJob) -> None:
        job.looks += 1
        job.looked, job.missing_since = self.clock(), None

    def _met(self, error: Exception) -> None:
        """Slows down when throttled; renews expired credentials."""
        if code_of(error) in THROTTLED:
            self._throttled = True
        if is_expired(error):
            self.backend.renew()


_BACKENDS: dict[str, Backend] = {}
_LOCK = Lock()
_Pollers: TypeAlias = "dict[tuple[str, str], Poller]"
_POLLERS: WeakKeyDictionary[asyncio.AbstractEventLoop, _Pollers] = WeakKeyDictionary()
"""By event loop: ``dag.test`` runs each trigger in its own."""


def backend_of(connection: AwsConnection) -> Backend:
    """The backend of a connection, the same one in the whole process: a session takes 21 MB.

    botocore repeats no request: the next round does.
    """
    with _LOCK:
        key = _key(connection)
        if key not in _BACKENDS:
            _BACKENDS[key] = connection.backend(
                retries={"total_max_attempts": 1}, max_pool_connections=THREADS
            )
        return _BACKENDS[key]


def poller_of(connection: AwsConnection, type_: str) -> Poller:
    """The poller of a connection and job type in the running event loop."""
    pollers = _POLLERS.setdefault(asyncio.get_running_loop(), {})
    key = _key(connection), type_
    if key not in pollers:
        pollers[key] = Poller(JOB_TYPES[type_], backend_of(connection))
    return pollers[key]


def _key(connection: AwsConnection) -> str:
    return json.dumps(asdict(connection), sort_keys=True)
