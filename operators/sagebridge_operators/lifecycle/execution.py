"""One execution of a pipeline and the names of its jobs.

A job's name depends only on execution, generation, step, index and number. A worker that replaces a
lost one therefore finds the existing job instead of starting a second one. The name contains the
execution's id, so a job with that name never belongs to another execution.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sagebridge.model.values import ABSENT, Value
from sagebridge_operators.lifecycle.attempt import FORMAT


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution of a pipeline.

    Args:
        engine: ``airflow`` or ``prefect``.
        run: the engine's name for it, such as ``<dag id>/<run id>``.
        started: ``Execution.StartDateTime``; has a time zone.
        parameters: the values of the parameters, coerced to their declared types.
    """

    id: str
    pipeline: str
    engine: str
    run: str
    started: datetime
    parameters: Mapping[str, Any]
    experiment_config: Value = ABSENT

    @classmethod
    def of(cls, record: Mapping[str, Any], experiment_config: Value = ABSENT) -> Execution:
        """The execution with this record."""
        return cls(
            id=record["id"],
            pipeline=record["pipeline"],
            engine=record["engine"],
            run=record["run"],
            started=datetime.fromisoformat(record["started"]),
            parameters=record["parameters"],
            experiment_config=experiment_config,
        )

    def described(self, backend: str) -> dict[str, Any]:
        """The record of the execution; ``backend`` is the backend's name."""
        return {
            "format": FORMAT,
            "id": self.id,
            "pipeline": self.pipeline,
            "engine": self.engine,
            "run": self.run,
            "backend": backend,
            "started": self.started.isoformat(),
            "parameters": dict(self.parameters),
        }


def execution_id(*run: str) -> str:
    """12 hex characters from strings that together identify one run of an engine."""
    return _digest(*run)


def given_execution(run: str) -> str:
    """The id that ``sagebridge run`` set for a run of its engine; otherwise empty.

    It is in SAGEBRIDGE_EXECUTION as ``<run>=<id>``.
    """
    given_run, _, given = os.environ.get("SAGEBRIDGE_EXECUTION", "").rpartition("=")
    return given if given_run == run else ""


def airflow_execution_id(dag_id: str, run_id: str, first_start: datetime, installation: str) -> str:
    """The id of a DAG run's execution; ``first_start`` distinguishes runs with the same id."""
    start = first_start.astimezone(UTC).isoformat(timespec="microseconds")
    return _digest("airflow", installation, dag_id, run_id, start)


def job_token(execution: str, generation: int, step: str, index: tuple[int, ...] = ()) -> str:
    """12 hex characters that identify one generation of one step and index."""
    return _digest(execution, str(generation), step, *map(str, index))


def job_name(
    execution: str,
    generation: int,
    step: str,
    number: int,
    *,
    index: tuple[int, ...] = (),
    limit: int = 63,
    prefix: str | None = None,
) -> str:
    """``pipelines-<execution>-<step[:20]>-<token>-<number>`` in at most ``limit`` characters.

    With the ``prefix`` of a definition the name is ``<prefix>-<execution>-<token>-<number>``. 63 is
    SageMaker's limit for most job names. If the name is too long, the step part is shortened, then
    the prefix; never the token or the number.
    """
    token = job_token(execution, generation, step, index)
    first, part = "pipelines", step[:20].replace("_", "-")
    if prefix is not None:
        first, part = prefix, ""

    def built() -> str:
        return "-".join(word for word in (first, execution, part, token, str(number)) if word)

    if (over := len(built()) - limit) > 0:
        part = part[: max(0, len(part) - over)]
    if (over := len(built()) - limit) > 0:
        first = first[: max(0, len(first) - over)]
    return built()


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
