"""Callback steps of the local backend: the queue, the answers and their command."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sagebridge.cli import main
from sagebridge.model.expressions import plain
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge.model.step_settings import OutputParameter
from sagebridge_operators.backends.local import LocalBackend
from sagebridge_operators.commands.callback import callback
from sagebridge_operators.lifecycle.answers import AnswerChannel, waiting_steps
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.ending import Ending
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.opening import valid_definition
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_task import StepTask
from sagebridge_operators.run_errors import StepFailed, StepStopped
from tests.lifecycle.conftest import EXECUTION

QUEUE = "https://sqs.us-east-1.amazonaws.com/111122223333/reviews"
STEP = Step(
    "Approve",
    "Callback",
    plain({"Report": "s3://b/report.json", "password": "hunter2"}),
    extra={"SqsQueueUrl": QUEUE},
    output_parameters=[OutputParameter("Good", "Boolean"), OutputParameter("By")],
)
Command = Callable[..., str]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SAGEBRIDGE_RESPONSE_QUEUE", raising=False)
    monkeypatch.delenv("SAGEBRIDGE_RECORDS", raising=False)
    monkeypatch.setattr(LocalBackend, "poll_seconds", (0.01, 0.05))
    return tmp_path / "home"


@pytest.fixture
def backend(home: Path, tmp_path: Path) -> LocalBackend:
    return LocalBackend(home, tmp_path)


@pytest.fixture
def records(home: Path) -> ExecutionRecords:
    records = ExecutionRecords(Folder(home / "executions"))
    records.describe(EXECUTION.id, valid_definition(Pipeline(name="p", steps=(STEP,))))
    return records


@pytest.fixture
def command(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Command:
    """Runs ``sagebridge callback``, and returns what it prints."""
    from sagebridge.cli import app

    monkeypatch.setattr(app.Commands, "get_command", lambda *_: callback)
    monkeypatch.setattr(app.Commands, "list_commands", lambda *_: ["callback"])

    def run(*words: str) -> str:
        main(["callback", *words, "--workdir", str(home)])
        out, err = capsys.readouterr()
        return str(out + err)

    return run


@pytest.fixture
def ended(backend: LocalBackend, records: ExecutionRecords) -> Iterator[list[Any]]:
    """What a waiting step returns or raises, once it has ended."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(driver(backend, records).run())
        except StepFailed as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield found
    thread.join(30)


def driver(backend: LocalBackend, records: ExecutionRecords) -> StepDriver:
    return StepDriver(StepTask(STEP, EXECUTION, backend, records, lambda name: None))


def until(check: Callable[[], Any]) -> Any:
    give_up = time.monotonic() + 30
    while not (found := check()):
        assert time.monotonic() < give_up
        time.sleep(0.02)
    return found


def token(records: ExecutionRecords) -> str:
    (waiting,) = until(lambda: waiting_steps(records))
    return str(waiting.token)


def test_message_is_sagemakers_and_its_api_answers_it(
    backend: LocalBackend, records: ExecutionRecords, ended: list[Any]
) -> None:
    """A consumer that was written for SageMaker."""
    sqs, sagemaker = backend.client("sqs"), backend.client("sagemaker")
    (message,) = until(lambda: sqs.receive_message(QueueUrl=QUEUE).get("Messages"))
    body = json.loads(message["Body"])
    assert "MessageAttributes" not in message
    assert body == {
        "token": token(records),
        "pipelineExecutionArn": backend.arn(
            f"pipeline/{EXECUTION.pipeline}/execution/{EXECUTION.id}"
        ),
        "arguments": {"Report": "s3://b/report.json", "password": "hunter2"},
        "status": "Executing",
    }
    outputs = [{"Name": "Good", "Value": "true"}, {"Name": "By", "Value": "me"}]
    answer = sagemaker.send_pipeline_execution_step_success(
        CallbackToken=body["token"], OutputParameters=outputs
    )
    assert answer["PipelineExecutionArn"] == body["pipelineExecutionArn"]
    (result,) = until(lambda: ended)
    assert result["output_parameters"] == {"Good": True, "By": "me"}
    sqs.delete_message(QueueUrl=QUEUE, ReceiptHandle=message["ReceiptHandle"])
    assert "Messages" not in sqs.receive_message(QueueUrl=QUEUE, VisibilityTimeout=0)


