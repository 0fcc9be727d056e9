"""Numbers and Booleans of references in the strings of a create request.

SDK 3 writes parameters of every type into string fields: a ParameterInteger among hyperparameters
is compiled to a plain reference. AWS does not document the conversion; here a value becomes the
string that Std:Join makes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from sagebridge.authoring.request_shapes import (
    ApiShape,
    inner_shape,
    operation_shape,
    request_shape,
)
from sagebridge.model.expressions import is_expression
from sagebridge.model.step_types import STEP_TYPES
from sagebridge.model.values import Value
from sagebridge_operators.lifecycle.resolve import text_of

_ShapeOf = Callable[[], ApiShape | None]
"""Returns a shape: most steps need none of the table, which is slow to load."""


def with_strings(step_type: str, given: Value, resolved: Any) -> Any:
    """The resolved arguments of a step, with strings for references where the API wants strings.

    Literals stay as they are. ``given`` are the arguments before they were resolved.
    """
    if not isinstance(given, Mapping):
        return resolved
    return {
        name: _converted(item, resolved[name], partial(_argument_shape, step_type, name))
        for name, item in given.items()
    }


def _converted(given: Value, resolved: Any, shape_of: _ShapeOf) -> Any:
    if is_expression(given):
        if not isinstance(resolved, bool | int | float):
            return resolved
        shape = shape_of()
        return text_of(resolved) if shape is not None and shape.type == "string" else resolved
    match given:
        case Mapping():
            return {
                name: _converted(item, resolved[name], partial(_inside, shape_of, name))
                for name, item in given.items()
            }
        case list() | tuple():
            inside = partial(_inside, shape_of, None)
            return [
                _converted(item, one, inside) for item, one in zip(given, resolved, strict=True)
            ]
    return resolved


def _inside(shape_of: _ShapeOf, name: str | None) -> ApiShape | None:
    return inner_shape(shape_of(), name)


def _argument_shape(step_type: str, name: str) -> ApiShape | None:
    operation = STEP_TYPES[step_type].requests.get(name)
    if operation is not None:
        return operation_shape(operation)
    return inner_shape(request_shape(step_type), name)
