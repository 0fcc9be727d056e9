"""Schedules and event triggers of DAG files that sagebridge writes, read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sagebridge import EventTrigger, Parameter, Pipeline, Schedule, Step
from sagebridge.formats.airflow.reader import read_files
from sagebridge.formats.airflow.writer import write
from sagebridge.model.event_triggers import sqs_message
from sagebridge.model.schedules import stated_fields
from sagebridge.model.values import ABSENT

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(300)]
COUNT = 40
QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/"
NAMES = st.text(min_size=1, max_size=12) | st.sampled_from(["nightly", "a.b", "{{ ds }}", "x" * 64])
VALUES = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=9)
EXTRA = st.dictionaries(st.text(max_size=9), VALUES | st.lists(VALUES, max_size=2), max_size=2)
SCALARS = st.booleans() | st.integers(-9, 9) | st.text(max_size=9) | st.just("{{ ds }}")
PARAMETERS = st.dictionaries(
    st.sampled_from(["Day", "Limit"]), SCALARS | st.just("<aws.scheduler.scheduled-time>")
)


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.just(ABSENT) | values


SCHEDULES = st.builds(
    Schedule,
    NAMES,
    st.sampled_from(
        [
            "cron(0 4 ? * 2-6 *)",
            "cron( 15 10 L * ? 2027 )",
            "rate(90 seconds)",
            "rate(7 days)",
            "at(2026-12-01T10:00:00)",
            "unix(0 4 1 * MON)",
            "rrule(FREQ=MONTHLY;BYMONTHDAY=-4)",
        ]
    ),
    timezone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
    start=maybe(st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-01T00:00:00+02:00"])),
    end=maybe(st.just("2030-01-01T00:00:00Z")),
    enabled=st.booleans(),
    parameters=PARAMETERS,
    flexible_minutes=maybe(st.integers(1, 1440)),
    max_age_seconds=maybe(st.integers(60, 86400)),
    description=maybe(st.text(max_size=9)),
    extra=EXTRA,
)
TRIGGERS = st.builds(
    EventTrigger,
    NAMES,
    pattern=st.just({}) | st.just({"source": ["aws.s3"], "detail": {"object": {"size": [3]}}}),
    parameters=st.dictionaries(st.just("Day"), st.sampled_from(["$.detail.key", "<$.id>", 3])),
    queue=maybe(st.sampled_from([f"{QUEUE}orders", f"{QUEUE}leads.fifo"])),
    enabled=st.booleans(),
    description=maybe(st.text(max_size=9)),
    extra=EXTRA,
)


def drawn() -> list[Pipeline]:
    """The same pipelines in every run."""
    found: list[Pipeline] = []

    @settings(
        max_examples=COUNT,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(SCHEDULES, max_size=3), st.lists(TRIGGERS, max_size=2), st.booleans())
    def draw(schedules: list[Schedule], triggers: list[EventTrigger], required: bool) -> None:
        names = [*(one.name for one in schedules), *(one.name for one in triggers)]
        if len(set(names)) == len(names):
            day = Parameter("Day", "String") if required else Parameter("Day", "String", "now")
            found.append(
                Pipeline(
                    "train",
                    [Step("end", "Fail", {"ErrorMessage": "x"})],
                    [day, Parameter("Limit", "Integer", 3)],
                    schedules=schedules,
                    event_triggers=triggers,
                )
            )

    draw()
    return found


def test_schedules_survive_the_round_trip(tmp_path: Path) -> None:
    pipelines, files = drawn(), []
    for number, pipeline in enumerate(pipelines):
        files.append(tmp_path / f"{number}.py")
        files[-1].write_text(write(pipeline)[0])
    for pipeline, outcome in zip(pipelines, read_files(files), strict=True):
        assert not isinstance(outcome, Exception), outcome
        (dag,) = outcome
        assert dag.pipeline.schedules == pipeline.schedules
        assert dag.pipeline.event_triggers == pipeline.event_triggers
        assert dag.pipeline == pipeline
        assert dag.losses == ()


EDITS: dict[str, tuple[str, str, dict[str, dict[str, Any]]]] = {
    "no edit": ("", "", {}),
    "a preset": (
        """EventBridgeTimetable("cron(0 4 ? * 2-6 *)", name="week/days")""",
        '''"@hourly"''',
        {"week_days": {"expression": "cron(0 * * * ? *)"}},
    ),
    "an expression": ("2-6", "2", {"week/days": {"expression": "cron(0 4 ? * 2 *)"}}),
    "parameters": ('"Limit": 5', '"Limit": 7', {"week/days": {"parameters": {"Limit": 7}}}),
    "a paused DAG": (
        'dag_id="train.week_days",',
        'dag_id="train.week_days", is_paused_upon_creation=True,',
        {"week/days": {"enabled": False}},
    ),
    "a queue": (
        f'queue_asset("{QUEUE}orders")',
        f'queue_asset("{QUEUE}new")',
        {"orders": {"queue": f"{QUEUE}new"}},
    ),
    "no queue": (
        f'schedule=[queue_asset("{QUEUE}orders")]',
        "schedule=None",
        {"orders": {"enabled": False}},
    ),
}


def test_edited_schedules_are_read(tmp_path: Path) -> None:
    days = Schedule("week/days", "cron(0 4 ? * 2-6 *)", parameters={"Limit": 5})
    orders = sqs_message("orders", f"{QUEUE}orders", parameters={"Limit": "$.body.limit"})
    pipeline = Pipeline(
        "train",
        [Step("end", "Fail", {"ErrorMessage": "x"})],
        [Parameter("Limit", "Integer", 3)],
        schedules=[days],
        event_triggers=[orders],
    )
    text, files = write(pipeline)[0], []
    for number, (old, new, _) in enumerate(EDITS.values()):
        assert old in text, old
        files.append(tmp_path / f"{number}.py")
        files[-1].write_text(text.replace(old, new))
    for (name, (_, _, changes)), outcome in zip(EDITS.items(), read_files(files), strict=True):
        assert not isinstance(outcome, Exception), outcome
        (dag,) = outcome
        found: list[Any] = [*dag.pipeline.schedules, *dag.pipeline.event_triggers]
        expected = {"week/days": stated_fields(days), "orders": stated_fields(orders)}
        for changed, values in changes.items():
            before = expected.pop(changed.replace("_", "/"))
            expected[changed] = {**before, "name": changed, **values}
        assert {one.name: stated_fields(one) for one in found} == expected, name
        assert dag.losses == (), name
