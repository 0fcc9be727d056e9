"""Pipeline parameters as the arguments of a flow: ``InputData: str = "s3://…"``.

A type is an annotation, an enumeration a ``Literal``, a description a line below ``Args:`` of the
docstring. What a signature cannot say (a name that is no identifier, a type left out, a default
that is null) lies in ``begin(definition={"Parameters": {…}})``, by argument.
"""

from __future__ import annotations

import inspect
import keyword
import re
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sagebridge.authoring.definition_reader import read_parameter
from sagebridge.authoring.definition_writer import write_parameter
from sagebridge.model.parameters import PYTHON_TYPES, Parameter
from sagebridge.model.values import ABSENT, EMPTY, Value, same, thaw

TYPES = PYTHON_TYPES
ANNOTATIONS = {type_: annotation for annotation, type_ in TYPES.items()}
_UNFIT = re.compile(
    r"return_state|wait_for|self|cls|[IOl]"
    r"|construct|copy|dict|from_orm|json|parse_(file|obj|raw)|schema(_json)?"
    r"|update_forward_refs|validate"
    r"|model_(computed_fields|config|construct|copy|dump(_json)?|extra|fields(_set)?|json_schema"
    r"|parametrized_name|post_init|rebuild|validate(_json|_strings)?)"
)
"""Names that Prefect, pydantic (which checks a flow's arguments) or readers cannot tell apart."""
_ARGUMENT = re.compile(r"    (?P<name>\w+)(?: \([^)]*\))?: (?P<text>\S.*)\Z")
_MORE = re.compile(r"        \s*(?P<text>\S.*)\Z")
_WIDTH = 88


@dataclass(frozen=True, slots=True)
class Argument:
    """``type`` is ``str``, ``int``, ``float`` or ``bool``; ``choices`` are those of a Literal."""

    name: str
    type: str = "str"
    default: Value = ABSENT
    choices: tuple[Value, ...] = ()
    description: str = ""

    @property
    def said(self) -> dict[str, Value]:
        """What it says, as members of a definition's parameter."""
        members: dict[str, Value] = {"Name": self.name, "Type": TYPES[self.type]}
        if self.default is not ABSENT:
            members["DefaultValue"] = self.default
        if self.choices:
            members["EnumValues"] = self.choices
        if self.description:
            members["Description"] = self.description
        return members


def parameters_of(
    arguments: Sequence[Argument], details: Mapping[str, Value] = EMPTY
) -> dict[str, Parameter]:
    """The pipeline parameters that a flow takes, by the name of their arguments."""
    found = {}
    for argument in arguments:
        members = {**argument.said, **details.get(argument.name, EMPTY)}
        if argument.default is not ABSENT:
            members["DefaultValue"] = argument.default
        parameter = read_parameter(
            {name: thaw(value) for name, value in members.items() if value is not ABSENT}
        )
        if parameter is not None:
            found[argument.name] = parameter
    return found


def arguments_of(
    parameters: Sequence[Parameter], taken: Collection[str] = ()
) -> tuple[tuple[Argument, ...], dict[str, dict[str, Value]]]:
    """The arguments for parameters, and what they say otherwise or cannot say, by argument."""
    arguments: list[Argument] = []
    details: dict[str, dict[str, Value]] = {}
    used = set(taken)
    for parameter in parameters:
        argument = _argument(parameter, _free(parameter.name, used))
        used.add(argument.name)
        arguments.append(argument)
        meant = write_parameter(parameter)
        beside = {
            name: meant.get(name, ABSENT)
            for name in {**argument.said, **meant}
            if not same(argument.said.get(name, ABSENT), meant.get(name, ABSENT))
        }
        if beside:
            details[argument.name] = beside
    return tuple(arguments), details


def _argument(parameter: Parameter, name: str) -> Argument:
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
    return Argument(
        name=name,
        type=annotation,
        default=parameter.default if isinstance(parameter.default, str | int | float) else ABSENT,
        choices=tuple(choices) if literal else (),
        description=description,
    )


def _free(name: str, taken: Collection[str]) -> str:
    """The name itself where it can be an argument, else one that is near it and free."""
    wanted = re.sub(r"\W", "_", name, flags=re.ASCII).lstrip("_") or "parameter"
    wanted = f"p{wanted}" if wanted[0].isdigit() else wanted
    found, number = wanted, 2
    while found in taken or _UNFIT.fullmatch(found) or keyword.iskeyword(found):
        found, number = f"{wanted}_{number}", number + 1
    return found


def describe(arguments: Sequence[Argument]) -> list[str]:
    """The ``Args:`` section of a docstring; nothing where no argument has a description."""
    lines = [line for one in arguments for line in _lines(one.name, one.description)]
    return ["Args:", *lines] if lines else []


def _lines(name: str, text: str) -> Iterator[str]:
    """One argument in the section; what docstrings change or Python would escape is left out."""
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
    """What the ``Args:`` section of a docstring says, by argument."""
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
