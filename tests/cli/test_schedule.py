"""``sagebridge schedule next``, and schedules in ``sagebridge show``."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pendulum
import pytest

import sagebridge
from sagebridge import EventTrigger, Pipeline, Schedule
from sagebridge.cli import main, schedule_view

ARN = "arn:aws:sagemaker:eu-west-1:111122223333:pipeline/nightly"
NOW = pendulum.datetime(2027, 3, 27, 12)
DAILY = Schedule("daily", "cron(30 2 * * ? *)", "Europe/Berlin", flexible_minutes=15)
OFTEN = Schedule("often", "rate(90 minutes)", enabled=False)
RULE = Schedule("rule", "rrule(FREQ=DAILY;BYHOUR=4;BYMINUTE=0;BYSECOND=0)")
IRREGULAR = Schedule("one", RULE.expression, start="2027-01-03T00:00:00Z")


def request(name: str, expression: str, **more: Any) -> dict[str, Any]:
    """A CreateSchedule request."""
    return {
        "Name": name,
        "ScheduleExpression": expression,
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {"Arn": ARN, "RoleArn": "arn:aws:iam::111122223333:role/start"},
        **more,
    }


@pytest.fixture
def pipelines(monkeypatch: pytest.MonkeyPatch) -> dict[str, Pipeline]:
    """Pipelines by the source from which the commands read them, on 2027-03-27."""
    found: dict[str, Pipeline] = {}

    def read(source: str, *given: Any, **keywords: Any) -> sagebridge.Reading:
        return sagebridge.Reading(found[source], ())

    monkeypatch.setattr(sagebridge, "read", read)
    monkeypatch.setattr(schedule_view, "now", lambda: NOW)
    return found


def test_eventbridge_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "nightly.json"
    zone = {"ScheduleExpressionTimezone": "Europe/Berlin"}
    requests = [request("late", "cron(30 2 * * ? *)", **zone), request("wrong", "cron(0 4 * * *)")]
    file.write_text(json.dumps({"CreateSchedule": requests}))
    span = ("--between", "2027-03-27", "2027-03-30")
    assert main(["schedule", "next", str(file), *span]) == 1
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        "late  at 02:30 every day, Europe/Berlin",
        "   SageMaker              Airflow                Prefect",
        "   2027-03-27 02:30 CET   2027-03-27 02:30 CET   2027-03-27 02:30 CET",
        "   2027-03-29 02:30 CEST  2027-03-29 02:30 CEST  2027-03-29 02:30 CEST",
    ]
    assert shown.err == (
        "schedule 'wrong': cron(0 4 * * *) has 5 fields, expected minute, hour, day of month, "
        "month, weekday and year; write cron(0 4 * * ? *)\n"
    )


def test_rate_counts_from_now(
    pipelines: dict[str, Pipeline], capsys: pytest.CaptureFixture[str]
) -> None:
    pipelines["p"] = Pipeline("nightly", schedules=[OFTEN])
    assert main(["schedule", "next", "p", "-n", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "often  every 90 minutes  off",
        "   SageMaker             Airflow               Prefect",
        "   2027-03-27 13:30 UTC  2027-03-27 13:30 UTC  2027-03-27 13:30 UTC",
        "   2027-03-27 15:00 UTC  2027-03-27 15:00 UTC  2027-03-27 15:00 UTC",
        "  without a start, times count from when the engine gets the schedule; here from now",
    ]


def test_differences_are_marked(
    pipelines: dict[str, Pipeline], capsys: pytest.CaptureFixture[str]
) -> None:
    pipelines["p"] = Pipeline("nightly", schedules=[RULE])
    span = ("--between", "2027-01-01T05:00+01:00", "2027-01-02T04:00")
    assert main(["schedule", "next", "p", *span, "--format", "json"]) == 0
    times = ["2027-01-01T04:00:00Z", "2027-01-02T04:00:00Z"]
    (found,) = json.loads(capsys.readouterr().out)["schedules"]
    assert found["engines"] == {
        "sagemaker": {"times": [], "note": "EventBridge cannot express it"},
        "airflow": {"times": times},
        "prefect": {"times": times},
    }
    assert found["differences"] == times
    assert main(["schedule", "next", "p", *span]) == 0
    assert capsys.readouterr().out.splitlines()[2] == (
        "!  -          2027-01-01 04:00 UTC  2027-01-01 04:00 UTC"
    )


@pytest.mark.skipif(find_spec("prefect") is not None, reason="for environments without Prefect")
def test_times_of_prefect_need_prefect(
    pipelines: dict[str, Pipeline], capsys: pytest.CaptureFixture[str]
) -> None:
    pipelines["p"] = Pipeline("nightly", schedules=[IRREGULAR])
    assert main(["schedule", "next", "p", "--between", "2027-01-01", "2027-01-04"]) == 0
    shown = capsys.readouterr().out
    assert "!  -          2027-01-03 04:00 UTC  ?" in shown.splitlines()
    assert "Prefect: does not have the start of the schedule; its times need the extra" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("2027-01-02", "2027-01-01"), "the end is before the start"),
        (("today", "2027-01-01"), "--between today: expected a time such as 2027-03-27 or"),
    ],
)
def test_wrong_span(
    pipelines: dict[str, Pipeline],
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, str],
    message: str,
) -> None:
    pipelines["p"] = Pipeline("nightly", schedules=[DAILY])
    assert main(["schedule", "next", "p", "--between", *words]) == 2
    assert message in capsys.readouterr().err


def test_show_prints_schedules_and_next_run(
    pipelines: dict[str, Pipeline], capsys: pytest.CaptureFixture[str]
) -> None:
    last = Schedule("last", "cron(15 10 ? * 6L *)", "Europe/Berlin", parameters={"Size": 2})
    trigger = EventTrigger("created", {"source": ["aws.s3"]}, {"Data": "$.detail.object.key"})
    pipelines["p"] = Pipeline("nightly", schedules=[DAILY, last, OFTEN], event_triggers=[trigger])
    assert main(["show", "p"]) == 0
    assert capsys.readouterr().out.splitlines()[1:-1] == [
        "Schedules",
        "├── daily  at 02:30 every day, Europe/Berlin",
        "│   ├── next run 2027-03-29 02:30 CEST, in 1 day",
        "│   └── starts up to 15 minutes later",
        "├── last  at 10:15 on the last Friday of each month, Europe/Berlin",
        "│   ├── next run 2027-04-30 10:15 CEST, in 1 month",
        "│   └── Size = 2",
        "└── often  every 90 minutes  off",
        "Event triggers",
        '└── created  each event that matches {"source": ["aws.s3"]}',
        '    └── Data = "$.detail.object.key"',
    ]
    assert main(["show", "p", "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [one["next"] for one in shown["schedules"]] == [
        "2027-03-29T00:30:00Z",
        "2027-04-30T08:15:00Z",
        None,
    ]
    assert shown["schedules"][1]["words"] == (
        "at 10:15 on the last Friday of each month, Europe/Berlin"
    )
    assert shown["event_triggers"][0]["pattern"] == {"source": ["aws.s3"]}
