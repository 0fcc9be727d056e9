"""The same traces on Prefect as with the lifecycle alone."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.prefect.conftest import Run
from tests.whole_pipelines import in_process, local_runs
from tests.whole_pipelines.definitions import on_engines, pipeline_of
from tests.whole_pipelines.prefect_engine import run
from tests.whole_pipelines.scenarios import scenarios
from tests.whole_pipelines.world import World

pytestmark = pytest.mark.prefect
FILES = on_engines()
LOCAL = local_runs.chosen()


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_trace_equals_that_of_the_lifecycle(path: Path, world: World, play: Run) -> None:
    pipeline = pipeline_of(path)
    for scenario in scenarios(pipeline):
        expected = in_process.run(world, pipeline, scenario)
        assert run(world, pipeline, scenario, play).as_json() == expected.as_json()


@pytest.mark.parametrize("path", LOCAL, ids=[path.stem for path in LOCAL])
def test_definition_runs_on_this_machine(path: Path, tmp_path: Path, play: Run) -> None:
    local_runs.check(path, tmp_path, partial(run, play=play))
