"""Rules for what references name: parameters, variables, steps, property files and outputs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sagebridge.formats.sagemaker.rules.definition import (
    Definition,
    LocatedStep,
    Problem,
    Reference,
    label,
    nested,
    objects,
)
from sagebridge.formats.sagemaker.rules.for_each_rules import (
    check_for_each_output,
    check_iteration_reference,
)
from sagebridge.formats.sagemaker.rules.known_keys import SOME_STEPS
from sagebridge.formats.sagemaker.rules.step_rules import processing_names, there
from sagebridge.model.code_steps import CODE_TYPES
from sagebridge.model.display import did_you_mean, shown
from sagebridge.model.documents import BREAKING, template_of
from sagebridge.model.expressions import VARIABLES, Get, Key, Member
from sagebridge.model.for_each import ITEM, OUTPUT
from sagebridge.model.step_types import STEP_TYPES


def check_references(definition: Definition) -> Iterator[Problem]:
    for step in definition.steps:
        for reference in step.references:
            if reference.get.root == "Steps":
                yield from _check_step(definition, step, reference)
            elif reference.get.root in (ITEM, OUTPUT) and _is_known(reference.get):
                yield from check_iteration_reference(definition, step, reference)
                if reference.get.root == OUTPUT:
                    yield from _check_inside(definition, step, reference)
            else:
                yield from _check_variable(definition, f"step {step.label}", reference)
    for name in ("PipelineExperimentConfig", "MlflowConfig"):
        for pointer, item in nested(definition.raw.get(name), f"/{name}"):
            if not (isinstance(item, dict) and len(item) == 1 and isinstance(item.get("Get"), str)):
                continue
            get = Get.parse(item["Get"])
            if get is not None and get.root == "Steps":
                message = (
                    f"{name}: refers to step {shown(get.name)}, but it is resolved before any "
                    "step runs"
                )
                yield Problem("unknown-step", f"{pointer}/Get", message)
            elif get is not None and get.root in (ITEM, OUTPUT):
                message = f"{name}: {shown(get.text)} exists only in a ForEach step"
                yield Problem("outside-for-each", f"{pointer}/Get", message)
            elif get is not None:
                yield from _check_variable(definition, name, Reference(f"{pointer}/Get", get))


def _check_variable(definition: Definition, owner: str, reference: Reference) -> Iterator[Problem]:
    pointer, get = reference
    if get.root == "Parameters":
        if get.name not in definition.parameters:
            yield Problem(
                "unknown-parameter",
                pointer,
                f"{owner}: unknown parameter {shown(get.name)}"
                f"{did_you_mean(get.name, definition.parameters)}",
            )
            return
    else:
        known = VARIABLES[get.root]
        if get.name not in known:
            yield Problem(
                "unknown-variable",
                pointer,
                f"{owner}: unknown variable {shown(get.text)}"
                + (did_you_mean(get.name, known) or f"; expected one of {', '.join(known)}"),
            )
            return
    if len(get.tokens) > 1:
        message = f"{owner}: {shown(get.text)} has a path, but the value is a scalar"
        yield Problem("expression-form", pointer, message)


def _check_step(
    definition: Definition, step: LocatedStep, reference: Reference
) -> Iterator[Problem]:
    pointer, get = reference
    target = definition.by_name.get(get.name)
    if target is None:
        yield Problem(
            "unknown-step",
            pointer,
            f"step {step.label}: reference to unknown step {shown(get.name)}"
            f"{did_you_mean(get.name, definition.by_name)}",
        )
    elif target.type == "Fail":
        message = (
            f"step {step.label}: reference to Fail step {shown(get.name)}, which has no outputs"
        )
        yield Problem("refers-to-fail-step", pointer, message)
    elif len(get.tokens) == 1 and step.type in CODE_TYPES and _is_described(target):
        return  # code gets all properties
    elif len(get.tokens) == 1:
        message = f"step {step.label}: {shown(get.text)} is a step; expected one of its properties"
        yield Problem("expression-form", pointer, message)
    elif target.type == "ForEach":
        yield from check_for_each_output(definition, step, target, reference)
        yield from _check_inside(definition, step, reference)
    elif get.tokens[1] in (Member("PropertyFiles"), Key("PropertyFiles")):
        yield from _check_property_file(step, target, reference)
    else:
        yield from _check_output(step, target, reference)


def _is_described(step: LocatedStep) -> bool:
    row = STEP_TYPES.get(step.type)
    return row is not None and bool(row.outputs)


def _is_known(get: Get) -> bool:
    return get.root == OUTPUT or get.name in VARIABLES[get.root]


def _check_inside(
    definition: Definition, step: LocatedStep, reference: Reference
) -> Iterator[Problem]:
    """Check the output of an iteration as that of the step in the body."""
    get = definition.body_reference(reference.get)
    target = definition.by_name.get(get.name)
    if get != reference.get and target is not None and target.loop is not None:
        yield from _check_output(step, target, reference._replace(get=get))


def _check_property_file(
    step: LocatedStep, target: LocatedStep, reference: Reference
) -> Iterator[Problem]:
    pointer, get = reference
    if not pointer.endswith("/Std:JsonGet/PropertyFile/Get"):
        message = (
            f"step {step.label}: {shown(get.text)} can only be used as PropertyFile of Std:JsonGet"
        )
        yield Problem("expression-form", pointer, message)
        return
    wanted = get.property_file
    files = [
        raw["PropertyFileName"]
        for _, raw in objects(target.raw.get("PropertyFiles"), "")
        if isinstance(raw.get("PropertyFileName"), str)
    ]
    if wanted is not None and wanted not in files:
        declared = ", ".join(shown(name) for name in files) or "none"
        yield Problem(
            "unknown-property-file",
            pointer,
            f"step {step.label}: step {label(get.name)} has no property file {shown(wanted)} "
            f"(it has {declared})",
        )


def _check_output(
    step: LocatedStep, target: LocatedStep, reference: Reference
) -> Iterator[Problem]:
    """Check the name of an output or input, if the definition lists the step's names."""
    pointer, get = reference
    names: list[str] | None = None
    listed = "output"
    match get.tokens[1:]:
        case (Member("OutputParameters"), Key(wanted), *_) if (
            target.type in SOME_STEPS["OutputParameters"]
        ):
            names = [
                raw["OutputName"]
                for _, raw in objects(target.raw.get("OutputParameters"), "")
                if isinstance(raw.get("OutputName"), str)
            ]
        case (Member("ProcessingOutputConfig"), Member("Outputs"), Key(wanted), *_):
            names = processing_names(target, "Outputs")
        case (Member("ProcessingInputs"), Key(wanted), *_):
            names, listed = processing_names(target, "ProcessingInputs"), "input"
    if names is not None and wanted not in names:
        yield Problem(
            "unknown-output",
            pointer,
            f"step {step.label}: step {target.label} has no {listed} {shown(wanted)}"
            f"{there(names, wanted)}",
        )


