"""Which steps sagebridge's operators can run. Steps that cannot run are only translated."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from sagebridge.model.code_steps import CarriedStep
from sagebridge.model.display import shown
from sagebridge.model.expressions import references
from sagebridge.model.local_differences import refusals
from sagebridge.model.local_rejections import SERVED
from sagebridge.model.pipeline import Pipeline, Step, walk
from sagebridge.model.step_types import STEP_TYPES, UNPUBLISHED

CANNOT_RUN = "cannot-run"
"""The tag of DAGs and deployments of pipelines that cannot run."""
WhyNotHere = Callable[[Step, Pipeline], Iterable[tuple[str, str]]]
"""Returns the reasons why a step cannot run on this machine, each with the step that has it."""


def why_not_runnable(step: Step) -> str | None:
    """The reason why sagebridge cannot run a step, as in "cannot run ..."; None if it can."""
    row = STEP_TYPES.get(step.type)
    if not (isinstance(step, CarriedStep) or (row is not None and row.runs)):
        if row is not None:
            return f"steps of type {step.type} yet (step {step.name!r})"
        reason = UNPUBLISHED.get(step.type, "an unknown type")
        return f"steps of type {step.type} (step {step.name!r}: {reason})"
    for item in step.depends_on or ():
        if not isinstance(item, str) and not item.is_known:
            trigger = shown(item.trigger)
            return f"steps with the unknown dependency trigger {trigger} (step {step.name!r})"
    return None


def why_not_local(step: Step, pipeline: Pipeline) -> list[tuple[str, str]]:
    """The reasons why a step cannot run on this machine, each with the step that has it."""
    row = STEP_TYPES.get(step.type)
    if isinstance(step, CarriedStep) or row is None:
        return []
    if row.needs_aws:
        return [(f"steps of type {step.type}, as {row.needs_aws}", step.name)]
    request = _request(step)
    found = [(what, step.name) for what in refusals(step.type, request)]
    served = tuple(request[key] for key in ("ModelName", "ProductionVariants") if key in request)
    for reference in references(served):
        model = pipeline.step(reference.name) if reference.root == "Steps" else None
        if model is not None and model.type == "Model":
            found += [(what, model.name) for what in refusals(SERVED, _request(model))]
    return found


def _request(step: Step) -> dict[str, Any]:
    arguments = step.arguments if isinstance(step.arguments, Mapping) else {}
    return {**step.extra, **arguments}


def why_pipeline_not_runnable(
    pipeline: Pipeline, why_not_here: WhyNotHere = lambda step, pipeline: ()
) -> str | None:
    """The reasons for all steps of a pipeline, as in "cannot run ..."; None if it can run.

    ``why_not_here`` returns the reasons of a step whose backend is this machine.
    A pipeline is refused as a whole, before its first job, since a step that cannot run may come
    after jobs that cost money.
    """
    steps = list(walk(pipeline))
    reasons = [why for step in steps if (why := why_not_runnable(step)) is not None]
    here: dict[str, dict[str, None]] = {}
    for step in steps:
        for what, name in why_not_here(step, pipeline):
            here.setdefault(what, {})[repr(name)] = None
    if here:
        listed = (f"{what} ({_steps(names)})" for what, names in here.items())
        reasons.append(f"on this machine: {'; '.join(listed)}")
    return "; ".join(reasons) or None


def _steps(names: Collection[str]) -> str:
    return f"step{'s' if len(names) > 1 else ''} {', '.join(names)}"


def warning(pipeline: Pipeline) -> str | None:
    """The line that commands print for a pipeline that cannot run; None if it can."""
    if (what := why_pipeline_not_runnable(pipeline)) is None:
        return None
    return f"warning: sagebridge cannot run {what}; executions are rejected before the first job"


def described(text: str | None, pipeline: Pipeline) -> str:
    """A description in an engine's UI, with a note if the pipeline cannot run."""
    what = why_pipeline_not_runnable(pipeline)
    note = what and f"sagebridge cannot run {what}. Each run fails before its first job."
    return "\n\n".join(filter(None, (text, note)))
