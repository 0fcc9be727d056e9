"""Messages of an SQS queue start runs of a DAG: once per event, with the values of the event."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import ErrorResponse, OKResponse
from moto.server import ThreadedMotoServer

import sagebridge
from sagebridge.model.event_triggers import EventTrigger, s3_object_created
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge_operators.airflow import build, queue_asset
from sagebridge_operators.airflow._compat import AirflowFailException, AirflowSkipException
from sagebridge_operators.airflow.event_queue import QueueTrigger
from sagebridge_operators.airflow.start_operator import StartPipelineOperator
from sagebridge_operators.backends.queues import receive_messages, region_of

pytestmark = pytest.mark.airflow
QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/events"
PARAMETERS = {"InputData": "s3://<$.detail.bucket.name>/<$.detail.object.key>"}
SIZE = {"Size": "$.detail.object.size"}


class Comms:
    """Airflow's side of a task: the runs that it has triggered."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}

    def send(self, message: Any) -> Any:
        if message.run_id in self.runs:
            return ErrorResponse(error=ErrorType.DAGRUN_ALREADY_EXISTS)
        msgspec.msgpack.encode(message.conf)  # as CommsDecoder does
        self.runs[message.run_id] = {"dag": message.dag_id, **message.conf}
        return OKResponse(ok=True)


@pytest.fixture
def comms(monkeypatch: pytest.MonkeyPatch) -> Comms:
    fake = Comms()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", fake, raising=False)
    return fake


@pytest.fixture(scope="module")
def sqs() -> Iterator[Any]:
    import boto3

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    session = boto3.Session("x", "x", region_name="eu-central-1")
    yield session.client("sqs", endpoint_url=f"http://{host}:{port}")
    server.stop()


