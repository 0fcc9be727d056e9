"""Lets a task leave its job to a trigger, and go on after the trigger's event."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sagebridge.model.for_each import most_iterations
from sagebridge_operators.airflow._compat import Context, conf
from sagebridge_operators.airflow.aws_clients import connection_of
from sagebridge_operators.airflow.task_dependencies import for_each_of
from sagebridge_operators.backends import default_name
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.watch import Watch
from sagebridge_operators.steps import JOB_TYPES

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

    from sagebridge_operators.airflow.step_operators import StepOperator

_PASSWORD = re.compile(r"://[^/\s\"]*@")
_DEFAULT_POOL = "default_pool"


def run(
    driver: StepDriver, operator: StepOperator, context: Context, event: Mapping[str, Any]
) -> dict[str, Any]:
    """Runs a step to its end, or defers its task. ``event`` is that of the trigger, or empty."""
    log, status = operator.log, event.get("status")
    if status == "error":
        text = "the triggerer cannot look at the job (%s), so this worker waits for it"
        log.warning(text, event.get("code"))
        return driver.run()
    if event:
        waited, looks = timedelta(seconds=event["seconds"]), event.get("looks", 0)
        log.info("waited %s in the triggerer, with %d looks at the job: %s", waited, looks, status)
    # Each worker starts again to count how long a job is missing, so this one stays.
    if status == "missing" or not defers(operator):
        return driver.run()
    while isinstance(left := driver.run(defer=True), Watch):
        if status == "time-limit":
            driver.interrupt(TimeoutError(f"execution_timeout={operator.execution_timeout}"))
        elif not driver.killed:  # otherwise the next run stops the job
            trigger = _trigger(operator, left, context["ti"].start_date)
            operator.defer(trigger=trigger, method_name=operator.resume.__name__)
    return left


def defers(operator: StepOperator) -> bool:
    """Whether a task leaves its job to a trigger. Logs why a deferrable task does not."""
    wanted = operator.deferrable
    if wanted is None:
        wanted = conf.getboolean("operators", "default_deferrable", fallback=False)
    on_aws = (operator.backend or default_name()) == "aws"
    if not wanted or not on_aws or operator.step.type not in JOB_TYPES:
        return False
    if (why := _why_not(operator)) is not None:
        operator.log.warning("not deferred, so this worker waits for the job: %s", why)
    return why is None


def _why_not(operator: StepOperator) -> str | None:
    if why := JOB_TYPES[operator.step.type].not_deferred:
        return why
    from airflow.triggers.base import BaseTrigger  # slow to import, and few tasks are deferrable

    if not hasattr(BaseTrigger, "on_kill"):
        return "before Airflow 3.3 nothing would stop the job of a deferred task"
    limit = operator.dag.max_active_tasks
    if operator.pool == _DEFAULT_POOL and _is_limit(limit, operator.dag):
        return (
            f"Airflow does not count deferred tasks for max_active_tasks={limit} of the DAG; use a "
            "pool that includes deferred tasks instead"
        )
    try:
        text = json.dumps(operator.botocore_config)
    except TypeError as error:
        return f"botocore_config cannot be stored with the trigger ({error})"
    if _PASSWORD.search(text):
        return (
            "botocore_config contains a password, which Airflow would store with the trigger; move "
            "it to config_kwargs of the connection"
        )
    return None


def _is_limit(limit: int, dag: Any) -> bool:
    """Whether ``max_active_tasks`` was set to limit the tasks of a DAG."""
    if limit == conf.getint("core", "max_active_tasks_per_dag"):
        return False
    most = 0
    for task in dag.tasks:
        loop = for_each_of(task)
        if loop is None and (task.is_mapped or task.get_closest_mapped_task_group()):
            return True
        most += 1 if loop is None else most_iterations(loop.step)
    return limit < most


def _trigger(operator: StepOperator, watch: Watch, started: datetime) -> BaseTrigger:
    """The trigger for what is left of a step whose task started at ``started``.

    Airflow does not apply ``execution_timeout`` to deferred tasks, and when the timeout of a
    trigger has passed, neither stops the job. So the time limit is an argument.
    """
    from sagebridge_operators.airflow.deferral.trigger import JobTrigger

    limit = operator.execution_timeout
    return JobTrigger(
        **asdict(watch),
        time_limit=(started + limit).astimezone(UTC).isoformat() if limit else "",
        connection=asdict(connection_of(operator)),
    )
