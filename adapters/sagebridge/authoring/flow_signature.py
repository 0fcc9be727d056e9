"""Pipeline parameters as the arguments of a flow: ``InputData: str = "s3://…"``.

The type is the annotation, an enumeration is a ``Literal``, and the description is a line below
``Args:`` in the docstring. Anything else (a name that is not an identifier, a missing type, a null
default) is in ``begin(definition={"Parameters": {…}})``, by argument.
"""

from __future__ import annotations

import inspect
import keyword
import re
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from sagebridge.authoring.file_arguments import parameter_of, unstated_members
from sagebridge.model.parameters import PYTHON_TYPES, Parameter
from sagebridge.model.values import ABSENT, EMPTY, Value

TYPES = PYTHON_TYPES
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


@dataclass(frozen=True, slots=True)
class FlowArgument:
    """``type`` is ``str``, ``int``, ``float`` or ``bool``; ``choices`` are the Literal's values."""

    name: str
    type: str = "str"
    default: Value = ABSENT
    choices: tuple[Value, ...] = ()
    description: str = ""

    @classmethod
    def annotated(
        cls, name: str, annotation: str | tuple[Value, ...] | None, default: Value, description: str
    ) -> FlowArgument | None:
        """The argument, or None if a pipeline parameter cannot have its type.

        ``annotation`` is the name of a type, or the values of a Literal.
        """
        if isinstance(annotation, tuple):
            types = {type(choice).__name__ for choice in annotation}
            type_, choices = types.pop() if len(types) == 1 else "", annotation
        elif annotation is None:
            type_, choices = "str" if default is ABSENT else type(default).__name__, ()
        else:
            type_, choices = annotation, ()
        return cls(name, type_, default, choices, description) if type_ in TYPES else None

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
class LiveArgument:
    """An argument of a live function.

    Attributes:
        name: its name.
        argument: the corresponding parameter; a string if the argument is not a scalar.
        default: ABSENT if the argument is required.
        scalar: whether a pipeline parameter can have its type.
        nullable: whether it is annotated as a union.
    """

    name: str
    argument: FlowArgument
    default: Any
    scalar: bool
    nullable: bool


def read_signature(function: Callable[..., Any]) -> Iterator[LiveArgument]:
    """The arguments of a function, without ``*args`` and ``**kwargs``."""
    try:
        hints = get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        hints = {}
    descriptions = read_descriptions(function.__doc__)
    for name, given in inspect.signature(function).parameters.items():
        if given.kind in (given.VAR_POSITIONAL, given.VAR_KEYWORD):
            continue
        default = ABSENT if given.default is given.empty else given.default
        hint, description = hints.get(name), descriptions.get(name, "")
        nullable = get_origin(hint) in (Union, UnionType)
        if nullable:
            kinds = [one for one in get_args(hint) if one is not NoneType]
            hint = kinds[0] if len(kinds) == 1 else object
        annotation = None if hint is None else getattr(hint, "__name__", "")
        if get_origin(hint) is Literal:
            annotation = get_args(hint)
        stated = ABSENT if default is None and hint is not None else default
        argument = FlowArgument.annotated(name, annotation, stated, description)
        text = FlowArgument(name, description=description)
        yield LiveArgument(name, argument or text, default, argument is not None, nullable)


def live_arguments(function: Callable[..., Any]) -> tuple[FlowArgument, ...]:
    """The arguments of a function that can be pipeline parameters: those of a scalar type."""
    return tuple(one.argument for one in read_signature(function) if one.scalar)


def parameters_of(
    arguments: Sequence[FlowArgument], details: Mapping[str, Value] = EMPTY
) -> dict[str, Parameter]:
    """The pipeline parameters of a flow, by the name of the argument."""
    found = {}
    for argument in arguments:
        members = {**argument.members, **details.get(argument.name, EMPTY)}
        if argument.default is not ABSENT:
            members["DefaultValue"] = argument.default
        if (parameter := parameter_of(members)) is not None:
            found[argument.name] = parameter
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
    kinds = {type(choice) for choice in choices}
    annotation = ANNOTATIONS.get(parameter.value_type, "str")
    literal = len(set(choices)) == len(choices) and kinds == {
        {"str": str, "int": int}.get(annotation)
    }
    description = "" if parameter.description is ABSENT else parameter.description
    if read_descriptions("\n".join((".", "Args:", *_lines(name, description)))) != {
        name: description
    }:
        description = ""
    return FlowArgument(
        name=name,
        type=annotation,
        default=parameter.default if isinstance(parameter.default, str | int | float) else ABSENT,
        choices=tuple(choices) if literal else (),
        description=description,
    )


def _free_name(name: str, taken: Collection[str]) -> str:
    """The name itself if it can be an argument, otherwise a similar unused name."""
    wanted = re.sub(r"\W", "_", name, flags=re.ASCII).lstrip("_") or "parameter"
    wanted = f"p{wanted}" if wanted[0].isdigit() else wanted
    found, number = wanted, 2
    while found in taken or _RESERVED.fullmatch(found) or keyword.iskeyword(found):
        found, number = f"{wanted}_{number}", number + 1
    return found


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
