"""The raw definition that the rules check, with an index of its steps and parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

from sagebridge.authoring.definition_reader import NO_EXPRESSIONS
from sagebridge.authoring.json_document import kind
from sagebridge.model.display import shown
from sagebridge.model.expressions import Get, Index, Member
from sagebridge.model.step_types import STEP_TYPES
from sagebridge.model.visit import escape

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
BRANCHES = ("IfSteps", "ElseSteps")
BODY = "ForEachBody"
INNER_STEPS = {"Condition": BRANCHES, "ForEach": (BODY,)}
"""The keys of Arguments with nested steps, by type of step."""


class Problem(NamedTuple):
    code: str
    pointer: str
    message: str
    severity: Literal["error", "warning"] = "error"


class Branch(NamedTuple):
    """Nested steps: the pointer of the step around them, and its key, such as ``IfSteps``."""

    condition: str
    side: str


class Reference(NamedTuple):
    """A Get in a step, and the pointer of its string."""

    pointer: str
    get: Get


@dataclass(frozen=True)
class LocatedStep:
    """A step and its pointer; ``branches`` are those and the bodies around it, outermost first."""

    pointer: str
    raw: dict[str, Any]
    branches: tuple[Branch, ...] = ()

    @property
    def name(self) -> str:
        """Empty if the step has no name."""
        name = self.raw.get("Name")
        return name if isinstance(name, str) else ""

    @property
    def type(self) -> str:
        """Empty if the step has no type."""
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

    @property
    def inner_keys(self) -> tuple[str, ...]:
        """The keys of Arguments with nested steps."""
        return INNER_STEPS.get(self.type, ())

    @property
    def loop(self) -> str | None:
        """The pointer of the innermost ForEach around it."""
        loops = [one.condition for one in self.branches if one.side == BODY]
        return loops[-1] if loops else None

    def at(self, *names: str | int) -> str:
        return "/".join((self.pointer, *(escape(str(name)) for name in names)))

    def values(self) -> Iterator[tuple[str, Any]]:
        """Pointer and value of each value that may hold expressions, without nested steps."""
        for name, value in self.raw.items():
            if name in NO_EXPRESSIONS:
                continue
            if name == "Arguments" and self.inner_keys and isinstance(value, dict):
                for inner, item in value.items():
                    if inner not in self.inner_keys or not isinstance(item, list):
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

    @cached_property
    def sources(self) -> tuple[tuple[str, str], ...]:
        """Pointer and name of each step that a Cleanup step names, and so waits for."""
        row = STEP_TYPES.get(self.type)
        if row is None or not row.source_steps:
            return ()
        rows: Any = self.arguments
        for key in row.source_steps:
            rows = rows.get(key) if isinstance(rows, dict) else None
        place = self.at("Arguments", *row.source_steps)
        return tuple(
            (f"{pointer}/StepName", raw["StepName"])
            for pointer, raw in objects(rows, place)
            if isinstance(raw.get("StepName"), str)
        )


@dataclass(frozen=True)
class Definition:
    raw: dict[str, Any]

    @cached_property
    def steps(self) -> tuple[LocatedStep, ...]:
        """Every step that is an object, in the order of the definition."""
        return tuple(_located_steps(self.raw.get("Steps"), "/Steps", ()))

    @cached_property
    def by_name(self) -> dict[str, LocatedStep]:
        """The steps by name. If two steps have one name, the first."""
        found: dict[str, LocatedStep] = {}
        for step in self.steps:
            if step.name:
                found.setdefault(step.name, step)
        return found

    @cached_property
    def parameters(self) -> dict[str, dict[str, Any]]:
        """The parameters by name. If two parameters have one name, the first."""
        found: dict[str, dict[str, Any]] = {}
        for _, raw in objects(self.raw.get("Parameters"), ""):
            if isinstance(raw.get("Name"), str):
                found.setdefault(raw["Name"], raw)
        return found

    @cached_property
    def by_pointer(self) -> dict[str, LocatedStep]:
        return {step.pointer: step for step in self.steps}

    def name_of(self, condition: str) -> str:
        """The label of the step at a pointer."""
        return self.by_pointer[condition].label

    def body_of(self, loop: LocatedStep) -> dict[str, LocatedStep]:
        """The steps directly in the body of a ForEach, by name."""
        inside = (*loop.branches, Branch(loop.pointer, BODY))
        return {step.name: step for step in self.steps if step.branches == inside}

    def waiting(self, step: LocatedStep, before: LocatedStep) -> LocatedStep:
        """The step that waits for ``before`` if ``step`` needs it: the ForEach around it, or it."""
        for branch in step.branches:
            outer = self.by_pointer[branch.condition]
            if branch.side == BODY and not before.pointer.startswith(f"{outer.pointer}/"):
                return outer
        return step

    def body_reference(self, get: Get) -> Get:
        """A reference to an output of an iteration as one to the step of the body.

        ``Steps.Fan.IterationOutputs[0].Score.Auc`` and ``Steps.Fan.Selected.Auc`` become
        ``Steps.Score.Auc``.
        """
        target = self.by_name.get(get.name) if get.root == "Steps" else None
        if target is None or target.type != "ForEach":
            return Get("Steps", get.tokens) if get.root == "IterationOutput" else get
        match get.tokens[1:]:
            case (Member("IterationOutputs"), Index(), *rest) if len(rest) > 1:
                return Get("Steps", tuple(rest))
            case (Member("Selected"), *rest) if rest:
                selector = target.arguments.get("Selector")
                field = selector.get("Field") if isinstance(selector, dict) else None
                text = field.get("Get") if isinstance(field, dict) else None
                found = Get.parse(text) if isinstance(text, str) else None
                if found is not None and found.root == "IterationOutput":
                    return Get("Steps", (found.tokens[0], *rest))
        return get


def _located_steps(raw: Any, pointer: str, branches: tuple[Branch, ...]) -> Iterator[LocatedStep]:
    if not isinstance(raw, list):
        return
    for position, item in enumerate(raw):
        if not isinstance(item, dict):
            continue
        step = LocatedStep(f"{pointer}/{position}", item, branches)
        yield step
        for key in step.inner_keys:
            inside = (*branches, Branch(step.pointer, key))
            yield from _located_steps(step.arguments.get(key), step.at("Arguments", key), inside)


def nested(value: Any, pointer: str) -> Iterator[tuple[str, Any]]:
    """A value and all values inside it, each with its pointer."""
    stack = [(pointer, value)]
    while stack:
        here, item = stack.pop()
        yield here, item
        if isinstance(item, dict):
            stack.extend((f"{here}/{escape(name)}", inner) for name, inner in item.items())
        elif isinstance(item, list):
            stack.extend((f"{here}/{position}", inner) for position, inner in enumerate(item))


def objects(raw: Any, pointer: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Pointer and value of each object in ``raw``, if it is an array."""
    if isinstance(raw, list):
        for position, item in enumerate(raw):
            if isinstance(item, dict):
                yield f"{pointer}/{position}", item


def label(name: str) -> str:
    """A name as messages show it: quoted unless it is a legal step name."""
    return name if NAME.match(name) else shown(name)


def either(names: Sequence[str]) -> str:
    """The names joined as ``A, B or C``."""
    return " or ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else "".join(names)


def wrong_type(pointer: str, what: str, expected: str, found: Any) -> Problem:
    return Problem("wrong-type", pointer, f"{what}: expected {expected}, got {kind(found)}")


def wrong_option(pointer: str, what: str, expected: str, found: Any) -> Problem:
    """As :func:`wrong_type`, for an optional key, where null is only a warning."""
    problem = wrong_type(pointer, what, expected, found)
    return problem._replace(severity="warning") if found is None else problem


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_expression(value: Any) -> bool:
    """Whether a value has the form of an expression, even if it is malformed."""
    return (
        isinstance(value, dict)
        and len(value) == 1
        and all(name == "Get" or name.startswith("Std:") for name in value)
    )
