"""Rules for JSON documents in strings, such as JobConfigDocument of a Job step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sagebridge.formats.sagemaker.rules.definition import (
    Definition,
    LocatedStep,
    Problem,
    nested,
)
from sagebridge.model.display import shown
from sagebridge.model.documents import BREAKING, template_of
from sagebridge.model.expressions import Get
from sagebridge.model.step_types import STEP_TYPES


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
