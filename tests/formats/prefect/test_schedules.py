"""Schedules and event triggers in flow files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import sagebridge
from sagebridge.model.event_triggers import EventTrigger, s3_object_created
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import Pipeline
from sagebridge.model.schedules import SCHEDULED_TIME, Schedule
from sagebridge.model.values import ABSENT
from tests.schedules.expressions import ZONES, features

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


TEXTS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ['a"b', "{{ x }}", "a\\b", "'''", "line\nend", SCHEDULED_TIME]
)
NAMES = st.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True)
VALUES: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {},
    optional={
        "Day": TEXTS,
        "Count": st.integers(-9, 9),
        "Sure": st.booleans(),
        "Rate": st.floats(-9, 9),
    },
)
EXTRA: st.SearchStrategy[Any] = st.dictionaries(
    TEXTS, st.none() | TEXTS | st.lists(st.integers(), max_size=2), max_size=2
)


def optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.just(ABSENT) | values


SCHEDULES = st.builds(
    Schedule,
    NAMES,
    st.one_of(list(features().values())) | st.just("rate(5 minutes)"),
    st.sampled_from(ZONES),
    start=optional(st.just("2026-01-01T00:00:00Z")),
    end=optional(st.just("2031-01-01T00:00:00+02:00")),
    enabled=st.booleans(),
    parameters=VALUES,
    flexible_minutes=optional(st.integers(1, 1440)),
    max_age_seconds=optional(st.integers(60, 86400)),
    description=optional(TEXTS),
    extra=EXTRA,
)
TRIGGERS = st.builds(
    EventTrigger,
    NAMES,
    st.just({"source": ["aws.s3"], "detail": {"object": {"key": [{"prefix": "{{ a"}]}}}),
    st.fixed_dictionaries({}, optional={"Day": st.just("$.detail.object.key")}),
    queue=optional(st.just(QUEUE)),
    enabled=st.booleans(),
    description=optional(TEXTS),
    extra=EXTRA,
)


@settings(max_examples=30)
@given(st.lists(SCHEDULES | TRIGGERS, unique_by=lambda one: one.name, max_size=3))
def test_any_schedules_of_a_flow_file_come_back(items: list[Schedule | EventTrigger]) -> None:
    schedules = tuple(one for one in items if isinstance(one, Schedule))
    triggers = tuple(one for one in items if isinstance(one, EventTrigger))
    given_ = replace(PIPELINE, schedules=schedules, event_triggers=triggers)
    with TemporaryDirectory() as folder:
        file = Path(folder, "flow.py")
        file.write_text(sagebridge.write(given_, "prefect").text)
        read, _ = sagebridge.read(file)
    assert read.schedules == schedules
    assert read.event_triggers == triggers
