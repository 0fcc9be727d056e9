"""The pipeline in the record of an execution: its definition, and the trigger rules of its steps.

A definition has no key for trigger rules, so they are in its Metadata. They decide the state of
steps that have not started, and the status of the execution. The names of the parameters that may
be null are there, too: a retry has their values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import sagebridge
from sagebridge.authoring.definition_writer import definition
from sagebridge.model.code_transport import with_template_texts
from sagebridge.model.engine_settings import EngineSettings
from sagebridge.model.pipeline import Pipeline, Steps, walk
from sagebridge.model.values import ABSENT, Object
from sagebridge_operators.lifecycle.records import ExecutionRecords

_KEY = "sagebridge"
_FIELDS = ("trigger_rule", "setup")


def recorded_definition(pipeline: Pipeline) -> dict[str, Any]:
    """The definition for the record of an execution. Its templates are only shown there."""
    rules = {
        step.name: found
        for step in walk(pipeline)
        if (found := {one: step.engine.given[one] for one in _FIELDS if one in step.engine.given})
    }
    nullable = [one.name for one in pipeline.declared if one.nullable]
    if rules or nullable:
        others = pipeline.metadata if isinstance(pipeline.metadata, Mapping) else {}
        own = {"rules": rules, **({"nullable": nullable} if nullable else {})}
        pipeline = replace(pipeline, metadata=Object({**others, _KEY: own}))
    return definition(with_template_texts(pipeline))


def recorded_pipeline(records: ExecutionRecords, execution: str) -> Pipeline:
    """The pipeline in the record of an execution, with trigger rules and without code."""
    return with_rules(sagebridge.read(records.definition(execution)).pipeline)


def with_rules(pipeline: Pipeline) -> Pipeline:
    """The pipeline of a recorded definition with its trigger rules and nullable parameters."""
    metadata = pipeline.metadata
    if not isinstance(metadata, Mapping) or _KEY not in metadata:
        return pipeline
    rules, nullable = metadata[_KEY]["rules"], metadata[_KEY].get("nullable", ())
    others = {name: value for name, value in metadata.items() if name != _KEY}

    def of(steps: Steps) -> Steps:
        ruled = (replace(one, engine=EngineSettings(**rules.get(one.name, {}))) for one in steps)
        return tuple(one.with_inner(of) for one in ruled)

    parameters = tuple(replace(one, nullable=one.name in nullable) for one in pipeline.declared)
    return replace(
        pipeline,
        steps=of(pipeline.steps),
        parameters=parameters or pipeline.parameters,
        metadata=Object(others) or ABSENT,
    )
