"""Pipeline parameters, and the conversion of their values for an execution."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sagebridge.errors import ModelTypeError, ParameterError
from sagebridge.model.display import did_you_mean, shown
from sagebridge.model.limits import check_limits, unmet
from sagebridge.model.values import ABSENT, EMPTY, Absent, Object, Strict, Value, thaw

# 2.0 is an integer, as in JSON Schema, which Airflow's API and form follow.
_INTEGER = re.compile(r"\s*([+-]?[0-9]{1,4000})(\.0*)?\s*")
_FLOAT = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*")
_SURROGATE = re.compile("[\ud800-\udfff]")
PARAMETER_TYPES = ("String", "Integer", "Float", "Boolean")
PYTHON_TYPES = {"str": "String", "int": "Integer", "float": "Float", "bool": "Boolean"}
"""The parameter type for each Python type."""
JSON_TYPES = {"list": "Array", "dict": "Object"}
"""The same for JSON that only Airflow and Prefect have; to SageMaker it is a string."""


@dataclass(frozen=True, slots=True, eq=False)
class Parameter(Strict):
    """A pipeline parameter, required if it has no default.

    Used in arguments or conditions, it becomes the reference ``{"Get": "Parameters.NAME"}``.

    Args:
        name: unique in the pipeline.
        type: ``String``, ``Integer``, ``Float`` or ``Boolean``; ``Array`` or ``Object`` in a DAG or
            flow.
        default: the value of an execution that does not set the parameter.
        enum_values: the only allowed values.
        description: shown when an execution is started.
        limits: further conditions on a value, as keywords of JSON Schema: ``minimum``, ``maximum``,
            ``exclusiveMinimum``, ``exclusiveMaximum`` and ``multipleOf`` of a number;
            ``minLength``, ``maxLength`` and ``pattern`` of a String. SageMaker does not have them.
        extra: every other key of the parameter, by AWS's name.
        nullable: whether null is a value, too. A definition has no such parameter.
    """

    name: str
    type: str | Absent = "String"
    default: Value = ABSENT
    enum_values: tuple[Value, ...] | Absent = ABSENT
    description: str | Absent = ABSENT
    extra: Object = EMPTY
    limits: Object = EMPTY
    nullable: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            name: str,
            type: str | Absent = "String",
            default: Value = ABSENT,
            enum_values: Sequence[Value] | Absent = ABSENT,
            description: str | Absent = ABSENT,
            extra: Mapping[str, Value] = EMPTY,
            limits: Mapping[str, Value] = EMPTY,
            nullable: bool = False,
        ) -> None: ...

    def __post_init__(self) -> None:
        # Imported here because expressions are built from parameters.
        from sagebridge.model.converters import convert

        owner = f"parameter {shown(self.name)}"
        convert(self, owner)
        try:
            check_limits(self.value_type, self.limits)
        except TypeError as error:
            raise ModelTypeError([f"{owner}: {error}"]) from None

    def __format__(self, spec: str) -> str:
        raise TypeError(
            f"the value of parameter {self.name!r} is only known at run time; "
            'use join("", …) to build a string'
        )

    @property
    def value_type(self) -> str:
        return "String" if self.type is ABSENT else self.type


class ParameterValueError(ValueError):
    """A value that a parameter rejects; the message is what it expects."""


def coerce_one(parameter: Parameter, value: Value) -> Value:
    """Convert a value to the declared type; SageMaker and the command line send strings.

    Raises :class:`ParameterValueError`.
    """
    if value is None and parameter.nullable:
        return None
    result = _typed(parameter.value_type, value)
    choices = parameter.enum_values
    if choices is not ABSENT and choices and result not in choices:
        raise ParameterValueError(f"one of {', '.join(shown(choice) for choice in choices)}")
    if wanted := " and ".join(unmet(parameter.value_type, parameter.limits, result)):
        raise ParameterValueError(wanted)
    return result


def _typed(declared: str, value: Value) -> Value:
    match declared, value:
        case "String", str():
            if "\0" in value or _SURROGATE.search(value):  # databases and requests refuse these
                raise ParameterValueError("a String of Unicode characters other than NUL")
            return value
        case "Integer", bool():
            raise ParameterValueError("an Integer")
        case "Integer", int():
            return value
        case "Integer", float() if value.is_integer():
            return int(value)
        case "Integer", str() if match := _INTEGER.fullmatch(value):
            return int(match[1])
        case "Float", bool():
            raise ParameterValueError("a Float")
        case "Float", str() if not _FLOAT.fullmatch(value):
            raise ParameterValueError("a Float")
        case "Float", int() | float() | str():
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if not math.isfinite(number):
                raise ParameterValueError("a finite Float")
            return number
        case "Boolean", bool():
            return value
        case "Boolean", str() if value.lower() in ("true", "false"):
            return value.lower() == "true"
        case "Boolean", _:
            raise ParameterValueError("a Boolean (true or false)")
        case ("Array", list() | tuple()) | ("Object", Mapping()):
            return thaw(value)
        case (("Array" | "Object"), str()):
            try:
                parsed = json.loads(value)
            except ValueError:
                parsed = None
            if isinstance(parsed, list if declared == "Array" else dict):
                return parsed
        case (("String" | "Integer" | "Float"), _):
            raise ParameterValueError(f"a {declared}" if declared != "Integer" else "an Integer")
    if declared in JSON_TYPES.values():
        raise ParameterValueError(f"a JSON {'array' if declared == 'Array' else 'object'}")
    raise ParameterValueError(
        f"one of the types {', '.join(PARAMETER_TYPES)} (declared type: {declared!r})"
    )


def coerce(parameters: Sequence[Parameter], given: Mapping[str, Value]) -> dict[str, Value]:
    """The value of every parameter for one execution: the given value or the default.

    Raises :class:`ParameterError` with all unknown, wrong and missing parameters.
    """
    declared = {parameter.name: parameter for parameter in parameters}
    problems = [
        f"unknown parameter {name!r}{_hint(name, list(declared))}"
        for name in given
        if name not in declared
    ]
    values: dict[str, Value] = {}
    for name, parameter in declared.items():
        value = given.get(name, parameter.default)
        if value is ABSENT:
            problems.append(f"parameter {name!r} has no default and was not given")
            continue
        try:
            values[name] = coerce_one(parameter, value)
        except ParameterValueError as wrong:
            problems.append(f"parameter {name!r} is {shown(value)}, expected {wrong}")
    if problems:
        raise ParameterError(problems)
    return values


def _hint(name: str, known: Sequence[str]) -> str:
    there = f" (the pipeline has {', '.join(known)})" if known else " (the pipeline has none)"
    return did_you_mean(name, known) or there
