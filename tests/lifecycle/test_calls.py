"""Lambda steps: a call whose answer is the outcome."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sagebridge.model.expressions import parameter, plain
from sagebridge.model.pipeline import Step
from sagebridge.model.step_settings import OutputParameter
from sagebridge_operators.backends.aws import AwsBackend, client_config, config_of
from sagebridge_operators.lifecycle import drive
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.ending import Ending
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_task import StepTask
from sagebridge_operators.run_errors import StepFailed, StepStopped
from sagebridge_operators.steps.output_parameters import typed_outputs
from tests.faulty_aws.fault_rules import FaultRule
from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.server import FaultyAws
from tests.lifecycle.conftest import EXECUTION


@pytest.fixture
def service() -> Iterator[FaultyAws]:
    with FaultyAws() as server:
        yield server


@pytest.fixture
def backend(service: FaultyAws, monkeypatch: pytest.MonkeyPatch) -> AwsBackend:
    monkeypatch.setattr(AwsBackend, "poll_seconds", (0.01, 0.02))
    return AwsBackend(
        lambda: lambda name: service.client(name, config=config_of(name, client_config()))
    )


def step(outputs: Sequence[OutputParameter] = (), **payload: Any) -> Step:
    extra = {"FunctionArn": plain("notify")}
    return Step("Notify", "Lambda", plain(payload), extra=extra, output_parameters=outputs)


def driver(one: Step, backend: AwsBackend, folder: Path) -> StepDriver:
    records = ExecutionRecords(Folder(folder))
    return StepDriver(StepTask(one, EXECUTION, backend, records, lambda name: None))


def returns(service: FaultyAws, value: Any) -> None:
    service.add_scripts(JobScript(kind="Invocation", members={"Payload": value}))


def test_outputs_have_their_declared_types(
    service: FaultyAws, backend: AwsBackend, tmp_path: Path
) -> None:
    returns(
        service,
        {"Text": 7, "Whole": "7", "Part": "0.5", "Flag": "True", "Nested": {"a": [1]}, "More": 1},
    )
    types = {"Text": "String", "Whole": "Integer", "Part": "Float", "Flag": "Boolean"}
    declared = [OutputParameter(name, type_) for name, type_ in types.items()]
    outputs = driver(step([*declared, OutputParameter("Nested")]), backend, tmp_path).run()
    assert outputs["output_parameters"] == {
        "Text": "7",
        "Whole": 7,
        "Part": 0.5,
        "Flag": True,
        "Nested": '{"a": [1]}',
    }


@pytest.mark.parametrize(
    ("returned", "output", "message"),
    [
        ({"b": 1}, OutputParameter("a"), r"the answer of notify has no output 'a'; it has b"),
        ("text", OutputParameter("a"), r"has no output 'a'; it has no outputs"),
        ({"a": "x"}, OutputParameter("a", "Integer"), r"'a' .*expected Integer, got .*'x'"),
        ({"a": 1.5}, OutputParameter("a", "Integer"), r"expected Integer, got .*1.5"),
        ({"a": 1}, OutputParameter("a", "Boolean"), r"expected Boolean"),
        ({"a": "x" * 1025}, OutputParameter("a"), r"expected at most 1024 characters, got 1025"),
    ],
)
def test_wrong_answer_fails_the_step(
    service: FaultyAws,
    backend: AwsBackend,
    tmp_path: Path,
    returned: Any,
    output: OutputParameter,
    message: str,
) -> None:
    returns(service, returned)
    with pytest.raises(StepFailed, match=message):
        driver(step([output]), backend, tmp_path).run()


def test_function_may_be_a_parameter(
    service: FaultyAws, backend: AwsBackend, tmp_path: Path
) -> None:
    with pytest.raises(StepFailed, match="FunctionArn of step 'Notify': expected a function"):
        driver(Step("Notify", "Lambda"), backend, tmp_path).run()
    one = Step("Rated", "Lambda", extra={"FunctionArn": parameter("Rate")})
    with pytest.raises(StepFailed, match=r"expected a function, got 0\.2"):
        driver(one, backend, tmp_path).run()
    assert not service.requests("Invoke")


def test_lost_answer_repeats_the_call_and_says_so(
    service: FaultyAws,
    backend: AwsBackend,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drive, "PATIENCE", 10.0)
    service.add_faults(FaultRule(fault="lose_answer", operation="Invoke", times=1))
    with caplog.at_level(logging.WARNING):
        driver(step(), backend, tmp_path).run()
    assert service.count("Invoke") == 2, "botocore does not repeat it, the step does"
    assert "a Lambda step calls it at least once" in caplog.text


def test_ended_call_is_not_repeated_by_the_next_worker(
    service: FaultyAws, backend: AwsBackend, tmp_path: Path
) -> None:
    returns(service, {"a": 1})
    first = driver(step([OutputParameter("a")]), backend, tmp_path).run()
    assert driver(step([OutputParameter("a")]), backend, tmp_path).run() == first
    assert service.count("Invoke") == 1


def test_stop_waits_for_the_end_of_the_function(
    service: FaultyAws, backend: AwsBackend, tmp_path: Path
) -> None:
    running = driver(step(), backend, tmp_path)
    invoke = backend.client("lambda").invoke

    def invoke_and_stop(**request: Any) -> Any:
        answer = invoke(**request)
        running.killed = True
        return answer

    backend.client("lambda").invoke = invoke_and_stop
    with pytest.raises(StepStopped, match="function notify cannot be stopped and ran to its end"):
        running.run()
    assert service.count("Invoke") == 1


def test_stopped_execution_waits_for_the_call(
    service: FaultyAws, backend: AwsBackend, tmp_path: Path
) -> None:
    """The worker is in the call; the command reports that the step has not ended yet."""
    records = ExecutionRecords(Folder(tmp_path))
    invoke, left = backend.client("lambda").invoke, list[str]()

    def invoke_while_stopped(**request: Any) -> Any:
        left.extend(Ending(records, EXECUTION.id, lambda attempt: backend).stop(patience=0.0))
        return invoke(**request)

    backend.client("lambda").invoke = invoke_while_stopped
    with pytest.raises(StepStopped):
        driver(step(), backend, tmp_path).run()
    assert left == ["Notify"]


def test_secrets_of_the_event_are_masked(
    service: FaultyAws, backend: AwsBackend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reason = "ValueError: cannot use hunter2"
    service.add_scripts(JobScript(statuses=("Failed",), members={"FailureReason": reason}))
    with caplog.at_level(logging.INFO), pytest.raises(StepFailed) as failed:
        driver(step(password="hunter2"), backend, tmp_path).run()
    assert service.requests("Invoke")[0].members["Payload"] == {"password": "hunter2"}
    assert "hunter2" not in caplog.text
    assert "ValueError: cannot use ***" in str(failed.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1e3", 1000), ("2.0", 2), (2.0, 2), ("9007199254740993", 9007199254740993)],
)
def test_integers_of_every_spelling(value: object, expected: int) -> None:
    declared = step([OutputParameter("n", "Integer")])
    assert typed_outputs(declared, {"n": value}, "the answer") == {"n": expected}
