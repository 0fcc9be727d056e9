"""Runs a pipeline as a flow file in Prefect, in this process."""

from __future__ import annotations

from sagebridge.authoring.flow_signature import live_arguments
from sagebridge.formats.prefect.writer import write
from sagebridge.model.for_each import body_owners
from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.prefect import flow_backends, opened_execution, step_tasks
from tests.prefect.conftest import FinishedRun, Run, flow_of
from tests.whole_pipelines.scenarios import Scenario
from tests.whole_pipelines.trace import EXECUTION, AnyWorld, Trace

_STATES = {"Succeeded": "Completed"}


def run(world: AnyWorld, pipeline: Pipeline, scenario: Scenario, play: Run) -> Trace:
    """Run a scenario; checks that Prefect shows the states of the trace."""
    records = world.begin(pipeline, scenario)
    world.monkeypatch.setattr(flow_backends, "open_backend", lambda name: world.backend)
    world.monkeypatch.setattr(opened_execution, "given_execution", lambda run: EXECUTION)
    world.monkeypatch.setattr(step_tasks, "_SECONDS_BETWEEN", 0.0)
    world.monkeypatch.setenv("SAGEBRIDGE_BACKEND", world.backend_name)
    flow = flow_of(write(pipeline)[0])
    # An argument may have another name than its parameter; their order is the same.
    names = [one.name for one in live_arguments(flow.fn)]
    given = {
        name: scenario.parameters[one.name]
        for name, one in zip(names, pipeline.declared, strict=True)
        if one.name in scenario.parameters
    }
    played = play(flow, given)
    trace = Trace.of(pipeline, records)
    check(pipeline, played, trace)
    return trace


def check(pipeline: Pipeline, played: FinishedRun, trace: Trace) -> None:
    within = body_owners(pipeline)
    expected = {
        name: _STATES.get(one["state"], one["state"])
        for name, one in trace.steps.items()
        if name in played.states and name not in within
    }
    assert {name: played.states[name] for name in expected} == expected
    assert played.state.name == {"Succeeded": "Completed"}.get(trace.status, trace.status)
