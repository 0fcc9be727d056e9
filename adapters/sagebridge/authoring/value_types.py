"""What the annotation of an argument or result allows, as the type of a pipeline parameter."""

from __future__ import annotations

import ast
import builtins
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import NoneType, SimpleNamespace, UnionType
from typing import Annotated, Any, Literal, Optional, Union, get_args, get_origin

from sagebridge.model.display import shown
from sagebridge.model.limits import FIELD_ARGUMENTS, known_limits, limits_of
from sagebridge.model.parameters import JSON_TYPES, PYTHON_TYPES
from sagebridge.model.values import EMPTY, Object, Value, freeze

OBJECT = "object"
"""The type of a list, a dict or any other value that no pipeline parameter can have."""
TYPES = {**PYTHON_TYPES, **JSON_TYPES}
"""The parameter type for each Python type."""
_SCHEMA_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_ANNOTATIONS = {
    **{schema: name for name, schema in _SCHEMA_TYPES.items()},
    "array": "list",
    "object": "dict",
}
_TYPING = {
    "Annotated": Annotated,
    "Any": Any,
    "Literal": Literal,
    "None": NoneType,
    "Optional": Optional,
    "Union": Union,
}


@dataclass(frozen=True, slots=True)
class ValueType:
    """The values that an annotation allows.

    Attributes:
        name: ``str``, ``int``, ``float`` or ``bool``; OBJECT; or empty if unknown.
        choices: the only allowed values.
        nullable: whether None is allowed.
        limits: the constraints that a pipeline parameter can have, by JSON Schema's keyword.
        rules: further constraints, such as ``Strict(strict=True)``, as their source.
        enumeration: whether a value is a member of an Enum whose value is one of the choices.
        json: ``list`` or ``dict``, if it is an OBJECT that is one; for a converted value also
            ``str``.
        converted: whether pydantic makes the value from JSON, of the type ``json``.
    """

    name: str = ""
    choices: tuple[Value, ...] = ()
    nullable: bool = False
    limits: Object = EMPTY
    rules: tuple[str, ...] = ()
    enumeration: bool = False
    json: str = ""
    converted: bool = False

    @property
    def parameter_type(self) -> str:
        """``String``, ``Integer``, ``Float``, ``Boolean``, OBJECT, or empty if unknown."""
        return PYTHON_TYPES.get(self.name, self.name)

    @property
    def has_validators(self) -> bool:
        """Whether pydantic may accept values that the parameter rejects."""
        return bool(self.rules) or self.converted

    def with_limits(self, given: Mapping[str, Any]) -> ValueType:
        """The type with the limits among keywords of JSON Schema."""
        limits = known_limits(TYPES.get(self.json or self.name, ""), given)
        return replace(self, limits=Object({**self.limits, **freeze(limits)}))


_OBJECT_TYPE = ValueType(OBJECT)


class FieldInfo(SimpleNamespace):
    """Pydantic's ``Field`` in a source file that is only parsed."""

    __hash__ = object.__hash__  # type: ignore[assignment]  # a member of a Union has one


def value_type(hint: Any) -> ValueType:
    """The type of an evaluated annotation."""
    if hint is None or hint is Any or hint is object or isinstance(hint, typing.TypeVar):
        return ValueType()
    if getattr(hint, "__name__", "") in PYTHON_TYPES and hint is getattr(builtins, hint.__name__):
        return ValueType(hint.__name__)
    if hasattr(hint, "__supertype__"):  # a typing.NewType
        return value_type(hint.__supertype__)
    match get_origin(hint), get_args(hint):
        case origin, (inner, *metadata) if origin is Annotated:
            found = value_type(inner)
            for one in metadata:
                found = constrained(found, one)
            return found
        case origin, kinds if origin in (Union, UnionType):
            return _union([value_type(one) for one in kinds if one is not NoneType], kinds)
        case origin, choices if origin is Literal:
            return _choices([one for one in choices if one is not None], None in choices)
        case _:
            pass
    if isinstance(hint, type) and issubclass(hint, Enum):
        return replace(_choices([one.value for one in hint], False), enumeration=True)
    kind = get_origin(hint) or hint
    if kind not in (list, dict):
        return _OBJECT_TYPE
    return replace(_OBJECT_TYPE, json=kind.__name__).with_limits(json_schema(hint) or {})


def json_schema(hint: Any) -> dict[str, Any] | None:
    """The JSON schema of a hint of plain JSON, such as ``list[str]``; None for any other hint."""
    kind, inside = get_origin(hint) or hint, get_args(hint)
    if kind in (list, dict):
        name, keyword = ("array", "items") if kind is list else ("object", "additionalProperties")
        inner = json_schema(inside[-1]) if inside else {}
        if inner is None or (kind is dict and inside and inside[0] is not str):
            return None
        return {"type": name, **({keyword: inner} if inner else {})}
    if kind is Any or kind is object:
        return {}
    found = value_type(hint)
    schema = _SCHEMA_TYPES.get(found.name)
    if schema is None or found.limits or found.rules or found.enumeration:
        return None
    choices = {"enum": [*found.choices, *([None] if found.nullable else [])]}
    types = ["null", schema] if found.nullable else schema
    return {"type": types, **(choices if found.choices else {})}


