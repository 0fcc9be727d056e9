"""Schedules as five fields of Unix cron, as users of Airflow and Prefect write them."""

from __future__ import annotations

from dataclasses import replace

from sagebridge.authoring.clock_changes import changes_clocks, clock_change_slot
from sagebridge.model.code_steps import CarriedStep
from sagebridge.model.pipeline import ENGINE_FILES, Pipeline, walk
from sagebridge.model.schedule_expressions import Cron, ExpressionError
from sagebridge.model.schedules import Schedule
from sagebridge.model.unix_cron import from_unix, to_unix


def plain_cron(pipeline: Pipeline, schedule: Schedule) -> str:
    """The five fields of Unix cron that mean exactly the expression of a schedule.

    Empty if there are none, and for a pipeline of SageMaker, whose users know EventBridge's cron.
    """
    if pipeline.origin in ENGINE_FILES or any(
        isinstance(one, CarriedStep) for one in walk(pipeline)
    ):
        return to_unix(schedule.expression)
    return ""


def with_expression(schedule: Schedule) -> Schedule:
    """A schedule with an expression of the model in place of five fields of Unix cron.

    What cannot be read is kept, and reported by ``validate``.
    """
    if len(schedule.expression.split()) != 5 or "(" in schedule.expression:
        return schedule
    try:
        return replace(schedule, expression=from_unix(schedule.expression))
    except ExpressionError:
        return schedule


def moved_by_airflow(cron: Cron, timezone: str) -> str:
    """How Airflow's own times at changes of clocks differ; empty if they do not."""
    if slot := clock_change_slot(cron, timezone):
        return (
            f"slots at changes of clocks, such as {slot.isoformat(' ', 'minutes')} in "
            f"{timezone}, are skipped or run once; Airflow shifts or repeats them"
        )
    # With * as hours, Airflow adds the local distance (_get_next in timetables/_cron.py).
    if cron.fields[1] == "*" and changes_clocks(timezone):
        return (
            f"the first slot after a change of clocks in {timezone} has the same local time as "
            "always; Airflow shifts it by the change"
        )
    return ""
