"""Runs a pipeline to its end with the lifecycle alone: no engine, one step at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import networkx as nx

from sagebridge.model.for_each import ForEachStep, body_owners
from sagebridge.model.graph import graph
from sagebridge.model.parameters import coerce
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.execution import Execution
from sagebridge_operators.lifecycle.for_each import ForEachDriver
from sagebridge_operators.lifecycle.opening import open_execution, valid_definition
from sagebridge_operators.lifecycle.outputs import references_to
from sagebridge_operators.lifecycle.step_states import blocked, states
from sagebridge_operators.lifecycle.step_task import StepTask
from sagebridge_operators.run_errors import StepFailed
from tests.fakes import STARTED
from tests.whole_pipelines.scenarios import Scenario
from tests.whole_pipelines.trace import EXECUTION, AnyWorld, Trace


def run(world: AnyWorld, pipeline: Pipeline, scenario: Scenario) -> Trace:
    """Run a scenario. Raises InvalidPipeline or ParameterError before the first step."""
    records = world.begin(pipeline, scenario)
    written = valid_definition(pipeline)
    name = pipeline.name or "pipeline"
    execution = Execution(
        EXECUTION,
        name,
        "in-process",
        f"{name}/run",
        STARTED,
        coerce(pipeline.declared, scenario.parameters),
        pipeline.experiment_config,
    )
    open_execution(records, EXECUTION, execution.described(world.backend.name), lambda: written)

    def outputs(name: str, *index: int) -> dict[str, object] | None:
        """The outputs of a step: of the same iteration, or outside the loop."""
        known = {one.index: one for one in records.current(EXECUTION) if one.step == name}
        attempt = known.get(index, known.get(()))
        found = attempt.outputs if attempt is not None else None
        return None if found is None else dict(found)

    def task(step: Step, *index: int) -> StepTask:
        return StepTask(
            step,
            execution,
            world.backend,
            records,
            lambda name: outputs(name, *index),
            references=references_to(step.name, pipeline.steps),
            pipeline=pipeline,
            index=index,
        )

    within = body_owners(pipeline)
    for name in nx.topological_sort(graph(pipeline)):
        step = pipeline.step(name)
        assert step is not None
        if name in within or states(pipeline, records.steps(EXECUTION))[name] != "Pending":
            continue
        with suppress(StepFailed):
            if isinstance(step, ForEachStep):
                _run_for_each(step, task)
            else:
                StepDriver(task(step)).run()
    return Trace.of(pipeline, records)


def _run_for_each(step: ForEachStep, task: Callable[..., StepTask]) -> None:
    """Run one iteration after another."""
    driver = ForEachDriver(task(step), logging.getLogger(__name__))
    order: Any
    order, step_of = graph(Pipeline(steps=step.inner)), {one.name: one for one in step.inner}
    for index in range(len(driver.begin())):
        reached: dict[str, str] = {}
        for name in nx.topological_sort(order):
            blocking = [
                blocked(reached[before], trigger)
                for before, _, triggers in order.in_edges(name, "triggers")
                for trigger in triggers
            ]
            found = next(filter(None, blocking), None)
            reached[name] = found or _run_iteration(task(step_of[name], index))
    driver.finish()


def _run_iteration(task: StepTask) -> str:
    try:
        StepDriver(task).run()
    except StepFailed as failed:
        return failed.state
    return "Succeeded"
