"""What the rules look at: the raw definition, with its steps found wherever they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

from sagebridge.authoring.definition_reader import NO_EXPRESSIONS
from sagebridge.authoring.json_document import kind
from sagebridge.model.display import shown
from sagebridge.model.expressions import Get
from sagebridge.model.visit import escape

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
BRANCHES = ("IfSteps", "ElseSteps")


class Problem(NamedTuple):
    code: str
    pointer: str
    message: str
    severity: Literal["error", "warning"] = "error"


class Branch(NamedTuple):
    """A side of a Condition: the pointer of the Condition, and ``IfSteps`` or ``ElseSteps``."""

    condition: str
    side: str


class Reference(NamedTuple):
    """A Get in a step, and the pointer of its text."""

    pointer: str
    get: Get


@dataclass(frozen=True)
class LocatedStep:
    """A step where it stands; ``branches`` are those around it, the outermost first."""

    pointer: str
    raw: dict[str, Any]
    branches: tuple[Branch, ...] = ()

    @property
    def name(self) -> str:
        """Empty where the step has none."""
        name = self.raw.get("Name")
        return name if isinstance(name, str) else ""

    @property
    def type(self) -> str:
        """Empty where the step has none."""
        type_ = self.raw.get("Type")
        return type_ if isinstance(type_, str) else ""

    @property
    def label(self) -> str:
        return label(self.name) if self.name else f"at {self.pointer}"

    @property
    def arguments(self) -> dict[str, Any]:
        arguments = self.raw.get("Arguments")
        return arguments if isinstance(arguments, dict) else {}

    @property
    def is_condition(self) -> bool:
        return self.type == "Condition"

    def at(self, *names: str | int) -> str:
        return "/".join((self.pointer, *(escape(str(name)) for name in names)))

    def values(self) -> Iterator[tuple[str, Any]]:
        """Pointer and value of all that may hold expressions, the steps of branches left out."""
        for name, value in self.raw.items():
            if name in NO_EXPRESSIONS:
                continue
            if name == "Arguments" and self.is_condition and isinstance(value, dict):
                for inner, item in value.items():
                    if inner not in BRANCHES or not isinstance(item, list):
                        yield self.at(name, inner), item
            else:
                yield self.at(name), value

    @cached_property
    def references(self) -> tuple[Reference, ...]:
        return tuple(
            Reference(f"{pointer}/Get", get)
            for root, value in self.values()
            for pointer, item in nested(value, root)
            if isinstance(item, dict)
            and len(item) == 1
            and isinstance(item.get("Get"), str)
            and (get := Get.parse(item["Get"])) is not None
        )


@dataclass(frozen=True)
class Definition:
    raw: dict[str, Any]

    @cached_property
    def steps(self) -> tuple[LocatedStep, ...]:
        """Every step that is an object, in written order."""
        return tuple(_places(self.raw.get("Steps"), "/Steps", ()))

    @cached_property
    def by_name(self) -> dict[str, LocatedStep]:
        """The steps by name; of two of one name the first."""
        found: dict[str, LocatedStep] = {}
        for step in self.steps:
            if step.name:
                found.setdefault(step.name, step)
        return found

    @cached_property
    def parameters(self) -> dict[str, dict[str, Any]]:
        """The parameters by name; of two of one name the first."""
        found: dict[str, dict[str, Any]] = {}
        for _, raw in objects(self.raw.get("Parameters"), ""):
            if isinstance(raw.get("Name"), str):
                found.setdefault(raw["Name"], raw)
        return found

    def name_of(self, condition: str) -> str:
        """The label of the step at a pointer."""
        return next(step.label for step in self.steps if step.pointer == condition)


def _places(raw: Any, pointer: str, branches: tuple[Branch, ...]) -> Iterator[LocatedStep]:
    if not isinstance(raw, list):
        return
    for position, item in enumerate(raw):
        if not isinstance(item, dict):
            continue
        place = LocatedStep(f"{pointer}/{position}", item, branches)
        yield place
        if place.is_condition:
            for side in BRANCHES:
                inside = (*branches, Branch(place.pointer, side))
                yield from _places(place.arguments.get(side), place.at("Arguments", side), inside)


def nested(value: Any, pointer: str) -> Iterator[tuple[str, Any]]:
    """A value and all inside it, each with its pointer."""
    stack = [(pointer, value)]
    while stack:
        here, item = stack.pop()
        yield here, item
        if isinstance(item, dict):
            stack.extend((f"{here}/{escape(name)}", inner) for name, inner in item.items())
        elif isinstance(item, list):
            stack.extend((f"{here}/{position}", inner) for position, inner in enumerate(item))


def objects(raw: Any, pointer: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Pointer and value of each object in an array; nothing where it is none."""
    if isinstance(raw, list):
        for position, item in enumerate(raw):
            if isinstance(item, dict):
                yield f"{pointer}/{position}", item


def label(name: str) -> str:
    """A name as it stands in a message: quoted where it is no ordinary one."""
    return name if NAME.match(name) else shown(name)


def either(words: Sequence[str]) -> str:
    """``A, B or C``."""
    return " or ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else "".join(words)


def wrong_type(pointer: str, what: str, expected: str, found: Any) -> Problem:
    return Problem("wrong-type", pointer, f"{what} is {kind(found)} ({expected} expected)")


def wrong_option(pointer: str, what: str, expected: str, found: Any) -> Problem:
    """As :func:`wrong_type`, of a member that may be left out: null does no harm there."""
    problem = wrong_type(pointer, what, expected, found)
    return problem._replace(severity="warning") if found is None else problem


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_expression(value: Any) -> bool:
    """Whether a value is an object that only an expression can be, well-formed or not."""
    return (
        isinstance(value, dict)
        and len(value) == 1
        and all(name == "Get" or name.startswith("Std:") for name in value)
    )
