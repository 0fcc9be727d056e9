"""Helpers for definitions with exactly the problems that a test needs."""

from __future__ import annotations

from typing import Any

import sagebridge
from sagebridge import Finding

LAMBDA: dict[str, Any] = {
    "Type": "Lambda",
    "FunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:f",
    "Arguments": {},
    "OutputParameters": [{"OutputName": "o", "OutputType": "String"}],
}


def step(name: str, type_: str = "Lambda", /, **members: Any) -> dict[str, Any]:
    if type_ == "Lambda":
        return {"Name": name, **LAMBDA, **members}
    return {"Name": name, "Type": type_, "Arguments": {}, **members}


def processing(name: str, *files: Any, **members: Any) -> dict[str, Any]:
    outputs = [{"OutputName": "evaluation", "S3Output": {}}]
    arguments = {"ProcessingOutputConfig": {"Outputs": outputs}}
    own = {"PropertyFiles": list(files)} if files else {}
    return step(name, "Processing", Arguments=arguments, **own, **members)


REPORT = {"PropertyFileName": "Report", "OutputName": "evaluation", "FilePath": "e.json"}


def gate(*conditions: Any, name: str = "Gate", then: Any = (), other: Any = ()) -> dict[str, Any]:
    arguments = {
        "Conditions": list(conditions),
        "IfSteps": list(then),
        "ElseSteps": list(other),
    }
    return {"Name": name, "Type": "Condition", "Arguments": arguments}


def equals(left: Any, right: Any, type_: str = "Equals") -> dict[str, Any]:
    return {"Type": type_, "LeftValue": left, "RightValue": right}


def get(path: str) -> dict[str, str]:
    return {"Get": path}


def uses(value: Any, name: str = "A") -> dict[str, Any]:
    return step(name, Arguments={"x": value})


def output_of(name: str) -> dict[str, str]:
    return get(f"Steps.{name}.OutputParameters['o']")


def findings(*steps: Any, **members: Any) -> tuple[Finding, ...]:
    return sagebridge.validate({"Version": "2020-12-01", "Steps": list(steps), **members})


def codes(found: tuple[Finding, ...]) -> list[tuple[str, str]]:
    return [(finding.code, finding.pointer) for finding in found]


def only(found: tuple[Finding, ...]) -> tuple[str, str, str, str]:
    (finding,) = found
    return finding.severity, finding.code, finding.pointer, finding.message
