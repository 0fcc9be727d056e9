"""Carried code, templates and engine settings as JSON, between the import process and its caller.

The definition has the steps and their arguments. The rest comes separately, because a definition
must not be able to contain code.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any

from sagebridge.model.code_steps import (
    AWS_CALL,
    PYTHON,
    SHELL,
    STUB,
    AwsCallStep,
    CarriedStep,
    PythonStep,
    ShellStep,
    StubStep,
)
from sagebridge.model.engine_settings import NO_SETTINGS, EngineSettings, Hook
from sagebridge.model.expressions import Template
from sagebridge.model.functions import Function
from sagebridge.model.pipeline import Pipeline, Step, Steps, walk
from sagebridge.model.values import Value

_CLASSES: Mapping[str, type[ShellStep | AwsCallStep]] = {SHELL: ShellStep, AWS_CALL: AwsCallStep}
_TOKEN = secrets.token_hex(16)
"""Makes marks of templates that no definition contains, and that all forks of a process share: two
readings of a file are compared."""


def code_of(pipeline: Pipeline) -> list[dict[str, Any] | None]:
    """The code and the settings of each step as JSON, in the order of ``walk``."""
    return [step_code(step) for step in walk(pipeline)]


def step_code(step: Step) -> dict[str, Any] | None:
    """The code and the settings of one step as JSON; None if it has neither."""
    part: dict[str, Any] = {}
    if isinstance(step, CarriedStep):
        part["origin"] = step.origin
    if isinstance(step, PythonStep):
        part |= {
            "function": _function(step.function),
            "role": step.role,
            "context": step.context,
        }
    elif isinstance(step, StubStep):
        part["returns"] = step.returns
    if step.engine != NO_SETTINGS:
        part["engine"] = settings_json(step.engine)
    return part or None


def _function(function: Function) -> dict[str, str]:
    return {one.name: getattr(function, one.name) for one in fields(function)}


def settings_json(settings: EngineSettings) -> dict[str, Any]:
    """The settings that do not have their defaults, as JSON."""
    hooks = [
        {"event": one.event, "function": _function(one.function), "engine": one.engine}
        for one in settings.hooks
    ]
    given = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in settings.given.items()
    }
    return {**given, "hooks": hooks} if hooks else given


def read_settings(raw: Mapping[str, Any]) -> EngineSettings:
    """The settings of :func:`settings_json`."""
    hooks = tuple(
        Hook(**{**one, "function": Function(**one["function"])}) for one in raw.get("hooks", ())
    )
    return EngineSettings(**{**raw, "hooks": hooks})


def with_code(pipeline: Pipeline, parts: Iterable[Mapping[str, Any] | None], file: str) -> Pipeline:
    """The pipeline with the code from :func:`code_of`; the origins become lines of ``file``."""
    following = iter(parts)

    def of(steps: Steps) -> Steps:
        return tuple(map(restored, steps))

    def restored(step: Step) -> Step:
        part = next(following) or {}
        if step.inner_fields:
            step = step.with_inner(of)
        if "engine" in part:
            step = replace(step, engine=read_settings(part["engine"]))
        if "origin" not in part:
            return step
        origin = f"{file}:{part['origin']}"
        if step.type == PYTHON:
            own = {name: part[name] for name in ("role", "context")}
            return PythonStep.of(step, Function(**part["function"]), origin, **own)
        if step.type == STUB:
            return StubStep.of(step, origin, returns=part["returns"])
        return _CLASSES[step.type].of(step, origin)

    return replace(pipeline, steps=of(pipeline.steps))


def without_templates(pipeline: Pipeline) -> tuple[Pipeline, dict[str, str]]:
    """The pipeline with a mark in the place of each template, and the text of each mark."""
    texts: dict[str, str] = {}

    def change(node: Value) -> Value:
        if not isinstance(node, Template):
            return node
        mark = f"template-{_TOKEN}-{len(texts)}"
        texts[mark] = node.text
        return mark

    return _replaced(pipeline, change), texts


def with_templates(pipeline: Pipeline, texts: Mapping[str, str]) -> Pipeline:
    """The pipeline with templates in the place of their marks."""

    def change(node: Value) -> Value:
        return Template(texts[node]) if isinstance(node, str) and node in texts else node

    return _replaced(pipeline, change) if texts else pipeline


def with_template_texts(pipeline: Pipeline) -> Pipeline:
    """The pipeline with the text of each template in its place, to be shown and not to be run."""
    return _replaced(pipeline, lambda node: node.text if isinstance(node, Template) else node)


def _replaced(pipeline: Pipeline, change: Any) -> Pipeline:
    def of(steps: Steps) -> Steps:
        return tuple(step.replaced(change).with_inner(of) for step in steps)

    return replace(pipeline, steps=of(pipeline.steps))
