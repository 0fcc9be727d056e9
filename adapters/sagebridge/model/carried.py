"""Code of an orchestrator's own tasks, carried from one orchestrator to the other.

A Python function or a shell command of a user's is no step of SageMaker's. Where it stands on its
own it is kept as a step of a type of ours, with its source; a definition leaves it out, by name:

``{"Name": …, "Type": "sagebridge.PythonCallable", "Arguments": {"args": […], "kwargs": {…}},
"Callable": "clean", "Source": "def clean(…): …", "Origin": "dag.py:12"}``

``{"Name": …, "Type": "sagebridge.ShellCommand", "Arguments": {"command": …, "env": {…}},
"Origin": …}``

What it returns is ``Steps.NAME.return_value``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from sagebridge.model.conditions import Comparison, Condition, In, Not, Or, operands
from sagebridge.model.expressions import Get, Join, JsonGet, parameter
from sagebridge.model.losses import Loss
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import (
    ConditionStep,
    Pipeline,
    Step,
    Steps,
    step_references,
    walk,
)
from sagebridge.model.values import ABSENT, Object, Value

PYTHON, SHELL = "sagebridge.PythonCallable", "sagebridge.ShellCommand"
_LOSS = {PYTHON: ("python-task", "a Python function"), SHELL: ("shell-task", "a shell command")}
_TYPES = {bool: "Boolean", int: "Float", float: "Float"}


def without_carried(pipeline: Pipeline) -> tuple[Pipeline, tuple[Loss, ...]]:
    """The pipeline as SageMaker can have it: without carried code, which is the loss.

    What depended on such a step depends on what that depended on, and what referred to its value
    refers to a parameter without a default: a start of the pipeline has to say it.
    """
    return without(pipeline, [step for step in walk(pipeline) if step.type in _LOSS])


def without(pipeline: Pipeline, steps: Sequence[Step]) -> tuple[Pipeline, tuple[Loss, ...]]:
    """The pipeline without those steps of carried code, as :func:`without_carried` does it."""
    if not steps:
        return pipeline, ()
    return _Without(pipeline, {step.name: step for step in steps}).result()


class _Without:
    def __init__(self, pipeline: Pipeline, carried: dict[str, Step]) -> None:
        self.pipeline, self.carried = pipeline, carried
        self.names = {one.name for one in pipeline.declared}
        self.asked: dict[str, Parameter] = {}
        self.origins: dict[str, Step] = {}

    def result(self) -> tuple[Pipeline, tuple[Loss, ...]]:
        steps = self._kept(self.pipeline.steps)
        parameters = (*self.pipeline.declared, *self.asked.values())
        return replace(self.pipeline, steps=steps, parameters=parameters), tuple(self._losses())

    def _losses(self) -> Iterator[Loss]:
        for step in self.carried.values():
            code, what = _LOSS[step.type]
            text = f"{step.name} is {what}, which no SageMaker step is"
            advice = "make it a Processing or Lambda step"
            yield Loss(code, "dropped", _origin(step), text, "sagemaker", advice)
        for text, one in self.asked.items():
            what = f"{text} is known only once the code has run: parameter {one.name} asks for it"
            advice = "give it at the start"
            yield Loss(
                "asked-value", "changed", _origin(self.origins[text]), what, "sagemaker", advice
            )

    def _kept(self, steps: Sequence[Step]) -> Steps:
        return tuple(self._step(step) for step in steps if step.name not in self.carried)

    def _step(self, step: Step) -> Step:
        before = {one.step for one in step_references(step) if one.step}
        through = self._through([*step.dependencies, *sorted(before & self.carried.keys())])
        step = self._branches(step) if isinstance(step, ConditionStep) else step
        step = replace(
            step,
            arguments=_replaced(step.arguments, self._asked),
            extra=_replaced(step.extra, self._asked),
        )
        if before.union(step.dependencies).isdisjoint(self.carried):
            return step
        own = [
            one
            for one, name in zip(step.depends_on or (), step.dependencies, strict=True)
            if name not in self.carried
        ]
        implied = {step.name, *step.dependencies, *(one.step for one in step_references(step))}
        added = [name for name in through if name not in implied]
        return replace(step, depends_on=(*own, *added) or ABSENT)

    def _branches(self, step: ConditionStep) -> ConditionStep:
        conditions = step.conditions
        if conditions is not ABSENT:
            conditions = tuple(self._condition(one) for one in conditions)
        return replace(
            step,
            conditions=conditions,
            if_steps=step.if_steps if step.if_steps is ABSENT else self._kept(step.if_steps),
            else_steps=(
                step.else_steps if step.else_steps is ABSENT else self._kept(step.else_steps)
            ),
        )

    def _condition(self, condition: Condition) -> Condition:
        kinds = {_TYPES[type(one)] for one in operands(condition) if type(one) in _TYPES}
        type_ = kinds.pop() if len(kinds) == 1 else "String"

        def asked(get: Get) -> Value:
            return self._asked(get, type_)

        def value(item: Value) -> Value:
            return _replaced(item, asked)

        match condition:
            case Comparison(left=left, right=right):
                return replace(condition, left=value(left), right=value(right))
            case In(query=query, values=values):
                return replace(condition, query=value(query), values=value(values))
            case Not(condition=inner):
                return replace(condition, condition=self._condition(inner))
            case Or(conditions=inner_all):
                return replace(condition, conditions=tuple(map(self._condition, inner_all)))
        return condition

    def _through(self, names: Sequence[str]) -> list[str]:
        """What is left of dependencies on carried steps: those that these have, in order."""
        found: dict[str, None] = {}
        seen: set[str] = set()
        pending = [name for name in reversed(names) if name in self.carried]
        while pending:
            name = pending.pop()
            if name not in self.carried:
                found[name] = None
            elif name not in seen:
                seen.add(name)
                step = self.carried[name]
                pending += [one.step for one in step_references(step) if one.step]
                pending += step.dependencies
        return list(found)

    def _asked(self, get: Get, type_: str = "String") -> Value:
        if get.step not in self.carried:
            return get
        text = get.text.removeprefix("Steps.")
        if text not in self.asked:
            step = self.carried[get.name]
            name = re.sub(r"[^A-Za-z0-9]+", "_", text.replace(".return_value", "")).strip("_")[:64]
            while name in self.names:
                name = f"{name[:62]}_2"
            self.names.add(name)
            self.origins[text] = step
            self.asked[text] = Parameter(
                name, type_, description=f"Asked for: what {get.name} would return"
            )
        return parameter(self.asked[text].name)


def _origin(step: Step) -> str:
    return str(step.extra.get("Origin", step.name))


def _replaced(value: Value, change: Callable[[Get], Value]) -> Value:
    match value:
        case Get():
            return change(value)
        case Join(values=values):
            return replace(value, values=_replaced(values, change))
        case JsonGet(s3_uri=uri, path=path):
            return replace(value, s3_uri=_replaced(uri, change), path=_replaced(path, change))
        case Object():
            return Object({name: _replaced(item, change) for name, item in value.items()})
        case tuple():
            return tuple(_replaced(item, change) for item in value)
    return value
