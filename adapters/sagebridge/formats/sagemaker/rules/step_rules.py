"""Rules for steps: names, types, arguments, and the keys of each type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sagebridge.authoring.json_document import kind
from sagebridge.formats.sagemaker.rules.definition import (
    BRANCHES,
    NAME,
    Definition,
    LocatedStep,
    Problem,
    either,
    is_expression,
    objects,
    wrong_option,
    wrong_type,
)
from sagebridge.formats.sagemaker.rules.known_keys import (
    EVERY_STEP,
    OUTPUT_PARAMETER,
    PROPERTY_FILE,
    SOME_STEPS,
    unknown_keys,
)
from sagebridge.model.display import did_you_mean, shown
from sagebridge.model.step_types import STEP_TYPES

_OUTPUT_TYPES = ("String", "Integer", "Boolean", "Float")
_TEXT_LIMITS = {"DisplayName": 256, "Description": 3072}


def check_steps(definition: Definition) -> Iterator[Problem]:
    yield from _misplaced_values(definition)
    for step in definition.steps:
        yield from _check_name(definition, step)
        if step.type not in STEP_TYPES:
            yield from _check_type(step)
            continue
        for check in (_check_keys, _check_arguments, _check_texts, *_OF_TYPES):
            yield from check(step)


def _misplaced_values(definition: Definition) -> Iterator[Problem]:
    """Items in a list of steps that are not objects; the other rules do not see them."""
    lists = [("/Steps", definition.raw.get("Steps"))]
    for step in definition.steps:
        lists += [(step.at("Arguments", key), step.arguments.get(key)) for key in step.inner_keys]
    for pointer, items in lists:
        for position, item in enumerate(items if isinstance(items, list) else ()):
            if not isinstance(item, dict):
                yield wrong_type(f"{pointer}/{position}", "step", "an object", item)


def _check_name(definition: Definition, step: LocatedStep) -> Iterator[Problem]:
    if "Name" not in step.raw:
        yield Problem("missing-member", step.pointer, "step: missing key 'Name'")
        return
    pointer, name = step.at("Name"), step.raw["Name"]
    if not isinstance(name, str):
        yield wrong_type(pointer, "Name of a step", "a string", name)
        return
    if not NAME.match(name):
        yield Problem(
            "step-name",
            pointer,
            f"invalid step name {shown(name)}; expected 1 to 64 letters, digits, hyphens and "
            "underscores",
        )
    first = definition.by_name.get(name, step)
    if first is not step:
        shared = [
            one.condition
            for one, other in zip(first.branches, step.branches, strict=False)
            if one.condition == other.condition and one.side != other.side
        ]
        yield Problem(
            "duplicate-step",
            pointer,
            f"step {shown(name)} is in both IfSteps and ElseSteps of "
            f"{definition.name_of(shared[0])}"
            if shared
            else f"two steps are named {shown(name)} (the first is at {first.pointer})",
        )


def _check_type(step: LocatedStep) -> Iterator[Problem]:
    if "Type" not in step.raw:
        yield Problem("missing-member", step.pointer, f"step {step.label}: missing key 'Type'")
    elif not isinstance(step.raw["Type"], str):
        yield wrong_type(
            step.at("Type"), f"Type of step {step.label}", "a string", step.raw["Type"]
        )
    else:
        yield Problem(
            "unknown-step-type",
            step.at("Type"),
            f"step {step.label}: unknown Type {shown(step.type)}"
            f"{did_you_mean(step.type, STEP_TYPES)}",
        )


def _check_keys(step: LocatedStep) -> Iterator[Problem]:
    what = f"{step.type} step {step.label}"
    yield from unknown_keys(step.raw, EVERY_STEP | SOME_STEPS.keys(), step.pointer, what)
    for name in step.raw:
        takers = SOME_STEPS.get(name)
        if takers is not None and step.type not in takers:
            yield Problem(
                "misplaced-member",
                step.at(name),
                f"{what}: {name} has no effect; only {', '.join(sorted(takers))} steps use it",
                "warning",
            )


def _check_arguments(step: LocatedStep) -> Iterator[Problem]:
    if "Arguments" not in step.raw:
        if not STEP_TYPES[step.type].required:
            message = f"{step.type} step {step.label}: missing key 'Arguments'"
            yield Problem("missing-arguments", step.pointer, message)
        return
    arguments, pointer = step.raw["Arguments"], step.at("Arguments")
    if not isinstance(arguments, dict):
        yield wrong_type(pointer, f"Arguments of step {step.label}", "an object", arguments)
        return
    if names := STEP_TYPES[step.type].one_of:
        given = [name for name in names if name in arguments]
        if len(given) != 1:
            found = "both" if given else "neither"
            yield Problem(
                "one-of-arguments",
                pointer,
                f"{step.type} step {step.label}: expected either {either(names)}, got {found}",
            )
    if step.type == "Fail":
        yield from _check_error_message(step, arguments, pointer)
    if step.is_condition and step.branches and step.branches[-1].side in BRANCHES:
        yield Problem(
            "nested-condition",
            step.pointer,
            f"Condition step {step.label} is inside a branch, which SageMaker does not allow; "
            "Airflow and Prefect run it",
            "warning",
        )


def _check_error_message(
    step: LocatedStep, arguments: dict[str, Any], pointer: str
) -> Iterator[Problem]:
    what = f"Fail step {step.label}"
    yield from unknown_keys(arguments, ("ErrorMessage",), pointer, what)
    if "ErrorMessage" not in arguments:
        message = f"Fail step {step.label}: missing key 'ErrorMessage'"
        yield Problem("missing-member", pointer, message)
        return
    message = arguments["ErrorMessage"]
    of_json = isinstance(message, dict) and "Std:JsonGet" in message
    if not isinstance(message, str) and (of_json or not is_expression(message)):
        what = f"ErrorMessage of step {step.label}"
        yield wrong_type(f"{pointer}/ErrorMessage", what, "a string, Get or Std:Join", message)


def _check_texts(step: LocatedStep) -> Iterator[Problem]:
    for name, limit in _TEXT_LIMITS.items():
        value = step.raw.get(name, "")
        what = f"{name} of step {step.label}"
        if not isinstance(value, str):
            yield wrong_option(step.at(name), what, "a string", value)
        elif len(value) > limit:
            yield Problem(
                "text-too-long",
                step.at(name),
                f"{what} has {len(value)} characters; at most {limit} are allowed",
            )


def _check_required(step: LocatedStep) -> Iterator[Problem]:
    for name in STEP_TYPES[step.type].required:
        if name not in step.raw:
            message = f"{step.type} step {step.label}: missing key {name!r}"
            yield Problem("missing-member", step.pointer, message)
        elif not isinstance(step.raw[name], str) and not is_expression(step.raw[name]):
            what, found = f"{name} of step {step.label}", step.raw[name]
            yield wrong_type(step.at(name), what, "a string or expression", found)


def _check_check(step: LocatedStep) -> Iterator[Problem]:
    expected = STEP_TYPES[step.type].check_types
    if not expected:
        return
    if "CheckType" not in step.raw:
        yield Problem(
            "check-type",
            step.pointer,
            f"{step.type} step {step.label}: missing key 'CheckType'; expected {either(expected)}",
        )
    elif step.raw["CheckType"] not in expected:
        found = step.raw["CheckType"]
        yield Problem(
            "check-type",
            step.at("CheckType"),
            f"{step.type} step {step.label}: CheckType expects {either(expected)}, "
            f"got {kind(found)}",
        )


def _check_property_files(step: LocatedStep) -> Iterator[Problem]:
    pointer = step.at("PropertyFiles")
    yield from _check_named(step, "PropertyFiles", "PropertyFileName", "duplicate-property-file")
    for here, raw in objects(step.raw.get("PropertyFiles"), pointer):
        what = f"property file of step {step.label}"
        yield from unknown_keys(raw, PROPERTY_FILE, here, what)
        for name in ("OutputName", "FilePath"):
            if name not in raw:
                yield Problem("missing-member", here, f"{what}: missing key {name!r}")
            elif not isinstance(raw[name], str):
                yield wrong_type(f"{here}/{name}", f"{name} of {what}", "a string", raw[name])
        outputs = processing_names(step, "Outputs")
        output = raw.get("OutputName")
        if outputs is not None and isinstance(output, str) and output not in outputs:
            yield Problem(
                "unknown-output",
                f"{here}/OutputName",
                f"{what}: the step has no output {shown(output)}" + there(outputs, output),
            )


def _check_output_parameters(step: LocatedStep) -> Iterator[Problem]:
    pointer = step.at("OutputParameters")
    yield from _check_named(step, "OutputParameters", "OutputName", "duplicate-output")
    for here, raw in objects(step.raw.get("OutputParameters"), pointer):
        what = f"output parameter of step {step.label}"
        yield from unknown_keys(raw, OUTPUT_PARAMETER, here, what)
        if raw.get("OutputType", "String") not in _OUTPUT_TYPES:
            yield Problem(
                "output-type",
                f"{here}/OutputType",
                f"{what}: OutputType expects {either(_OUTPUT_TYPES)}, "
                f"got {kind(raw['OutputType'])}",
            )


def _check_named(step: LocatedStep, list_key: str, key: str, duplicate: str) -> Iterator[Problem]:
    """Check a list of objects with unique names."""
    items, pointer = step.raw.get(list_key, []), step.at(list_key)
    if not isinstance(items, list):
        yield wrong_option(pointer, f"{list_key} of step {step.label}", "an array", items)
        return
    seen: set[str] = set()
    for position, item in enumerate(items):
        here = f"{pointer}/{position}"
        if not isinstance(item, dict):
            what = f"item of {list_key} of step {step.label}"
            yield wrong_type(here, what, "an object", item)
        elif key not in item:
            message = f"item of {list_key} of step {step.label}: missing key {key!r}"
            yield Problem("missing-member", here, message)
        elif not isinstance(item[key], str):
            what = f"{key} in {list_key} of step {step.label}"
            yield wrong_type(f"{here}/{key}", what, "a string", item[key])
        else:
            if item[key] in seen:
                message = f"step {step.label}: two {list_key} have the {key} {shown(item[key])}"
                yield Problem(duplicate, f"{here}/{key}", message)
            seen.add(item[key])


_OF_TYPES: tuple[Callable[[LocatedStep], Iterator[Problem]], ...] = (
    _check_required,
    _check_check,
    _check_property_files,
    _check_output_parameters,
)


def processing_names(step: LocatedStep, list_key: str) -> list[str] | None:
    """The names in ``Outputs`` or ``ProcessingInputs``; None unless all are plain strings."""
    arguments, key = step.arguments, "InputName"
    if list_key == "Outputs":
        config = arguments.get("ProcessingOutputConfig")
        arguments, key = (config if isinstance(config, dict) else {}), "OutputName"
    items = arguments.get(list_key)
    if not isinstance(items, list):
        return None
    names = [item.get(key) if isinstance(item, dict) else None for item in items]
    return names if all(isinstance(name, str) for name in names) else None  # type: ignore[return-value]


def there(names: list[str], wanted: str) -> str:
    """The end of a message about an unknown name: a similar name, or all names."""
    listed = f" (it has {', '.join(shown(name) for name in names)})" if names else " (it has none)"
    return did_you_mean(wanted, names) or listed
