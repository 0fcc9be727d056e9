"""The shapes of AWS requests and responses, from a table that tools/request_shapes.py writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from sagebridge.model.expressions import Index, Key, Member
from sagebridge.model.step_types import STEP_TYPES

TABLE = "request_shapes.json"
_PARAMETER_TYPES = {
    "integer": "Integer",
    "long": "Integer",
    "float": "Float",
    "double": "Float",
    "boolean": "Boolean",
}


@dataclass(frozen=True, slots=True)
class ApiShape:
    """A shape in a botocore service model, without its documentation.

    Attributes:
        name: botocore's name, such as ``ResourceConfig``.
        type: structure, list, map, string, integer, long, float, double, boolean, timestamp or
            blob.
        members: for a structure, the shape of each key.
        required: the keys that must be present.
        of: the shape of a list's items or a map's values.
        min: the smallest number, or the shortest length of a string, list or map.
        max: the largest number, or the greatest length.
    """

    name: str
    type: str
    members: Mapping[str, str] = field(default_factory=dict)
    required: Sequence[str] = ()
    of: str = ""
    enum: Sequence[str] = ()
    pattern: str = ""
    min: float | None = None
    max: float | None = None


def operation_shape(operation: str) -> ApiShape | None:
    """The request or response of ``service:Operation``; None if the table lacks it."""
    table = _table()
    name = table["operations"].get(operation)
    return None if name is None else shape(name)


def request_shape(step_type: str) -> ApiShape | None:
    """The request that is the arguments of a step; None if the table lacks it."""
    row = STEP_TYPES.get(step_type)
    operation = None if row is None else row.requests.get("")
    return None if operation is None else operation_shape(operation)


def inner_shape(outer: ApiShape | None, name: str | None = None) -> ApiShape | None:
    """The shape of a key of an object or, without a name, of the items of a list, if known."""
    if outer is None:
        return None
    is_key = outer.type == "structure" and name is not None
    inside = outer.members.get(str(name)) if is_key else outer.of
    return shape(inside) if inside else None


def parameter_type(field: ApiShape | None) -> str | None:
    """The parameter type that a number or Boolean field needs; None for all other fields."""
    return None if field is None else _PARAMETER_TYPES.get(field.type)


@cache
def shape(name: str) -> ApiShape:
    return ApiShape(name.partition(".")[2], **_table()["shapes"][name])


def property_shape(root: ApiShape, tokens: Sequence[Member | Key | Index]) -> ApiShape | str:
    """The shape of a property in a response, or the first unknown name of its path.

    The items of a list are also found by name, as in ``Outputs['train']``.
    """
    here = root
    for token in tokens:
        if here.type == "structure":
            name = token.name if isinstance(token, Member | Key) else str(token)
            if name not in here.members:
                return name
            here = shape(here.members[name])
        elif here.of:
            here = shape(here.of)
        else:
            return str(token)
    return here


@cache
def _table() -> dict[str, Any]:
    return dict(json.loads(files(__package__).joinpath(TABLE).read_text("utf-8")))
