"""Runs definitions on this machine: which of them can run, and what each run has to reach."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sagebridge.authoring.runnable import why_not_local, why_pipeline_not_runnable
from sagebridge.model.pipeline import Pipeline
from tests.whole_pipelines import in_process
from tests.whole_pipelines.definitions import WHOLE, definitions, pipeline_of
from tests.whole_pipelines.expected import expected_states
from tests.whole_pipelines.local_world import LocalWorld, local_scenarios, opened
from tests.whole_pipelines.scenarios import Scenario
from tests.whole_pipelines.trace import Trace

IN_CI = ("autogluon", "hand-jsonget-s3uri", "local-mode2", "on-this-machine")
"""The definitions that run on both engines in CI: three of the corpus, and one of our own."""
_INCOMPLETE = {
    "hand-tuning-multi": "the job fails, as XGBoost requires the hyperparameter num_round",
    "function-and-notebook": "the job fails, as no channel has its job_driver.sh",
}
"""Definitions that pass the check, and whose jobs fail with any scripts."""
Engine = Callable[[LocalWorld, Pipeline, Scenario], Trace]


def why_not_here(pipeline: Pipeline) -> str | None:
    """The reason why a pipeline cannot run on this machine; None if it can."""
    if pipeline.name in _INCOMPLETE:
        return _INCOMPLETE[pipeline.name]
    why = why_pipeline_not_runnable(pipeline, why_not_local)
    return None if why is None else why.removeprefix("on this machine: ")


def chosen() -> list[Path]:
    """The definitions to run on an engine: all that can, or those of CI."""
    everything = os.environ.get(WHOLE) == "all"
    return [
        path
        for path in definitions()
        if (everything or path.stem in IN_CI) and why_not_here(pipeline_of(path)) is None
    ]


def check(path: Path, folder: Path, run: Engine) -> None:
    """Run a definition on an engine. Each step reaches the state that its outcomes lead to.

    In CI only the first run of the definition; otherwise all, compared with those of the lifecycle
    alone.
    """
    pipeline = pipeline_of(path)
    everything = os.environ.get(WHOLE) == "all"
    with opened(folder) as world:
        for scenario in local_scenarios(pipeline)[: None if everything else 1]:
            trace = run(world, pipeline, scenario)
            require_in_full(pipeline, scenario, trace)
            if everything:
                assert trace.as_json() == in_process.run(world, pipeline, scenario).as_json()


def require_in_full(pipeline: Pipeline, scenario: Scenario, trace: Trace) -> None:
    """Raise AssertionError unless all steps ran that the outcomes of the conditions lead to."""
    expected = expected_states(pipeline, replace(scenario, outcomes=trace.outcomes()))
    states = {name: trace.steps[name]["state"] for name in expected}
    assert states == expected, trace.reason
    assert trace.order == []
