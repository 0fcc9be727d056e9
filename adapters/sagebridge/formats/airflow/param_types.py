"""Params that are strings, but that requests use as numbers or Booleans.

Airflow renders ``"InstanceCount": "{{ params.count }}"`` to a string, and its operators convert the
string. In a pipeline, the parameter itself must have the type of the field.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from sagebridge.formats.python.engine_losses import Unsupported
from sagebridge.model.display import shown
from sagebridge.model.limits import known_limits
from sagebridge.model.parameters import Parameter, ParameterValueError, coerce_one
from sagebridge.model.values import ABSENT, Value


def converted(
    parameters: Collection[Parameter], needed: Mapping[str, Collection[str]], fixed: Collection[str]
) -> dict[str, Parameter]:
    """The parameters with the types that fields need, by name, if their values fit.

    ``needed`` are these types by parameter. Parameters in ``fixed`` keep their types.
    """
    found = {}
    for one in parameters:
        types = set(needed.get(one.name, ()))
        if {"Integer", "Float"} == types:  # an Integer fits both
            types = {"Integer"}
        if one.name not in fixed and len(types) == 1 and (new := _in_type(one, types.pop())):
            found[one.name] = new
    return found


def losses(
    old: Collection[Parameter],
    new: Mapping[str, Parameter],
    unfit: Mapping[str, Collection[str]],
) -> Iterator[Unsupported]:
    """The parameters of another type than their Param, and those that fit no field."""
    for one in old:
        if one.name in new:
            what = (
                f"the param {shown(one.name)} becomes a parameter of type "
                f"{new[one.name].value_type}, as a request uses it"
            )
            yield Unsupported("param-type", "info", what)
        elif one.name in unfit:
            types = " and ".join(sorted(unfit[one.name]))
            what = (
                f"the param {shown(one.name)} is a {one.value_type}, "
                f"but a request uses it as {types}"
            )
            advice = "declare it with that type, and with a default of that type"
            yield Unsupported("param-type", "changed", what, advice)


def _in_type(parameter: Parameter, type_: str) -> Parameter | None:
    """The parameter with another type; None if a value of it does not fit."""
    if parameter.value_type not in ("String", "Float"):
        return None
    if known_limits(type_, parameter.limits) != parameter.limits:
        return None
    plain = Parameter("", type_)

    def fit(value: Value) -> Value:
        return value if value is ABSENT or value is None else coerce_one(plain, value)

    try:
        default, choices = fit(parameter.default), parameter.enum_values
        if choices is not ABSENT:
            choices = tuple(map(fit, choices))
    except ParameterValueError:
        return None
    return replace(parameter, type=type_, default=default, enum_values=choices)
