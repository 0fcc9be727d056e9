"""Keeps the tracebacks of expected failures out of the logs of flow runs and task runs."""

from __future__ import annotations

import logging

from sagebridge.errors import SagebridgeError
from sagebridge_operators.lifecycle.outages import is_outage


def hide_expected_tracebacks() -> None:
    """Makes Prefect log expected failures as one line; unexpected errors keep their traceback."""
    for name in ("prefect.task_runs", "prefect.flow_runs"):
        logging.getLogger(name).addFilter(_without_traceback)  # added once, however often


def _without_traceback(record: logging.LogRecord) -> bool:
    """A filter that keeps every record.

    For a Failed state that a task returns, Prefect logs ``exc_info=True`` outside an ``except``
    block (handle_retry in prefect/task_engine.py), which would print "NoneType: None".
    """
    error = record.exc_info[1] if record.exc_info else None
    if error is None or isinstance(error, SagebridgeError) or is_outage(error):
        record.exc_info = None
    return True
