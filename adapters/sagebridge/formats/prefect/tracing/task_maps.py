"""``.map()`` of tasks, and the steps that a call waits for."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sagebridge.authoring.value_types import OBJECT
from sagebridge.formats.prefect.recording.symbols import (
    PATHS,
    Future,
    Futures,
    Symbol,
    is_symbol,
    leaves,
    result_step,
)
from sagebridge.formats.prefect.tracing.branch_tests import NotFollowed
from sagebridge.model.code_steps import PYTHON, PythonStep, call_arguments
from sagebridge.model.dependencies import Dependency, ended
from sagebridge.model.expressions import plain
from sagebridge.model.functions import Function
from sagebridge.model.pipeline import Step
from sagebridge.model.values import Object

if TYPE_CHECKING:
    from sagebridge.formats.prefect.tracing.flow_trace import FlowTrace


def mapped(
    trace: FlowTrace, task: Any, arguments: Sequence[Any], named: Mapping[str, Any], wait_for: Any
) -> Any:
    """``.map()``: one step per item of known lists, a ForEach over a run-time list."""
    values = (*arguments, *named.values())
    lists = [one for one in values if is_mapped(one)]
    source = [one for one in values if is_symbol(one) and one._type in PATHS]
    if source and (len(source) > 1 or lists):
        return _rows(trace, task, arguments, named, wait_for)
    if not source:
        if not lists or len({len(one) for one in lists}) != 1:
            raise NotFollowed(trace.line(), "a map without a list, or over lists that differ")

        def pick(value: Any, at: int) -> Any:
            return value[at] if is_mapped(value) else value

        return Futures(
            trace.task(
                task,
                [pick(one, at) for one in arguments],
                {key: pick(one, at) for key, one in named.items()},
                wait_for,
                blocks=False,
            )
            for at in range(len(lists[0]))
        )
    before = tuple(dependencies_of(wait_for))

    def iteration(item: Symbol) -> Any:
        positional = [item if one is source[0] else one for one in arguments]
        keywords = {key: item if one is source[0] else one for key, one in named.items()}
        # A step "NAME-2" would have the name of an iteration of a step "NAME".
        return trace.task(task, positional, keywords, blocks=False, wanted=f"{task.name}-item")

    settings = {"wanted": f"{task.name}-map", "before": before}
    frame = trace.file_frame()
    found = trace.interpreter.loops.for_each(
        trace.line(), source[0], iteration, frame, in_turn=False, **settings
    )
    get = found._expression
    return Future(get, OBJECT, lambda: trace.state.ended.update({get.step: None}))


def _rows(
    trace: FlowTrace, task: Any, arguments: Sequence[Any], named: Mapping[str, Any], wait_for: Any
) -> Any:
    """``.map()`` over several lists: a ForEach over the arguments of each call."""
    bound = inspect.signature(task.fn).bind(*arguments, **named).arguments
    static = {
        key: one
        for key, one in bound.items()
        if not (is_mapped(one) or (is_symbol(one) and one._type in PATHS))
    }
    lists = {key: one for key, one in bound.items() if key not in static}
    given = {key: trace.argument(one, key) for key, one in lists.items()}
    name = trace.name(f"{task.name}-rows")
    step = Step(name, PYTHON, plain(Object(call_arguments((), given))))
    library = Function("rows", "", imported_from="sagebridge_operators.functions.items")
    trace.record_step(PythonStep.of(step, library, trace.here()))
    before = tuple(dependencies_of(wait_for))

    def iteration(item: Symbol) -> Any:
        keywords = {**static, **{key: item[key] for key in lists}}
        return trace.task(task, [], keywords, blocks=False, wanted=f"{task.name}-item")

    settings = {"wanted": f"{task.name}-map", "before": before}
    found = trace.interpreter.loops.for_each(
        trace.line(),
        trace.result_of(name),
        iteration,
        trace.file_frame(),
        in_turn=False,
        **settings,
    )
    get = found._expression
    return Future(get, OBJECT, lambda: trace.state.ended.update({get.step: None}))


def is_mapped(value: Any) -> bool:
    # `unmapped` is a NamedTuple (prefect/utilities/annotations.py).
    kind = type(value)
    return kind in (list, tuple, range, set, Futures) and kind.__name__ != "unmapped"


def steps_of(waited: Any) -> Iterator[str]:
    """The steps whose results ``wait_for`` contains."""
    for one in leaves(waited):
        if (step := result_step(one)) is not None:
            yield step


def tolerant_steps(arguments: Sequence[Any]) -> Iterator[str]:
    """The steps whose results are in ``allow_failure`` in the arguments of a call."""
    for one in leaves(arguments):
        if type(one).__name__ == "allow_failure":
            yield from steps_of(one.unwrap())


def dependencies_of(waited: Any) -> Iterator[str | Dependency]:
    """The steps in ``wait_for``; those in ``allow_failure`` with the trigger Any."""
    if type(waited).__name__ == "allow_failure":
        yield from map(ended, steps_of(waited.unwrap()))
    elif type(waited) in (list, tuple, set, Futures):
        for one in waited:
            yield from dependencies_of(one)
    elif waited is not None:
        yield from steps_of(waited)
