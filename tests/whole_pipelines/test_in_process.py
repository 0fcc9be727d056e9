"""Every definition to its end in this process, each condition with both outcomes."""

from __future__ import annotations

from pathlib import Path

import pytest

from sagebridge.model.pipeline import ConditionStep, walk
from sagebridge_operators.run_errors import InvalidPipeline
from tests.whole_pipelines.definitions import (
    MOST,
    covering,
    definitions,
    missing_types,
    pipeline_of,
    runnable_types,
    types_of,
)
from tests.whole_pipelines.expected import expected_states
from tests.whole_pipelines.in_process import run
from tests.whole_pipelines.scenarios import scenarios
from tests.whole_pipelines.world import World

FILES = definitions()


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_definition_runs_to_its_end(path: Path, world: World) -> None:
    pipeline = pipeline_of(path)
    runs = scenarios(pipeline)
    if missing := missing_types(pipeline):
        with pytest.raises(InvalidPipeline) as refused:
            run(world, pipeline, runs[0])
        assert all(f"steps of type {one} " in str(refused.value) for one in missing)
        assert world.aws.all_requests() == []
        return
    outcomes: dict[str, set[bool]] = {}
    reached: dict[str, set[str]] = {}
    for scenario in runs:
        trace = run(world, pipeline, scenario)
        expected = expected_states(pipeline, scenario)
        assert {name: trace.steps[name]["state"] for name in expected} == expected, trace
        assert trace.order == []
        for name, state in expected.items():
            reached.setdefault(name, set()).add(state)
        for name, outcome in trace.outcomes().items():
            assert outcome is scenario.outcomes[name]
            outcomes.setdefault(name, set()).add(outcome)
    conditions = [one.name for one in walk(pipeline) if isinstance(one, ConditionStep)]
    evaluated = {name for name in conditions if "Succeeded" in reached[name]}
    assert outcomes == {name: {True, False} for name in evaluated}


def test_few_definitions_hold_every_type() -> None:
    """They run on Airflow and on Prefect."""
    chosen = covering()
    assert len(chosen) <= MOST
    assert set().union(*map(types_of, chosen)) == runnable_types()
