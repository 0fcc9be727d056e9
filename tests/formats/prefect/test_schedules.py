"""Schedules and event triggers in flow files."""

from __future__ import annotations

from pathlib import Path

import sagebridge
from sagebridge.model.event_triggers import s3_object_created
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import Pipeline
from sagebridge.model.schedules import SCHEDULED_TIME, Schedule

QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/uploads"
NIGHTLY = Schedule(
    "nightly",
    "cron(0 4 ? * 6L 2027-2030)",
    timezone="Europe/Berlin",
    start="2027-01-01T00:00:00Z",
    enabled=False,
    parameters={"Day": SCHEDULED_TIME, "Count": 3, "Sure": True, "Rate": 0.5},
    flexible_minutes=15,
    max_age_seconds=600,
    description="{{ not a template }}",
    extra={"GroupName": "ml", "Target": {"DeadLetterConfig": {"Arn": "arn"}}},
)
PIPELINE = Pipeline(
    name="Scheduled",
    steps=(),
    parameters=(
        Parameter("Day", default="today"),
        Parameter("Count", "Integer", 1),
        Parameter("Sure", "Boolean", default=False),
        Parameter("Rate", "Float", 1.0),
    ),
    schedules=(NIGHTLY, Schedule("often", "rate(5 minutes)")),
    event_triggers=(
        s3_object_created(
            "uploaded", "data", "raw/", parameters={"Day": "$.detail.object.key"}, queue=QUEUE
        ),
    ),
)


def test_flow_file_keeps_schedules_and_event_triggers(tmp_path: Path) -> None:
    text, losses = sagebridge.write(PIPELINE, "prefect")
    assert {one.severity for one in losses if one.code == "schedule"} == {"info"}
    file = tmp_path / "flow.py"
    file.write_text(text)
    read, _ = sagebridge.read(file)
    assert read.schedules == PIPELINE.schedules
    assert read.event_triggers == PIPELINE.event_triggers
    assert 'Schedule(name="often", expression="rate(5 minutes)")' in text


def test_prefect_yaml_has_the_schedules_and_automations() -> None:
    import yaml

    text, losses = sagebridge.write(PIPELINE, "prefect", document="prefect.yaml")
    (entry,) = yaml.safe_load(text)["deployments"]
    assert entry["entrypoint"] == "flows/Scheduled.py:scheduled"
    nightly, often = entry["schedules"]
    assert nightly["slug"] == "sagebridge.nightly"
    assert nightly["active"] is False
    assert nightly["timezone"] == "Europe/Berlin"
    assert nightly["rrule"].splitlines() == [
        "DTSTART:20270129T040000",
        "RRULE:FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=4;BYMINUTE=0;BYSECOND=0;UNTIL=20301227T040000",
    ]
    assert (often["interval"], often["timezone"]) == (300, "UTC")
    (trigger,) = entry["triggers"]
    assert trigger["name"] == "sagebridge.Scheduled/Scheduled/uploaded"
    assert not [one for one in losses if one.severity != "info"]
