"""``.map()`` of tasks."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sagebridge.formats.prefect.recording.code_recorder import dependencies_of
from sagebridge.formats.prefect.recording.symbols import (
    PATHS,
    Futures,
    NotFollowed,
    Symbol,
    is_symbol,
)
from sagebridge.model.code_steps import PYTHON, PythonStep, call_arguments
from sagebridge.model.expressions import plain
from sagebridge.model.functions import Function
from sagebridge.model.pipeline import Step
from sagebridge.model.values import Object

if TYPE_CHECKING:
    from sagebridge.formats.prefect.tracing.flow_trace import FlowTrace


def mapped(
    trace: FlowTrace, task: Any, arguments: Sequence[Any], named: Mapping[str, Any], wait_for: Any
) -> Any:
    """``.map()``: one step per item of known lists, a ForEach over run-time lists."""
    values = (*arguments, *named.values())
    lists = [one for one in values if _is_list(one) or _is_run_time_list(one)]
    if not any(map(is_symbol, lists)):
        if len({len(one) for one in lists}) != 1:
            raise NotFollowed(trace.line(), "a map without a list, or over lists that differ")

        def pick(value: Any, place: int) -> Any:
            return value[place] if _is_list(value) else value

        return Futures(
            trace.task(
                task,
                [pick(one, place) for one in arguments],
                {key: pick(one, place) for key, one in named.items()},
                wait_for,
                blocks=False,
            )
            for place in range(len(lists[0]))
        )
    items = lists[0]
    if len(lists) > 1:
        bound = inspect.signature(task.fn).bind(*arguments, **named).arguments
        rows = {key: one for key, one in bound.items() if any(one is it for it in lists)}
        if len(rows) != len(lists):
            raise NotFollowed(trace.line(), "a map over run-time lists in *args")
        items, arguments = _rows(trace, task, rows), ()

    def iteration(item: Symbol) -> Any:
        given = [item if one is items else one for one in arguments]
        keywords = {key: item if one is items else one for key, one in named.items()}
        if len(lists) > 1:
            keywords = {key: item[key] if key in rows else one for key, one in bound.items()}
        # A step "NAME-2" would have the name of an iteration of a step "NAME".
        return trace.task(task, given, keywords, blocks=False, wanted=f"{task.name}-item")

    return trace.interpreter.for_each(
        trace.line(),
        items,
        iteration,
        trace.file_frame(),
        futures=True,
        wanted=f"{task.name}-map",
        before=tuple(dependencies_of(wait_for)),
    )


def _rows(trace: FlowTrace, task: Any, lists: Mapping[str, Any]) -> Symbol:
    """A step of the arguments of each call of a map over several lists."""
    given = {key: trace.argument(one, key) for key, one in lists.items()}
    name = trace.name(f"{task.name}-rows")
    step = Step(name, PYTHON, plain(Object(call_arguments((), given))))
    library = Function("rows", "", imported_from="sagebridge_operators.functions.items")
    trace.record_step(PythonStep.of(step, library, trace.here()))
    return trace.result_of(name)


def _is_list(value: Any) -> bool:
    # `unmapped` is a NamedTuple (prefect/utilities/annotations.py).
    kind = type(value)
    return kind in (list, tuple, range, set, Futures) and kind.__name__ != "unmapped"


def _is_run_time_list(value: Any) -> bool:
    return is_symbol(value) and value._type in PATHS