def test_command_lists_and_answers_a_step(
    records: ExecutionRecords, ended: list[Any], command: Command
) -> None:
    own = token(records)
    (row,) = json.loads(command("list", "--format", "json"))
    assert (row["token"], row["execution"], row["step"]) == (own, EXECUTION.id, "Approve")
    assert "hunter2" not in command("list")
    assert "the answer has no output 'By'" in command("succeed", own, "-o", "Good=true")
    assert "no output 'Bad' (outputs: Good, By)" in command("succeed", own, "-o", "Bad=1")
    assert "expected Boolean" in command("succeed", own, "-o", "Good=x", "-o", "By=me")
    assert ended == []
    assert "Approve: answered" in command("succeed", own, "-o", "Good=false", "-o", "By=me")
    (result,) = until(lambda: ended)
    assert result["output_parameters"] == {"Good": False, "By": "me"}
    assert "does not wait: it was answered (Success)" in command("fail", own)
    assert "no step waits" in command("list")


def test_failure_has_the_given_reason(
    records: ExecutionRecords, ended: list[Any], command: Command
) -> None:
    command("fail", token(records), "--reason", "too old")
    (error,) = until(lambda: ended)
    assert isinstance(error, StepFailed)
    assert "too old" in str(error)


def test_unknown_token_and_second_answer_are_errors_of_the_api(
    backend: LocalBackend, records: ExecutionRecords, ended: list[Any]
) -> None:
    sagemaker = backend.client("sagemaker")
    with pytest.raises(ClientError, match=r"ResourceNotFound.*no Callback step has the token"):
        sagemaker.send_pipeline_execution_step_failure(CallbackToken="0123456789")
    own = token(records)
    sagemaker.send_pipeline_execution_step_failure(CallbackToken=own, FailureReason="no")
    with pytest.raises(ClientError, match="ConflictException"):
        sagemaker.send_pipeline_execution_step_success(CallbackToken=own)


def test_consumer_may_answer_before_the_worker_has_recorded_the_message(
    backend: LocalBackend, records: ExecutionRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = AnswerChannel.send

    def send_and_answer(channel: AnswerChannel, *arguments: Any) -> None:
        send(channel, *arguments)
        outputs = {"Good": "true", "By": "me"}
        backend.client("sagemaker").send_pipeline_execution_step_success(
            CallbackToken=arguments[-1]["token"],
            OutputParameters=[{"Name": name, "Value": value} for name, value in outputs.items()],
        )

    monkeypatch.setattr(AnswerChannel, "send", send_and_answer)
    assert driver(backend, records).run()["output_parameters"] == {"Good": True, "By": "me"}


def test_answer_to_a_step_without_worker_is_kept(
    backend: LocalBackend,
    records: ExecutionRecords,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The engine was killed while the step waited; the next worker finds the answer."""

    class Lost(BaseException):
        pass

    def lose(driver: StepDriver, seconds: float) -> None:
        raise Lost

    with monkeypatch.context() as patched:
        patched.setattr(StepDriver, "_sleep", lose)
        patched.setattr(StepDriver, "interrupt", lambda driver, limit: None)
        with pytest.raises(Lost):
            driver(backend, records).run()
    command("succeed", token(records), "-o", "Good=true", "-o", "By=me")
    assert driver(backend, records).run()["output_parameters"] == {"Good": True, "By": "me"}
    sent = backend.client("sqs").receive_message(QueueUrl=QUEUE, MaxNumberOfMessages=10)
    assert len(sent["Messages"]) == 1


def test_stopped_step_takes_no_answer(
    backend: LocalBackend, records: ExecutionRecords, ended: list[Any], command: Command
) -> None:
    own = token(records)
    Ending(records, EXECUTION.id, lambda attempt: backend).stop(patience=30.0)
    (error,) = until(lambda: ended)
    assert isinstance(error, StepStopped)
    assert "does not wait: Stopped" in command("fail", own)
    messages = backend.client("sqs").receive_message(QueueUrl=QUEUE, MaxNumberOfMessages=10)
    states = [json.loads(one["Body"])["status"] for one in messages["Messages"]]
    assert states == ["Executing", "Stopping"]
