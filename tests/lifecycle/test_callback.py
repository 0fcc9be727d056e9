"""Callback steps: their answers, messages for others, stops and lost workers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sagebridge.model.expressions import plain
from sagebridge.model.pipeline import Step
from sagebridge.model.step_settings import OutputParameter
from sagebridge_operators.backends.aws import AwsBackend
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.ending import Ending
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_task import StepTask
from sagebridge_operators.run_errors import StepFailed, StepStopped
from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.server import FaultyAws
from tests.lifecycle.conftest import EXECUTION

URL = "https://sqs/111122223333/"
WORK, ANSWERS = f"{URL}work", f"{URL}answers"
SILENT = JobScript(kind="Callback", statuses=("InProgress",))


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyAws]:
    monkeypatch.setenv("SAGEBRIDGE_RESPONSE_QUEUE", ANSWERS)
    monkeypatch.setattr(AwsBackend, "poll_seconds", (0.01, 0.02))
    with FaultyAws() as server:
        yield server


@pytest.fixture
def backend(service: FaultyAws) -> AwsBackend:
    return AwsBackend(lambda: service.client)


@pytest.fixture
def records(tmp_path: Path) -> ExecutionRecords:
    return ExecutionRecords(Folder(tmp_path))


def driver(
    backend: AwsBackend, records: ExecutionRecords, name: str = "Ask", **more: Any
) -> StepDriver:
    one = Step(
        name,
        "Callback",
        plain({"Question": "go?", "password": "hunter2"}),
        extra={"SqsQueueUrl": WORK},
        output_parameters=[OutputParameter("Good", "Boolean")],
    )
    return StepDriver(StepTask(one, EXECUTION, backend, records, lambda name: None, **more))


def messages(service: FaultyAws) -> list[dict[str, Any]]:
    """The messages to the consumer."""
    sent = service.requests("SendMessage", "work")
    return [json.loads(one.members["MessageBody"]) for one in sent if one.done]


def answer(service: FaultyAws, token: str, **body: Any) -> None:
    text = json.dumps({"token": token, **body})
    service.client("sqs").send_message(QueueUrl=ANSWERS, MessageBody=text)


def left(service: FaultyAws) -> list[str]:
    """The tokens of the messages in the response queue."""
    received = service.client("sqs").receive_message(QueueUrl=ANSWERS, MaxNumberOfMessages=10)
    return [json.loads(one["Body"])["token"] for one in received.get("Messages", [])]


def test_message_has_what_sagemaker_sends(
    service: FaultyAws, backend: AwsBackend, records: ExecutionRecords
) -> None:
    service.add_scripts(SILENT)

    def reply(job: Any) -> None:
        answer(
            service,
            job["name"],
            status="Success",
            outputParameters=[{"Name": "Good", "Value": "true"}],
        )

    outputs = driver(backend, records, on_job=reply).run()
    (message,) = messages(service)
    assert message == {
        "token": outputs["job"]["name"],
        "pipelineExecutionArn": f"arn:aws:sagemaker:eu-west-1:111122223333:pipeline/"
        f"{EXECUTION.pipeline}/execution/{EXECUTION.id}",
        "arguments": {"Question": "go?", "password": "hunter2"},
        "status": "Executing",
    }
    assert len(message["token"]) == 10
    assert message["token"].isalnum()
    assert outputs["output_parameters"] == {"Good": True}
    assert left(service) == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"status": "Failure", "failureReason": "x" * 300}, r"Failure: x{256}$"),
        ({"status": "Failure"}, "the consumer gave no failureReason"),
        ({"status": "Done"}, "expected status Success or Failure, got 'Done'"),
        ({"status": "Success"}, "has no output 'Good'; it has no outputs"),
        ({"status": "Success", "outputParameters": ["Good"]}, "expected outputParameters as"),
    ],
)
def test_failure_and_invalid_answers_fail_the_step(
    body: dict[str, Any],
    message: str,
    service: FaultyAws,
    backend: AwsBackend,
    records: ExecutionRecords,
) -> None:
    service.add_scripts(SILENT)
    waiting = driver(backend, records, on_job=lambda job: answer(service, job["name"], **body))
    with pytest.raises(StepFailed, match=message):
        waiting.run()


def test_step_records_every_known_answer_and_leaves_other_messages(
    service: FaultyAws, backend: AwsBackend, records: ExecutionRecords
) -> None:
    """The second step waits in another worker; a message of another installation stays."""
    service.add_scripts(SILENT)
    good = {"status": "Success", "outputParameters": [{"Name": "Good", "Value": "false"}]}
    tokens: list[str] = []

    class Leave(Exception):
        pass

    def leave(job: Any) -> None:
        tokens.append(job["name"])
        raise Leave

    with pytest.raises(Leave):
        driver(backend, records, "Other", on_job=leave).run()

    def reply(job: Any) -> None:
        for token in (tokens[0], "0123456789", job["name"]):
            answer(service, token, **good)

    driver(backend, records, on_job=reply).run()
    assert left(service) == ["0123456789"]
    outputs = driver(backend, records, "Other").run()
    assert outputs["job"]["name"] == tokens[0], "the next worker waits for the same token"
    assert outputs["output_parameters"] == {"Good": False}
    assert len(messages(service)) == 2


def test_stop_sends_a_second_message_and_waits_for_no_answer(
    service: FaultyAws, backend: AwsBackend, records: ExecutionRecords
) -> None:
    service.add_scripts(SILENT)
    waiting: list[StepDriver] = []

    def kill(job: object) -> None:
        waiting[0].killed = True

    waiting.append(driver(backend, records, on_job=kill))
    with pytest.raises(StepStopped):
        waiting[0].run()
    first, second = messages(service)
    assert (second["token"], second["status"]) == (first["token"], "Stopping")
    answer(service, first["token"], status="Success")
    driver(
        backend,
        records,
        "Next",
        on_job=lambda job: answer(
            service,
            job["name"],
            status="Success",
            outputParameters=[{"Name": "Good", "Value": "true"}],
        ),
    ).run()
    assert left(service) == [], "a late answer is received, and changes nothing"
    assert records.steps(EXECUTION.id)["Ask"].state == "Stopped"


def test_stop_of_an_execution_reaches_a_step_without_worker(
    service: FaultyAws,
    backend: AwsBackend,
    records: ExecutionRecords,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service.add_scripts(SILENT)

    class Die(BaseException):
        pass

    def die(job: object) -> None:
        raise Die

    one = driver(backend, records, on_job=die)
    monkeypatch.setattr(StepDriver, "interrupt", lambda driver, limit: None)
    with pytest.raises(Die):
        one.run()
    Ending(records, EXECUTION.id, lambda attempt: backend).stop(patience=5.0)
    assert records.steps(EXECUTION.id)["Ask"].state == "Stopped"
    assert [one["status"] for one in messages(service)] == ["Executing", "Stopping"]


def test_secrets_are_sent_but_not_recorded(
    service: FaultyAws, backend: AwsBackend, records: ExecutionRecords, tmp_path: Path
) -> None:
    service.add_scripts(SILENT)
    reason = "bad hunter2"
    with pytest.raises(StepFailed):
        driver(
            backend,
            records,
            on_job=lambda job: answer(
                service, job["name"], status="Failure", failureReason=reason[:3]
            ),
        ).run()
    texts = [path.read_text() for path in tmp_path.rglob("*.json")]
    assert texts
    assert not [text for text in texts if "hunter2" in text]


def test_response_queue_is_required_before_a_message_is_sent(
    service: FaultyAws,
    backend: AwsBackend,
    records: ExecutionRecords,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SAGEBRIDGE_RESPONSE_QUEUE")
    with pytest.raises(StepFailed, match="SAGEBRIDGE_RESPONSE_QUEUE is not set"):
        driver(backend, records).run()
    assert not messages(service)
