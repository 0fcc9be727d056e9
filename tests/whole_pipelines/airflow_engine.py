"""Runs a pipeline as a DAG file in Airflow, in this process."""

from __future__ import annotations

from typing import Any

import sagebridge
from sagebridge.model.for_each import body_owners
from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.airflow import task_runtime
from sagebridge_operators.airflow.aws_clients import AwsConnection
from sagebridge_operators.airflow.step_operators import StepOperator
from tests.dagtest import FinishedRun, play
from tests.whole_pipelines.scenarios import Scenario
from tests.whole_pipelines.trace import EXECUTION, AnyWorld, Trace

_STATES = {
    "Succeeded": "success",
    "Failed": "failed",
    "Stopped": "failed",
    "Skipped": "skipped",
    "NotRun": "upstream_failed",
}


def run(world: AnyWorld, pipeline: Pipeline, scenario: Scenario) -> Trace:
    """Run a scenario; checks that Airflow shows the states of the trace."""
    records = world.begin(pipeline, scenario)
    world.monkeypatch.setattr(AwsConnection, "backend", lambda connection, **more: world.backend)
    world.monkeypatch.setattr(task_runtime, "given_execution", lambda run: EXECUTION)
    played = play(dag_of(pipeline), scenario.parameters)
    trace = Trace.of(pipeline, records)
    check(pipeline, played, trace)
    return trace


def dag_of(pipeline: Pipeline) -> Any:
    """The DAG of the file that ``translate`` writes."""
    names: dict[str, Any] = {"__name__": "generated"}
    exec(compile(sagebridge.write(pipeline, "airflow").text, "generated.py", "exec"), names)
    return next(one.dag for one in names.values() if isinstance(one, StepOperator))


def check(pipeline: Pipeline, played: FinishedRun, trace: Trace) -> None:
    within = body_owners(pipeline)
    shown = played.states
    expected = {
        name: _STATES[one["state"]]
        for name, one in trace.steps.items()
        if name in shown and name not in within
    }
    assert {name: shown[name] for name in expected} == expected
    assert played.state == ("success" if trace.status == "Succeeded" else "failed")
