"""One step as its engine hands it over to the driver."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from sagebridge.model.expressions import Get
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge_operators.lifecycle.backend import Backend
from sagebridge_operators.lifecycle.execution import Execution
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.resolve import Upstream
from sagebridge_operators.lifecycle.user_code.run_context import PipelineRuns, RunContext


class Log(Protocol):
    """A standard logger, or an engine's logger with the same methods."""

    def info(self, event: str, /, *args: Any) -> Any: ...

    def warning(self, event: str, /, *args: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class EngineRun:
    """What only the engine knows about a run and its user code.

    Args:
        run_id: the engine's id of the run, as user code sees it.
        scheduled: when the run was due; None means that it started by hand.
        context: returns Airflow's context, by name, for functions and templates that use it.
        render: renders a template instead of sagebridge, as Airflow itself does in a DAG.
        runs: the other runs of the engine.
        facts: more values, for the engine's own modules.
        secret: returns a secret by its store, name and keys.
    """

    run_id: str = ""
    scheduled: datetime | None = None
    context: Callable[[RunContext], Mapping[str, Any]] | None = None
    render: Callable[[str], Any] | None = None
    runs: PipelineRuns | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    secret: Callable[[Sequence[str]], Any] | None = None


@dataclass(frozen=True, slots=True)
class StepTask:
    """One step with its context, as its engine hands it over.

    Args:
        upstream: returns the outputs of another step, or None if it has none.
        function: the function of a Python step.
        references: the pipeline's references to the step.
        pipeline: the whole pipeline, so that a condition can report the steps that it skips.
        generation: grows when a user runs the step again, not when a worker is lost.
        index: the indexes of a mapped task, outermost first.
        engine_try: the number of the engine's try; it only grows.
        resumes: whether the same try goes on after its worker left the job.
        settings: how another process finds the job, as in :class:`~.attempt.Attempt`.
        role: the role of a job whose arguments have none.
        engine_run: what the engine knows about the run, for user code.
        user_retries: how often a failed step is run again, as the user of the engine requested.
        time_limit: the seconds of one try, if the engine itself does not interrupt it.
        on_request: called with the request, or the report of a condition; secrets are masked.
        on_secrets: called before ``on_request``, with the values whose names look secret.
        on_job: called with the job's name and ARN once the job exists.
        on_links: called with the URLs of a job's pages in the AWS console, by link name.
    """

    step: Step
    execution: Execution
    backend: Backend
    records: ExecutionRecords
    upstream: Upstream
    function: Callable[..., Any] | None = None
    references: Sequence[Get] = ()
    pipeline: Pipeline | None = None
    generation: int = 0
    index: tuple[int, ...] = ()
    engine_try: int = 0
    resumes: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    role: str | None = None
    engine_run: EngineRun = field(default_factory=EngineRun)
    user_retries: int = 0
    time_limit: float | None = None
    on_request: Callable[[Mapping[str, Any]], None] = lambda request: None
    on_secrets: Callable[[Sequence[str]], None] = lambda values: None
    on_job: Callable[[Mapping[str, Any]], None] = lambda job: None
    on_links: Callable[[Mapping[str, str]], None] = lambda links: None
