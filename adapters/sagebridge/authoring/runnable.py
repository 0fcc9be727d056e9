"""Which steps sagebridge's operators can run. Steps that cannot run are only translated."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sagebridge.model.code_steps import CarriedStep
from sagebridge.model.display import shown
from sagebridge.model.local_differences import refusals
from sagebridge.model.pipeline import Pipeline, Step, walk
from sagebridge.model.step_types import STEP_TYPES, UNPUBLISHED

CANNOT_RUN = "cannot-run"
"""The tag of DAGs and deployments of pipelines that cannot run."""


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


def why_not_local(step: Step) -> list[str]:
    """The reasons why a step cannot run on this machine, as above; empty if it can."""
    row = STEP_TYPES.get(step.type)
    if isinstance(step, CarriedStep) or row is None:
        return []
    if row.needs_aws:
        return [
            f"steps of type {step.type} on this machine, as {row.needs_aws} (step {step.name!r})"
        ]
    arguments = step.arguments if isinstance(step.arguments, Mapping) else {}
    return [
        f"step {step.name!r} on this machine: {what}"
        for what in refusals(step.type, {**step.extra, **arguments})
    ]


def why_pipeline_not_runnable(
    pipeline: Pipeline, is_local: Callable[[str], bool] = lambda name: False
) -> str | None:
    """The reasons for all steps of a pipeline, as in "cannot run ..."; None if it can run.

    ``is_local`` is whether the backend of a step, by its name, is this machine.
    A pipeline is refused as a whole, before its first job, since a step that cannot run may come
    after jobs that cost money.
    """
    steps = list(walk(pipeline))
    reasons = [why for step in steps if (why := why_not_runnable(step)) is not None]
    reasons += [why for step in steps if is_local(step.name) for why in why_not_local(step)]
    return "; ".join(reasons) or None


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
