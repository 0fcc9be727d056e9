"""Lineage steps: what they make, and what they find when they are repeated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sagebridge.model.expressions import Get, execution, join, plain
from sagebridge.model.pipeline import Step
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.execution import Execution
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_task import StepTask
from sagebridge_operators.run_errors import StepFailed
from sagebridge_operators.steps import JOB_TYPES, permissions
from tests.faulty_aws.fault_rules import FaultRule
from tests.faulty_aws.server import FaultyAws
from tests.standard.world import World, patch_time

RUN = join("-", "run", execution.pipeline_execution_id)
LINEAGE: dict[str, list[dict[str, Any]]] = {
    "Actions": [
        {
            "ActionName": RUN,
            "ActionType": "ModelTraining",
            "Source": {"SourceUri": "s3://b/run", "SourceType": "S3ETag"},
        }
    ],
    "Artifacts": [
        {
            "ArtifactName": "model",
            "ArtifactType": "Model",
            "Source": {"SourceUri": "s3://b/model"},
        }
    ],
    "Contexts": [
        {"ContextName": "shop", "ContextType": "Project", "Source": {"SourceUri": "s3://b"}}
    ],
    "Associations": [
        {
            "Source": {"Name": RUN, "Type": "Action"},
            "Destination": {"Name": "model", "Type": "Artifact"},
            "AssociationType": "Produced",
        },
        {
            "Source": {"Arn": "arn:aws:sagemaker:eu-west-1:111122223333:artifact/data"},
            "Destination": {"Name": RUN, "Type": "Action"},
        },
    ],
}
PREFIX = "arn:aws:sagemaker:eu-west-1:111122223333"
ACTION = f"{PREFIX}:action/run-0123456789ab"


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyAws]:
    with FaultyAws() as aws:
        yield aws


@pytest.fixture
def world(server: FaultyAws, monkeypatch: pytest.MonkeyPatch) -> World:
    server.reset()
    return World(server, patch_time(monkeypatch))


def driver(world: World, folder: Path, arguments: Any, *references: str) -> StepDriver:
    step = Step("Lin", "Lineage", arguments=plain(arguments))
    started = datetime.fromtimestamp(world.clock.time(), UTC)
    run = Execution("0123456789ab", "p", "airflow", "dag/run", started, {})
    records = ExecutionRecords(Folder(folder))
    found = [get for one in references if (get := Get.parse(one)) is not None]
    task = StepTask(step, run, world.backend(), records, lambda step: None, references=found)
    return StepDriver(task)


def test_lineage_is_created_and_its_arns_are_outputs(world: World, tmp_path: Path) -> None:
    property_ = "ActionArns['run-0123456789ab']"
    outputs = driver(world, tmp_path, LINEAGE, f"Steps.Lin.{property_}").run()
    assert outputs["action_arns"] == {"run-0123456789ab": ACTION}
    assert outputs["context_arns"] == {"shop": f"{PREFIX}:context/shop"}
    assert outputs["properties"] == {property_: ACTION}
    model = outputs["artifact_arns"]["model"]
    assert [one.members for one in world.aws.requests("AddAssociation")] == [
        {"SourceArn": ACTION, "DestinationArn": model, "AssociationType": "Produced"},
        {"SourceArn": f"{PREFIX}:artifact/data", "DestinationArn": ACTION},
    ]


@pytest.mark.parametrize("operation", ["CreateAction", "CreateArtifact", "AddAssociation"])
@pytest.mark.parametrize("fault", ["lose_answer", "throttle", "error"])
def test_outage_makes_nothing_twice(
    world: World, tmp_path: Path, operation: str, fault: Any
) -> None:
    world.aws.add_faults(FaultRule(fault=fault, operation=operation, times=6))
    outputs = driver(world, tmp_path, LINEAGE).run()
    assert list(outputs["artifact_arns"]) == ["model"]
    for kind in ("Action", "Context"):
        assert len(world.aws.resources(kind)) == 1, kind
    # An artifact has no unique name, so the repetition inside botocore may make a second one.
    assert len(world.aws.resources("Artifact")) == 1 or fault == "lose_answer"


def test_step_that_runs_again_finds_what_it_has_made(world: World, tmp_path: Path) -> None:
    first = driver(world, tmp_path, LINEAGE)
    made = first.run()
    assert StepDriver(replace(first.task, generation=1)).run() == made
    assert len(world.aws.resources("Artifact")) == 1


def test_entity_of_another_user_fails_the_step(world: World, tmp_path: Path) -> None:
    world.aws.client("sagemaker").create_context(**LINEAGE["Contexts"][0])
    world.clock.sleep(1.0)
    with pytest.raises(StepFailed, match="ContextName 'shop' exists already and was not made by"):
        driver(world, tmp_path, LINEAGE).run()
    assert not world.aws.count("AddAssociation")


def test_policy_has_every_call(world: World, tmp_path: Path) -> None:
    first = driver(world, tmp_path, LINEAGE)
    first.run()
    StepDriver(replace(first.task, generation=1)).run()
    statements = permissions.policy(JOB_TYPES["Lineage"])["Statement"]
    allowed = {action for one in statements for action in one["Action"]}
    sent = {f"sagemaker:{one.operation}" for one in world.aws.requests()}
    assert sent == allowed - {"sagemaker:AddTags"}


def test_rejected_call_fails_the_step(world: World, tmp_path: Path) -> None:
    world.aws.add_faults(FaultRule(fault="access_denied", operation="CreateArtifact"))
    with pytest.raises(StepFailed, match="not authorized to perform: sagemaker:CreateArtifact"):
        driver(world, tmp_path, LINEAGE).run()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"Actions": [{"ActionName": "a"}]}, "Missing required parameter"),
        (
            {"Associations": [{"Source": {"Name": "a", "Type": "Action"}}]},
            "Associations: Source: expected an Arn, or Name and Type of an entity of the step",
        ),
    ],
)
def test_invalid_arguments_fail_the_step(
    world: World, tmp_path: Path, arguments: Any, message: str
) -> None:
    with pytest.raises(StepFailed, match=message):
        driver(world, tmp_path, arguments).run()
