"""The pipeline in the record of an execution: it keeps the trigger rules."""

from __future__ import annotations

from dataclasses import replace

from sagebridge.errors import SagebridgeError
from sagebridge.model.code_steps import PYTHON, PythonStep, call_arguments
from sagebridge.model.engine_settings import EngineSettings
from sagebridge.model.expressions import plain
from sagebridge.model.functions import Function
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge.model.values import Object
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.opening import retry_execution
from sagebridge_operators.lifecycle.recorded_pipeline import (
    recorded_definition,
    recorded_pipeline,
    with_rules,
)
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_states import status
from sagebridge_operators.lifecycle.step_task import StepTask
from tests.fakes import FakeBackend
from tests.lifecycle.conftest import EXECUTION
from tests.nullable import DECLARED


def code(name: str, *needs: str, **settings: object) -> PythonStep:
    given = plain(call_arguments((), {}))
    engine = EngineSettings(**settings)  # type: ignore[arg-type]
    step = Step(name, PYTHON, given, depends_on=needs, engine=engine)
    return PythonStep.of(step, Function("f", ""))


PIPELINE = Pipeline(
    name="clean",
    metadata=Object({"team": "web"}),
    steps=(
        code("Open", setup=True),
        code("Load", "Open"),
        code("Clean", "Load", trigger_rule="all_done"),
    ),
)


def run(records: ExecutionRecords, backend: FakeBackend) -> None:
    """Load fails, and Clean runs after it."""

    def fail() -> None:
        raise ValueError("no rows")

    for step in PIPELINE.steps:
        function = fail if step.name == "Load" else print
        task = StepTask(
            step,
            EXECUTION,
            backend,
            records,
            lambda name: None,
            function=function,
            pipeline=PIPELINE,
        )
        try:
            StepDriver(task).run()
        except SagebridgeError:
            assert step.name == "Load"


def test_record_keeps_rules_and_nullable_parameters(
    records: ExecutionRecords, backend: FakeBackend
) -> None:
    pipeline = replace(PIPELINE, parameters=DECLARED)
    records.describe(EXECUTION.id, recorded_definition(pipeline))
    found = recorded_pipeline(records, EXECUTION.id)
    nullable = [one.name for one in found.declared if one.nullable]
    assert nullable == [one.name for one in DECLARED if one.nullable]
    assert found.metadata == PIPELINE.metadata
    engines = [step.engine for step in found.steps]
    assert engines == [step.engine for step in PIPELINE.steps]
    run(records, backend)
    assert status(found, records.steps(EXECUTION.id)).status == "Succeeded"


def test_retry_repeats_what_ran_after_a_failure(
    records: ExecutionRecords, backend: FakeBackend
) -> None:
    records.describe(EXECUTION.id, recorded_definition(PIPELINE))
    records.objects.put(f"{EXECUTION.id}/execution.json", EXECUTION.described("aws"))
    run(records, backend)
    retry_execution(records, EXECUTION.id)
    assert [one.step for one in records.current(EXECUTION.id)] == ["Open"]


def test_definition_without_rules_stays_as_it_is() -> None:
    plain_ = replace(PIPELINE, steps=PIPELINE.steps[1:2])
    assert recorded_definition(plain_)["Metadata"] == {"team": "web"}
    assert with_rules(plain_) is plain_
