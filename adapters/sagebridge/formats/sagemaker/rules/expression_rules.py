"""Rules for the form of expressions."""

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
from sagebridge.formats.sagemaker.rules.known_keys import unknown_keys
from sagebridge.model.display import did_you_mean, shown
from sagebridge.model.expressions import FUNCTIONS, ROOTS, Get, parse_tokens

_FUNCTIONS = ("Get", *FUNCTIONS)


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
            f"{owner}: the object has other keys next to {shown(name)}, so it is plain data, "
            "not an expression",
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
            f"{owner}: unknown function {shown(name)}"
            + (did_you_mean(name, _FUNCTIONS) or "; expected Std:Join or Std:JsonGet"),
        )


def _check_get(text: Any, pointer: str, owner: str) -> Iterator[Problem]:
    if not isinstance(text, str):
        message = f"{owner}: Get expects a string such as 'Parameters.Name', got {kind(text)}"
        yield Problem("expression-form", pointer, message)
        return
    if Get.parse(text) is not None:
        return
    root = text.partition(".")[0]
    if root in ROOTS:
        message = (
            f"{owner}: malformed reference {shown(text)}; expected a path such as "
            "Steps.A.Outputs['x'].S3Uri"
        )
        yield Problem("expression-form", pointer, message)
        return
    yield Problem(
        "unknown-expression",
        pointer,
        f"{owner}: unknown reference {shown(text)}"
        + (did_you_mean(root, ROOTS) or f"; references start with {', '.join(ROOTS)}"),
    )


def _check_join(raw: Any, pointer: str, owner: str) -> Iterator[Problem]:
    what = f"Std:Join in {owner}"
    if not isinstance(raw, dict) or "Values" not in raw:
        yield Problem("expression-form", pointer, f"{what}: missing key 'Values'")
        return
    yield from _check_keys(raw, ("On", "Values"), pointer, what)
    if not isinstance(raw.get("On", ""), str):
        message = f"{what}: On expects a string, got {kind(raw['On'])}"
        yield Problem("expression-form", f"{pointer}/On", message)
    if not isinstance(raw["Values"], list):
        message = f"{what}: Values expects an array, got {kind(raw['Values'])}"
        yield Problem("expression-form", f"{pointer}/Values", message)
        return
    for position, value in enumerate(raw["Values"]):
        if value is None or (isinstance(value, dict | list) and not is_expression(value)):
            yield Problem(
                "expression-form",
                f"{pointer}/Values/{position}",
                f"{what}: expected a string, number, boolean or expression, got {kind(value)}",
            )


def _check_json_get(raw: Any, pointer: str, owner: str) -> Iterator[Problem]:
    what = f"Std:JsonGet in {owner}"
    if not isinstance(raw, dict) or ("PropertyFile" in raw) == ("S3Uri" in raw):
        message = f"{what}: expected either PropertyFile or S3Uri"
        yield Problem("expression-form", pointer, message)
        return
    source = "PropertyFile" if "PropertyFile" in raw else "S3Uri"
    yield from _check_keys(raw, (source, "Path"), pointer, what)
    path = raw.get("Path")
    if "Path" not in raw:
        yield Problem("expression-form", pointer, f"{what}: missing key 'Path'")
    elif not is_expression(path) and not (isinstance(path, str) and _is_json_path(path)):
        yield Problem(
            "expression-form",
            f"{pointer}/Path",
            f"{what}: Path expects a path such as a.b[0]['c'], got {kind(path)}",
        )
    if source == "PropertyFile":
        file = raw[source]
        text = file.get("Get") if isinstance(file, dict) and len(file) == 1 else None
        get = Get.parse(text) if isinstance(text, str) else None
        if get is None or get.property_file is None:
            yield Problem(
                "expression-form",
                f"{pointer}/PropertyFile",
                f"{what}: PropertyFile expects {{'Get': 'Steps.NAME.PropertyFiles.FILE'}}, "
                f"got {kind(file if text is None else text)}",
            )
    elif not isinstance(raw["S3Uri"], str) and not is_expression(raw["S3Uri"]):
        message = f"{what}: S3Uri expects a string or expression, got {kind(raw['S3Uri'])}"
        yield Problem("expression-form", f"{pointer}/S3Uri", message)


def _check_keys(
    raw: dict[str, Any], known: tuple[str, ...], pointer: str, what: str
) -> Iterator[Problem]:
    """Errors for unknown keys of a function: with them it is not read as an expression."""
    for problem in unknown_keys(raw, known, pointer, what):
        yield Problem("expression-form", problem.pointer, problem.message)


def _is_json_path(path: str) -> bool:
    path = path.removeprefix("$")
    return parse_tokens(path if path.startswith((".", "[")) or not path else f".{path}") is not None
