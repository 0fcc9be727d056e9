"""Pipeline parameters as the arguments of a flow: ``InputData: str = "s3://…"``.

The type is the annotation, with limits as ``Annotated[int, Field(ge=1)]``, an enumeration is a
``Literal``, and the description is a line below ``Args:`` in the docstring; ``str | None`` may be
null. Anything else (a name that is not an identifier, a missing type, a null default of a
definition) is in ``begin(definition={"Parameters": {…}})``, by argument.
"""

from __future__ import annotations

import inspect
import keyword
import re
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from types import NoneType, SimpleNamespace
from typing import Any, get_type_hints

from sagebridge.authoring.file_arguments import parameter_of, unstated_members
from sagebridge.authoring.json_values import json_of
from sagebridge.authoring.value_types import (
    OBJECT,
    TYPES,
    ValueType,
    are_of,
    constrained,
    value_type,
)
from sagebridge.model.display import numbered, shown
from sagebridge.model.losses import Severity
from sagebridge.model.parameters import JSON_TYPES, PYTHON_TYPES, Parameter
from sagebridge.model.values import ABSENT, EMPTY, Object, Value, freeze

ANNOTATIONS = {type_: annotation for annotation, type_ in TYPES.items()}
_RESERVED = re.compile(
    r"return_state|wait_for|self|cls|[IOl]"
    r"|construct|copy|dict|from_orm|json|parse_(file|obj|raw)|schema(_json)?"
    r"|update_forward_refs|validate"
    r"|model_(computed_fields|config|construct|copy|dump(_json)?|extra|fields(_set)?|json_schema"
    r"|parametrized_name|post_init|rebuild|validate(_json|_strings)?)"
)
"""Names that are not used for arguments. Prefect reserves ``return_state`` and ``wait_for``
(``Flow.__init__`` in prefect/flows.py), the others are attributes of pydantic's BaseModel, which
checks the arguments, and ``I``, ``O`` and ``l`` are easily confused."""
_ARGUMENT = re.compile(r"    (?P<name>\w+)(?: \([^)]*\))?: (?P<text>\S.*)\Z")
_MORE = re.compile(r"        \s*(?P<text>\S.*)\Z")
_WIDTH = 88
_DEFAULTS = {"list": tuple, "dict": Object}


@dataclass(frozen=True, slots=True)
class FlowArgument:
    """An argument that is a pipeline parameter.

    ``type`` is ``str``, ``int``, ``float``, ``bool``, ``list`` or ``dict``; ``choices`` are the
    allowed values, ``limits`` the constraints of ``Field`` by JSON Schema's keyword, and
    ``nullable`` is whether None is allowed.
    """

    name: str
    type: str = "str"
    default: Value = ABSENT
    choices: tuple[Value, ...] = ()
    description: str = ""
    limits: Object = EMPTY
    nullable: bool = False

    @property
    def literal(self) -> bool:
        """Whether the choices are those of a ``Literal``, which has no floats."""
        return bool(self.choices) and self.type in ("str", "int")

    @property
    def members(self) -> dict[str, Value]:
        """The keys of a definition's parameter that the argument expresses; others are ABSENT."""
        return {
            "Name": self.name,
            "Type": TYPES[self.type],
            "DefaultValue": self.default,
            "EnumValues": self.choices or ABSENT,
            "Description": self.description or ABSENT,
        }


@dataclass(frozen=True, slots=True)
class SignatureArgument:
    """An argument of a flow function.

    Attributes:
        name: its name.
        parameter: the corresponding parameter; None if no pipeline parameter can have its type.
        default: the Python value, as JSON if it is converted; ABSENT if the argument is required.
        type: what its annotation allows.
        description: from the docstring.
    """

    name: str
    parameter: FlowArgument | None
    default: Any
    type: ValueType
    description: str = ""

    @property
    def losses(self) -> Iterator[tuple[str, Severity, str, str]]:
        """Code, severity, description and advice of what a pipeline parameter does not keep."""
        what = f"parameter {shown(self.name)}"
        if self.parameter is None:
            required = self.default is ABSENT
            result = "it becomes a string" if required else "it keeps its default"
            lost = f"{what} is of a type that JSON cannot express: {result}"
            yield "param-type", "changed" if required else "dropped", lost, ""
        if self.type.rules:
            lost = f"{what} is not checked against {', '.join(self.type.rules)}"
            yield "param-rule", "dropped", lost, "check the value before you start an execution"


def signature_argument(
    name: str, type_: ValueType, default: Any, description: str = ""
) -> SignatureArgument:
    """An argument from its annotation and default, read from a live function or its source."""
    is_member = isinstance(default, Enum) and default is not ABSENT  # ABSENT is an Enum too
    if is_member and type_.enumeration and type_.name != OBJECT:
        default = default.value
    is_unset, known = default is ABSENT or default is None, type_
    if not type_.name:
        given = "str" if is_unset else type(default).__name__
        known = ValueType(given if given in PYTHON_TYPES else OBJECT)
    nullable = type_.nullable or default is None
    kind = known.json if is_unset or known.converted else type(default).__name__
    parameter = None
    if known.name in TYPES and (is_unset or isinstance(default, str | int | float)):
        parameter = FlowArgument(
            name, known.name, default, known.choices, description, known.limits, nullable
        )
    elif known.name == OBJECT and (kind in JSON_TYPES or known.converted):
        with suppress(TypeError):  # it is not JSON
            limits, stated = known.limits if kind == known.json else EMPTY, freeze(default)
            parameter = FlowArgument(name, kind, stated, (), description, limits, nullable)
    return SignatureArgument(name, parameter, default, type_, description)


