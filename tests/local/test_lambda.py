"""Lambda functions of the local backend: handlers, their errors, stops and lost workers."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sagebridge.errors import UsageError
from sagebridge.model.expressions import plain
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge.model.step_settings import OutputParameter
from sagebridge_operators.backends import lambda_functions, why_not_on
from sagebridge_operators.backends.lambda_functions import (
    as_variable,
    how_to_map,
    parse_lambdas,
    register_lambda,
)
from sagebridge_operators.backends.local import LocalBackend
from sagebridge_operators.launch.workdir import Workdir
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.ending import Ending
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.opening import valid_definition
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_task import StepTask
from sagebridge_operators.run_errors import InvalidPipeline, StepFailed, StepStopped
from tests.lifecycle.conftest import EXECUTION
from tests.local.conftest import Bench

ARN = "arn:aws:lambda:eu-west-1:111122223333:function:score:live"
SOURCE = '''
import json, logging, os, sys, time
from shared import LIMIT

logger = logging.getLogger()
logger.setLevel("INFO")


def score(event, context):
    """Returns what a test checks; the event selects how the function ends."""
    logger.info("scoring %s", event["x"])
    with open("calls", "a") as calls:
        calls.write("x")
    if event["x"] == "raise":
        raise ValueError("no score")
    if event["x"] == "exit":
        os._exit(7)
    if event["x"] == "leave":
        sys.exit()
    if event["x"] == "set":
        return {1, 2}
    if event["x"] == "wait":
        time.sleep(60)
    return {
        "Good": event["x"] > LIMIT,
        "Name": context.function_name,
        "Arn": context.invoked_function_arn,
        "Request": context.aws_request_id,
        "Memory": context.memory_limit_in_mb,
        "Left": context.get_remaining_time_in_millis(),
    }
'''


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a function and a module that it imports."""
    monkeypatch.setattr(lambda_functions, "_registered", {})
    monkeypatch.setenv("SAGEBRIDGE_LAMBDAS", "score=functions/score.py:score")
    monkeypatch.setenv("SAGEBRIDGE_BASE", str(tmp_path))
    monkeypatch.setattr(LocalBackend, "poll_seconds", (0.01, 0.05))
    folder = tmp_path / "functions"
    folder.mkdir()
    (folder / "score.py").write_text(SOURCE)
    (folder / "shared.py").write_text("LIMIT = 1\n")
    return folder


@pytest.fixture
def records(tmp_path: Path) -> ExecutionRecords:
    return ExecutionRecords(Folder(tmp_path / "home/executions"))


def driver(bench: Bench, records: ExecutionRecords, x: object, **more: Any) -> StepDriver:
    outputs = [
        OutputParameter("Good", "Boolean"),
        *map(OutputParameter, ("Name", "Arn", "Request", "Memory")),
        OutputParameter("Left", "Integer"),
    ]
    one = Step(
        "Score",
        "Lambda",
        plain({"x": x}),
        extra={"FunctionArn": ARN},
        output_parameters=outputs,
    )
    backend = LocalBackend(bench.home, bench.base)
    return StepDriver(StepTask(one, EXECUTION, backend, records, lambda name: None, **more))


def calls(folder: Path) -> int:
    file = folder / "calls"
    return len(file.read_text()) if file.exists() else 0


def wait_for_call(folder: Path) -> None:
    give_up = time.monotonic() + 30
    while not calls(folder):
        assert time.monotonic() < give_up
        time.sleep(0.02)


def test_handler_gets_event_and_context_and_returns_typed_outputs(
    bench: Bench, records: ExecutionRecords, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        outputs = driver(bench, records, 2).run()["output_parameters"]
    assert outputs["Good"] is True
    assert (outputs["Name"], outputs["Arn"], outputs["Memory"]) == ("score", ARN, "128")
    assert 800_000 < outputs["Left"] <= 900_000
    assert "[INFO]\t" in caplog.text
    assert "[Score] START RequestId: " + outputs["Request"] in caplog.text
    assert "scoring 2" in caplog.text


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ("raise", "ValueError: no score"),
        ("exit", r"Runtime.ExitError: RequestId: \S+ Error: .* error: exit status 7"),
        ("leave", r"Runtime.ExitError: RequestId: \S+ Error: .* error: exit status 0"),
        ("set", "Runtime.MarshalError: Unable to marshal response: Object of type set is not"),
    ],
)
def test_errors_of_a_function_fail_the_step_as_on_aws(
    bench: Bench, records: ExecutionRecords, x: str, message: str
) -> None:
    with pytest.raises(StepFailed, match=message):
        driver(bench, records, x).run()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "import not_there\n",
            "Runtime.ImportModuleError: Unable to import module 'score': No mod",
        ),
        ("def score(:\n", "Runtime.UserCodeSyntaxError: Syntax error in module 'score'"),
        ("", "Runtime.HandlerNotFound: Handler 'score' missing on module 'score'"),
    ],
)
def test_function_that_cannot_be_loaded_has_the_errors_of_lambda(
    bench: Bench, records: ExecutionRecords, folder: Path, source: str, message: str
) -> None:
    (folder / "score.py").write_text(source)
    with pytest.raises(StepFailed, match=message):
        driver(bench, records, 1).run()


