"""Rules for ForEach steps: items, limit, selector, body, and what may refer to what.

They follow ForEachStep of the SageMaker SDK 3.27 (sagemaker/mlops/workflow/for_each_step.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sagebridge.authoring.json_document import kind
from sagebridge.formats.sagemaker.rules.definition import (
    BODY,
    Definition,
    LocatedStep,
    Problem,
    Reference,
    either,
    is_expression,
    is_number,
    label,
    wrong_type,
)
from sagebridge.formats.sagemaker.rules.known_keys import FOR_EACH, SELECTOR, unknown_keys
from sagebridge.model.code_steps import CODE_TYPES
from sagebridge.model.display import did_you_mean, shown
from sagebridge.model.expressions import Get, Index, Key, Member
from sagebridge.model.for_each import ITEM, MAX_BY, MIN_BY, OUTPUT
from sagebridge.model.step_types import STEP_TYPES

_MOST_ITEMS, _MOST_ITERATIONS = 100, 50
_NOT_IN_BODY = ("Condition", "Fail", "ForEach")
_OUTPUTS = STEP_TYPES["ForEach"].synthetic
_ITERATION = re.compile(r"(.+)-[0-9]+\Z", re.DOTALL)


def check_for_each(definition: Definition) -> Iterator[Problem]:
    bodies = {step.name for step in definition.steps if step.loop is not None}
    for step in definition.steps:
        if step.type == "ForEach" and isinstance(step.raw.get("Arguments"), dict):
            yield from _check_arguments(definition, step)
        if step.loop is not None and step.type in _NOT_IN_BODY:
            message = (
                f"{step.type} step {step.label} is in the body of a ForEach; "
                f"{either(_NOT_IN_BODY)} steps are not allowed there"
            )
            yield Problem("for-each-body", step.at("Type"), message)
        match = _ITERATION.match(step.name)
        if match and match[1] in bodies and step.loop is None:
            message = (
                f"step {step.label}: an iteration of step {shown(match[1])} has this name; "
                "rename one of them"
            )
            yield Problem("iteration-name", step.at("Name"), message)
        yield from _check_dependencies(definition, step)


def _check_arguments(definition: Definition, step: LocatedStep) -> Iterator[Problem]:
    pointer, arguments = step.at("Arguments"), step.arguments
    what = f"ForEach step {step.label}"
    yield from unknown_keys(arguments, FOR_EACH, pointer, what)
    for name in ("IterableItems", "MaxConcurrency", BODY):
        if name not in arguments:
            yield Problem("missing-member", pointer, f"{what}: missing key {name!r}")
    if "IterableItems" in arguments:
        yield from _check_items(definition, step, arguments["IterableItems"])
    limit = arguments.get("MaxConcurrency", 1)
    is_whole = isinstance(limit, int) and not isinstance(limit, bool)
    if not (is_whole and 1 <= limit <= _MOST_ITERATIONS):
        message = f"{what}: MaxConcurrency expects an integer from 1 to {_MOST_ITERATIONS}, got "
        yield Problem(
            "for-each-limit", step.at("Arguments", "MaxConcurrency"), message + kind(limit)
        )
    if "Selector" in arguments:
        yield from _check_selector(step, arguments["Selector"])
    body, here = arguments.get(BODY, [{}]), step.at("Arguments", BODY)
    if not isinstance(body, list):
        yield wrong_type(here, f"{BODY} of step {step.label}", "an array of steps", body)
    elif not body:
        yield Problem("for-each-body", here, f"{what}: {BODY} is empty; expected at least one step")


def _check_items(definition: Definition, step: LocatedStep, items: Any) -> Iterator[Problem]:
    pointer, what = step.at("Arguments", "IterableItems"), f"IterableItems of step {step.label}"
    if is_expression(items):
        get = _reference(items)
        name = get.name if get is not None and get.root == "Parameters" else ""
        type_ = definition.parameters.get(name, {}).get("Type")
        if type_ in ("Integer", "Float", "Boolean"):
            message = f"{what}: expected a String parameter with a JSON list, got one of type "
            yield Problem("for-each-items", pointer, message + type_)
        return
    if not isinstance(items, list):
        expected = "a reference to a JSON list, or an array of scalars and references"
        yield wrong_type(pointer, what, expected, items)
        return
    if _ends_with_code(definition, step):  # SageMaker does not run it
        return
    if not 1 <= len(items) <= _MOST_ITEMS:
        message = f"{what}: expected 1 to {_MOST_ITEMS} items, got {len(items)}"
        yield Problem("for-each-items", pointer, message)
    for position, item in enumerate(items):
        if not (isinstance(item, str | bool) or is_number(item) or is_expression(item)):
            expected = "a string, number, boolean or reference"
            yield wrong_type(f"{pointer}/{position}", f"item of {what}", expected, item)


def _check_selector(step: LocatedStep, raw: Any) -> Iterator[Problem]:
    pointer, what = step.at("Arguments", "Selector"), f"Selector of step {step.label}"
    if not isinstance(raw, dict):
        yield wrong_type(pointer, what, "an object", raw)
        return
    yield from unknown_keys(raw, SELECTOR, pointer, what)
    for name in SELECTOR:
        if name not in raw:
            yield Problem("missing-member", pointer, f"{what}: missing key {name!r}")
    pick = raw.get("Pick", MAX_BY)
    if pick not in (MAX_BY, MIN_BY):
        message = f"{what}: Pick expects {MAX_BY} or {MIN_BY}, got {kind(pick)}"
        yield Problem("for-each-selector", f"{pointer}/Pick", message)
    if "Field" in raw:
        get = _reference(raw["Field"])
        if get is None or get.root != OUTPUT:
            message = f"{what}: Field expects a reference such as {OUTPUT}.STEP.OUTPUT"
            yield Problem("for-each-selector", f"{pointer}/Field", message)


def _reference(raw: Any) -> Get | None:
    text = raw.get("Get") if isinstance(raw, dict) and len(raw) == 1 else None
    return Get.parse(text) if isinstance(text, str) else None


def check_iteration_reference(
    definition: Definition, step: LocatedStep, reference: Reference
) -> Iterator[Problem]:
    """A reference to the item or to an output of an iteration, which exist only in a ForEach."""
    pointer, get = reference
    if get.root == ITEM:
        if step.loop is None:
            message = f"step {step.label}: {shown(get.text)} exists only in the body of a ForEach"
            yield Problem("outside-for-each", pointer, message)
    elif pointer != step.at("Arguments", "Selector", "Field", "Get") or step.type != "ForEach":
        message = f"step {step.label}: {shown(get.text)} is only allowed as Field of a Selector"
        yield Problem("outside-for-each", pointer, message)
    else:
        body = definition.body_of(step)
        yield from _check_body_step(body, step, reference, get.name)
        if len(get.tokens) == 1:
            message = f"step {step.label}: {shown(get.text)} is a step; expected one of its outputs"
            yield Problem("expression-form", pointer, message)


def check_for_each_output(
    definition: Definition, step: LocatedStep, target: LocatedStep, reference: Reference
) -> Iterator[Problem]:
    """A reference to an output of a ForEach step."""
    pointer, get = reference
    what = f"step {step.label}: {shown(get.text)}"
    match get.tokens[1:]:
        case (Member("IterationOutputs"), Index(), Member(name) | Key(name), *rest):
            yield from _check_body_step(definition.body_of(target), step, reference, name)
            if not rest:
                message = f"{what} is a step; expected one of its outputs"
                yield Problem("expression-form", pointer, message)
        case (Member("IterationOutputs"), Index()):
            message = f"{what} is an iteration; expected an output such as {get.text}.STEP.OUTPUT"
            yield Problem("expression-form", pointer, message)
        case (Member("IterationOutputs"), *_):
            message = f"{what} has no index; expected IterationOutputs[0].STEP.OUTPUT"
            yield Problem("expression-form", pointer, message)
        case (Member("Selected"), *rest):
            if "Selector" not in target.arguments:
                message = f"{what}: step {target.label} has no Selector"
                yield Problem("unknown-output", pointer, message)
            elif not rest:
                message = f"{what} is an iteration; expected one of its outputs"
                yield Problem("expression-form", pointer, message)
        case (Member("return_value"), *_) if _ends_with_code(definition, target):
            return
        case (Member(name) | Key(name), *rest):
            if name not in _OUTPUTS:
                hint = did_you_mean(name, _OUTPUTS) or f" (it has {', '.join(_OUTPUTS)})"
                message = f"step {step.label}: ForEach step {target.label} has no output "
                yield Problem("unknown-output", pointer, message + shown(name) + hint)
            elif rest:
                message = f"{what} has a path, but the value is a scalar"
                yield Problem("expression-form", pointer, message)


def _check_body_step(
    body: dict[str, LocatedStep], step: LocatedStep, reference: Reference, name: str
) -> Iterator[Problem]:
    if name not in body:
        names = f" (it has {', '.join(map(shown, body))})" if body else ""
        message = f"step {step.label}: {shown(reference.get.text)}: the body has no step "
        hint = did_you_mean(name, body) or names
        yield Problem("unknown-step", reference.pointer, message + shown(name) + hint)


def _check_dependencies(definition: Definition, step: LocatedStep) -> Iterator[Problem]:
    """Only steps of the same body may refer to a step of a body, or depend on it."""
    found = [(pointer, get.name) for pointer, get in step.references if get.step is not None]
    found += step.sources
    names = step.raw.get("DependsOn")
    for position, item in enumerate(names if isinstance(names, list) else ()):
        name = item.get("Step") if isinstance(item, dict) else item
        if isinstance(name, str):
            found.append((step.at("DependsOn", position), name))
    for pointer, name in found:
        target = definition.by_name.get(name)
        if target is not None and target.loop is not None and target.loop != step.loop:
            loop = definition.by_pointer[target.loop].name
            message = (
                f"step {step.label}: step {label(name)} runs once per item of {shown(loop)}; "
                f"refer to Steps.{loop}.IterationOutputs[0].{name}, or depend on {shown(loop)}"
            )
            yield Problem("body-step", pointer, message)


def _ends_with_code(definition: Definition, loop: LocatedStep) -> bool:
    """Whether the last step of the body is code, whose results are an output of the ForEach."""
    body = list(definition.body_of(loop).values())
    return bool(body) and body[-1].type in CODE_TYPES
