"""Pipelines for SageMaker, without what only the engines have: code, templates and settings."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from sagebridge.model.branch_parameters import with_parameter_branches
from sagebridge.model.branches import AFTER_FAILURE
from sagebridge.model.code_steps import (
    RETURN_VALUE,
    AwsCallStep,
    CarriedStep,
    PythonStep,
    ShellStep,
    StubStep,
)
from sagebridge.model.conditions import Comparison, In, operands
from sagebridge.model.dependencies import ANY, COMPLETED, FAILED, Dependency, with_trigger
from sagebridge.model.display import free_name, shown
from sagebridge.model.engine_settings import NO_SETTINGS, EngineSettings
from sagebridge.model.expressions import Get, Template, parameter
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.functions import Function, is_empty
from sagebridge.model.graph import in_order
from sagebridge.model.losses import AT_THE_END, Loss, Severity
from sagebridge.model.parameters import JSON_TYPES, PYTHON_TYPES, Parameter
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step, Steps, step_references, walk
from sagebridge.model.values import ABSENT, EMPTY, Object, Value, thaw
from sagebridge.model.visit import nodes

_AFTER_SKIPS = ("none_failed", "none_failed_min_one_success")
"""The trigger rules of a step that joins the branches of a condition."""
_PYTHON_LOSS, _SHELL_LOSS = ("python-task", "a Python function"), ("shell-task", "a shell command")
_AWS_LOSS = ("aws-call", "an AWS call")
_TYPES = {bool: "Boolean", int: "Float", float: "Float", str: "String"}


def only_code(pipeline: Pipeline) -> bool:
    """Whether all steps of a pipeline are code, so that nothing is left for SageMaker."""
    return bool(pipeline.steps) and all(map(_is_code, pipeline.steps))


def _is_code(step: Step) -> bool:
    """Whether a step is code, or a ForEach over nothing else."""
    if isinstance(step, ForEachStep):
        return bool(step.inner) and all(map(_is_code, step.inner))
    return isinstance(step, CarriedStep)


def _removed(pipeline: Pipeline) -> list[Step]:
    """The steps that SageMaker cannot run: code, and those that run only after a failure.

    Steps that need one of the latter never run.
    """
    found: list[Step] = []
    failing: set[str] = set()
    joins: set[str] = set()
    for step in in_order(list(walk(pipeline))):
        rule = step.engine.trigger_rule
        needed = {name for name, trigger in step.triggers if trigger == COMPLETED}
        unclear = {name for name, trigger in step.triggers if trigger == FAILED} & joins
        if rule in AFTER_FAILURE or unclear or (not rule and not failing.isdisjoint(needed)):
            failing.add(step.name)
        if _is_code(step) or step.name in failing:
            found.append(step)
            if len(step.dependencies) != 1:  # which of them has failed is not clear
                joins.add(step.name)
    return found


def _is_empty(step: Step) -> bool:
    """Whether a step needs no Fail step in its place: it is empty, or not one of code."""
    if not _is_code(step) or step.engine.trigger_rule in AFTER_FAILURE:
        return True
    return isinstance(step, PythonStep) and is_empty(step.function)


def without_carried(pipeline: Pipeline) -> tuple[Pipeline, tuple[Loss, ...]]:
    """The pipeline for SageMaker, without code steps, and a loss for each of them.

    The dependants of a code step depend on its dependencies. References to its result become a
    parameter without a default, which an execution must set.
    """
    return _for_sagemaker(pipeline, fail=False)


def without(
    pipeline: Pipeline, steps: Sequence[Step], *, fail: bool = False
) -> tuple[Pipeline, tuple[Loss, ...]]:
    """The same as :func:`without_carried` or :func:`with_fail_steps`, for the given code steps."""
    if not steps:
        return pipeline, ()
    return _CodeRemoval(pipeline, {step.name: step for step in steps}, fail=fail).result()


def with_fail_steps(pipeline: Pipeline) -> tuple[Pipeline, tuple[Loss, ...]]:
    """As :func:`without_carried`, but a Fail step takes the place of each code step and stub.

    Nothing can depend on a Fail step, so the dependants do not wait for it. The body of a ForEach
    cannot contain one, so it comes after the ForEach, or in its place if nothing else is left.
    """
    return _for_sagemaker(pipeline, fail=True)


def _for_sagemaker(pipeline: Pipeline, *, fail: bool) -> tuple[Pipeline, tuple[Loss, ...]]:
    pipeline, decided = with_parameter_branches(pipeline)
    pipeline, lost = without(pipeline, _removed(pipeline), fail=fail)
    pipeline, asked = _without_templates(pipeline)
    pipeline, settings = _without_settings(pipeline)
    pipeline, converted = with_plain_parameters(pipeline)
    return pipeline, (*decided, *lost, *asked, *settings, *converted)


def without_stubs(pipeline: Pipeline) -> tuple[Pipeline, tuple[Loss, ...]]:
    """As :func:`without`, for the stubs.

    A function that needs a result of a stub which no parameter can have is left out, too.
    """
    removed: dict[str, Step] = {
        step.name: step for step in walk(pipeline) if isinstance(step, StubStep)
    }
    losses: dict[str, Loss] = {}
    pending = [step for step in walk(pipeline) if isinstance(step, PythonStep)] if removed else []
    while needing := [step for step in pending if step.name not in losses]:
        found = {
            step.name: (step, reference)
            for step in needing
            for reference, annotation in _received(step)
            if reference.step in removed and annotation and not _annotated_type(annotation)
        }
        if not found:
            break
        for step, reference in found.values():
            what = (
                f"{step.name} needs {reference.text}, a list, dict or object of a dropped task, so "
                "it is dropped"
            )
            advice = "replace the dropped task first"
            losses[step.name] = _loss("python-task", "dropped", step, what, advice)
        removed |= {name: step for name, (step, _) in found.items()}
    pipeline, lost = without(pipeline, list(removed.values()))
    others = (one for one in lost if one.step not in losses)
    return pipeline, (*losses.values(), *others)


def used_types(pipeline: Pipeline) -> dict[str, str]:
    """The parameter types that references of unknown type need, by the text of the reference.

    It is the type of the other side of a comparison (a literal number is a Float), otherwise that
    of the function's parameter which receives the value.
    """
    declared = {one.name: one.value_type for one in pipeline.declared}
    returns = {step.name: _returned_type(step) for step in walk(pipeline)}

    def type_of(value: Value) -> str:
        if not isinstance(value, Get):
            return _TYPES.get(type(value), "")
        if value.root == "Parameters":
            return declared.get(value.name, "")
        return returns.get(value.step or "", "") if len(value.tokens) == 2 else ""

    passed: dict[str, str] = {}
    compared: dict[str, str] = {}
    for step in walk(pipeline):
        if isinstance(step, PythonStep):
            for value, annotation in _received(step):
                if type_ := _annotated_type(annotation):
                    passed.setdefault(value.text, type_)
        conditions = (step.conditions or ()) if isinstance(step, ConditionStep) else ()
        for node in (inner for one in conditions for inner in nodes(one)):
            if isinstance(node, Comparison | In):
                sides = tuple(operands(node))
                kinds = {type_of(one) for one in sides} - {""}
                unknown = [one for one in sides if isinstance(one, Get) and not type_of(one)]
                if len(kinds) == 1:
                    compared |= dict.fromkeys((one.text for one in unknown), kinds.pop())
    return {**passed, **compared}


def _received(step: PythonStep) -> Iterator[tuple[Get, ast.expr | None]]:
    """The references that a function receives as arguments, with their annotations."""
    body = ast.parse(step.function.code).body  # empty for a function of a library
    if not body or not isinstance(body[0], ast.FunctionDef):
        return
    given = body[0].args
    positional = [*given.posonlyargs, *given.args]
    annotations = {one.arg: one.annotation for one in (*positional, *given.kwonlyargs)}
    names = [one.arg for one in positional]
    arguments: Any = step.arguments
    pairs = [*zip(names, arguments["args"], strict=False), *arguments["kwargs"].items()]
    for name, value in pairs:
        if isinstance(value, Get):
            yield value, annotations.get(name)


def _annotated_type(annotation: ast.expr | None) -> str:
    match annotation:
        case ast.Name(id=name):
            return PYTHON_TYPES.get(name, "")
        case ast.Constant(value=str() as text):
            return PYTHON_TYPES.get(text.removesuffix("| None").strip(), "")
        case ast.BinOp(left=kind, op=ast.BitOr(), right=ast.Constant(value=None)):
            return _annotated_type(kind)
    return ""


def _without_templates(pipeline: Pipeline) -> tuple[Pipeline, tuple[Loss, ...]]:
    """The pipeline with a parameter without default in the place of each template."""
    taken = {one.name for one in pipeline.declared}
    found: dict[str, Parameter] = {}
    losses: list[Loss] = []

    def of(step: Step) -> Step:
        def change(node: Value) -> Value:
            if not isinstance(node, Template):
                return node
            if node.text not in found:
                name = re.sub(r"[^A-Za-z0-9]+", "_", node.text).strip("_")[:60] or "value"
                name = free_name(name, taken)
                taken.add(name)
                found[node.text] = Parameter(name, "String", description=f"In Airflow: {node.text}")
                what = (
                    f"{shown(node.text)} is rendered by Airflow; it becomes the parameter {name!r}"
                )
                advice = "set the parameter for each execution"
                losses.append(
                    Loss("template", "changed", step.name, what, "sagemaker", advice, step.name)
                )
            return parameter(found[node.text].name)

        return step.replaced(change).with_inner(lambda steps: tuple(map(of, steps)))

    steps = tuple(map(of, pipeline.steps))
    if not found:
        return pipeline, ()
    return (
        replace(pipeline, steps=steps, parameters=(*pipeline.declared, *found.values())),
        tuple(losses),
    )


_SETTING_LOSSES: Mapping[str, tuple[str, Severity, str]] = MappingProxyType(
    {
        "retries": ("retries", "dropped", "add retry policies to the step"),
        "timeout": ("timeout", "dropped", "limit the job itself, for example StoppingCondition"),
        "trigger_rule": ("trigger-rule", "dropped", "use depends_on with triggers"),
        "hooks": ("callback", "dropped", "react to the end of an execution with EventBridge"),
        "concurrency": ("concurrency", "dropped", "limit the steps of an execution (parallelism)"),
        "soft_fail": ("sensor", "dropped", "use a condition"),
        "skip_if_empty": ("mapped-task", "dropped", "use a condition"),
    }
)
"""Code, severity and advice for the settings that change what happens; others are an ``info``."""


def with_plain_parameters(pipeline: Pipeline) -> tuple[Pipeline, tuple[Loss, ...]]:
    """The pipeline with the parameters that a definition can have.

    A list or dict is a string of JSON. Null as the default is the empty string if that is allowed,
    otherwise the parameter is required.
    """
    parameters, losses = [], []

    def report(what: str, advice: str = "") -> None:
        losses.append(Loss("param-type", "changed", pipeline.name or "", what, "sagemaker", advice))

    for one in pipeline.declared:
        name, default, instead = f"parameter {shown(one.name)}", one.default, ""
        if one.nullable:
            if default is None and one.value_type == "String" and not one.enum_values:
                default, instead = "", ": it is empty"
            elif default is None:
                default, instead = ABSENT, ": it is required"
            report(f"{name} may not be null{instead}", "choose a value that means 'not set'")
        if one.value_type in JSON_TYPES.values():
            default = default if default is ABSENT else json.dumps(thaw(default))
            report(f"{name} is a list or dict; here it is a string of JSON")
            one = replace(one, type="String", limits=EMPTY)  # noqa: PLW2901 - the same one
        parameters.append(replace(one, default=default, nullable=False))
    return replace(pipeline, parameters=tuple(parameters)) if losses else pipeline, tuple(losses)


def _without_settings(pipeline: Pipeline) -> tuple[Pipeline, tuple[Loss, ...]]:
    """The pipeline without settings of engines, and a loss for each of them."""
    losses: list[Loss] = []

    def report(settings: EngineSettings, place: str, what: str, step: str) -> None:
        options = []
        for name, value in settings.given.items():
            if (name, value) == ("retries", 0):
                continue
            if name in _SETTING_LOSSES:
                code, severity, advice = _SETTING_LOSSES[name]
                given = "" if name == "hooks" else f"={value}"
                text = f"{what}: {name}{given} is not carried over: a pipeline has no such setting"
                losses.append(Loss(code, severity, place, text, "sagemaker", advice, step))
            else:
                options.append(name)
        if options:
            text = f"{what}: settings that only Airflow and Prefect have: {', '.join(options)}"
            losses.append(Loss("engine-option", "info", place, text, "sagemaker", "", step))

    def of(step: Step) -> Step:
        if step.engine != NO_SETTINGS:
            report(step.engine, step.name, f"step {step.name}", step.name)
            step = replace(step, engine=NO_SETTINGS)
        return step.with_inner(lambda steps: tuple(map(of, steps)))

    report(pipeline.engine, pipeline.name or "", "the pipeline", "")
    steps = tuple(map(of, pipeline.steps))
    return (replace(pipeline, steps=steps, engine=NO_SETTINGS) if losses else pipeline), tuple(
        losses
    )


class _CodeRemoval:
    """Removes the ``carried`` steps; with ``fail``, a Fail step takes the place of each."""

    def __init__(self, pipeline: Pipeline, carried: Mapping[str, Step], *, fail: bool) -> None:
        self.pipeline, self.carried, self.fail = pipeline, carried, fail
        self.conditions = {
            inner.name: one.name
            for one in pipeline.steps
            if isinstance(one, ConditionStep)
            for inner in walk(one.inner)
        }
        self.types = used_types(pipeline)
        self.names = {one.name for one in pipeline.declared}
        self.added: dict[str, Parameter] = {}
        self.origins: dict[str, Step] = {}

    def result(self) -> tuple[Pipeline, tuple[Loss, ...]]:
        steps = self._kept(self.pipeline.steps)
        parameters = (*self.pipeline.declared, *self.added.values())
        return replace(self.pipeline, steps=steps, parameters=parameters), tuple(self._losses())

    def _losses(self) -> Iterator[Loss]:
        for step in self.carried.values():
            if isinstance(step, StubStep | ForEachStep):  # the reader has reported it, or its body
                continue
            if loss := _loss_of_empty(step):
                yield loss
                continue
            code, what = _loss_of_code(step)
            text = f"{step.name} is {what}; SageMaker has no step type for it"
            advice = "make it a Processing or Lambda step"
            yield _loss(code, "dropped", step, text, advice)
        for text, one in self.added.items():
            owner = self.origins[text]
            source = "a dropped task" if isinstance(owner, StubStep) else "user code"
            what = f"{text} is a run-time value of {source}; it becomes the parameter {one.name!r}"
            advice = "set the parameter for each execution"
            yield replace(_loss("asked-value", "changed", owner, what, advice), step="")

    def _kept(self, steps: Sequence[Step]) -> Steps:
        return tuple(kept for step in steps for kept in self._replacement(step))

    def _replacement(self, step: Step) -> Iterator[Step]:
        """The step, or the Fail steps in its place or in that of steps of its body."""
        if step.name not in self.carried:
            yield self._step(step)
            if self.fail and isinstance(step, ForEachStep):
                inside = {one.name for one in step.inner}
                removed = (
                    one for one in step.inner if one.name in self.carried and not _is_empty(one)
                )
                yield from (self._step(_fail_step(one, inside)) for one in removed)
        elif self.fail and not _is_empty(step):
            yield self._step(_fail_step(step))

    def _step(self, step: Step) -> Step:
        before = {one.step for one in step_references(step) if one.step}
        referenced = ((name, COMPLETED) for name in sorted(before & self.carried.keys()))
        through: dict[str, str] = {}
        for name, trigger in (*step.triggers, *referenced):
            through |= self._through(name, trigger)
        step = step.replaced(self._change)
        step = step.with_inner(self._body if isinstance(step, ForEachStep) else self._kept)
        if before.union(step.dependencies).isdisjoint(self.carried):
            return step
        own = [
            one
            for one, name in zip(step.depends_on or (), step.dependencies, strict=True)
            if name not in self.carried
        ]
        implied = {step.name, *step.dependencies, *(one.step for one in step_references(step))}
        added = [with_trigger(one, through[one]) for one in through if one not in implied]
        return replace(step, depends_on=(*own, *added) or ABSENT)

    def _body(self, steps: Steps) -> Steps:
        return tuple(self._step(step) for step in steps if step.name not in self.carried)

    def _change(self, node: Value) -> Value:
        is_value = isinstance(node, Get) and node.property_file is None
        return self._parameter_for(node) if is_value else node

    def _through(self, name: str, trigger: str) -> dict[str, str]:
        """The dependencies that remain for one on a removed step, in order, with their triggers."""
        found: dict[str, str] = {}
        seen: set[str] = set()
        pending = [(name, trigger)] if name in self.carried else []
        while pending:
            name, trigger = pending.pop()
            if name not in self.carried:
                found[name] = trigger
            elif name not in seen:
                seen.add(name)
                step = self.carried[name]
                if step.engine.trigger_rule == "all_done" and trigger == COMPLETED:
                    trigger = ANY
                values = (one.step for one in step_references(step) if one.step)
                names = [self._after_skips(step, one) for one in (*values, *step.dependencies)]
                pending += reversed([(one, trigger) for one in names])
        return found

    def _after_skips(self, step: Step, name: str) -> str:
        """What follows a removed step needs: the condition, if a branch of it may be skipped."""
        owner = self.conditions.get(name, name)
        tolerates = step.engine.trigger_rule in _AFTER_SKIPS
        return owner if tolerates and self.conditions.get(step.name) != owner else name

    def _parameter_for(self, get: Get) -> Value:
        if get.step not in self.carried:
            return get
        text = get.text.removeprefix("Steps.")
        if text not in self.added:
            step = self.carried[get.name]
            name = re.sub(r"[^A-Za-z0-9]+", "_", text.replace(".return_value", "")).strip("_")[:64]
            name = free_name(name, self.names, name[:60])
            self.names.add(name)
            self.origins[text] = step
            type_ = self.types.get(get.text, "String")
            if text == f"{get.name}.{RETURN_VALUE}":
                type_ = _returned_type(step) or type_
            kind = "dropped task" if isinstance(step, StubStep) else "code step"
            description = f"The result of the {kind} {get.name}"
            self.added[text] = Parameter(name, type_, description=description)
        return parameter(self.added[text].name)


def _returned_type(step: Step) -> str:
    match step:
        case PythonStep(function=Function(returns=type_)) | StubStep(returns=type_):
            return type_
    return ""


def _loss_of_empty(step: Step) -> Loss | None:
    """The loss of a step that needs no Fail step in its place."""
    rule = step.engine.trigger_rule
    if not _is_code(step) or rule in AFTER_FAILURE:
        why = f"trigger rule {rule}" if rule else "as a step that it depends on"
        what = f"{step.name} runs only after a failure ({why}), so it is dropped"
        return _loss("trigger-rule", "dropped", step, what, AT_THE_END)
    if not _is_empty(step):
        return None
    what = f"{step.name} becomes no step: its downstream steps take over its dependencies"
    if rule in _AFTER_SKIPS:
        what = f"{what}; after a condition they do not wait for its branches"
    return _loss("empty-task", "info", step, what)


def _loss_of_code(step: Step) -> tuple[str, str]:
    if isinstance(step, AwsCallStep):
        return _AWS_LOSS
    return _SHELL_LOSS if isinstance(step, ShellStep) else _PYTHON_LOSS


def _fail_step(step: Step, inside: Collection[str] = ()) -> Step:
    """The Fail step in the place of a code step, a stub, or a ForEach over nothing else.

    ``inside`` are the steps of the body around it, which it cannot depend on.
    """
    steps = list(walk((step,)))
    code = next(one for one in steps if isinstance(one, CarriedStep))
    if isinstance(code, StubStep):
        message = code.message
    else:
        message = (
            f"step {code.name!r} was {_loss_of_code(code)[1]}, and SageMaker has no step type for "
            "it; replace it, or translate with --no-stubs to leave it out"
        )
    own = {*inside, *(one.name for one in steps)}
    before: dict[str, str | Dependency] = {}
    for one in steps:
        before.update(zip(one.dependencies, one.depends_on or (), strict=True))
    if step.engine.trigger_rule == "all_done":
        before = {name: with_trigger(name, ANY) for name in before}
    for one in steps:
        for get in step_references(one):
            if get.step:
                before.setdefault(get.step, get.step)
    needed = tuple(item for name, item in before.items() if name not in own)
    return Step(
        step.name,
        "Fail",
        arguments=Object({"ErrorMessage": message}),
        depends_on=needed or ABSENT,
        display_name=step.display_name,
        description=step.description,
    )


def _loss(code: str, severity: Severity, step: Step, what: str, advice: str = "") -> Loss:
    place = (step.origin if isinstance(step, CarriedStep) else "") or step.name
    return Loss(code, severity, place, what, "sagemaker", advice, step.name)