def read_signature(function: Callable[..., Any]) -> Iterator[SignatureArgument]:
    """The arguments of a live function, without ``*args`` and ``**kwargs``."""
    hints = read_hints(function)
    descriptions = read_descriptions(function.__doc__)
    for name, given in inspect.signature(function).parameters.items():
        if given.kind in (given.VAR_POSITIONAL, given.VAR_KEYWORD):
            continue
        default: Any = ABSENT if given.default is given.empty else given.default
        type_ = value_type(hints.get(name))
        if type(default).__name__ == "FieldInfo":  # pydantic's Field(…) as the default
            type_ = constrained(type_, default)
            default = ABSENT if default.is_required() else default.get_default()
        if type_.name == OBJECT:
            type_, default = json_of(hints.get(name), type_, default)
        yield signature_argument(name, type_, default, descriptions.get(name, ""))


def read_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The evaluated annotations of a function; ``object`` for one that cannot be evaluated."""
    try:
        return get_type_hints(function, include_extras=True)
    except Exception:  # noqa: BLE001 - an annotation is user code
        found = inspect.get_annotations(function)
        return {name: _evaluated_hint(hint, function) for name, hint in found.items()}


def _evaluated_hint(hint: Any, function: Callable[..., Any]) -> Any:
    try:
        names = SimpleNamespace(__annotations__={"it": hint})
        return get_type_hints(names, getattr(function, "__globals__", {}), include_extras=True)[
            "it"
        ]
    except Exception:  # noqa: BLE001 - an annotation is user code
        return object


def live_arguments(function: Callable[..., Any]) -> tuple[FlowArgument, ...]:
    """The arguments of a function that can be pipeline parameters."""
    found = read_signature(function)
    return tuple(one.parameter for one in found if one.parameter is not None)


def parameters_of(
    arguments: Sequence[FlowArgument], details: Mapping[str, Value] = EMPTY
) -> dict[str, Parameter]:
    """The pipeline parameters of a flow, by the name of the argument."""
    found = {}
    for argument in arguments:
        members = {**argument.members, **details.get(argument.name, EMPTY)}
        if argument.default is not ABSENT:
            members["DefaultValue"] = argument.default
        nullable = argument.nullable
        if (found_one := parameter_of(members, argument.limits, nullable=nullable)) is not None:
            found[argument.name] = found_one
    return found


def arguments_of(
    parameters: Sequence[Parameter], taken: Collection[str] = ()
) -> tuple[tuple[FlowArgument, ...], dict[str, dict[str, Value]]]:
    """The arguments for parameters, and by argument the keys that it cannot express."""
    arguments: list[FlowArgument] = []
    details: dict[str, dict[str, Value]] = {}
    used = set(taken)
    for parameter in parameters:
        argument = _argument(parameter, _free_name(parameter.name, used))
        used.add(argument.name)
        arguments.append(argument)
        if unstated := unstated_members(parameter, argument.members):
            details[argument.name] = unstated
    return tuple(arguments), details


def _argument(parameter: Parameter, name: str) -> FlowArgument:
    choices = () if parameter.enum_values is ABSENT else parameter.enum_values
    annotation = ANNOTATIONS.get(parameter.value_type, "str")
    listed = are_of(annotation, choices) and len(set(choices)) == len(choices)
    description = "" if parameter.description is ABSENT else parameter.description
    kinds = _DEFAULTS.get(annotation, (str, int, float))
    known = (kinds, NoneType) if parameter.nullable else kinds
    if read_descriptions("\n".join((".", "Args:", *_lines(name, description)))) != {
        name: description
    }:
        description = ""
    return FlowArgument(
        name=name,
        type=annotation,
        default=parameter.default if isinstance(parameter.default, known) else ABSENT,
        choices=tuple(choices) if listed else (),
        description=description,
        limits=parameter.limits,
        nullable=parameter.nullable,
    )


def _free_name(name: str, taken: Collection[str]) -> str:
    """The name itself if it can be an argument, otherwise a similar unused name."""
    wanted = re.sub(r"\W", "_", name, flags=re.ASCII).lstrip("_") or "parameter"
    wanted = f"p{wanted}" if wanted[0].isdigit() else wanted
    return next(
        one
        for one in numbered(wanted)
        if one not in taken and not _RESERVED.fullmatch(one) and not keyword.iskeyword(one)
    )


def describe(arguments: Sequence[FlowArgument]) -> list[str]:
    """The ``Args:`` section of a docstring; empty if no argument has a description."""
    lines = [line for one in arguments for line in _lines(one.name, one.description)]
    return ["Args:", *lines] if lines else []


def _lines(name: str, text: str) -> Iterator[str]:
    """The lines of one argument; none if the text would not survive in a docstring."""
    if not text or not text.isprintable() or "\\" in text or '"""' in text:
        return
    wrapped = textwrap.wrap(
        f"{name}: {text}",
        _WIDTH - 8,
        break_long_words=False,
        break_on_hyphens=False,
    )
    yield f"    {wrapped[0]}"
    yield from (f"        {line}" for line in wrapped[1:])


def read_descriptions(docstring: str | None) -> dict[str, str]:
    """The descriptions in the ``Args:`` section of a docstring, by argument."""
    lines = iter(inspect.cleandoc(docstring or "").splitlines())
    found: dict[str, str] = {}
    if "Args:" not in lines:
        return found
    name = None
    for line in lines:
        if match := _ARGUMENT.match(line):
            name = match["name"]
            found[name] = match["text"]
        elif name and (match := _MORE.match(line)):
            found[name] += f" {match['text']}"
        elif line.strip() and not line.startswith(" "):
            break
    return found
