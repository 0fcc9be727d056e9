"""Endpoints, their configurations and inference components: names that are used as given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sagebridge.model.expressions import plain
from sagebridge.model.pipeline import Step
from sagebridge_operators.lifecycle import advance
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.execution import Execution
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_task import StepTask
from sagebridge_operators.run_errors import StepFailed
from sagebridge_operators.steps import JOB_TYPES
from tests.faulty_aws.fault_rules import FaultRule
from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.server import FaultyAws
from tests.standard.world import World, patch_time

VARIANT = {"VariantName": "all", "ModelName": "model", "InitialInstanceCount": 1}
SERVED: dict[str, dict[str, Any]] = {
    "Endpoint": {"EndpointName": "shop", "EndpointConfigName": "new"},
    "InferenceComponent": {
        "InferenceComponentName": "shop",
        "EndpointName": "endpoint",
        "VariantName": "all",
        "Specification": {"ModelName": "new"},
        "RuntimeConfig": {"CopyCount": 2},
    },
}
EARLIER: dict[str, dict[str, Any]] = {
    "Endpoint": {"EndpointConfigName": "old"},
    "InferenceComponent": {"Specification": {"ModelName": "old"}},
}


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyAws]:
    with FaultyAws() as aws:
        yield aws


@pytest.fixture
def world(server: FaultyAws, monkeypatch: pytest.MonkeyPatch) -> World:
    server.reset()
    world = World(server, patch_time(monkeypatch))
    server.add_scripts(JobScript(seconds=30.0))
    return world


def driver(world: World, folder: Path, type_: str, **arguments: Any) -> StepDriver:
    step = Step("Serve", type_, arguments=plain({**SERVED.get(type_, {}), **arguments}))
    started = datetime.fromtimestamp(world.clock.time(), UTC)
    execution = Execution("0123456789ab", "p", "airflow", "dag/run", started, {})
    records = ExecutionRecords(Folder(folder))
    return StepDriver(StepTask(step, execution, world.backend(), records, lambda step: None))


def make_earlier(world: World, type_: str, **arguments: Any) -> Any:
    """Another user makes what the step names; returns their client."""
    client = world.aws.client("sagemaker")
    create = {"Endpoint": "create_endpoint", "InferenceComponent": "create_inference_component"}
    getattr(client, create[type_])(**{**SERVED[type_], **EARLIER[type_], **arguments})
    return client


def updates(world: World, type_: str) -> int:
    return world.aws.count(f"Update{type_}", "shop")


@pytest.mark.parametrize("type_", SERVED)
def test_existing_resource_is_updated_once(world: World, tmp_path: Path, type_: str) -> None:
    make_earlier(world, type_)
    world.clock.sleep(100.0)
    found = driver(world, tmp_path, type_).run()
    assert found["status"] == "InService"
    assert updates(world, type_) == 1
    assert world.aws.count(f"Create{type_}") == 1, "only the other user's"


@pytest.mark.parametrize("type_", SERVED)
def test_update_by_another_user_is_waited_for(world: World, tmp_path: Path, type_: str) -> None:
    make_earlier(world, type_)  # it is being created for 30 seconds
    assert driver(world, tmp_path, type_).run()["status"] == "InService"
    sent = world.aws.requests(f"Update{type_}", "shop")
    assert [one.done for one in sent] == [True]


@pytest.mark.parametrize("type_", SERVED)
def test_same_configuration_is_deployed_again(world: World, tmp_path: Path, type_: str) -> None:
    """Its content may have changed under the same name."""
    make_earlier(world, type_, **SERVED[type_])
    world.clock.sleep(100.0)
    driver(world, tmp_path, type_).run()
    assert updates(world, type_) == 1


@pytest.mark.parametrize("type_", SERVED)
def test_lost_worker_is_replaced_without_a_second_update(
    world: World, tmp_path: Path, type_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is lost after the service accepted its request, before it recorded that."""
    make_earlier(world, type_)
    world.clock.sleep(100.0)

    class Lost(BaseException):
        pass

    sent = advance._send_create

    def lose(*given: Any) -> str:
        sent(*given)
        raise Lost

    monkeypatch.setattr(advance, "_send_create", lose)
    monkeypatch.setattr(StepDriver, "interrupt", lambda driver, limit: None)
    with pytest.raises(Lost):
        driver(world, tmp_path, type_).run()
    monkeypatch.setattr(advance, "_send_create", sent)
    assert driver(world, tmp_path, type_).run()["status"] == "InService"
    assert updates(world, type_) == 1


