"""The forms of expressions, wherever a definition may have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sagebridge.authoring.json_document import kind
from sagebridge.formats.sagemaker.rules.definition import (
    Definition,
    Problem,
    is_expression,
    nested,
)
from sagebridge.formats.sagemaker.rules.known_members import unknown_members
from sagebridge.model.display import did_you_mean, shown
from sagebridge.model.expressions import ROOTS, Get, parse_tokens

_FUNCTIONS = ("Get", "Std:Join", "Std:JsonGet")


def check_expressions(definition: Definition) -> Iterator[Problem]:
    for step in definition.steps:
        for pointer, value in step.values():
            yield from _check_all(value, pointer, f"step {step.label}")
    for name in ("PipelineExperimentConfig", "MlflowConfig"):
        yield from _check_all(definition.raw.get(name), f"/{name}", name)


def _check_all(value: Any, root: str, owner: str) -> Iterator[Problem]:
    for pointer, item in nested(value, root):
        if isinstance(item, dict):
            yield from _check_object(item, pointer, owner)


def _check_object(raw: dict[str, Any], pointer: str, owner: str) -> Iterator[Problem]:
    functions = [name for name in raw if name == "Get" or name.startswith("Std:")]
    if not functions:
        return
    name = functions[0]
    if len(raw) > 1:
        yield Problem(
            "expression-form",
            pointer,
            f"{shown(name)} in {owner} stands beside other members: "
            "the object is taken as plain data, not as an expression",
            "warning",
        )
    elif name == "Get":
        yield from _check_get(raw[name], f"{pointer}/Get", owner)
    elif name == "Std:Join":
        yield from _check_join(raw[name], f"{pointer}/Std:Join", owner)
    elif name == "Std:JsonGet":
        yield from _check_json_get(raw[name], f"{pointer}/Std:JsonGet", owner)
    else:
        yield Problem(
            "unknown-expression",
            pointer,
            f"{owner} uses unknown function {shown(name)}"
            + (did_you_mean(name, _FUNCTIONS) or " (Std:Join or Std:JsonGet expected)"),
        )


def _check_get(text: Any, pointer: str, owner: str) -> Iterator[Problem]:
    if not isinstance(text, str):
        message = f"Get in {owner} is {kind(text)} (a string such as Parameters.Name expected)"
        yield Problem("expression-form", pointer, message)
        return
    if Get.parse(text) is not None:
        return
    root = text.partition(".")[0]
    if root in ROOTS:
        message = f"Get {shown(text)} in {owner} is no path such as Steps.A.Outputs['x'].S3Uri"
        yield Problem("expression-form", pointer, message)
        return
    yield Problem(
        "unknown-expression",
        pointer,
        f"Get {shown(text)} in {owner} begins with none of {', '.join(ROOTS)}"
        f"{did_you_mean(root, ROOTS)}",
    )


def _check_join(raw: Any, pointer: str, owner: str) -> Iterator[Problem]:
    what = f"Std:Join in {owner}"
    if not isinstance(raw, dict) or "Values" not in raw:
        yield Problem("expression-form", pointer, f"{what} has no Values")
        return
    yield from _check_members(raw, ("On", "Values"), pointer, what)
    if not isinstance(raw.get("On", ""), str):
        message = f"On of {what} is {kind(raw['On'])} (a string expected)"
        yield Problem("expression-form", f"{pointer}/On", message)
    if not isinstance(raw["Values"], list):
        message = f"Values of {what} is {kind(raw['Values'])} (an array expected)"
        yield Problem("expression-form", f"{pointer}/Values", message)
        return
    for position, value in enumerate(raw["Values"]):
        if value is None or (isinstance(value, dict | list) and not is_expression(value)):
            yield Problem(
                "expression-form",
                f"{pointer}/Values/{position}",
                f"{what} joins {kind(value)} (a string, number, boolean or expression expected)",
            )


def _check_json_get(raw: Any, pointer: str, owner: str) -> Iterator[Problem]:
    what = f"Std:JsonGet in {owner}"
    if not isinstance(raw, dict) or ("PropertyFile" in raw) == ("S3Uri" in raw):
        message = f"{what} reads neither PropertyFile nor S3Uri, or both (exactly one expected)"
        yield Problem("expression-form", pointer, message)
        return
    source = "PropertyFile" if "PropertyFile" in raw else "S3Uri"
    yield from _check_members(raw, (source, "Path"), pointer, what)
    path = raw.get("Path")
    if "Path" not in raw:
        yield Problem("expression-form", pointer, f"{what} has no Path")
    elif not is_expression(path) and not (isinstance(path, str) and _is_json_path(path)):
        yield Problem(
            "expression-form",
            f"{pointer}/Path",
            f"Path of {what} is {kind(path)} (a path such as a.b[0]['c'] expected)",
        )
    if source == "PropertyFile":
        file = raw[source]
        text = file.get("Get") if isinstance(file, dict) and len(file) == 1 else None
        get = Get.parse(text) if isinstance(text, str) else None
        if get is None or get.property_file is None:
            yield Problem(
                "expression-form",
                f"{pointer}/PropertyFile",
                f"PropertyFile of {what} is no {{'Get': 'Steps.NAME.PropertyFiles.FILE'}}",
            )
    elif not isinstance(raw["S3Uri"], str) and not is_expression(raw["S3Uri"]):
        message = f"S3Uri of {what} is {kind(raw['S3Uri'])} (a string or expression expected)"
        yield Problem("expression-form", f"{pointer}/S3Uri", message)


def _check_members(
    raw: dict[str, Any], known: tuple[str, ...], pointer: str, what: str
) -> Iterator[Problem]:
    """A function with a member too many is no expression for a reader: an error."""
    for problem in unknown_members(raw, known, pointer, what):
        yield Problem("expression-form", problem.pointer, problem.message)


def _is_json_path(path: str) -> bool:
    path = path.removeprefix("$")
    return parse_tokens(path if path.startswith((".", "[")) or not path else f".{path}") is not None
