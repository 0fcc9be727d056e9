"""The traced file, and the meaning of a call of one of its tasks."""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from string import Formatter
from types import FrameType
from typing import Any

from sagebridge.authoring.flow_signature import read_hints
from sagebridge.authoring.pipeline_builder import StepHandle
from sagebridge.authoring.value_types import value_type
from sagebridge.formats.prefect.tracing.symbols import (
    Future,
    Symbol,
    TraceContext,
    holds_symbol,
    is_symbolic,
)
from sagebridge.model.dependencies import Dependency, ended
from sagebridge.model.expressions import Get
from sagebridge.model.values import Value


@dataclass(frozen=True, slots=True)
class TracedFile:
    """The traced file.

    Attributes:
        raises: the lines of its ``raise`` and ``assert`` statements.
        arguments: the lines of arguments, by the first line of their function and their name.
    """

    path: str
    raises: frozenset[int] = frozenset()
    arguments: Mapping[tuple[int, str], int] = field(default_factory=dict)

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


def mapped_calls(
    arguments: Sequence[Any], named: Mapping[str, Any]
) -> list[tuple[list[Any], dict[str, Any]]] | None:
    """The calls of ``.map()``, one per item of its lists; None if an argument is symbolic."""
    values = (*arguments, *named.values())
    lists = [one for one in values if _is_mapped(one)]
    if any(map(is_symbolic, values)) or not lists or len({len(one) for one in lists}) != 1:
        return None

    def pick(value: Any, at: int) -> Any:
        if type(value).__name__ == "unmapped":
            return value.value
        return value[at] if _is_mapped(value) else value

    return [
        ([pick(one, at) for one in arguments], {name: pick(one, at) for name, one in named.items()})
        for at in range(len(lists[0]))
    ]


def mapped_output(arguments: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """The only list of ``.map()``, if it is the output of a step; otherwise None."""
    values = (*arguments, *named.values())
    found = [one for one in values if is_symbolic(one)]
    if len(found) != 1 or any(map(_is_mapped, values)):
        return None
    symbol = found[0]._value if type(found[0]) is Future else found[0]
    get = symbol._expression if type(symbol) is Symbol else None
    return found[0] if type(get) is Get and get.step is not None else None


def with_item(value: Any, source: Any, item: Symbol) -> Any:
    """An argument of ``.map()`` in one call: ``item`` in place of the list ``source``."""
    if value is source:
        return item
    return value.value if type(value).__name__ == "unmapped" else value


def _is_mapped(value: Any) -> bool:
    # `unmapped` is a NamedTuple (prefect/utilities/annotations.py).
    return isinstance(value, list | tuple | range) and type(value).__name__ != "unmapped"


def steps_of(waited: Any) -> Iterator[str]:
    """The steps whose results ``wait_for`` contains."""
    if isinstance(waited, list | tuple | set):
        for one in waited:
            yield from steps_of(one)
    elif isinstance(waited, StepHandle):
        yield waited.name
    elif type(waited) is Future:
        yield waited._step
    elif type(waited) is Symbol:
        get = waited._expression
        if type(get) is Get and get.step is not None:
            yield get.step


def dependencies_of(waited: Any) -> Iterator[str | Dependency]:
    """The steps in ``wait_for``; those in ``allow_failure`` with the trigger Any."""
    if type(waited).__name__ == "allow_failure":
        yield from map(ended, steps_of(waited.unwrap()))
    elif isinstance(waited, list | tuple | set):
        for one in waited:
            yield from dependencies_of(one)
    else:
        yield from steps_of(waited)


def return_type(function: Any) -> str:
    """The parameter type of a result, OBJECT if no parameter can have it, empty if unknown."""
    return value_type(read_hints(function).get("return")).parameter_type


def argument_types(function: Any, arguments: Value) -> Iterator[tuple[str, str, Value]]:
    """Name, parameter type (see :func:`return_type`) and value of each argument of a call."""
    assert isinstance(arguments, Mapping)
    try:
        bound = inspect.signature(function).bind_partial(*arguments["args"], **arguments["kwargs"])
    except TypeError:
        return
    hints = read_hints(function)
    for name, value in bound.arguments.items():
        yield name, value_type(hints.get(name)).parameter_type, value