def test_time_limit_ends_the_function(
    bench: Bench, records: ExecutionRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGEBRIDGE_LAMBDA_SECONDS", "1")
    with pytest.raises(StepFailed, match=r"Sandbox.Timedout: .* Task timed out after 1.00 seconds"):
        driver(bench, records, "wait").run()


@pytest.fixture
def waiting(bench: Bench, records: ExecutionRecords, folder: Path) -> Iterator[StepDriver]:
    """A step whose function runs until it is stopped."""
    found = driver(bench, records, "wait")
    errors: list[BaseException] = []

    def run() -> None:
        try:
            found.run()
        except StepStopped as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_for_call(folder)
    began = time.monotonic()
    yield found
    thread.join(30)
    assert len(errors) == 1
    assert time.monotonic() - began < 20


def test_stop_of_the_execution_ends_the_function(
    waiting: StepDriver, records: ExecutionRecords
) -> None:
    ending = Ending(records, EXECUTION.id, lambda attempt: waiting.task.backend)
    assert ending.stop(patience=30.0, code=True) == []
    assert records.steps(EXECUTION.id)["Score"].state == "Stopped"


def test_killed_worker_ends_the_function(waiting: StepDriver) -> None:
    waiting.killed = True


def test_next_worker_gets_the_answer_of_the_first_call(
    bench: Bench,
    records: ExecutionRecords,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The first worker is lost while the function runs, before it gets the answer."""
    from sagebridge_operators.backends.local.lambda_api import Lambda

    class Lost(BaseException):
        pass

    def lose(service: Lambda, token: str) -> None:
        raise Lost

    with monkeypatch.context() as patched:
        patched.setattr(Lambda, "_wait", lose)
        patched.setattr(StepDriver, "interrupt", lambda driver, limit: None)
        with pytest.raises(Lost):
            driver(bench, records, 2).run()
    with caplog.at_level(logging.INFO):
        outputs = driver(bench, records, 2, engine_try=2).run()
    assert outputs["output_parameters"]["Good"] is True
    assert calls(folder) == 1
    assert "waiting for the answer of " in caplog.text


def test_function_without_handler_is_refused_before_the_first_job() -> None:
    step = Step("Other", "Lambda", plain({}), extra={"FunctionArn": "other"})
    pipeline = Pipeline(name="p", steps=(step,))
    with pytest.raises(InvalidPipeline) as refused:
        valid_definition(pipeline, partial(why_not_on, "local"))
    for text in ("step 'Other'", "--lambda other=FILE.py:HANDLER", "SAGEBRIDGE_LAMBDAS"):
        assert text in str(refused.value)
    valid_definition(pipeline, partial(why_not_on, "aws"))


def test_client_reports_a_function_without_handler(bench: Bench) -> None:
    client = LocalBackend(bench.home, bench.base).client("lambda")
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="--lambda other="):
        client.invoke(FunctionName="other")
    with pytest.raises(ClientError, match="only RequestResponse"):
        client.invoke(FunctionName=ARN, InvocationType="Event")


def test_registered_function_runs_from_its_own_file(bench: Bench, tmp_path: Path) -> None:
    names: dict[str, Any] = {"__name__": "dag"}
    file = tmp_path / "my-dag.py"
    file.write_text("def greet(event, context):\n    return 'hello ' + event['to']\n")
    exec(compile(file.read_text(), str(file), "exec"), names)
    register_lambda("greet", names["greet"])
    client = LocalBackend(bench.home, bench.base).client("lambda")
    answer = client.invoke(FunctionName="greet", Payload=json.dumps({"to": "you"}))
    assert json.loads(answer["Payload"].read()) == "hello you"
    with pytest.raises(UsageError, match="top level of a Python file"):
        register_lambda("greet", lambda event, context: None)


def test_setting_has_names_or_arns_and_relative_paths(tmp_path: Path, folder: Path) -> None:
    text = f"{ARN}=functions/score.py:score,\n other = functions/score.py"
    found = parse_lambdas(text, tmp_path)
    assert {name: str(one) for name, one in found.items()} == {
        "score": f"{folder}/score.py:score",
        "other": f"{folder}/score.py:lambda_handler",
    }
    assert parse_lambdas(as_variable(found), Path("/")) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("score", "^score: expected NAME=FILE.py:HANDLER"),
        ("=functions/score.py", "^=functions/score.py: expected NAME=FILE.py:HANDLER"),
        ("score=functions/score.txt:f", "^functions/score.txt:f: expected FILE.py:HANDLER"),
        ("score=functions/missing.py:f", "missing.py does not exist"),
    ],
)
def test_invalid_setting_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_lambdas(text, tmp_path)


def test_name_of_a_function_is_quoted_in_a_command() -> None:
    shown = how_to_map("a; b")
    assert "--lambda 'a; b=FILE.py:HANDLER' to" in shown


def test_misspelt_handler_is_found_before_the_engine_starts(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SAGEBRIDGE_LAMBDAS")
    Workdir.of(tmp_path, "local", [f"score={folder}/score.py:score"])
    with pytest.raises(UsageError, match=r"score\.py has no 'scor' \(did you mean 'score'"):
        Workdir.of(tmp_path, "local", [f"score={folder}/score.py:scor"])
