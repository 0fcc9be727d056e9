"""The ``OutputParameters`` of Lambda and Callback steps: names and types of their results."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from sagebridge.model.pipeline import Step
from sagebridge.model.values import ABSENT
from sagebridge_operators.run_errors import StepFailed, describe_value

OUTPUT_PARAMETERS = "output_parameters"
"""The key in a step's outputs that has all values by name."""
_MOST, _LONGEST = 50, 1024
"""Limits of the Lambda and Callback steps in the SageMaker guide: outputs, and characters each."""


def typed_outputs(step: Step, given: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The declared output parameters of a step, converted to their ``OutputType``.

    Objects and lists become one JSON string. ``source`` is where the values are from, for
    messages. Raises StepFailed for a missing value or one of another type, for more than 50 outputs
    and for more than 1024 characters.
    """
    declared = () if step.output_parameters is ABSENT else step.output_parameters
    if len(declared) > _MOST:
        raise _failed(step, f"expected at most {_MOST} OutputParameters, got {len(declared)}")
    values: dict[str, Any] = {}
    for parameter in declared:
        if parameter.name not in given:
            there = ", ".join(map(str, given)) or "no outputs"
            text = f"{source} has no output {parameter.name!r}; it has {there}"
            raise _failed(step, text)
        type_ = "String" if parameter.type is ABSENT else str(parameter.type)
        value = given[parameter.name]
        convert: Callable[[Any], Any] = _CONVERSIONS.get(type_, _string)
        converted = convert(value)
        if converted is None:
            expected = f"expected {type_}, got {describe_value(value)}"
            raise _failed(step, f"output {parameter.name!r} of {source}: {expected}")
        if len(str(converted)) > _LONGEST:
            length = f"expected at most {_LONGEST} characters, got {len(str(converted))}"
            raise _failed(step, f"output {parameter.name!r} of {source}: {length}")
        values[parameter.name] = converted
    return values


def _failed(step: Step, text: str) -> StepFailed:
    return StepFailed(f"{step.type} step {step.name!r}: {text}", kind="job")


def _string(value: Any) -> str | None:
    match value:
        case None:
            return None
        case str():
            return value
    return json.dumps(value)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _integer(value: Any) -> int | None:
    number = _number(value)
    if number is None or not number.is_integer():
        return None
    try:
        return int(value)  # exact, also for digits that a float cannot hold
    except ValueError:  # such as "2.0" and "1e3"
        return int(number)


def _boolean(value: Any) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return value if isinstance(value, bool) else None


_CONVERSIONS: Mapping[str, Callable[[Any], Any]] = {
    "Integer": _integer,
    "Boolean": _boolean,
    "Float": _number,
}
