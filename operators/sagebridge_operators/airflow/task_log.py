"""Keeps the traceback of an expected failure out of a task's log."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

from sagebridge_operators.airflow._compat import IS_AIRFLOW_2, AirflowFailException

_EXPECTED = "_sagebridge_expected"
_LOGGERS = (
    "airflow.task",
    "airflow.task.task_runner.standard_task_runner.StandardTaskRunner",
    "airflow.models.dag.DAG",
)
"""The loggers of Airflow 2 that log the exception of a task: three times, the last in dag.test."""


def failure(reason: str) -> AirflowFailException:
    """The exception that fails a task without a retry; its log ends with the reason."""
    error = AirflowFailException(reason)
    hide_traceback(error)
    return error


def hide_traceback(error: BaseException) -> None:
    """Makes Airflow log an exception that leaves ``execute`` as one line with its message.

    Airflow logs every such exception with its traceback, and has no setting for it
    (_run_task_and_map_outcome in airflow/sdk/execution_time/task_runner.py). structlog lets a
    processor change an event before it is rendered ("Processors" in its documentation). The list of
    processors is changed in place, as in structlog/testing.py, because loggers hold it. Airflow 2
    logs without structlog.
    """
    setattr(error, _EXPECTED, True)
    if IS_AIRFLOW_2:
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(_keep_message_only)
        return
    import structlog  # here: Airflow loads it, but parsing a DAG does not need it

    processors = structlog.get_config()["processors"]
    if isinstance(processors, list) and _show_message_only not in processors:
        processors.insert(0, _show_message_only)


def _keep_message_only(record: logging.LogRecord) -> bool:
    """A filter of a logger."""
    error = record.exc_info[1] if record.exc_info else None
    if hasattr(error, _EXPECTED):
        record.msg, record.args = f"{record.getMessage()}: {error}", None
        record.exc_info = record.exc_text = None
    return True


def _show_message_only(
    logger: Any, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A structlog processor."""
    error = sys.exc_info()[1]
    if event.get("exc_info") and hasattr(error, _EXPECTED):
        del event["exc_info"]
        event["event"] = f"{event['event']}: {error}"
    return event
