"""Runs a pipeline to its end with the lifecycle alone: no engine, one step at a time."""

from __future__ import annotations

from contextlib import suppress

import networkx as nx

from sagebridge.model.graph import graph
from sagebridge.model.parameters import coerce
from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.execution import Execution
from sagebridge_operators.lifecycle.opening import open_execution, valid_definition
from sagebridge_operators.lifecycle.outputs import references_to
from sagebridge_operators.lifecycle.step_states import states
from sagebridge_operators.lifecycle.step_task import StepTask
from sagebridge_operators.run_errors import StepFailed
from tests.fakes import STARTED
from tests.whole_pipelines.scenarios import Scenario
from tests.whole_pipelines.trace import EXECUTION, Trace
from tests.whole_pipelines.world import World


def run(world: World, pipeline: Pipeline, scenario: Scenario) -> Trace:
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
    open_execution(records, EXECUTION, execution.described("aws"), lambda: written)

    def outputs(step: str) -> dict[str, object] | None:
        attempt = records.steps(EXECUTION).get(step)
        found = attempt.outputs if attempt is not None else None
        return None if found is None else dict(found)

    for name in nx.topological_sort(graph(pipeline)):
        step = pipeline.step(name)
        assert step is not None
        if states(pipeline, records.steps(EXECUTION))[name] != "Pending":
            continue
        task = StepTask(
            step,
            execution,
            world.backend,
            records,
            outputs,
            references=references_to(name, pipeline.steps),
            pipeline=pipeline,
        )
        with suppress(StepFailed):
            StepDriver(task).run()
    return Trace.of(pipeline, records)
