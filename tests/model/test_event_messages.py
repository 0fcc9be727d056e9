"""Messages of an SQS queue: their events, and the parameters of the executions they start."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from sagebridge import write
from sagebridge.errors import ParameterError
from sagebridge.model.event_messages import (
    event_starts,
    events_of,
    mapping_problems,
    parameter_values,
)
from sagebridge.model.event_triggers import EventTrigger, s3_object_created, sqs_message
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import Pipeline, Step

_URI = "s3://<$.detail.bucket.name>/<$.detail.object.key>"
_EVENT = {
    "version": "0",
    "id": "17793124-05d4-b198-2fde-7ededc63b103",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "region": "eu-central-1",
    "resources": ["arn:aws:s3:::raw"],
    "detail": {
        "bucket": {"name": "raw"},
        "object": {"key": "in/März 1.csv", "size": 5, "version-id": "v1"},
        "reason": "PutObject",
    },
}


def _record(key: str, name: str = "ObjectCreated:Put", bucket: str = "raw") -> dict[str, Any]:
    return {
        "eventSource": "aws:s3",
        "eventName": name,
        "awsRegion": "eu-central-1",
        "eventTime": "2026-11-27T10:00:00.000Z",
        "responseElements": {"x-amz-request-id": "R1"},
        "s3": {
            "bucket": {"name": bucket, "arn": f"arn:aws:s3:::{bucket}"},
            "object": {"key": key, "size": 5, "eTag": "e", "versionId": "v1"},
        },
    }


def _message(body: Any, name: str = "m1") -> dict[str, Any]:
    text = body if isinstance(body, str) else json.dumps(body)
    attribute = {"StringValue": "high", "DataType": "String"}
    return {
        "MessageId": name,
        "ReceiptHandle": "r",
        "Body": text,
        "Attributes": {"ApproximateReceiveCount": "1"},
        "MessageAttributes": {"Priority": attribute},
    }


def _started(trigger: EventTrigger, body: Any) -> dict[str, Any]:
    starts = event_starts(trigger, _message(body))
    assert not any(start.problems for start in starts)
    return {start.id: dict(start.values) for start in starts}


_S3 = s3_object_created("new", "raw", "in/", parameters={"InputData": _URI})


@pytest.mark.parametrize(
    "body",
    [
        _EVENT,
        {"Records": [_record("in/M%C3%A4rz+1.csv")]},
        {"Type": "Notification", "Message": json.dumps(_EVENT)},
        {"Type": "Notification", "Message": json.dumps({"Records": [_record("in/März+1.csv")]})},
    ],
    ids=["eventbridge", "s3", "sns", "s3-sns"],
)
def test_a_new_object_sets_input_data_in_every_form(body: Any) -> None:
    assert _started(_S3, body) == {"m1": {"InputData": "s3://raw/in/März 1.csv"}}


def test_s3_notifications_become_the_events_of_eventbridge() -> None:
    (event,) = events_of(json.dumps({"Records": [_record("in/M%C3%A4rz+1.csv")]}))
    assert event["detail"].pop("request-id") == "R1"
    assert event["detail"]["object"].pop("etag") == "e"
    assert event.pop("time") == "2026-11-27T10:00:00.000Z"
    assert event["detail"].pop("version") == "0"
    assert event == {name: value for name, value in _EVENT.items() if name != "id"}
    kinds = {
        name: events_of(json.dumps({"Records": [_record("k", name)]}))[0]["detail-type"]
        for name in ("ObjectRemoved:DeleteMarkerCreated", "ObjectTagging:Put", "s3:Unknown")
    }
    assert list(kinds.values()) == ["Object Deleted", "Object Tags Added", "Unknown"]


def test_each_matching_record_of_a_message_starts_one_execution() -> None:
    records = [_record("in/a"), _record("out/b"), _record("in/c"), _record("in/d", "ObjectAcl:Put")]
    assert _started(_S3, {"Records": records}) == {
        "m1": {"InputData": "s3://raw/in/a"},
        "m1-3": {"InputData": "s3://raw/in/c"},
    }


@pytest.mark.parametrize(
    "body",
    [
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "raw"},
        {"Records": [_record("in/a", bucket="other")]},
        {"Records": [None, {"eventSource": "aws:s3", "s3": 1, "userIdentity": []}]},
        {"Records": "x"},
        "not JSON",
        "[" * 100_000,
        {"Type": "Notification", "Message": 1},
    ],
    ids=str,
)
def test_other_messages_start_nothing(body: Any) -> None:
    assert _started(_S3, body) == {}


def test_any_message_of_a_queue_starts_one_execution_as_with_pipes() -> None:
    parameters = {
        "Order": "$.body.order.id",
        "First": "$.body.items[0]",
        "Priority": "$.messageAttributes.Priority.stringValue",
        "Name": "order-<$.body.order.id>-<$.body['a b']>",
        "Constant": 3,
        "Text": "a <b> $5",
    }
    body = {"order": {"id": 7}, "items": ["x", "y"], "a b": True}
    trigger = sqs_message("orders", "https://sqs/q", parameters=parameters)
    expected = {
        "Order": 7,
        "First": "x",
        "Priority": "high",
        "Name": "order-7-true",
        "Constant": 3,
        "Text": "a <b> $5",
    }
    assert _started(trigger, body) == {"m1": expected}
    text = sqs_message("text", "https://sqs/q", parameters={"Text": "$.body"})
    assert _started(text, "plain") == {"m1": {"Text": "plain"}}
    two = {"Records": [_record("a"), _record("b")]}
    assert _started(sqs_message("any", "https://sqs/q"), two) == {"m1": {}}
    key = {"Key": "$.body.Records[1].s3.object.key"}
    assert _started(sqs_message("pipe", "https://sqs/q", parameters=key), two) == {
        "m1": {"Key": "b"}
    }


def test_missing_fields_are_all_reported() -> None:
    trigger = EventTrigger(
        "x",
        {"source": ["aws.s3"]},
        {
            "A": "$.detail.other",
            "B": "<$.detail.object>",
            "C": "$.resources[1]",
            "D": "$.*",
            "E": 1,
        },
    )
    with pytest.raises(ParameterError) as caught:
        parameter_values(trigger, _EVENT)
    assert caught.value.problems == (
        "parameter 'A': the event has no $.detail.other",
        "parameter 'B': $.detail.object of the event is an object, expected one value",
        "parameter 'C': the event has no $.resources[1]",
        "parameter 'D': '$.*' is not supported; expected a path such as $.detail.object.key",
    )
    (start,) = event_starts(trigger, _message(_EVENT))
    assert start.problems == caught.value.problems
    assert [line.partition(":")[0] for line in mapping_problems(trigger)] == ["parameter 'D'"]


@pytest.mark.parametrize(
    ("engine", "document"), [("airflow", None), ("prefect", None), ("prefect", "prefect.yaml")]
)
def test_a_trigger_without_queue_is_a_loss_of_both_engines(
    engine: str, document: str | None
) -> None:
    with_queue = replace(_S3, name="found", queue="https://sqs.eu-central-1.amazonaws.com/1/q")
    pipeline = Pipeline(
        parameters=[Parameter("InputData")],
        steps=[Step("Stop", "Fail", {"ErrorMessage": "x"})],
        event_triggers=[_S3, with_queue],
    )
    losses = write(pipeline, engine, document=document).losses
    (loss,) = (loss for loss in losses if loss.code == "event-queue")
    assert loss.severity == "dropped"
    assert "event trigger 'new' has no queue" in loss.what


def test_deeply_nested_event_is_a_problem_of_its_message() -> None:
    deep = "[" * 900 + "]" * 900
    body = f'{{"source": {deep}, "detail-type": "Object Created", "detail": {{}}}}'
    (start,) = event_starts(_S3, {"MessageId": "1", "Body": body})
    assert (start.id, start.problems) == ("1", ("its JSON is nested too deeply",))
    path = f"$.body[{'9' * 5000}]"
    (start,) = event_starts(EventTrigger("x", {}, {"A": path}), {"MessageId": "1", "Body": "[1]"})
    assert "is not supported" in start.problems[0]
