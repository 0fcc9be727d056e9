"""Keeps the traceback of an expected failure out of a task's log."""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from typing import Any

# compat.sdk: AirflowFailException is in airflow.exceptions in 3.1, airflow.sdk.exceptions in 3.3.
from airflow.providers.common.compat.sdk import AirflowFailException

_EXPECTED = "_sagebridge_expected"


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
    processors is changed in place, as in structlog/testing.py, because loggers hold it.
    """
    import structlog  # here: Airflow loads it, but parsing a DAG does not need it

    setattr(error, _EXPECTED, True)
    processors = structlog.get_config()["processors"]
    if isinstance(processors, list) and _show_message_only not in processors:
        processors.insert(0, _show_message_only)


def _show_message_only(
    logger: Any, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A structlog processor."""
    error = sys.exc_info()[1]
    if event.get("exc_info") and hasattr(error, _EXPECTED):
        del event["exc_info"]
        event["event"] = f"{event['event']}: {error}"
    return event
