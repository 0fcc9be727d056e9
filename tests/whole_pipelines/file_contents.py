"""The content of the JSON files that a pipeline reads, with the values of a scenario."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cache
from typing import Any

from botocore import session
from botocore.model import ServiceModel

from sagebridge.model.expressions import Get, Join, JsonGet, parse_tokens
from sagebridge.model.pipeline import Pipeline, Step, walk
from sagebridge.model.step_types import STEP_TYPES
from sagebridge.model.values import ABSENT, Value
from sagebridge.model.visit import located, unescape
from sagebridge_operators.lifecycle.outputs import look_up
from tests.faulty_aws.job_scripts import merged
from tests.whole_pipelines.scenarios import Scenario, nested, source_of

_BIAS = {"facets": {"F": [{"value_or_threshold": "0", "metrics": [{"name": "CI", "value": 0.1}]}]}}
ANALYSIS = {
    "pre_training_bias_metrics": _BIAS,
    "post_training_bias_metrics": _BIAS,
    "explanations": {"kernel_shap": {"label0": {"global_shap_values": {"F": 0.1}}}},
}
"""The analysis of every ClarifyCheck, now and before."""


def content(pipeline: Pipeline, scenario: Scenario, uri: str) -> Any:
    """The JSON file at a URI: everything that the pipeline reads from files like it."""
    found: Any = ANALYSIS if uri.endswith("/analysis.json") else {}
    for step in walk(pipeline):
        for pointer, value in (one for each in step.values() for one in located(each, "")):
            if isinstance(value, JsonGet) and re.fullmatch(_pattern(pipeline, value), uri):
                usual = _in_request(step, pointer)
                found = merged(found, _document(scenario, value, usual))
    return found


def _pattern(pipeline: Pipeline, value: JsonGet) -> str:
    """A regular expression for the URI of the file that an expression reads."""
    if value.property_file is ABSENT:
        return _pattern_of(pipeline, value.s3_uri)
    step = pipeline.step(value.property_file.name)
    file = step and step.property_file(value.property_file.property_file or "")
    return ".*" + re.escape(file.file_path if file else "")


def _pattern_of(pipeline: Pipeline, value: Value) -> str:
    """A regular expression for a string: anything for what only a run knows."""
    match value:
        case str():
            return re.escape(value)
        case Join(values=values, on=on):
            return re.escape("" if on is ABSENT else on).join(
                _pattern_of(pipeline, one) for one in values
            )
        case Get(root="Steps") if (step := pipeline.step(value.name)) is not None:
            with suppress(LookupError):  # what its request has there
                return _pattern_of(pipeline, look_up(step.arguments, value.tokens[1:]))
    return ".*"


def _document(scenario: Scenario, value: JsonGet, usual: Any) -> Any:
    path = str(value.path).removeprefix("$")
    tokens = parse_tokens(path if path.startswith((".", "[")) or not path else f".{path}")
    wanted = scenario.values.get(source_of(value) or "", usual)
    return nested(tokens or (), wanted, {})


def _in_request(step: Step, pointer: str) -> Any:
    """A value of the type that the create request of a step has at a pointer."""
    shape: Any = None
    for key, request in STEP_TYPES[step.type].requests.items():
        service, _, operation = request.partition(":")
        if not key and "/" not in operation:
            shape = service_model(service).operation_model(operation).input_shape
    for key in pointer.split("/")[1:]:
        shape = below(shape, unescape(key))
    return "1" if shape is not None and shape.type_name == "string" else 1


def below(shape: Any, token: Any) -> Any:
    if shape is None:
        return None
    if shape.type_name == "list":
        return shape.member
    if shape.type_name == "map":
        return shape.value
    return shape.members.get(getattr(token, "name", token)) if hasattr(shape, "members") else None


@cache
def service_model(name: str) -> ServiceModel:
    return session.get_session().get_service_model(name)