# Rules for JSON documents in strings, such as JobConfigDocument of a Job step.
def check_documents(definition: Definition) -> Iterator[Problem]:
    for step in definition.steps:
        row = STEP_TYPES.get(step.type)
        for name in row.json_documents if row is not None else ():
            if name in step.arguments:
                yield from _check(definition, step, name, step.arguments[name])


def _check(
    definition: Definition, step: LocatedStep, name: str, document: Any
) -> Iterator[Problem]:
    what, template = f"{name} of step {step.label}", template_of(document)
    if template is None:
        return
    try:
        json.loads(template)
    except ValueError as error:
        text = f"{what}: expected JSON, got a string that is not ({error})"
        yield Problem("json-document", step.at("Arguments", name), text, "warning")
    for pointer, item in nested(document, step.at("Arguments", name)):
        reference = item.get("Get") if isinstance(item, dict) else None
        get = Get.parse(reference) if isinstance(reference, str) else None
        if get is None or get.root != "Parameters":
            continue
        default = definition.parameters.get(get.name, {}).get("DefaultValue")
        if isinstance(default, str) and any(one in default for one in BREAKING):
            yield Problem(
                "json-document",
                pointer,
                f"{what}: the default of parameter {get.name}, {shown(default)}, breaks the JSON "
                "document, as it contains a quote, a backslash or a line break",
                "warning",
            )
