"""Rules for the arguments of a step from the API of its job: keys, types and limits.

An error is what AWS rejects: a value or reference of the wrong type, a missing key, a length or
number outside its bounds. A warning is what a newer API may accept: an unknown key, an unknown
value of an enumeration, a string that does not match the documented pattern.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sagebridge.authoring.request_shapes import (
    ApiShape,
    operation_shape,
    property_shape,
    shape,
)
from sagebridge.formats.sagemaker.rules.definition import (
    Definition,
    LocatedStep,
    Problem,
    either,
    is_expression,
    is_number,
    objects,
    wrong_type,
)
from sagebridge.model.display import did_you_mean, shown
from sagebridge.model.expressions import Get, Key, Member
from sagebridge.model.limits import name_prefix
from sagebridge.model.step_types import STEP_TYPES, StepType
from sagebridge.model.visit import escape

_JSON_TYPES = {
    "string": "string",
    "integer": "integer",
    "long": "integer",
    "float": "number",
    "double": "number",
    "boolean": "boolean",
    "structure": "object",
    "map": "object",
    "list": "array",
}
"""The JSON type for each botocore type. Timestamps and blobs have several and are not checked."""
_DECLARED = {"String": "string", "Integer": "integer", "Float": "number", "Boolean": "boolean"}
_LISTED = 8
"""The longest enumeration that a message lists in full."""
_ROLE = "RoleArn"
"""Required by the API, but a step without it uses the role of the pipeline."""
_OPTIONAL_IN_SCHEMA = frozenset((("AsyncInferenceConfig", "OutputConfig"),))
"""Keys that the API requires, but that are optional in the schema of definitions by AWS."""


def check_request_shapes(definition: Definition) -> Iterator[Problem]:
    for step in definition.steps:
        yield from _check_properties(definition, step)
        row = _request_row(step)
        if row is None or not isinstance(step.raw.get("Arguments"), dict):
            continue
        check = _Request(definition, step, row)
        for member, operation in row.requests.items():
            request = operation_shape(operation)
            for value, pointer, path in _requests_at(step, member):
                if request is not None and value is not None:
                    yield from check.value(value, request, pointer, path)


def _requests_at(step: LocatedStep, member: str) -> Iterator[tuple[Any, str, str]]:
    """The requests in the arguments, with pointer and path, as ``StepType.requests`` has them."""
    name = member.removesuffix("[]")
    value = step.arguments.get(name) if name else step.arguments
    pointer = step.at("Arguments", name) if name else step.at("Arguments")
    if name == member:
        yield value, pointer, name
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield item, f"{pointer}/{position}", f"{name}[{position}]"


def _request_row(step: LocatedStep) -> StepType | None:
    """The row of a step. The schema by AWS gives an EndpointConfig step the Type Endpoint."""
    is_config = step.type == "Endpoint" and "ProductionVariants" in step.arguments
    return STEP_TYPES.get("EndpointConfig" if is_config else step.type)


@dataclass(frozen=True, slots=True)
class _Request:
    definition: Definition
    step: LocatedStep
    row: StepType

    def value(self, value: Any, wanted: ApiShape, pointer: str, path: str) -> Iterator[Problem]:
        """The problems of a value; ``path`` is its location in the arguments, for messages."""
        expected = _JSON_TYPES.get(wanted.type)
        if value is None or expected is None:
            return
        if is_expression(value):
            yield from self._reference(value, expected, pointer, path)
        elif not _fits(_json_type(value), expected):
            yield wrong_type(pointer, self._where(path), _article(expected), value)
        elif expected == "object":
            inner = self._structure if wanted.type == "structure" else self._map
            yield from inner(value, wanted, pointer, path)
        else:
            yield from self._limits(value, wanted, pointer, path)
            if expected == "array":
                for position, item in enumerate(value):
                    here = f"{pointer}/{position}"
                    yield from self.value(item, shape(wanted.of), here, f"{path}[{position}]")

    def _structure(
        self, value: Mapping[str, Any], wanted: ApiShape, pointer: str, path: str
    ) -> Iterator[Problem]:
        for name in wanted.required:
            filled_in = self.row.filled_in if self._is_request(path) else ()
            if name not in value and name != _ROLE and name not in filled_in:
                yield Problem(
                    "missing-member",
                    pointer,
                    f"{self._where(path)}: missing key {name!r}",
                    "warning" if (path, name) in _OPTIONAL_IN_SCHEMA else "error",
                )
        for name, item in value.items():
            here, inside = f"{pointer}/{escape(name)}", f"{path}.{name}" if path else name
            bad = _bad_prefix(self.definition, item) if self._is_prefix(path, name) else None
            if bad is not None:
                message = f"expected letters, digits and hyphens between them, got {shown(bad)}"
                yield self._problem("pattern", here, inside, message)
            elif name in wanted.members:
                yield from self.value(item, shape(wanted.members[name]), here, inside)
            elif not (self._is_request(path) and name in self.row.refused):
                yield Problem(
                    "unknown-member",
                    here,
                    f"{self._where(path)}: unknown key {shown(name)} of {wanted.name}"
                    f"{did_you_mean(name, wanted.members)}",
                    "warning",
                )

    def _map(
        self, value: Mapping[str, Any], wanted: ApiShape, pointer: str, path: str
    ) -> Iterator[Problem]:
        yield from self._limits(value, wanted, pointer, path)
        for name, item in value.items():
            here = f"{pointer}/{escape(name)}"
            yield from self.value(item, shape(wanted.of), here, f"{path}[{shown(name)}]")

    def _reference(
        self, value: Mapping[str, Any], expected: str, pointer: str, path: str
    ) -> Iterator[Problem]:
        found = _result_type(self.definition, value)
        if found is None or _fits(found.json_type, expected):
            return
        message = f"expected {_article(expected)}, got {found.what}, {_article(found.json_type)}"
        if expected == "string" and found.json_type in ("integer", "number", "boolean"):
            # SDK 3 writes such references too, and AWS does not document how they are converted.
            message += "; Std:Join converts it to a string"
            yield self._problem("wrong-type", pointer, path, message, "warning")
        else:
            yield self._problem("wrong-type", pointer, path, message)

    def _limits(self, value: Any, wanted: ApiShape, pointer: str, path: str) -> Iterator[Problem]:
        if isinstance(value, bool):
            return
        size = value if is_number(value) else len(value)
        unit = "" if is_number(value) else _unit(value)
        if wanted.min is not None and size < wanted.min:
            message = f"expected at least {wanted.min}{unit}, got {size}"
            yield self._problem("out-of-bounds", pointer, path, message)
        if wanted.max is not None and size > wanted.max:
            message = f"expected at most {wanted.max}{unit}, got {size}"
            yield self._problem("out-of-bounds", pointer, path, message)
        if wanted.enum and value not in wanted.enum:
            few = len(wanted.enum) <= _LISTED
            listed = f"; expected {either(wanted.enum)}" if few else ""
            message = f"unknown value {shown(value)}{did_you_mean(value, wanted.enum) or listed}"
            yield self._problem("unknown-value", pointer, path, message, "warning")
        elif wanted.pattern and isinstance(value, str) and not _matches(wanted.pattern, value):
            message = f"{shown(value)} does not match the pattern {wanted.pattern}"
            yield self._problem("pattern", pointer, path, message, "warning")

    def _problem(
        self, code: str, pointer: str, path: str, message: str, severity: Any = "error"
    ) -> Problem:
        return Problem(code, pointer, f"{self._where(path)}: {message}", severity)

    def _where(self, path: str) -> str:
        return f"{path} of step {self.step.label}" if path else f"step {self.step.label}"

    def _is_prefix(self, path: str, name: str) -> bool:
        """Whether the service only takes a value as the prefix of a name that it makes."""
        made = name in self.row.filled_in and name.endswith(("JobName", "ModelName"))
        return made and self._is_request(path)

    def _is_request(self, path: str) -> bool:
        """Whether the value at this path is a whole request."""
        return path in self.row.requests


def _bad_prefix(definition: Definition, given: Any) -> str | None:
    """A name, or the default of the parameter that has it, if no job name can begin with it."""
    text = given.get("Get") if isinstance(given, dict) else None
    get = Get.parse(text) if isinstance(text, str) else None
    if get is not None and get.root == "Parameters":
        given = definition.parameters.get(get.name, {}).get("DefaultValue")
    return given if isinstance(given, str) and name_prefix(given) is None else None


@dataclass(frozen=True, slots=True)
class _Result:
    """The result of an expression: its JSON type, and its description in messages."""

    json_type: str
    what: str


def _result_type(definition: Definition, value: Mapping[str, Any]) -> _Result | None:
    """The type of an expression's result; None if it is only known at run time."""
    if "Std:Join" in value:
        return _Result("string", "the result of Std:Join")
    text = value.get("Get")
    get = Get.parse(text) if isinstance(text, str) else None
    if get is None:
        return None
    if get.root == "Parameters":
        parameter = definition.parameters.get(get.name)
        declared = None if parameter is None else _declared(parameter, "Type")
        return None if declared is None else _Result(declared, f"the parameter {get.name}")
    get = definition.body_reference(get)
    if get.root != "Steps":
        return None
    found = _property_type(definition, get)
    return None if found is None else _Result(found, str(text))


