"""The traced file, and the meaning of a call of one of its tasks."""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from types import FrameType
from typing import Any

from sagebridge.authoring.flow_signature import TYPES
from sagebridge.formats.prefect.tracing.symbols import TraceContext, holds_symbol


@dataclass(frozen=True, slots=True)
class TracedFile:
    """The traced file, and the lines of its ``raise`` and ``assert`` statements."""

    path: str
    raises: frozenset[int] = frozenset()

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def line(self) -> int:
        """The innermost line of the file on the stack; 1 by default."""
        return self.stack()[0] if self.stack() else 1

    def stack(self) -> tuple[int, ...]:
        return tuple(frame.f_lineno for frame in self._frames())

    def is_asynchronous(self) -> bool:
        """Whether the innermost function of the file on the stack is a coroutine."""
        frame = next(self._frames(), None)
        return frame is not None and bool(frame.f_code.co_flags & inspect.CO_COROUTINE)

    def _frames(self) -> Iterator[FrameType]:
        """The frames of the file, the innermost first."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_filename == self.path:
                yield frame
            frame = frame.f_back


def run(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call a function. A coroutine is run to its end; it may await only tasks and Prefect.

    The values of a generator are ignored.
    """
    result = function(*arguments, **named)
    if inspect.isgenerator(result):
        for _ in result:
            pass
        return None
    if inspect.isasyncgen(result):
        return run(_exhaust, result)
    if inspect.iscoroutine(result):
        try:
            result.send(None)
        except StopIteration as ended:
            return ended.value
        result.close()
        raise RuntimeError("the flow awaits something other than a task or Prefect")
    return result


async def _exhaust(values: AsyncGenerator[Any, None]) -> None:
    async for _ in values:
        pass


def task_run_name(task: Any, arguments: Sequence[Any], named: Mapping[str, Any]) -> str:
    """The ``task_run_name`` if it needs no run-time value, otherwise the task's name."""
    template = task.task_run_name
    if isinstance(template, str):
        try:
            bound = inspect.signature(task.fn).bind(*arguments, **named)
            bound.apply_defaults()
            asked = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
            if not holds_symbol([bound.arguments[name] for name in asked]):
                return template.format(**bound.arguments)
        except (TypeError, LookupError, ValueError, AttributeError):
            pass
    return str(task.name)


def unwrap(value: Any, trace: TraceContext) -> Any:
    # The annotations of prefect/utilities/annotations.py.
    kind = type(value).__name__
    if kind in ("unmapped", "quote", "allow_failure", "opaque", "freeze") and hasattr(
        value, "unwrap"
    ):
        if kind == "allow_failure":
            what = "allow_failure has no effect: a step runs only if its dependencies succeed"
            trace.report_change("trigger-rule", what)
        return value.unwrap()
    return value


def return_type(function: Any) -> str:
    hint = getattr(function, "__annotations__", {}).get("return")
    return TYPES.get(hint if isinstance(hint, str) else getattr(hint, "__name__", ""), "")
