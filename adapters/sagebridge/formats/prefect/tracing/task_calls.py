"""The file that is traced, and what a call of one of its tasks says."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from types import FrameType
from typing import Any

from sagebridge.authoring.flow_signature import TYPES
from sagebridge.formats.prefect.tracing.symbols import TraceContext, holds_symbol


@dataclass(frozen=True, slots=True)
class File:
    """The file that is traced, and the lines of its ``raise`` statements."""

    path: str
    raises: frozenset[int] = frozenset()

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def line(self) -> int:
        """The innermost line of the file that is running; 1 where none is."""
        return self.stack()[0] if self.stack() else 1

    def stack(self) -> tuple[int, ...]:
        return tuple(frame.f_lineno for frame in self._frames())

    def is_asynchronous(self) -> bool:
        """Whether the innermost function of the file that is running is a coroutine."""
        frame = next(self._frames(), None)
        return frame is not None and bool(frame.f_code.co_flags & inspect.CO_COROUTINE)

    def _frames(self) -> Iterator[FrameType]:
        """Those of the file, the innermost first."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_filename == self.path:
                yield frame
            frame = frame.f_back


def run(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """What a function returns; one that is asynchronous is run to its end, waiting for nothing."""
    result = function(*arguments, **named)
    if inspect.iscoroutine(result):
        try:
            result.send(None)
        except StopIteration as ended:
            return ended.value
        result.close()
        raise RuntimeError("it waits for something other than a task")
    return result


def called(task: Any, arguments: Sequence[Any], named: Mapping[str, Any]) -> str:
    """The name of a task's run where its arguments say it, else that of the task."""
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


def unwrapped(value: Any, world: TraceContext) -> Any:
    kind = type(value).__name__
    if kind in ("unmapped", "quote", "allow_failure", "opaque", "freeze") and hasattr(
        value, "unwrap"
    ):
        if kind == "allow_failure":
            what = "allow_failure: a step runs only after what it needs has succeeded"
            world.assume("trigger-rule", what)
        return value.unwrap()
    return value


def returns(function: Any) -> str:
    hint = getattr(function, "__annotations__", {}).get("return")
    return TYPES.get(hint if isinstance(hint, str) else getattr(hint, "__name__", ""), "")
