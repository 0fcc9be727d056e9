"""Recorded attempts, for tests that run no step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sagebridge_operators.lifecycle.attempt import Attempt, Failure, Part, Phase, State
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.run_errors import FailureKind

_KINDS: Mapping[State, FailureKind] = {"Failed": "job", "Stopped": "stopped"}


def attempt_of(
    execution: str,
    step: str,
    type_: str = "Processing",
    state: State = "Executing",
    *,
    reason: str = "",
    job: str | None = None,
    outputs: Mapping[str, Any] | None = None,
    started: str = "2026-11-21T00:00:01+00:00",
    ended: str = "2026-11-21T00:00:03+00:00",
    **more: Any,
) -> Attempt:
    """An attempt in a state, with a job if it has a name."""
    parts = (Part(job, f"arn:aws:sagemaker:::{job}"),) if job else ()
    phase: Phase = "created" if job else "planned"
    attempt = Attempt(execution, step, type_, started, phase=phase, parts=parts, **more)
    if state == "Executing":
        return attempt
    if state == "Stopping":
        return replace(attempt, phase="stopping")
    failure = Failure(_KINDS[state], reason) if state in _KINDS else None
    return attempt.with_end(state, failure, outputs, ended)


def execution_of(records: ExecutionRecords, run: str) -> str:
    """The id of the execution of ``run``, the engine's name for it."""
    bodies = {one: records.execution(one) or {} for one in records.ids()}
    found = [one for one, body in bodies.items() if body.get("run") == run]
    assert found, f"no execution of {run}"
    return found[0]


def job_of(attempt: Attempt) -> Part:
    """The job of an attempt that has one."""
    assert attempt.job is not None, attempt
    return attempt.job


def outputs_of(attempt: Attempt) -> Mapping[str, Any]:
    """The outputs of an attempt that succeeded."""
    assert attempt.outputs is not None, attempt
    return attempt.outputs
