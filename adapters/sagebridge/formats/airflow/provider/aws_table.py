"""The table of operators and sensors that are one call of an AWS API, or a call and a wait.

It is ``aws_operators.json``. A string that begins with ``:`` is the argument of that name, which is
left out if it is empty; after ``|`` follows a change of it. The key ``**`` merges an argument that
is a dict. :mod:`sagebridge.model.aws_calls` describes the rest. The calls follow ``execute`` and
``poke`` of the classes in ``airflow/providers/amazon/aws/``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True)
class Given:
    """A value of the DAG in a row."""

    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One operator.

    Attributes:
        call: service and operation, such as ``glue:StartJobRun``; only the service of a sensor.
        request, before, ignore, result, fails, wait, stop: as in the arguments of a call.
        waits: the argument that decides whether it waits; True if it always does.
        more: arguments that need no place in the step, or only decide about others.
    """

    call: str
    request: Mapping[str, Any] = field(default_factory=dict)
    before: tuple[Mapping[str, Any], ...] = ()
    ignore: tuple[str, ...] = ()
    result: str = ""
    fails: str = ""
    wait: Mapping[str, Any] | None = None
    stop: Mapping[str, Any] | None = None
    waits: str | bool = "wait_for_completion"
    more: tuple[str, ...] = field(default=())


def _read_rows() -> dict[str, Row]:
    text = Path(__file__).with_name("aws_operators.json").read_text(encoding="utf-8")
    return {name: Row(**row) for name, row in json.loads(text).items()}


ROWS: Mapping[str, Row] = MappingProxyType(_read_rows())
POLLING = frozenset(
    (
        *("waiter_delay", "waiter_max_attempts", "max_polling_attempts", "poll_interval"),
        *("sleep_time", "check_interval", "poke_interval", "max_retries", "max_attempts"),
        *("max_attempt", "waiter_interval", "verbose", "log_query", "wait_for_completion"),
        *("openlineage_inject_parent_job_info", "openlineage_inject_transport_info"),
        "sleep_before_return",
    )
)
"""Arguments that decide how often or how long an operator looks, and what it logs."""
SENSOR_ARGUMENTS = ("timeout", "mode", "soft_fail", "exponential_backoff", "max_wait")
"""Arguments of sensors that are settings of the step, or only decide about Airflow's slots."""
