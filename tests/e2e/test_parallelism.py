"""``run --max-parallel`` on both engines, measured by the requests that AWS receives."""

from __future__ import annotations

import json

import pytest

from tests.e2e.desk import ENGINE, Desk
from tests.e2e.test_outages import step
from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.live_jobs import most_live
from tests.faulty_aws.server import FaultyAws

pytestmark = pytest.mark.slow
SECONDS = 4.0


@pytest.mark.parametrize("deferrable", ["False", *(["True"] if ENGINE == "airflow" else [])])
def test_five_independent_steps_with_limit_two(deferrable: str, desk: Desk) -> None:
    """The pipeline has another limit, which the option replaces.

    Airflow counts no deferred task, so workers wait for the jobs of a limited run.
    """
    steps = [step(f"T{number}") for number in range(5)]
    body = {
        "PipelineName": "five",
        "ParallelismConfiguration": {"MaxParallelExecutionSteps": 5},
        "PipelineDefinition": json.dumps({"Version": "2020-12-01", "Steps": steps}),
    }
    source = desk.write("five.json", body)
    with FaultyAws() as aws:
        aws.add_scripts(JobScript(seconds=SECONDS))
        on = ("--on", ENGINE, "--backend", "aws", "--max-parallel", "2")
        variables = {**aws.environment(), "AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": deferrable}
        running = desk.start("run", source, *on, env=variables)
        assert running.wait(300) == 0, running.output
        assert (most_live(aws, SECONDS), aws.count("CreateTrainingJob")) == (2, 5)
    recorded = desk.records.steps(running.execution)
    assert {one.state for one in recorded.values()} == {"Succeeded"}
