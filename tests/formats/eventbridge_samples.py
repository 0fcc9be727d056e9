"""A pipeline with schedules and event triggers, as EventBridge has them."""

from __future__ import annotations

import json
from typing import Any

import sagebridge
from sagebridge import EventTrigger, Parameter, Pipeline, Schedule
from sagebridge.model.event_triggers import s3_object_created

ACCOUNT = "arn:aws:sagemaker:eu-west-1:111122223333:"
ARN = f"{ACCOUNT}pipeline/nightly"
ROLE = "arn:aws:iam::111122223333:role/Start"
QUEUE = "https://sqs.eu-west-1.amazonaws.com/111122223333/data"
SMALL = sagebridge.Step("A", "Lambda", {"x": "y"}, extra={"FunctionArn": "f"})
KEYS = {"Target": {"Arn": ARN, "RoleArn": ROLE}}
NIGHTLY = Schedule(
    "night",
    "cron(15 10 ? * 6L 2026-2030)",
    timezone="Europe/Berlin",
    start="2026-12-01T00:00:00Z",
    end="2027-12-01T00:00:00+01:00",
    enabled=False,
    parameters={"Count": 3, "Day": "<aws.scheduler.scheduled-time>", "Fast": True, "Rate": 0.5},
    flexible_minutes=5,
    max_age_seconds=600,
    description="each month",
    extra={
        "GroupName": "train",
        "ActionAfterCompletion": "DELETE",
        "Target": {
            **KEYS["Target"],
            "RetryPolicy": {"MaximumRetryAttempts": 2},
            "DeadLetterConfig": {"Arn": "arn:aws:sqs:eu-west-1:111122223333:lost"},
        },
    },
)
BY_RULE = Schedule(
    "hourly",
    "rate(1 hour)",
    parameters={"Day": "<aws.scheduler.scheduled-time>"},
    extra={"Rule": {"RoleArn": ROLE}, **KEYS},
)
NEW_DATA = EventTrigger(
    "new",
    s3_object_created("", "data", "in/").pattern,
    {"Input": "$.detail.object.key"},
    description="new data",
    extra={**KEYS, "Tags": [{"Key": "a", "Value": "b"}]},
)
FROM_QUEUE = EventTrigger(
    "queue",
    parameters={"Input": "$.body.key"},
    queue=QUEUE,
    extra={"Pipe": {"RoleArn": ROLE}, "Target": {"Arn": ARN}},
)
PARAMETERS = (
    Parameter("Count", "Integer", 1),
    Parameter("Day", "String", ""),
    Parameter("Fast", "Boolean", False),
    Parameter("Rate", "Float", 1.0),
    Parameter("Input", "String", ""),
    Parameter("a_b", "String", ""),
)


def pipeline(*starters: Schedule | EventTrigger) -> Pipeline:
    return Pipeline(
        "nightly",
        [SMALL],
        PARAMETERS,
        role_arn=ROLE,
        schedules=[one for one in starters if isinstance(one, Schedule)],
        event_triggers=[one for one in starters if isinstance(one, EventTrigger)],
    )


def document(*starters: Schedule | EventTrigger) -> dict[str, Any]:
    text = sagebridge.write(pipeline(*starters), "sagemaker", document="eventbridge").text
    return dict(json.loads(text))


ALL = (NIGHTLY, BY_RULE, NEW_DATA, FROM_QUEUE)
