"""An execution of a pipeline on a private engine, from its first record to its last."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar, Self

from sagebridge.errors import SagebridgeError, ServiceError
from sagebridge.model.pipeline import Pipeline
from sagebridge.model.values import EMPTY
from sagebridge_operators.launch.private_engine import PrivateEngine
from sagebridge_operators.launch.workdir import Workdir
from sagebridge_operators.lifecycle.ending import Ending
from sagebridge_operators.lifecycle.execution import Execution, execution_id
from sagebridge_operators.lifecycle.opening import (
    open_execution,
    retry_execution,
    valid_definition,
)
from sagebridge_operators.lifecycle.step_states import Status
from sagebridge_operators.run_errors import FinalState

MAX_TASKS = 16
"""The default limit of parallel tasks per execution; they share this machine."""


class EngineExecution(ABC):
    """A context manager that starts the engine and the run, and stops the engine.

    An exception inside the ``with`` block stops the jobs, then the engine. The execution becomes
    Failed for a SagebridgeError, otherwise Stopped.

    Args:
        parameters: values with the declared types.
        record: more fields of the execution's record; with an ``id``, that execution is retried.

    Raises:
        MissingExtra: the engine is not installed.
        WorkdirUnusable: the working folder is not writable.
        ServiceError: the engine does not start or rejects the run.
    """

    engine: ClassVar[str]

    def __init__(
        self,
        pipeline: Pipeline,
        parameters: Mapping[str, Any],
        workdir: Workdir,
        record: Mapping[str, Any] = EMPTY,
    ) -> None:
        self.pipeline, self.parameters, self.workdir = pipeline, parameters, workdir
        self.record = record
        self.id, self.run = str(record.get("id", "")), str(record.get("run", ""))
        self.report: Callable[[str], object] = lambda text: None
        """Called with messages for the user."""
        self._started = datetime.now(UTC)

    @property
    @abstractmethod
    def server(self) -> PrivateEngine[Any]: ...

    @property
    @abstractmethod
    def ui(self) -> str:
        """The URL of the run in the UI; empty before the start."""

    @property
    def login(self) -> str:
        """What to enter on the login page of the UI."""
        return self.server.login_hint

    @abstractmethod
    def trigger(self) -> None:
        """Start the run on the running engine."""

    @abstractmethod
    def running(self) -> bool:
        """Whether the run is still in progress."""

    @abstractmethod
    def end_run(self, reason: str) -> None:
        """End the run on the engine; give up soon if the engine does not answer."""

    @abstractmethod
    def settle(self) -> str:
        """Record what lost workers did not. Return why the run ended early, or an empty string."""

    def __enter__(self) -> Self:
        try:
            self.server.__enter__()
            self.trigger()
        except BaseException as error:
            self._stop(error)
            raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.server.stop()
        else:
            self._stop(error)

    def finish(self) -> Status:
        """Record how the run ended, unless it did so itself."""
        return self.ending.conclude(self.pipeline, self.settle(), self.server.title)

    @property
    def ending(self) -> Ending:
        return Ending(self.workdir.records, self.id, lambda attempt: self.workdir.backend)

    def run_name(self, name: str) -> str:
        """A unique name for the run and its folder."""
        return f"{name}-{self._started:%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"

    def identify(self, name: str, run: str) -> None:
        """Set the id, which follows from the engine's names of the DAG or flow and of the run.

        A retried execution keeps the id of its first run.
        """
        if "id" not in self.record:
            self.id, self.run = execution_id(self.engine, name, run), f"{name}/{run}"

    def begin(self) -> None:
        """Write the first record, or that the execution is retried."""
        records = self.workdir.records
        if "id" in self.record:
            retry_execution(records, self.id)
            return
        execution = Execution(
            id=self.id,
            pipeline=self.pipeline.name or "pipeline",
            engine=self.engine,
            run=self.run,
            started=self._started,
            parameters=self.parameters,
        )
        body = {
            **execution.described(self.workdir.backend_name),
            **self.workdir.record_fields(),
            **self.record,
        }
        why_not = partial(self.workdir.why_not_here, flow_file="flow_file" in self.record)
        open_execution(records, self.id, body, lambda: valid_definition(self.pipeline, why_not))

    def _stop(self, error: BaseException) -> None:
        reason, server = str(error) or type(error).__name__, self.server
        if not self.id:
            server.kill()
            return
        alive = server.running

        def end_workers() -> None:
            try:
                if alive:
                    with suppress(ServiceError):
                        self.end_run(reason)
            finally:
                server.kill()

        status: FinalState = "Failed" if isinstance(error, SagebridgeError) else "Stopped"
        # If the engine died, no worker is left to record how its job ended.
        self.ending.abort(status, reason, end_workers=end_workers, workers=alive)
