"""The standard suite on the step driver: every case of every job type."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sagebridge.model.code_steps import AWS_CALL
from sagebridge.model.pipeline import Step
from sagebridge_operators.lifecycle.attempt import Part
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.ending import Ending
from sagebridge_operators.lifecycle.execution import Execution
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.opening import first_attempt
from sagebridge_operators.lifecycle.outputs import references_to
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_task import StepTask
from sagebridge_operators.lifecycle.sweep import lost_attempts
from sagebridge_operators.run_errors import StepFailed, StepStopped
from sagebridge_operators.steps import JOB_TYPES
from tests.fakes import STARTED
from tests.faulty_aws.fault_rules import FaultRule
from tests.faulty_aws.job_requests import create
from tests.faulty_aws.job_scripts import JobScript
from tests.standard.cases import CASES, FOREVER, Case, creating, looking
from tests.standard.samples import SAMPLES, TEXT, Sample
from tests.standard.world import GOLDEN, Outcome, World

EXECUTION = Execution(
    "0123456789ab", "standard", "airflow", "dag/run", STARTED, {TEXT.name: TEXT.default}
)
"""Later executions have other ids of the same length."""


ROWS = [
    pytest.param(case, sample, id=f"{case.name}-{sample.type}")
    for case in CASES
    for sample in case.samples()
]


def run_steps(
    world: World, steps: tuple[Step, ...], folder: Path, execution: Execution = EXECUTION
) -> dict[str, Outcome]:
    """Run steps one after another."""
    records = ExecutionRecords(Folder(folder))
    backend = world.backend()
    outputs: dict[str, Mapping[str, Any]] = {}
    outcomes: dict[str, Outcome] = {}
    for step in steps:
        references = references_to(step.name, steps)
        task = StepTask(step, execution, backend, records, outputs.get, references=references)
        try:
            outputs[step.name] = StepDriver(task).run()
            outcomes[step.name] = Outcome("Succeeded", outputs=outputs[step.name])
        except StepFailed as failed:
            outcomes[step.name] = Outcome(failed.state, str(failed))
        recorded = records.steps(execution.id)[step.name]
        assert (recorded.state, recorded.reason) == (
            outcomes[step.name].state,
            outcomes[step.name].message,
        )
    return outcomes


@pytest.mark.parametrize(("case", "sample"), ROWS)
def test_case(case: Case, sample: Sample, world: World, tmp_path: Path) -> None:
    steps = world.arrange(case, sample)
    for number, value in enumerate(case.values):
        given = {TEXT.name: value}
        execution = replace(EXECUTION, id=f"{number}123456789ab", parameters=given)
        outcomes = run_steps(world, steps, tmp_path, execution)
    world.check(case, sample, outcomes)
    if case.sessions is not None:
        assert world.opened == case.sessions * len(case.values)


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_request_matches_the_golden_file(
    sample: Sample,
    world: World,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(secrets, "choice", lambda letters: letters[0])  # tokens are random
    run_steps(world, (sample.step(),), tmp_path)
    made = [
        {"operation": one.operation, "request": one.members}
        for one in world.aws.requests()
        if not one.operation.startswith(("Describe", "Filter", "Get", "List"))
    ]
    path = GOLDEN / f"standard-{sample.type}.json"
    if request.config.getoption("--update-golden"):
        path.write_text(json.dumps(made, indent=2) + "\n")
    assert made == json.loads(path.read_text()), "to accept the change: pytest --update-golden"


def test_every_job_type_has_a_sample() -> None:
    # What an AWS call sends and awaits is data of the step, which no row of the fake AWS can know.
    # tests/lifecycle/test_aws_call.py has the same cases for it.
    wanted = set(JOB_TYPES) - {AWS_CALL}
    assert set(SAMPLES) == wanted, "add the new type to tests/standard/samples.py"


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_sample_fits_its_type(sample: Sample) -> None:
    """A sample shows every main output, and a failed job the reason that users see."""
    assert set(sample.failure) & set(sample.job_type.reason_keys) or not sample.job_type.status_key
    assert sample.outputs


@pytest.mark.parametrize(
    "sample",
    [one for one in SAMPLES.values() if one.job_type.stop and one.job_type.described],
    ids=lambda one: one.type,
)
def test_kill_stops_a_job_that_is_not_described_yet(
    sample: Sample, world: World, tmp_path: Path
) -> None:
    """Its create request had no answer, and its worker is killed while descriptions lag."""
    world.aws.add_scripts(JobScript(name=sample.glob, seconds=3600, stop_seconds=1.0))
    world.aws.add_faults(
        *creating("lose_answer")(sample), *looking("not_found", seconds=60.0)(sample)
    )
    records = ExecutionRecords(Folder(tmp_path))
    task = StepTask(sample.step(), EXECUTION, world.backend(), records, lambda step: None)
    driver = StepDriver(task)

    def kill() -> None:
        driver.killed = True

    world.clock.after(10.0, kill)
    with pytest.raises(StepStopped):
        driver.run()
    assert len(world.aws.resources(sample.kind, sample.glob)) == 1
    assert world.aws.count(sample.operation("stop"), sample.glob) == 1


def test_stop_of_an_execution_finds_a_job_that_is_not_described_yet(
    world: World, tmp_path: Path
) -> None:
    """Its worker was killed after the create request, before the record was written."""
    sample, backend = SAMPLES["Training"], world.backend()
    records = ExecutionRecords(Folder(tmp_path))
    name = f"pipelines-{EXECUTION.id}-Training-0"
    planned = first_attempt(EXECUTION.id, "Training", "Training")
    with records.attend(planned):
        records.save(replace(planned, parts=(Part(name),)))
    world.aws.add_scripts(JobScript(seconds=3600, stop_seconds=1.0))
    world.aws.add_faults(*looking("not_found", seconds=60.0)(sample))
    create(backend.client("sagemaker"), "Training", name)
    Ending(records, EXECUTION.id, lambda attempt: backend).stop()
    assert world.aws.count("StopTrainingJob", name) == 1
    assert records.steps(EXECUTION.id)["Training"].state == "Stopped"


def test_vanished_job_is_neither_started_again_nor_forgotten(world: World, tmp_path: Path) -> None:
    """It cannot be described or stopped, but it may exist: a retry could be a second job."""
    sample, backend = SAMPLES["Training"], world.backend()
    world.aws.add_scripts(JobScript(seconds=FOREVER))
    world.aws.add_faults(
        FaultRule(fault="access_denied", operation="StopTrainingJob"),
        *looking("not_found", start=10.0, seconds=3600.0)(sample),
    )
    records = ExecutionRecords(Folder(tmp_path))
    task = StepTask(sample.step(), EXECUTION, backend, records, lambda step: None, user_retries=2)
    with pytest.raises(StepFailed, match=r"could not be stopped.*check whether it runs") as failed:
        StepDriver(task).run()
    assert failed.value.retry is None
    (job,) = world.aws.resources("TrainingJob")
    world.clock.sleep(3600.0)
    (lost,) = lost_attempts(Ending(records, EXECUTION.id, lambda attempt: backend))
    assert lost.attempt.parts[-1].name == job
