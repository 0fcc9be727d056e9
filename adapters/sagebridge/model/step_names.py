"""Other names for the steps of a pipeline, for example in a DAG with several pipelines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sagebridge.model.dependencies import Dependency
from sagebridge.model.expressions import Get, Index, Key, Member, Token, properties_of
from sagebridge.model.graph import source_steps
from sagebridge.model.pipeline import Step, Steps
from sagebridge.model.values import ABSENT, Object, Value
from sagebridge.model.visit import rebuild


def with_step_names(steps: Steps, names: Mapping[str, str]) -> Steps:
    """The steps with new names, also in references: ``names`` has the new name of each."""

    def change(node: Value) -> Value:
        return _renamed(node, names) if isinstance(node, Get) else node

    def of(step: Step) -> Step:
        depends_on = step.depends_on
        if depends_on is not ABSENT:
            depends_on = tuple(_dependency(one, names) for one in depends_on)
        changed = step.replaced(change).with_inner(lambda inner: tuple(map(of, inner)))
        if source_steps(step):
            changed = replace(changed, arguments=_with_sources(changed.arguments, names))
        name = names.get(step.name, step.name)
        return replace(changed, name=name, depends_on=depends_on)

    return tuple(map(of, steps))


def _dependency(one: str | Dependency, names: Mapping[str, str]) -> str | Dependency:
    if isinstance(one, str):
        return names.get(one, one)
    return replace(one, step=names.get(one.step, one.step))


def _with_sources(arguments: Value, names: Mapping[str, str]) -> Value:
    def change(node: Value) -> Value:
        if isinstance(node, Object) and isinstance(name := node.get("StepName"), str):
            return Object({**node, "StepName": names.get(name, name)})
        return node

    return rebuild(arguments, change)


def _renamed(reference: Get, names: Mapping[str, str]) -> Get:
    """A reference with the names of the step, and of a step in the body of a ForEach."""
    if reference.root not in ("Steps", "IterationOutput"):
        return reference
    tokens = [_token(reference.tokens[0], names), *reference.tokens[1:]]
    match tokens[1:]:
        case [Member("IterationOutputs"), Index(), inner, *_]:
            tokens[3] = _token(inner, names)
    return Get(reference.root, tuple(tokens))


def _token(token: Token, names: Mapping[str, str]) -> Token:
    if isinstance(token, Member | Key) and token.name in names:
        return properties_of(names[token.name])._tokens[0]
    return token
