"""The arguments of a flow: parameters, and steps that make the values that its code gets."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

from sagebridge.authoring.flow_signature import FlowArgument, SignatureArgument, read_hints
from sagebridge.authoring.value_types import OBJECT, TYPES, value_type
from sagebridge.formats.prefect.recording import code_steps
from sagebridge.formats.prefect.recording.code_recorder import CodeRecorder
from sagebridge.formats.prefect.recording.symbols import JSON, OPTIONAL, Symbol, is_symbol
from sagebridge.formats.prefect.source.names import loaded_names
from sagebridge.model.expressions import Get, parameter
from sagebridge.model.parameters import JSON_TYPES
from sagebridge.model.values import ABSENT, Value

_TYPE_ADAPTER = "from pydantic import TypeAdapter"
_ADAPTER = "TypeAdapter({kind}).validate_python({given})"


def arguments_of(signature: Iterable[SignatureArgument]) -> list[FlowArgument]:
    """The arguments that are parameters: those with a type that JSON has, or without default."""
    return [
        one.parameter or FlowArgument(one.name, description=one.description)
        for one in signature
        if one.parameter is not None or one.default is ABSENT
    ]


def is_enumeration(trace: CodeRecorder, value: Symbol) -> bool:
    """Whether a value is an argument that is an Enum in the flow."""
    names = [one.name for one in trace.signature if one.type.enumeration]
    get = value._expression
    return type(get) is Get and get.root == "Parameters" and get.name in names


def is_set(trace: CodeRecorder, value: Any) -> bool:
    """Whether a run-time value is an argument that cannot be None."""
    get = value._expression if is_symbol(value) else None
    if type(get) is not Get or get.root != "Parameters":
        return False
    return not any(
        one.name == get.name and one.parameter and one.parameter.nullable for one in trace.signature
    )


def argument_value(trace: CodeRecorder, one: SignatureArgument) -> Any:
    """The value of an argument of the flow, for its code."""
    if one.parameter is None:
        missing = one.default is ABSENT
        return Symbol(parameter(one.name), OBJECT) if missing else one.default
    type_ = JSON if one.parameter.type in JSON_TYPES else TYPES[one.parameter.type]
    if one.parameter.nullable and type_ != JSON:
        type_ = JSON if type_ == "Boolean" else OPTIONAL
    if one.type.converted:  # the text of a date is its JSON
        is_date = one.type.limits.get("format") == "date"
        type_ = OBJECT if is_date and type_ == "String" else JSON
    hint = read_hints(trace.flow.fn).get(one.name)
    found = Symbol(parameter(one.name), type_, fields=_fields(hint))
    if one.type.converted or one.type.enumeration:
        found._made = _made_of(trace, one, hint)
    return found


def _made_of(trace: CodeRecorder, one: SignatureArgument, hint: Any) -> Callable[[], Value]:
    """Makes a step that converts an argument, which is JSON, to the value it stands for."""

    def made() -> Value:
        frame, kind = trace.file_frame(), trace.file.annotation(trace.flow.fn, one.name)
        if one.parameter and one.parameter.nullable and not one.type.nullable:
            kind = f"{kind} | None"
        given = "value" if one.name in loaded_names(ast.parse(kind)) else one.name
        frame.set(given, Symbol(parameter(one.name), OBJECT))
        form = _form(hint) if one.parameter and not one.parameter.nullable else _ADAPTER
        if form == _ADAPTER and "TypeAdapter" not in trace.file.names:
            frame.set("TypeAdapter", None)
            frame.statements["TypeAdapter"] = ast.parse(_TYPE_ADAPTER).body[0]
        text = form.format(kind=kind, given=given)
        node, wanted = ast.parse(text, mode="eval").body, f"parse_{one.name}"
        function = code_steps.of_expression(node, trace.file, frame, wanted)
        others = [f"parse_{it.name}" for it in trace.signature[: trace.signature.index(one)]]
        steps = [it.name.replace("-", "_") for it in trace.state.nodes]
        place = (), sum(it in others for it in steps), (), (), ()
        line = trace.flow.fn.__code__.co_firstlineno
        step = trace.code(function, wanted, line, place=place, pure=True)
        return trace.result_of(step)._definition_value()

    return made


def _form(hint: Any) -> str:
    """The expression that makes the value of a type from JSON, as pydantic does."""
    if hint is date:
        return "{kind}.fromisoformat({given})"
    if hasattr(hint, "model_validate"):
        return "{kind}.model_validate({given})"
    called = isinstance(hint, type) and (hint in (Decimal, Path, UUID) or issubclass(hint, Enum))
    return "{kind}({given})" if called else _ADAPTER


def _fields(hint: Any) -> dict[str, str]:
    """The types of the fields of a model or dataclass; OBJECT if code has to look at them."""
    names: Any = getattr(hint, "model_fields", None) or getattr(hint, "__dataclass_fields__", ())
    types = {name: value_type(read_hints(hint).get(name)) for name in names}
    return {
        name: OBJECT if one.nullable or one.enumeration else one.parameter_type or OBJECT
        for name, one in types.items()
    }
