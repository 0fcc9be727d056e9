"""The common part of tasks whose work a driver of the lifecycle does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from sagebridge.errors import SagebridgeError
from sagebridge.model.values import EMPTY
from sagebridge_operators.airflow import task_retries
from sagebridge_operators.airflow._compat import AirflowSkipException, Context


class Driver(Protocol):
    """Does the work of a task, such as a StepDriver."""

    killed: bool

    @property
    def reason(self) -> str: ...

    def give_up(self, error: Exception) -> None: ...


class DrivenTask:
    """A mixin for operators: runs a driver, and turns its errors into those of Airflow."""

    _killed = False
    _driver: Any = None

    @property
    def killed(self) -> bool:
        """Whether Airflow ends this worker."""
        return self._killed

    def _prepare(self, context: Context, *, resumes: bool) -> Driver:
        """The driver of the task, which ``resumes`` after a deferral."""
        raise NotImplementedError

    def _drive(self, driver: Any, context: Context, event: Mapping[str, Any]) -> Any:
        """Does the work; returns the result of the task."""
        raise NotImplementedError

    def _run(self, context: Context, event: Mapping[str, Any] = EMPTY) -> Any:
        # Imported here: Airflow parses DAG files far more often than it runs their tasks.
        from sagebridge_operators.airflow import task_log
        from sagebridge_operators.lifecycle.outages import is_outage
        from sagebridge_operators.run_errors import (
            MissingStartDate,
            RecordsUnreachable,
            StepSkipped,
        )

        # Otherwise Airflow stores all links again at the end of a task (finalize() in
        # airflow/sdk/execution_time/task_runner.py), also those of a job that does not exist.
        operator: Any = self  # a BaseOperator
        operator.operator_extra_links = ()
        driver: Driver | None = None
        try:
            driver = self._driver = self._prepare(context, resumes=bool(event))
            driver.killed = self._killed
            return self._drive(driver, context, event)
        except Exception as error:
            if hasattr(error, "reschedule_date"):  # AirflowRescheduleException: not a failure
                raise
            if isinstance(error, StepSkipped):
                raise AirflowSkipException(str(error)) from None
            if isinstance(error, SagebridgeError) and not isinstance(error, RecordsUnreachable):
                context["ti"].xcom_push(key="failure_reason", value=str(error))
                task_retries.retry(self, context["ti"], error)
                # The traceback of user code is in the log already; Sentry gets it as the cause.
                raise task_log.failure(str(error)) from error.__cause__
            if driver is not None and context["ti"].try_number > context["ti"].max_tries:
                driver.give_up(error)
                context["ti"].xcom_push(key="failure_reason", value=driver.reason)
                if is_outage(error):
                    raise task_log.failure(driver.reason) from None
            if is_outage(error) or isinstance(error, MissingStartDate):
                task_log.hide_traceback(error)
            task_retries.keep_rendered_view(self)
            raise

    def on_kill(self) -> None:
        """Makes the driver stop the job; it reacts within a fraction of a second."""
        self._killed = True
        if self._driver is not None:
            self._driver.killed = True
