"""Prefect's states, as code returns and tests them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

OF_TASK, OF_FLOW = "Task run encountered an exception", "Flow run encountered an exception:"
"""How the message of a failed run begins (prefect/task_engine.py and flow_engine.py)."""


class FailedRun(RuntimeError):
    """A run has failed and has no exception."""


class UpstreamTaskError(RuntimeError):
    """A task did not run, because another one failed."""


class MissingContextError(RuntimeError):
    """Code that needs a run was called outside of one."""


class ObjectNotFound(Exception):
    """The server does not have an object."""


class StateType(StrEnum):
    """The types of states."""

    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    CRASHED = "CRASHED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"


class State:
    """The state of a run: ``Completed``, ``Failed``, ``Cancelled``, ``Running``."""

    def __init__(self, type: str, message: str = "", data: Any = None, name: str = "") -> None:
        self.type, self.message, self.data = StateType(type.upper()), message, data
        self.name = name or type.capitalize()

    def is_completed(self) -> bool:
        """Whether the run succeeded."""
        return self.type == "COMPLETED"

    def is_failed(self) -> bool:
        """Whether the run failed."""
        return self.type == "FAILED"

    def is_cancelled(self) -> bool:
        """Whether the run was cancelled."""
        return self.type == "CANCELLED"

    def is_crashed(self) -> bool:
        """Whether the run crashed; not in the code of a step, which would be lost, too."""
        return self.type == "CRASHED"

    def is_running(self) -> bool:
        """Whether the run has not ended."""
        return self.type == "RUNNING"

    def is_final(self) -> bool:
        """Whether the run has ended."""
        return not self.is_running()

    def result(self, raise_on_failure: bool = True) -> Any:
        """The result; raises the exception of a failed run."""
        if self.is_completed() or self.is_running():
            return self.data
        error = self.data if isinstance(self.data, Exception) else FailedRun(self.message)
        if raise_on_failure:
            raise error
        return error

    def __repr__(self) -> str:
        return f"{self.name}({self.message!r})"


def Completed(message: str = "", data: Any = None, **more: Any) -> State:  # noqa: N802
    """The state of a success."""
    return State("Completed", message, data, **more)


def Failed(message: str = "", data: Any = None, **more: Any) -> State:  # noqa: N802
    """The state of a failure."""
    return State("Failed", message, data, **more)


def raised(error: BaseException, by: str = OF_TASK) -> State:
    """The state of a run that has raised an exception."""
    return Failed(f"{by} {type(error).__name__}: {error}", error)


def Cancelled(message: str = "", data: Any = None, **more: Any) -> State:  # noqa: N802
    """The state of a cancelled run."""
    return State("Cancelled", message, data, **more)


def Crashed(message: str = "", data: Any = None, **more: Any) -> State:  # noqa: N802
    """The state of a run whose process has died."""
    return State("Crashed", message, data, **more)


def Running(message: str = "", **more: Any) -> State:  # noqa: N802
    """The state of a run that has not ended."""
    return State("Running", message, **more)
