"""Where user code runs: its run, step and try. The same facts on every engine.

The names of the other engine that carried code uses, the templates and the library read them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from sagebridge.errors import UsageError
from sagebridge.model.pipeline import Pipeline

RUN_ENDS: frozenset[str] = frozenset(("Succeeded", "Failed", "Stopped"))
"""The states of a run in which it does not change any more."""


class PipelineRuns(Protocol):
    """The runs of all DAGs, or of all deployments, of the engine. States are those of steps."""

    def start(
        self,
        pipeline: str,
        parameters: Mapping[str, Any],
        *,
        run_id: str = "",
        logical_date: datetime | None = None,
    ) -> str:
        """Starts a run of a DAG, or of a deployment ``flow/name``; returns its id.

        If there is a run with this ``run_id`` already, it returns that one.
        """
        ...

    def state(self, pipeline: str, run_id: str) -> str:
        """Pending, Executing, Succeeded, Failed or Stopped; empty if there is no such run."""
        ...

    def at(self, pipeline: str, dates: Sequence[datetime]) -> Mapping[datetime, str]:
        """The state of the run for each logical date that has one."""
        ...

    def step_states(
        self, pipeline: str, dates: Sequence[datetime], steps: Sequence[str]
    ) -> Mapping[datetime, Mapping[str, str]]:
        """The states of steps in the run for each logical date that has one.

        A step that has not started is left out.
        """
        ...


@dataclass(frozen=True, slots=True)
class RunContext:
    """The run, step and try of user code.

    Args:
        engine: ``airflow`` or ``prefect``.
        pipeline: the pipeline of the run; its name is that of the DAG or flow.
        execution: the id of the execution.
        run_id: the engine's id of the run: a DAG run's, or a flow run's.
        started: when the run started; has a time zone.
        scheduled: when it was due: Airflow's logical date, or the scheduled start of a flow run.
        parameters: the values of the pipeline's parameters.
        step: the name of the step.
        index: the position of the iteration, in the body of a ForEach.
        try_number: the first try is 1.
        retries: how often the step is tried again.
        pull: ``pull(step, key, index)`` returns a value that a step has returned (key
            ``return_value``) or pushed; None if it did not. The result is a list in the order of
            the iterations if the step is in the body of another ForEach and ``index`` is None.
        push: ``push(key, value)`` keeps a value for the steps that come later.
        runs: other runs of the engine; None if the engine offers none.
        facts: more values of the engine. The library reads ``next_run`` (when the following run
            of the schedule is due), ``data_interval_end``, and ``folder_of_connection`` (a function
            that returns the folder of a connection).
        began: when the try began; None if that is not known.
        secrets: what the code has read from secret stores so far, with references to it.
    """

    engine: str
    pipeline: Pipeline
    execution: str
    run_id: str
    started: datetime
    scheduled: datetime
    parameters: Mapping[str, Any]
    step: str
    index: int | None
    try_number: int
    retries: int
    pull: Callable[[str, str, int | None], Any]
    push: Callable[[str, Any], None]
    runs: PipelineRuns | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    began: datetime | None = None
    secrets: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the pipeline."""
        return self.pipeline.name or ""


CURRENT: ContextVar[RunContext | None] = ContextVar("sagebridge_run_context", default=None)


def current_run() -> RunContext:
    """The context of the calling user code. Raises UsageError outside of a step."""
    if (context := CURRENT.get()) is None:
        raise UsageError("this name has a value only in the code of a running step")
    return context


@contextmanager
def in_run(context: RunContext) -> Iterator[None]:
    """Makes ``context`` the current one."""
    before = CURRENT.set(context)
    try:
        yield
    finally:
        CURRENT.reset(before)
