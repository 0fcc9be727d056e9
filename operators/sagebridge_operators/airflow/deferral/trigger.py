"""The trigger of a deferred step: waits in the triggerer until a worker has something to do.

It reads and writes no records. Its arguments and its event hold ids, times and a status only:
Airflow keeps the arguments in its database and logs the event.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from importlib import import_module
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from sagebridge_operators.airflow.aws_clients import AwsConnection

# The threads in which a triggerer calls AWS and Airflow.
#
# All calls run here, so that none delays the other triggers in the process. In the threads of
# asyncio they would: other triggers and ``getaddrinfo`` wait for those.
THREADS = 32
_T = TypeVar("_T")
_POOL = ThreadPoolExecutor(THREADS, "sagebridge-deferral")


async def in_thread(call: Callable[[], _T]) -> _T:
    """The result of a function, which runs in one of the threads."""
    return await asyncio.get_running_loop().run_in_executor(_POOL, call)


_POLLER = "sagebridge_operators.airflow.deferral.poller"
_ARGUMENTS = ("execution", "type", "job", "deadline", "not_before", "time_limit", "connection")
_KILLED = (None, "failed", "removed", "restarting", "skipped", "success", "upstream_failed")
"""States of a task whose job is to be stopped; None: cleared."""
_ASKS, _PAUSE = 8, 3.0
"""How often a kill asks Airflow and the service, and the seconds between: 30 s are allowed."""

_asked: list[bool] = []


class JobTrigger(BaseTrigger):
    """Waits until a job has ended, or until ``not_before``.

    Args:
        execution, type, job, deadline, not_before: the fields of :class:`Watch`.
        time_limit: when the task's ``execution_timeout`` has passed; ISO 8601, or empty.
        connection: the fields of :class:`AwsConnection`; no credentials.
    """

    def __init__(
        self,
        *,
        execution: str,
        type: str,
        job: str,
        deadline: str,
        not_before: str,
        time_limit: str,
        connection: dict[str, Any],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.execution = execution
        self.type = type
        self.job = job
        self.deadline = deadline
        self.not_before = not_before
        self.time_limit = time_limit
        self.connection = connection

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.{type(self).__name__}", {
            name: getattr(self, name) for name in _ARGUMENTS
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        began = time.monotonic()
        await self._prepare_for_kill()
        if self.not_before:
            await asyncio.sleep(max(0.0, _seconds(self.not_before) - time.time()))
            seen: Mapping[str, Any] = {"status": "due"}
        else:
            seen = await self._watch()
        ids = {"execution": self.execution, "job": self.job}
        event = {**ids, **seen, "seconds": round(time.monotonic() - began)}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Stops the job if the task was ended or cleared.

        Airflow also calls this when the trigger has only moved to another triggerer
        (apache/airflow#73454), so the state of the task decides.
        """
        if not self.job or self.task_instance is None:
            return
        for _ in range(_ASKS):
            try:
                await in_thread(self._stop_if_killed)
            except Exception as error:  # noqa: BLE001 - repeated, then logged
                self.log.warning("%s %s may still run (%s)", self.type, self.job, error)
            else:
                return
            await asyncio.sleep(_PAUSE)

    async def _watch(self) -> dict[str, Any]:
        # Imported here, in a thread: Airflow imports triggers in the event loop of all triggers.
        await in_thread(lambda: import_module(_POLLER))
        from sagebridge_operators.airflow.deferral.poller import WatchedJob, poller_of

        before, found, _ = self.job.partition(self.execution)
        job = WatchedJob(
            self.job, before if found else "", _seconds(self.deadline), _seconds(self.time_limit)
        )
        return asdict(await poller_of(self._connection, self.type).watch(job))

    @property
    def _connection(self) -> AwsConnection:
        from sagebridge_operators.airflow.aws_clients import AwsConnection

        return AwsConnection(**self.connection)

    def _is_killed(self) -> bool:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        ti: Any = self.task_instance
        states = RuntimeTaskInstance.get_task_states(
            dag_id=ti.dag_id, run_ids=[ti.run_id], task_ids=[ti.task_id], map_index=ti.map_index
        )
        # The key of a mapped task ends with its index (get_task_instance_states in
        # airflow/api_fastapi/execution_api/routes/task_instances.py). A task that is gone has none.
        found = list(states.get(ti.run_id, {}).values())
        return not found or found[0] in _KILLED

    def _stop_if_killed(self) -> None:
        if self._is_killed():
            self._stop()

    async def _prepare_for_kill(self) -> None:
        """Asks for the task's state once in a process.

        The first question to Airflow makes its API in the triggerer (InProcessExecutionAPI), which
        takes seconds; on a busy machine longer than on_kill may take.
        """
        if self.task_instance is not None and not _asked:
            _asked.append(True)
            with suppress(Exception):
                await in_thread(self._is_killed)

    def _stop(self) -> None:
        from sagebridge_operators.airflow.deferral.poller import backend_of
        from sagebridge_operators.lifecycle.outages import is_expired
        from sagebridge_operators.steps import JOB_TYPES

        job_type, backend = JOB_TYPES[self.type], backend_of(self._connection)
        try:
            job_type.request_stop(job_type.client(backend), self.job)
        except Exception as error:
            if is_expired(error):
                backend.renew()
            raise
        self.log.info("a stop was sent to %s %s", self.type, self.job)


def _seconds(time: str) -> float:
    """An ISO 8601 time as seconds since the epoch; never, if it is empty."""
    return datetime.fromisoformat(time).timestamp() if time else inf
