"""The properties of a ForEach step in a flow: its counts, and the outputs of its iterations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from sagebridge.model.expressions import Get
from sagebridge.model.for_each import ForEachStep
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.outputs import json_safe, look_up, path_text
from sagebridge_operators.lifecycle.user_code.values import escaped
from sagebridge_operators.prefect.step_keys import StepKey

_COUNTS = {
    "InputItemCount": "input_item_count",
    "TotalStepCount": "total_step_count",
    "SucceededStepCount": "succeeded_step_count",
    "FailedStepCount": "failed_step_count",
    "StoppedStepCount": "stopped_step_count",
}
Find = Callable[[StepKey], Mapping[str, Any]]


class _Iteration(Mapping[str, Any]):
    """The outputs of one iteration by body step. A job is described when they are read."""

    def __init__(self, keys: Collection[StepKey], find: Find) -> None:
        self._keys, self._find = {key.step: key for key in keys}, find

    def __getitem__(self, step: str) -> Any:
        return self._find(self._keys[step])

    def __contains__(self, step: object) -> bool:
        return step in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def properties(
    step: ForEachStep, attempt: Attempt, done: Collection[StepKey], find: Find
) -> dict[str, Any]:
    """The properties of an ended ForEach, by AWS's names.

    Args:
        step: the step.
        attempt: its own attempt.
        done: the task runs that have outputs.
        find: returns all properties of a body step.
    """
    outputs = attempt.outputs or {}
    body = [inner.name for inner in step.inner]
    iterations = []
    for index in range(len(attempt.items or ())):
        keys = [StepKey(name, (index,)) for name in body]
        iterations.append(_Iteration([key for key in keys if key in done], find))
    found = {name: outputs[key] for name, key in _COUNTS.items() if key in outputs}
    result = {"Status": outputs.get("status"), **found, "IterationOutputs": iterations}
    if selected := outputs.get("selected"):
        result["Selected"] = find(StepKey(selected["step"], (selected["index"],)))
    return result


def with_late_properties(
    outputs: dict[str, Any], references: Sequence[Get], find: Callable[[], Mapping[str, Any]]
) -> dict[str, Any]:
    """Adds properties to which steps refer that were declared after the ForEach had ended."""
    known = {**outputs.get("properties", {}), **outputs.get("missing", {})}
    late = [one for one in references if path_text(one) not in known]
    values, missing = {}, {}
    for reference in late:
        try:
            value = look_up(find(), reference.tokens[1:])
            values[path_text(reference)] = escaped(json_safe(value))
        except LookupError as absent:
            missing[path_text(reference)] = list(absent.args[1]) if len(absent.args) > 1 else []
    return {
        **outputs,
        "properties": {**outputs.get("properties", {}), **values},
        "missing": {**outputs.get("missing", {}), **missing},
    }