def _declared(raw: Mapping[str, Any], key: str) -> str | None:
    """The JSON type of a declared type, which is a string by default; None if it is unknown."""
    name = raw.get(key, "String")
    return _DECLARED.get(name) if isinstance(name, str) else None


def _property_type(definition: Definition, get: Get) -> str | None:
    step = definition.by_name.get(get.name)
    row = STEP_TYPES.get(step.type) if step else None
    if step is None or row is None:
        return None
    match get.tokens[1:]:
        case (Member("OutputParameters"), Key(name)):
            for _, raw in objects(step.raw.get("OutputParameters"), ""):
                if raw.get("OutputName") == name:
                    return _declared(raw, "OutputType")
            return None
    for operation in row.outputs:
        root = operation_shape(operation)
        found = property_shape(root, get.tokens[1:]) if root else ""
        if isinstance(found, ApiShape):
            return _JSON_TYPES.get(found.type)
    return None


def _check_properties(definition: Definition, step: LocatedStep) -> Iterator[Problem]:
    """References to properties that are not in the response for the step."""
    for pointer, written in step.references:
        get = definition.body_reference(written)
        target = definition.by_name.get(get.name) if get.root == "Steps" else None
        row = STEP_TYPES.get(target.type) if target else None
        if row is None or not row.outputs or len(get.tokens) < 2:
            continue
        added = (*row.synthetic, *row.json_documents)
        if isinstance(get.tokens[1], Member | Key) and get.tokens[1].name in added:
            continue
        roots = [root for one in row.outputs if (root := operation_shape(one)) is not None]
        found = [property_shape(root, get.tokens[1:]) for root in roots]
        missing = [one for one in found if isinstance(one, str)]
        if roots and len(missing) == len(found):
            operation = row.outputs[0].partition(":")[2].partition("/")[0]
            known = [name for root in roots for name in root.members]
            yield Problem(
                "unknown-property",
                pointer,
                f"step {step.label}: unknown property {shown(written.text)}; {operation} returns "
                f"no {shown(missing[0])}{did_you_mean(missing[0], known)}",
                "warning",
            )


def _json_type(value: Any) -> str:
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"


def _fits(found: str, expected: str) -> bool:
    return found == expected or (found == "integer" and expected == "number")


def _article(json_type: str) -> str:
    return f"an {json_type}" if json_type[0] in "aio" else f"a {json_type}"


def _unit(value: str | list[Any] | dict[str, Any]) -> str:
    match value:
        case str():
            return " characters"
        case list():
            return " items"
    return " entries"


def _matches(pattern: str, text: str) -> bool:
    compiled = _compiled(pattern)
    return compiled is None or compiled.fullmatch(text) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    """The compiled pattern; None if Python cannot compile it, as AWS's patterns are Java's."""
    try:
        return re.compile(pattern)
    except re.error:
        return None