@pytest.mark.parametrize("type_", SERVED)
def test_rollback_fails_the_step(world: World, tmp_path: Path, type_: str) -> None:
    make_earlier(world, type_)
    world.clock.sleep(100.0)
    back = {**EARLIER[type_], "FailureReason": "the new variant did not become healthy"}
    world.aws.add_scripts(JobScript(seconds=30.0, members=back))
    with pytest.raises(StepFailed, match=r"shop RolledBack: the new variant did not become"):
        driver(world, tmp_path, type_).run()


def test_component_without_a_number_of_copies_is_created(world: World, tmp_path: Path) -> None:
    """The service has a default for it, which is in the description."""
    step = driver(world, tmp_path, "InferenceComponent")
    given = {**SERVED["InferenceComponent"]}
    del given["RuntimeConfig"]
    step.task = replace(step.task, step=Step("Serve", "InferenceComponent", plain(given)))
    assert step.run()["status"] == "InService"


def test_lost_records_do_not_repeat_a_look_forever(world: World, tmp_path: Path) -> None:
    """The name of a configuration does not change with the number of the attempt."""
    more = {"EndpointConfigName": "shop", "ProductionVariants": [VARIANT]}
    started = datetime.fromtimestamp(world.clock.time(), UTC)
    driver(world, tmp_path / "first", "EndpointConfig", **more).run()
    again = driver(world, tmp_path / "second", "EndpointConfig", **more)
    execution = replace(again.task.execution, started=started)
    again.task = replace(again.task, execution=execution, engine_try=2)
    world.aws.add_faults(FaultRule(fault="access_denied", operation="CreateEndpointConfig"))
    assert again.run()["job_name"] == "shop"
    assert world.aws.count("DescribeEndpointConfig") < 10


def test_deletion_of_an_endpoint_is_waited_for(world: World, tmp_path: Path) -> None:
    """The name is free once the deletion is over; here it never is, until the step is stopped."""
    make_earlier(world, "Endpoint")
    world.aws.add_scripts(JobScript(statuses=("Deleting",), seconds=30.0, running=True))
    driver_ = driver(world, tmp_path, "Endpoint")
    world.clock.after(300.0, lambda: setattr(driver_, "killed", True))
    with pytest.raises(StepFailed, match="stopped before its job was created"):
        driver_.run()
    assert updates(world, "Endpoint") == 0


def test_configuration_of_another_user_fails_the_step(world: World, tmp_path: Path) -> None:
    given = {"EndpointConfigName": "mine", "ProductionVariants": [VARIANT]}
    world.aws.client("sagemaker").create_endpoint_config(**given)
    world.clock.sleep(1.0)
    with pytest.raises(
        StepFailed, match="'mine' exists already and was not made by this execution"
    ):
        driver(world, tmp_path, "EndpointConfig", **given).run()


def test_configuration_of_the_execution_is_found_when_the_step_runs_again(
    world: World, tmp_path: Path
) -> None:
    given = {"EndpointConfigName": "mine", "ProductionVariants": [VARIANT]}
    first = driver(world, tmp_path, "EndpointConfig", **given)
    assert first.run()["endpoint_config_name"] == "mine"
    again = StepDriver(replace(first.task, generation=1))
    assert again.run()["endpoint_config_name"] == "mine"
    assert world.aws.count("CreateEndpointConfig") == 1


def test_names_without_identity_are_described(world: World) -> None:
    client = make_earlier(world, "Endpoint")
    found = JOB_TYPES["Endpoint"].find(client, "shop")
    assert found is not None
    assert found["EndpointConfigName"] == "old"
