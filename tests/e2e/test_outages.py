"""Outages of AWS: the step keeps waiting for its job, on both engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.desk import ENGINE, Desk, eventually
from tests.faulty_aws.fault_rules import FaultRule
from tests.faulty_aws.job_requests import training
from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.server import FaultyAws

pytestmark = pytest.mark.slow
SECONDS = 90.0
STEPS = ("Throttled", "Dropped", "ThreeTimes")


def step(name: str) -> dict[str, Any]:
    arguments = training("unused")
    del arguments["TrainingJobName"]
    return {"Name": name, "Type": "Training", "Arguments": arguments}


def outage(job: str, fault: Any, start: float = 0.0, seconds: float = SECONDS) -> FaultRule:
    return FaultRule(
        fault=fault, operation="DescribeTrainingJob", name=job, start=start, seconds=seconds
    )


def test_step_survives_outages_while_its_job_runs(desk: Desk, tmp_path: Path) -> None:
    """Describe is throttled for 90 s, dropped for 90 s, and dropped three times for 15 s."""
    definition = {"Version": "2020-12-01", "Steps": [step(name) for name in STEPS]}
    source = desk.write("outages.json", definition)
    with FaultyAws() as aws:
        aws.add_scripts(JobScript(seconds=SECONDS + 10))
        on = ("--on", ENGINE, "--backend", "aws")
        running = desk.start("run", source, *on, env=aws.environment())
        eventually(lambda: aws.count("CreateTrainingJob") == len(STEPS), seconds=200)
        jobs = {
            name: one.name
            for name in STEPS
            for one in aws.requests("CreateTrainingJob", f"*-{name}-*")
        }
        aws.add_faults(
            outage(jobs["Throttled"], "throttle"),
            outage(jobs["Dropped"], "drop"),
            *(outage(jobs["ThreeTimes"], "drop", start, 15.0) for start in (0.0, 30.0, 60.0)),
        )
        assert running.wait(300) == 0, running.output
        assert aws.count("CreateTrainingJob") == len(STEPS)
        assert not aws.requests("StopTrainingJob")
        faults = {one.fault for one in aws.requests("DescribeTrainingJob")}
        assert {"throttle", "drop"} <= faults
    steps = desk.records.steps(running.execution)
    assert {one.state for one in steps.values()} == {"Succeeded"}
