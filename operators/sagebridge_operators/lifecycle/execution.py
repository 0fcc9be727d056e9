"""One execution of a pipeline and the names of the jobs that it starts.

A job's name is a function of execution, generation, step, index and number only, so that a worker
that comes back after a loss finds its own job instead of starting a second. Since it holds the
execution's id, a job of that name is never another execution's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sagebridge.model.values import ABSENT, Value
from sagebridge_operators.lifecycle.attempt import FORMAT


@dataclass(frozen=True, slots=True)
class Execution:
    """``run`` is the engine's own name for it; ``parameters`` are coerced; ``started`` is aware."""

    id: str
    pipeline: str
    engine: str
    run: str
    started: datetime
    parameters: Mapping[str, Any]
    experiment_config: Value = ABSENT

    def described(self, backend: str) -> dict[str, Any]:
        """Its record."""
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
    """12 hex characters for what sets one run of an engine apart from all others."""
    return _digest(*run)


def airflow_execution_id(dag_id: str, run_id: str, first_start: datetime, installation: str) -> str:
    """The id of a DAG run's execution; ``first_start`` tells runs of the same id apart."""
    start = first_start.astimezone(UTC).isoformat(timespec="microseconds")
    return _digest("airflow", installation, dag_id, run_id, start)


def job_token(execution: str, generation: int, step: str, index: tuple[int, ...] = ()) -> str:
    """12 hex characters that set one generation of one step apart within all executions."""
    return _digest(execution, str(generation), step, *map(str, index))


def job_name(
    execution: str,
    generation: int,
    step: str,
    number: int,
    *,
    index: tuple[int, ...] = (),
    limit: int = 63,
) -> str:
    """``pipelines-<execution>-<step[:20]>-<token>-<number>`` in at most ``limit`` characters.

    To fit, the step part is shortened, then the prefix; the token and the number never are.
    """
    token = job_token(execution, generation, step, index)
    prefix, part = "pipelines", step[:20].replace("_", "-")

    def built() -> str:
        return "-".join(word for word in (prefix, execution, part, token, str(number)) if word)

    if (over := len(built()) - limit) > 0:
        part = part[: max(0, len(part) - over)]
    if (over := len(built()) - limit) > 0:
        prefix = prefix[: max(0, len(prefix) - over)]
    return built()


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
