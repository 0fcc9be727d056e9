"""The experiment and trial of an execution, and the ExperimentConfig of its jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sagebridge.model.expressions import execution, plain
from sagebridge.model.pipeline import Step
from sagebridge.model.values import ABSENT
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_task import StepTask
from sagebridge_operators.run_errors import StepFailed
from sagebridge_operators.steps import JOB_TYPES
from tests.fakes import FakeBackend, FakeSageMaker, client_error, input_shape, raises
from tests.lifecycle.conftest import ARGUMENTS, EXECUTION, MORE

NAMES = {"ExperimentName": "abalone", "TrialName": EXECUTION.id}
TAKING = sorted(name for name, job in JOB_TYPES.items() if job.takes_experiment)
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(backend: FakeBackend, records: ExecutionRecords) -> Run:
    def go(
        type_: str, config: Any, name: str = "Train", pipeline: str = "abalone", **more: Any
    ) -> Any:
        arguments = plain({**ARGUMENTS[type_], **more})
        step = Step(name, type_, arguments=arguments, **MORE.get(type_, {}))
        given = config if config is ABSENT else plain(config)
        opened = replace(EXECUTION, pipeline=pipeline, experiment_config=given)
        return StepDriver(StepTask(step, opened, backend, records, lambda name: None)).run()

    return go


@pytest.mark.parametrize("type_", TAKING)
def test_jobs_join_the_default_experiment(type_: str, run: Run, aws: FakeSageMaker) -> None:
    run(type_, {})
    (request,) = aws.called(JOB_TYPES[type_].create)
    assert request["ExperimentConfig"] == NAMES
    assert aws.called("create_experiment") == [{"ExperimentName": "abalone"}]
    assert aws.called("create_trial") == [NAMES]
    order = [method for method, _ in aws.calls if method.startswith("create_")]
    assert order == ["create_experiment", "create_trial", JOB_TYPES[type_].create]


def test_given_names_are_resolved_and_made_valid(run: Run, aws: FakeSageMaker) -> None:
    config = {"ExperimentName": execution.pipeline_name, "TrialName": "night_1"}
    run("Training", config, pipeline="my_dag.v2_")
    (request,) = aws.called("create_training_job")
    assert request["ExperimentConfig"] == {"ExperimentName": "my-dag-v2", "TrialName": "night-1"}


def test_config_of_the_step_is_kept(run: Run, aws: FakeSageMaker) -> None:
    run("Training", {}, ExperimentConfig={"TrialComponentDisplayName": "train"})
    (request,) = aws.called("create_training_job")
    assert request["ExperimentConfig"] == {**NAMES, "TrialComponentDisplayName": "train"}


def test_experiment_is_created_once_per_execution(run: Run, aws: FakeSageMaker) -> None:
    run("Training", {})
    run("Processing", {}, name="Prepare")
    assert len(aws.called("create_experiment")) == len(aws.called("create_trial")) == 1


def test_existing_experiment_is_used(run: Run, aws: FakeSageMaker) -> None:
    aws.experiments |= {("experiment", "abalone"), ("trial", EXECUTION.id)}
    run("Training", {})
    (request,) = aws.called("create_training_job")
    assert request["ExperimentConfig"] == NAMES


@pytest.mark.parametrize("config", [None, ABSENT])
def test_no_config_means_no_experiment(config: Any, run: Run, aws: FakeSageMaker) -> None:
    run("Training", config)
    assert not aws.called("create_experiment")
    assert "ExperimentConfig" not in aws.called("create_training_job")[0]


def test_backend_without_experiments(run: Run, aws: FakeSageMaker, backend: FakeBackend) -> None:
    backend.has_experiments = False
    run("Training", {})
    assert not aws.called("create_experiment")
    assert "ExperimentConfig" not in aws.called("create_training_job")[0]


def test_missing_permission_is_named(run: Run, aws: FakeSageMaker) -> None:
    text = "User: arn:aws:iam::1:user/x is not authorized"
    aws.before["create_trial"] = [raises(client_error("Create", "AccessDeniedException", text))]
    with pytest.raises(StepFailed) as failed:
        run("Training", {})
    assert text in str(failed.value)
    assert "allow sagemaker:CreateTrial" in str(failed.value)
    assert not aws.jobs


@pytest.mark.parametrize(
    "type_", [name for name, job in JOB_TYPES.items() if job.service == "sagemaker"]
)
def test_types_follow_the_api(type_: str, run: Run, aws: FakeSageMaker) -> None:
    job = JOB_TYPES[type_]
    assert job.takes_experiment is ("ExperimentConfig" in input_shape(job.create).members)
    if not job.takes_experiment:
        run(type_, {})
        assert not aws.called("create_experiment")