@pytest.fixture
def queue(sqs: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    extra = {"endpoint_url": sqs.meta.endpoint_url, "region_name": "eu-central-1"}
    connection = {"conn_type": "aws", "login": "x", "password": "x", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    return str(sqs.create_queue(QueueName="events")["QueueUrl"])


def operator(**more: str) -> StartPipelineOperator:
    trigger = s3_object_created("new", "raw", parameters={**PARAMETERS, **more}, queue=QUEUE)
    pipeline = Pipeline(
        "Train",
        [Step("Stop", "Fail", {"ErrorMessage": "x"})],
        [Parameter("InputData"), Parameter("Size", "Integer", 1, limits={"maximum": 100})],
        event_triggers=[trigger],
    )
    return StartPipelineOperator(task_id="start", pipeline=build(pipeline), event_trigger=trigger)


def event(key: str, bucket: str = "raw", **more: Any) -> str:
    detail = {"bucket": {"name": bucket}, "object": {"key": key, **more}}
    return json.dumps({"source": "aws.s3", "detail-type": "Object Created", "detail": detail})


def message(name: str, body: str) -> dict[str, str]:
    return {"MessageId": name, "Body": body, "ReceiptHandle": f"receipt {name}"}


def executed(operator: StartPipelineOperator, *payloads: Mapping[str, Any]) -> list[str]:
    """Execute the task in a run that has an asset event for each payload."""
    events = [SimpleNamespace(extra={"payload": payload}) for payload in payloads]
    active = SimpleNamespace(is_paused=False)
    ti = SimpleNamespace(dag_id="Train.new", run_id="asset_1", get_dag=lambda dag_id: active)
    context: Any = {
        "ti": ti,
        "dag_run": SimpleNamespace(),
        "triggering_asset_events": {"asset": events},
    }
    return operator.execute(context)


def test_each_message_starts_one_run_with_the_values_of_its_event(comms: Comms) -> None:
    one = {"message_batch": [message("m1", event("in/a.csv", size=5))]}
    two = {"message_batch": [message("m2", event("in/b.csv", size="7"))]}
    other = {"message_batch": [message("m3", event("c", bucket="other"))]}
    started = executed(operator(**SIZE), one, two, other, one)
    expected = {
        "Train.new__m1": {"dag": "Train", "InputData": "s3://raw/in/a.csv", "Size": 5},
        "Train.new__m2": {"dag": "Train", "InputData": "s3://raw/in/b.csv", "Size": 7},
    }
    assert comms.runs == expected
    assert started == list(expected)
    # Received again in a later run: nothing starts.
    assert executed(operator(**SIZE), two) == ["Train.new__m2"]
    assert comms.runs == expected


def test_values_of_an_event_are_not_templates(comms: Comms) -> None:
    executed(operator(), {"message_batch": [message("m1", event("{{ dag.dag_id }}"))]})
    assert comms.runs["Train.new__m1"]["InputData"] == "s3://raw/{{ dag.dag_id }}"


def test_rejected_values_fail_the_task_after_the_others_have_started(comms: Comms) -> None:
    bad = {"message_batch": [message("m1", event("a", size="big"))]}
    missing = {"message_batch": [message("m2", event("b"))]}
    good = {"message_batch": [message("m3", event("c", size=1))]}
    large = {"message_batch": [message("m4", event("d", size=101))]}
    with pytest.raises(AirflowFailException) as caught:
        executed(operator(**SIZE), bad, missing, good, large)
    assert str(caught.value).splitlines() == [
        "message m1: parameter 'Size' is 'big', expected an Integer",
        "message m2: parameter 'Size': the event has no $.detail.object.size",
        "message m4: parameter 'Size' is 101, expected at most 100",
    ]
    assert list(comms.runs) == ["Train.new__m3"]


def test_values_that_no_request_can_contain_do_not_stop_the_others(comms: Comms) -> None:
    huge = message("m1", event("a", size=-(10**100)))
    nul = message("m2", event("a\0", size=1))
    good = message("m3", event("c", size=1))
    with pytest.raises(AirflowFailException) as caught:
        executed(operator(**SIZE), {"message_batch": [huge, nul, good]})
    assert [line[:10] for line in str(caught.value).splitlines()] == ["message m1", "message m2"]
    assert list(comms.runs) == ["Train.new__m3"]


def test_large_messages_are_not_received_all_at_once() -> None:
    batch = [message(f"m{number}", "x" * 100_000) for number in range(10)]
    many = SimpleNamespace(receive_message=lambda **_: {"Messages": batch})
    assert len(receive_messages(many, QUEUE, most=50)) == 10


def test_messages_without_a_match_skip_the_task(comms: Comms) -> None:
    with pytest.raises(AirflowSkipException, match="no message matches the pattern of 'new'"):
        executed(operator(), {"message_batch": [message("m1", event("a", bucket="other"))]})
    with pytest.raises(AirflowSkipException):  # started by hand
        executed(operator())
    assert not comms.runs


def test_batches_of_the_providers_trigger_are_understood(comms: Comms) -> None:
    batch = [message("m1", event("a")), message("m2", event("b"))]
    executed(operator(), {"status": "success", "message_batch": batch})
    assert list(comms.runs) == ["Train.new__m1", "Train.new__m2"]


def test_a_message_stays_in_its_queue_until_its_run_has_started(
    sqs: Any, queue: str, comms: Comms
) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody=event("in/a.csv"))
    trigger = QueueTrigger(queue=queue, aws_conn_id="aws_default")

    async def first() -> Any:
        events = trigger.run()
        try:
            return await anext(events)
        finally:
            await events.aclose()  # type: ignore[attr-defined]

    payload = asyncio.run(first()).payload
    assert json.loads(json.dumps(payload)) == payload  # Airflow stores it as JSON
    assert not comms.runs
    assert count(sqs, queue) == 1
    (run,) = executed(operator(), payload)
    assert comms.runs[run]["InputData"] == "s3://raw/in/a.csv"
    assert count(sqs, queue) == 0


def count(sqs: Any, queue: str) -> int:
    """The messages in a queue, hidden ones included."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    return sum(int(found[name]) for name in names)


def test_triggers_with_one_queue_share_its_asset() -> None:
    one, two = queue_asset(QUEUE), queue_asset(QUEUE)
    assert one == two
    assert one.watchers[0].trigger.serialize() == two.watchers[0].trigger.serialize()


def test_region_comes_from_the_address_of_the_queue() -> None:
    assert region_of(QUEUE) == "eu-central-1"
    assert region_of("https://sqs.us-gov-west-1.amazonaws.com/1/q") == "us-gov-west-1"
    assert region_of("https://eu-west-1.queue.amazonaws.com/1/q") == "eu-west-1"
    assert region_of("http://127.0.0.1:5000/1/q") is None


def test_dag_file_of_a_trigger_reads_back_and_imports_no_aws_client(tmp_path: Path) -> None:
    trigger = s3_object_created("new", "raw", parameters=PARAMETERS, queue=QUEUE)
    step = Step("Stop", "Fail", {"ErrorMessage": "x"})
    pipeline = Pipeline("Train", [step], [Parameter("InputData")], event_triggers=[trigger])
    check = "\nimport sys\nassert not {'boto3', 'botocore'} & set(sys.modules)\n"
    file = tmp_path / "train.py"
    file.write_text(sagebridge.write(pipeline, "airflow").text + check)
    read, losses = sagebridge.read(str(file))
    assert read.event_triggers == (trigger,)
    assert not losses


def test_disabled_trigger_or_one_without_queue_has_no_schedule() -> None:
    step = Step("Stop", "Fail", {"ErrorMessage": "x"})
    triggers = [
        EventTrigger("off", queue=QUEUE, enabled=False),
        EventTrigger("nowhere", {"source": ["aws.s3"]}),
    ]
    text = sagebridge.write(Pipeline("T", [step], event_triggers=triggers), "airflow").text
    assert "queue_asset" not in text
