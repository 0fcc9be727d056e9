"""Losses of writing for Airflow or Prefect: the file keeps these parts, but cannot run them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sagebridge.authoring.schedule_rules import starter_losses
from sagebridge.model.code_steps import CarriedStep
from sagebridge.model.conditions import UnknownCondition, operands
from sagebridge.model.connections import connection_losses
from sagebridge.model.display import shown
from sagebridge.model.expressions import VARIABLES, Get, unknown_function
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.losses import AT_THE_END, Loss, Severity
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step, walk
from sagebridge.model.pointers import step_pointers
from sagebridge.model.step_types import OPERATOR_TYPES, STEP_TYPES
from sagebridge.model.values import ABSENT, Value
from sagebridge.model.visit import escape, located, nodes


class Unsupported(NamedTuple):
    """An option of a DAG, flow or task that no pipeline has: a loss that still needs a line."""

    code: str
    severity: Severity
    what: str
    advice: str = ""

    def at(self, place: str, title: str = "", target: str = "pipeline") -> Loss:
        """The loss at a place; ``title`` comes before its text."""
        return Loss(self.code, self.severity, place, f"{title}{self.what}", target, self.advice)


_KEPT = "kept in the file; running the step fails with a clear error"

_ANSWER = (
    "consumers send {token, status, outputParameters} to the response queue, instead of calling "
    "SendPipelineExecutionStepSuccess or SendPipelineExecutionStepFailure"
)


def engine_losses(pipeline: Pipeline, target: str) -> Iterator[Loss]:
    """The losses of writing a pipeline for Airflow or Prefect."""
    for pointer, step in step_pointers(pipeline.steps):
        yield from _losses(step, pointer, target)
    yield from (loss for _, loss in connection_losses(pipeline, target))
    yield from starter_losses(pipeline, target)
    if target == "airflow":
        yield from _airflow_losses(pipeline)


_UNCALLED = ("crashed", "cancellation")
"""Events for which Airflow runs no code of a DAG."""


def _airflow_losses(pipeline: Pipeline) -> Iterator[Loss]:
    """Settings of a Prefect flow and its tasks that Airflow does not have."""
    whole = pipeline.engine
    if whole.retries is not ABSENT:
        what = f"the flow: retries={whole.retries} has no effect: Airflow does not repeat a DAG run"
        advice = "set retries of the steps"
        yield Loss("retries", "dropped", "", what, "airflow", advice)
    owners = [
        ("the flow", "", whole),
        *((one.name, one.name, one.engine) for one in walk(pipeline)),
    ]
    for title, name, settings in owners:
        for hook in settings.hooks:
            if hook.engine == "prefect" and hook.event in _UNCALLED:
                what = f"{title}: on_{hook.event} hooks are not called"
                yield Loss("callback", "dropped", name, what, "airflow", AT_THE_END, name)
    tagged = [step.name for step in walk(pipeline) if step.engine.tags]
    if tagged:
        steps = "1 step" if len(tagged) == 1 else f"{len(tagged)} steps"
        what = f"tags of {steps} have no effect: Airflow's tasks have no tags"
        advice = "use a pool or max_active_tis_per_dag to limit how many run at a time"
        yield Loss("engine-option", "info", "", what, "airflow", advice)


def _losses(step: Step, pointer: str, target: str) -> Iterator[Loss]:
    name = step.name
    if step.type not in OPERATOR_TYPES and not isinstance(step, CarriedStep):
        what = f"step {name!r} has the unknown type {step.type!r}"
        yield Loss("unknown-step-type", "changed", f"{pointer}/Type", what, target, _KEPT)
    row = STEP_TYPES.get(step.type)
    if row is not None and row.answered:
        what = f"step {name!r} waits for an answer that SageMaker's API does not deliver here"
        yield Loss("callback-answer", "changed", pointer, what, target, _ANSWER)
    for position, item in enumerate(step.depends_on or ()):
        if not isinstance(item, str) and not item.is_known:
            trigger = shown(item.trigger)
            what = f"step {name!r} depends on {item.step!r} with the unknown Trigger {trigger}"
            place = f"{pointer}/DependsOn/{position}/Trigger"
            yield Loss("dependency-trigger", "changed", place, what, target, _KEPT)
    for place, part in _unresolvable(step, pointer):
        what = f"step {name!r} uses the unknown {part}"
        yield Loss("unknown-expression", "changed", place, what, target, _KEPT)
    if isinstance(step, ConditionStep):
        for position, condition in enumerate(step.conditions or ()):
            if any(isinstance(node, UnknownCondition) for node in nodes(condition)):
                place = f"{pointer}/Arguments/Conditions/{position}"
                what = f"step {name!r} has an unknown condition"
                yield Loss("unknown-condition", "changed", place, what, target, _KEPT)


def _unresolvable(step: Step, pointer: str) -> Iterator[tuple[str, str]]:
    """Unknown functions and variables, as (JSON pointer, description)."""
    values = [(f"{pointer}/Arguments", step.arguments)]
    values += ((f"{pointer}/{escape(name)}", value) for name, value in step.extra.items())
    if isinstance(step, ForEachStep):
        values.append((f"{pointer}/Arguments/IterableItems", step.items))
        if step.selector is not ABSENT:
            values.append((f"{pointer}/Arguments/Selector/Field", step.selector.field))
    found: list[tuple[str, Value]] = []
    for here, value in values:
        if any(map(_is_unresolvable, nodes(value))):  # rare, and pointers take time
            found += located(value, here, _is_unknown_function)
    if isinstance(step, ConditionStep):
        for position, condition in enumerate(step.conditions or ()):
            here = f"{pointer}/Arguments/Conditions/{position}"
            for value in operands(condition):
                found += ((here, node) for node in nodes(value, _is_unknown_function))
    for here, node in found:
        if isinstance(node, Get):
            if _is_unresolvable(node):
                yield here, f"variable {shown(node.text)}"
        elif (function := unknown_function(node)) is not None:
            text = node[function]
            is_reference = function == "Get" and isinstance(text, str)
            what = f"reference {shown(text)}" if is_reference else f"function {shown(function)}"
            yield here, what


def _is_unresolvable(value: Value) -> bool:
    """Whether a node is a variable or function that sagebridge does not know."""
    if isinstance(value, Get):
        return value.root in VARIABLES and value.name not in VARIABLES[value.root]
    return unknown_function(value) is not None


def _is_unknown_function(value: Value) -> bool:
    return unknown_function(value) is not None