def json_annotation(schema: Any) -> str:
    """The hint that has this JSON schema, such as ``list[str]``; empty for other schemas."""
    match dict(schema) if isinstance(schema, Mapping) else None:
        case {"type": "array", "items": items, **rest} if not rest:
            return f"list[{inner}]" if (inner := json_annotation(items)) else ""
        case {"type": "object", "additionalProperties": values, **rest} if not rest:
            return f"dict[str, {inner}]" if (inner := json_annotation(values)) else ""
        case {"type": str() as type_, **rest} if not rest:
            return _ANNOTATIONS.get(type_, "")
    return ""


def _union(found: list[ValueType], kinds: tuple[Any, ...]) -> ValueType:
    nullable = NoneType in kinds
    names = {one.name for one in found}
    if len(found) == 1:
        return replace(found[0], nullable=nullable or found[0].nullable)
    if names == {"int", "float"}:
        return ValueType("float", nullable=nullable)
    return replace(_OBJECT_TYPE, nullable=nullable)


def _choices(choices: list[Any], nullable: bool) -> ValueType:
    names = {type(one).__name__ for one in choices}
    if len(names) == 1 and names <= PYTHON_TYPES.keys():
        return ValueType(names.pop(), tuple(choices), nullable)
    return replace(_OBJECT_TYPE, nullable=nullable)


def constrained(type_: ValueType, metadata: Any) -> ValueType:
    """A type with the constraints in a part of ``Annotated``; strings and descriptions are none.

    Parts are pydantic's ``Field(ge=1)``, or annotated_types' ``Ge(1)``, which it consists of; the
    core imports neither.
    """
    match type(metadata).__name__:
        case "str":
            return type_
        case "FieldInfo" | "StringConstraints":
            type_ = _with_schema(type_, getattr(metadata, "json_schema_extra", None))
            parts = metadata.metadata if hasattr(metadata, "metadata") else metadata
            for part in parts:
                type_ = constrained(type_, part)
            return type_
    given = getattr(metadata, "__dict__", None) or {
        name: getattr(metadata, name) for name in getattr(metadata, "__slots__", ())
    }
    given = {name: value for name, value in given.items() if value is not None}
    limits = known_limits(type_.parameter_type, limits_of(given))
    twice = limits.keys() & type_.limits.keys()
    if len(limits) < len(given) or twice or not given:
        return replace(type_, rules=(*type_.rules, shown(metadata)))
    return replace(type_, limits=Object({**type_.limits, **limits}))


def _with_schema(type_: ValueType, schema: Any) -> ValueType:
    """A type with the keywords of ``Field(json_schema_extra={"enum": [0.5, 1.0]})``."""
    if not isinstance(schema, dict):
        return type_
    choices = schema.get("enum")
    if isinstance(choices, list) and not type_.choices and are_of(type_.name, choices):
        type_ = replace(type_, choices=tuple(choices))
    return type_.with_limits(schema)


def are_of(name: str, choices: Collection[Value]) -> bool:
    """Whether all choices have the Python type of this name; integers are floats, too."""
    wanted = {"float": {int, float}}.get(name, {getattr(builtins, name, None)})
    return {type(one) for one in choices} <= wanted


def value_type_of_source(node: ast.expr | None) -> ValueType | None:
    """The type of an annotation in a source file; None if it has to be evaluated."""
    try:
        hint = None if node is None else _evaluated(node)
    except (KeyError, TypeError, ValueError, SyntaxError):
        return None
    return value_type(hint)


def _evaluated(node: ast.expr) -> Any:
    """A hint of builtin types and ``typing``; raises KeyError for any other name."""
    match node:
        case ast.Constant(value=None):
            return NoneType
        case ast.Constant(value=str() as text):
            return _evaluated(ast.parse(text, mode="eval").body)
        case ast.Name(id=name) | ast.Attribute(value=ast.Name(id="typing" | "t"), attr=name):
            known = name in PYTHON_TYPES or name in JSON_TYPES
            return getattr(builtins, name) if known else _TYPING[name]
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return Union[_evaluated(left), _evaluated(right)]  # noqa: UP007 - for values
        case ast.Subscript(value=base, slice=inside):
            kind = _evaluated(base)
            parts = inside.elts if isinstance(inside, ast.Tuple) else [inside]
            types = 0 if kind is Literal else 1 if kind is Annotated else len(parts)
            inner = [
                _evaluated(one) if at < types else _metadata(one) for at, one in enumerate(parts)
            ]
            return kind[inner[0] if len(inner) == 1 else tuple(inner)]
    raise KeyError(ast.dump(node))


def _metadata(node: ast.expr) -> Any:
    """A choice of ``Literal``, a string of ``Annotated``, or pydantic's ``Field`` with limits."""
    match node:
        case ast.Call(func=ast.Name(id="Field"), args=[], keywords=keywords):
            given = {str(one.arg): ast.literal_eval(one.value) for one in keywords}
            extra = given.pop("json_schema_extra", None)
            if given.keys() <= set(FIELD_ARGUMENTS.values()):
                parts = [SimpleNamespace(**given)] if given else ()
                return FieldInfo(metadata=parts, json_schema_extra=extra)
    return ast.literal_eval(node)
