"""Rules for conditions: types, keys, and values that cannot be compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sagebridge.authoring.json_document import kind
from sagebridge.formats.sagemaker.rules.definition import (
    BRANCHES,
    Definition,
    LocatedStep,
    Problem,
    is_expression,
    is_number,
    wrong_option,
    wrong_type,
)
from sagebridge.formats.sagemaker.rules.known_keys import BRANCHING, unknown_keys
from sagebridge.model.conditions import COMPARISONS, CONDITION_TYPES
from sagebridge.model.display import did_you_mean, shown
from sagebridge.model.expressions import Get

_COMPARED = (*COMPARISONS, "NotEquals")
_PARAMETER_KINDS = {
    "String": "string",
    "Integer": "number",
    "Float": "number",
    "Boolean": "boolean",
}


def check_conditions(definition: Definition) -> Iterator[Problem]:
    for step in definition.steps:
        if not step.is_condition or not isinstance(step.raw.get("Arguments"), dict):
            continue
        arguments, pointer = step.arguments, step.at("Arguments")
        yield from unknown_keys(arguments, BRANCHING, pointer, f"Condition step {step.label}")
        for side in BRANCHES:
            if not isinstance(arguments.get(side, []), list):
                what = f"{side} of step {step.label}"
                yield wrong_option(f"{pointer}/{side}", what, "an array of steps", arguments[side])
        if "Conditions" not in arguments:
            yield Problem(
                "missing-member", pointer, f"Condition step {step.label}: missing key 'Conditions'"
            )
        else:
            checker = _Checker(definition, step)
            yield from checker.all(arguments["Conditions"], f"{pointer}/Conditions")


class _Checker:
    def __init__(self, definition: Definition, step: LocatedStep) -> None:
        self.definition, self.step = definition, step

    def all(self, raw: Any, pointer: str) -> Iterator[Problem]:
        if not isinstance(raw, list):
            what = f"Conditions of step {self.step.label}"
            yield wrong_type(pointer, what, "an array of conditions", raw)
            return
        for position, condition in enumerate(raw):
            yield from self.one(condition, f"{pointer}/{position}")

    def one(self, raw: Any, pointer: str) -> Iterator[Problem]:
        if not isinstance(raw, dict):
            yield wrong_type(pointer, f"condition in step {self.step.label}", "an object", raw)
            return
        type_ = raw.get("Type")
        if type_ not in CONDITION_TYPES:
            yield self._unknown_type(raw, type_, pointer)
        elif type_ in _COMPARED:
            yield from self._comparison(raw, pointer)
        elif type_ in ("In", "NotIn"):
            yield from self._membership(raw, pointer)
        elif type_ == "Not":
            yield from self._shape(raw, pointer, ("Condition",))
            if "Condition" in raw:
                yield from self.one(raw["Condition"], f"{pointer}/Condition")
        else:
            yield from self._shape(raw, pointer, ("Conditions",))
            if "Conditions" in raw:
                yield from self.all(raw["Conditions"], f"{pointer}/Conditions")

    def _unknown_type(self, raw: dict[str, Any], type_: Any, pointer: str) -> Problem:
        if "Type" not in raw:
            message = f"condition in step {self.step.label}: missing key 'Type'"
            return Problem("missing-member", pointer, message)
        text = shown(type_) if isinstance(type_, str) else kind(type_)
        hint = did_you_mean(type_, CONDITION_TYPES) if isinstance(type_, str) else ""
        return Problem(
            "unknown-condition-type",
            f"{pointer}/Type",
            f"step {self.step.label}: unknown condition type {text}"
            + (hint or f"; expected one of {', '.join(CONDITION_TYPES)}"),
        )

    def _shape(
        self, raw: dict[str, Any], pointer: str, expected: tuple[str, ...]
    ) -> Iterator[Problem]:
        what = f"{raw['Type']} condition in step {self.step.label}"
        for name in expected:
            if name not in raw:
                yield Problem("missing-member", pointer, f"{what}: missing key {name!r}")
        yield from unknown_keys(raw, ("Type", *expected), pointer, what)

    def _comparison(self, raw: dict[str, Any], pointer: str) -> Iterator[Problem]:
        yield from self._shape(raw, pointer, ("LeftValue", "RightValue"))
        for name in ("LeftValue", "RightValue"):
            if name in raw:
                yield from self._operand(raw[name], f"{pointer}/{name}", name)
        if "LeftValue" in raw and "RightValue" in raw:
            yield from self._comparable(raw["LeftValue"], raw["RightValue"], pointer, raw["Type"])

    def _membership(self, raw: dict[str, Any], pointer: str) -> Iterator[Problem]:
        schema = "Value" in raw and "In" in raw
        query, values = ("Value", "In") if schema else ("QueryValue", "Values")
        yield from self._shape(raw, pointer, (query, values))
        if query in raw:
            yield from self._operand(raw[query], f"{pointer}/{query}", query)
        if values not in raw:
            return
        if not isinstance(raw[values], list):
            what = f"{values} in step {self.step.label}"
            yield wrong_type(f"{pointer}/{values}", what, "an array", raw[values])
            return
        for position, value in enumerate(raw[values]):
            here = f"{pointer}/{values}/{position}"
            yield from self._operand(value, here, f"value in {values}")
            if query in raw:
                yield from self._comparable(raw[query], value, here, raw["Type"])

    def _operand(self, value: Any, pointer: str, name: str) -> Iterator[Problem]:
        if isinstance(value, str | bool) or is_number(value) or is_expression(value):
            return
        what = f"{name} in step {self.step.label}"
        yield wrong_type(pointer, what, "a string, number, boolean or expression", value)

    def _comparable(self, left: Any, right: Any, pointer: str, type_: str) -> Iterator[Problem]:
        kinds = self._kind_of(left), self._kind_of(right)
        if None in kinds:
            return
        if kinds[0] != kinds[1]:
            message = f"a {kinds[0]} cannot be compared with a {kinds[1]}"
        elif kinds[0] == "boolean" and type_.startswith(("Greater", "Less")):
            message = f"booleans cannot be compared with {type_}"
        else:
            return
        message = f"condition in step {self.step.label}: {message}; the step will fail"
        yield Problem("incomparable-values", pointer, message, "warning")

    def _kind_of(self, value: Any) -> str | None:
        """``string``, ``number`` or ``boolean``, if it is known before the run."""
        match value:
            case bool():
                return "boolean"
            case int() | float():
                return "number"
            case str() | {"Std:Join": _}:
                return "string"
            case {"Get": str(path)} if len(value) == 1:
                reference = Get.parse(path)
                if reference is not None and reference.root == "Parameters":
                    parameter = self.definition.parameters.get(reference.name, {"Type": None})
                    declared = parameter.get("Type", "String")
                    return _PARAMETER_KINDS.get(declared) if isinstance(declared, str) else None
                if reference is not None and reference.root == "Execution":
                    return "string"
        return None
