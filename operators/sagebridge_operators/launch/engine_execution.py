"""One execution of a pipeline on a private engine, from its first record to its last."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, ClassVar, Self

from sagebridge.errors import SagebridgeError, ServiceError
from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.launch.private_engine import PrivateEngine
from sagebridge_operators.launch.workdir import Workdir
from sagebridge_operators.lifecycle.ending import Ending
from sagebridge_operators.lifecycle.execution import Execution, execution_id
from sagebridge_operators.lifecycle.opening import open_execution, valid_definition
from sagebridge_operators.lifecycle.step_states import Status
from sagebridge_operators.run_errors import FinalState

MOST_TASKS = 16
"""Of one execution at a time, where the pipeline says no limit: they share this machine."""


class EngineExecution(ABC):
    """``with`` starts the engine and the run, and ends them.

    An exception that leaves the ``with`` stops the execution: its jobs, then the engine. One that
    is a SagebridgeError makes it Failed, any other Stopped.

    Args:
        parameters: coerced, as the pipeline declares them.

    Raises:
        MissingExtra: the engine is not installed.
        WorkdirUnusable: nothing can be kept in the working folder.
        ServiceError: the engine does not start or refuses the run.
    """

    engine: ClassVar[str]

    def __init__(self, pipeline: Pipeline, parameters: Mapping[str, Any], place: Workdir) -> None:
        self.pipeline, self.parameters, self.place = pipeline, parameters, place
        self.id = self.run = ""
        self.tell: Callable[[str], object] = lambda text: None
        """Is told what a person who waits should know."""
        self._started = datetime.now(UTC)

    @property
    @abstractmethod
    def server(self) -> PrivateEngine[Any]: ...

    @property
    @abstractmethod
    def ui(self) -> str:
        """Where the run can be watched; empty before the start."""

    @abstractmethod
    def trigger(self) -> None:
        """Starts the run on the engine, which runs."""

    @abstractmethod
    def running(self) -> bool:
        """Whether the engine still runs it."""

    @abstractmethod
    def end_run(self, reason: str) -> None:
        """Makes the engine's run an ended one, if it can soon."""

    @abstractmethod
    def settle(self) -> str:
        """Records of the ended run what no worker could; why it ended too early, else nothing."""

    def __enter__(self) -> Self:
        try:
            self.server.__enter__()
            self.trigger()
        except BaseException as error:
            self._stop(error)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.server.stop()
        else:
            self._stop(error)

    def finish(self) -> Status:
        """Records how the run ended, where it did not do so itself."""
        return self.ending.conclude(self.pipeline, self.settle(), self.server.title)

    @property
    def ending(self) -> Ending:
        return Ending(self.place.records, self.id, lambda attempt: self.place.backend)

    def run_name(self, name: str) -> str:
        """A name for the run and for its folder that no other has."""
        return f"{name}-{self._started:%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"

    def identify(self, name: str, run: str) -> None:
        """From now on it has its id, by the engine's names for what runs and for this run of it."""
        self.id, self.run = execution_id(self.engine, name, run), f"{name}/{run}"

    def begin(self) -> None:
        """Writes the first record."""
        execution = Execution(
            id=self.id,
            pipeline=self.pipeline.name or "pipeline",
            engine=self.engine,
            run=self.run,
            started=self._started,
            parameters=self.parameters,
        )
        body = {**execution.described(self.place.backend_name), **self.place.described()}
        records = self.place.records
        open_execution(records, self.id, body, lambda: valid_definition(self.pipeline))

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
        # An engine that died has left no worker to record how its job ended.
        self.ending.abort(status, reason, end_workers=end_workers, workers=alive)
