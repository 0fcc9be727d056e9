"""How often Airflow may try a task: the user's own retries, and two more for lost workers.

``retries`` of an operator is N, the number that its user gave. Airflow's scheduler gets N + 2: it
cannot distinguish a failed job from a lost worker, and the records count the failed ones. The two
are added after all cluster policies, which therefore read and set N.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow import settings
from airflow.exceptions import AirflowClusterPolicyViolation
from airflow.policies import hookimpl

from sagebridge.errors import SagebridgeError

_ATTRIBUTE = "sagebridge_user_retries"
_PLUGIN = "sagebridge-retries"


class _AddRetries:
    """Cluster policies that run last."""

    @staticmethod
    @hookimpl(trylast=True)
    def dag_policy(dag: Any) -> None:
        # Airflow calls StepOperator.resolve_template_files, but no method of a mapped operator.
        if any(hasattr(_class_of(task), "step_type") for task in dag.tasks):
            from sagebridge_operators.airflow import task_dependencies

            try:
                task_dependencies.complete(dag)
            except SagebridgeError as error:
                raise AirflowClusterPolicyViolation(str(error)) from None

    @staticmethod
    @hookimpl(trylast=True)
    def task_policy(task: Any) -> None:
        for_lost_workers = getattr(_class_of(task), "retries_for_lost_workers", None)
        if for_lost_workers is None or hasattr(task, _ATTRIBUTE):
            return
        retries = int(task.retries or 0)
        setattr(task, _ATTRIBUTE, retries)
        task.retries = retries + for_lost_workers


def _class_of(task: Any) -> Any:
    # A mapped operator is not an instance of its class.
    return getattr(task, "operator_class", type(task))


def register_policy() -> None:
    """Registers the policy in this process, once.

    Not an ``airflow.policy`` entry point: Airflow loads those in all of its processes, before the
    classes of operators exist (initialize() in airflow/settings.py).
    """
    plugins = policy_plugins()
    if plugins is not None and not plugins.has_plugin(_PLUGIN):
        plugins.register(_AddRetries, _PLUGIN)


def policy_plugins() -> Any:
    """Airflow's plugins for cluster policies; None if Airflow is not initialized."""
    if (found := getattr(settings, "get_policy_plugin_manager", None)) is not None:
        return found()
    return settings.POLICY_PLUGIN_MANAGER  # Airflow 3.1


def user_retries(operator: Any) -> int:
    """The retries that the user of an operator gave, also for one task of a mapped operator."""
    parsed = operator.dag.task_dict.get(operator.task_id, operator)
    found: int = getattr(parsed, _ATTRIBUTE, operator.retries) or 0
    return found


def retry(operator: Any, ti: Any, error: Exception) -> None:
    """Raises the exception with which Airflow retries a failed step, if it is to be retried.

    That is the exception of the step's function, if it raised one, so that a ``retry_policy``
    matches it; otherwise ``error``.
    """
    # Imported here: parsing a DAG does not need them.
    from sagebridge_operators.airflow import task_log
    from sagebridge_operators.airflow._compat import AirflowException, AirflowFailException

    tries, cause = getattr(error, "retry", None), error.__cause__
    if not tries or ti.try_number > ti.max_tries or isinstance(cause, AirflowFailException):
        return
    text = "try %s of %s failed; Airflow starts the step again%s"
    operator.log.warning(text, *tries, _delay(operator))
    keep_rendered_view(operator)
    # Airflow's other exceptions would change the state of the task, for example to skipped.
    if cause is None or isinstance(cause, AirflowException | SystemExit):
        task_log.hide_traceback(error)
        raise error
    task_log.hide_traceback(cause)
    raise cause


def keep_rendered_view(operator: Any) -> None:
    """Keeps Airflow up to 3.1 from storing the rendered view of a task that it may retry.

    It does so when the task has the id of its next try already, which is rejected and logged with a
    traceback; in ``dag.test`` of Airflow 3.0 the task fails (finalize() in
    airflow/sdk/execution_time/task_runner.py).
    """
    if not hasattr(settings, "get_policy_plugin_manager"):
        operator.overwrite_rtif_after_execution = False


def _delay(operator: Any) -> str:
    """When Airflow retries; empty if it computes the time itself."""
    if operator.retry_exponential_backoff or getattr(operator, "retry_policy", None):
        return ""
    delay = operator.retry_delay
    delay = delay if isinstance(delay, timedelta) else timedelta(seconds=delay)
    return f" in {delay.total_seconds():g} s"
