"""One execution of a pipeline on a private engine, from its first record to its last."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, ClassVar, Self

from sagebridge.authoring.definition_writer import definition
from sagebridge.errors import SagebridgeError, ServiceError
from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.launch.private_engine import PrivateEngine
from sagebridge_operators.launch.workdir import Workdir
from sagebridge_operators.lifecycle import stopping
from sagebridge_operators.lifecycle.execution import execution_id
from sagebridge_operators.lifecycle.step_states import Status, verdict

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
        records = self.place.records
        asked = records.stop_requested(self.id)
        early = self.settle()
        if (end := records.end(self.id)) is not None:
            return Status(end["status"], end.get("reason") or "")
        found = verdict(self.pipeline, records.steps(self.id), stop_requested=asked)
        if early or found.status == "Executing":
            told = f"the run was ended in {self.server.title} before its steps were"
            found = Status("Failed", early or told)
        records.finish(self.id, found.status, found.reason)
        return found

    def run_name(self, name: str) -> str:
        """A name for the run and for its folder that no other has."""
        return f"{name}-{self._started:%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"

    def identify(self, name: str, run: str) -> None:
        """From now on it has its id, by the engine's names for what runs and for this run of it."""
        self.id, self.run = execution_id(self.engine, name, run), f"{name}/{run}"

    def begin(self) -> None:
        """Writes the first record."""
        body = {
            "id": self.id,
            "pipeline": self.pipeline.name or "pipeline",
            "engine": self.engine,
            "run": self.run,
            **self.place.described(),
            "started": self._started.isoformat(),
            "parameters": dict(self.parameters),
        }
        self.place.records.begin(self.id, body, lambda: definition(self.pipeline))

    def _stop(self, error: BaseException) -> None:
        reason = str(error) or type(error).__name__
        end = "Failed" if isinstance(error, SagebridgeError) else "Stopped"
        records, backend, server = self.place.records, self.place.backend, self.server
        if not self.id:
            server.kill()
            return
        alive = server.running
        try:
            if alive:
                stopping.stop(records, backend, self.id)
                with suppress(ServiceError):
                    self.end_run(reason)
        finally:
            server.kill()
            try:
                # Until now a worker may have started one; of an engine that died none is left
                # to record how its job ended.
                end_jobs = stopping.stop_jobs if alive else stopping.stop
                end_jobs(records, backend, self.id)
            finally:
                try:
                    stopping.settle(records, backend, self.id, end, reason)
                finally:
                    records.finish(self.id, end, reason)
