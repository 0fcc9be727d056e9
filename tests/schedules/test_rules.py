"""The rules of ``validate`` for schedules and event triggers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import sagebridge
from sagebridge import EventTrigger, Parameter, Pipeline, Schedule, Step
from sagebridge.errors import ScheduleError
from sagebridge.model.schedules import SCHEDULED_TIME

DAILY = "cron(0 4 * * ? *)"
STEP = Step("Stop", "Fail", {"ErrorMessage": "no"})
PARAMETERS = (
    Parameter("Data"),
    Parameter("Size", "Integer", 1),
    Parameter("Stage", default="dev", enum_values=["dev", "prod"]),
)


def pipeline(*starters: Schedule | EventTrigger, steps: Any = (STEP,)) -> Pipeline:
    return Pipeline(
        "nightly",
        steps,
        PARAMETERS,
        schedules=[one for one in starters if isinstance(one, Schedule)],
        event_triggers=[one for one in starters if isinstance(one, EventTrigger)],
    )


def findings(*starters: Schedule | EventTrigger) -> list[tuple[str, str, str]]:
    found = sagebridge.validate(pipeline(*starters))
    return [(one.severity, one.code, one.message) for one in found]


@pytest.mark.parametrize(
    ("expression", "fields", "expected"),
    [
        (
            "cron(0 4 * * *)",
            {},
            (
                "error schedule-expression: cron(0 4 * * *) has 5 fields, expected minute, hour, "
                "day of month, month, weekday and year; write cron(0 4 * * ? *)"
            ),
        ),
        (
            "0 4 * * *",
            {},
            (
                "error schedule-expression: '0 4 * * *' is not a schedule expression; expected "
                "cron(…), rate(…) or at(…); write cron(0 4 * * ? *)"
            ),
        ),
        (
            "cron(0 25 ? * 9 *)",
            {"timezone": "Europe/Berln"},
            (
                "error schedule-expression: hour 25: 25 is not 0 to 23; weekday 9: 9 is not 1 to 7 "
                "or SUN to SAT\n"
                "error schedule-timezone: timezone: 'Europe/Berln' is not a time zone, such as "
                "Europe/Berlin"
            ),
        ),
        (
            "rrule(FREQ=DALY)",
            {},
            "error schedule-expression: rrule(FREQ=DALY): invalid 'FREQ': DALY",
        ),
        ("cron(0 4 30 2 ? *)", {}, "warning schedule-never: cron(0 4 30 2 ? *) never fires"),
        (
            "at(2026-03-29T02:30:00)",
            {"timezone": "Europe/Berlin"},
            "warning schedule-never: at(2026-03-29T02:30:00) never fires",
        ),
        (
            "rate(1 day)",
            {"start": "2026-12-02T00:00:00+01:00", "end": "2026-12-01T23:00:00Z"},
            (
                "error schedule-bounds: end 2026-12-01T23:00:00Z is not after start "
                "2026-12-02T00:00:00+01:00"
            ),
        ),
        (
            DAILY,
            {"start": "tomorrow"},
            "error schedule-bounds: start 'tomorrow' is not a time, such as 2026-12-01T00:00:00Z",
        ),
        (
            DAILY,
            {"start": "0001-01-01T00:00:00+14:00"},
            (
                "error schedule-bounds: start '0001-01-01T00:00:00+14:00' is not a time, such as "
                "2026-12-01T00:00:00Z"
            ),
        ),
        (
            "at(2026-12-01T10:00:00)",
            {"end": "2026-12-01T00:00:00Z"},
            "warning schedule-bounds: start and end have no effect on at(…)",
        ),
        (
            DAILY,
            {"flexible_minutes": 0, "max_age_seconds": 86_401},
            (
                "error schedule-window: flexible_minutes: expected 1 to 1440, got 0\n"
                "error schedule-max-age: max_age_seconds: expected 60 to 86400, got 86401"
            ),
        ),
    ],
)
def test_times(expression: str, fields: dict[str, Any], expected: str) -> None:
    schedule = Schedule("night", expression, parameters={"Data": "x"}, **fields)
    found = [f"{severity} {code}: {text}" for severity, code, text in findings(schedule)]
    assert "\n".join(found).replace("schedule 'night': ", "") == expected


def test_parameters_of_schedules_and_triggers() -> None:
    given = {"Size": "big", "Stage": SCHEDULED_TIME, "Sise": 2}
    event = {"Data": "s3://<$.detail.bucket.name>/x", "Size": "$.detail[", "Stage": "test"}
    schedule = Schedule("night", DAILY, parameters=given)
    trigger = EventTrigger("created", {"source": ["aws.s3"]}, event)
    assert [text for _, _, text in findings(schedule, trigger)] == [
        "schedule 'night': parameter 'Size' is 'big', expected an Integer",
        (
            f"schedule 'night': parameter 'Stage' is '{SCHEDULED_TIME}', expected one of 'dev', "
            "'prod'; it becomes a string such as 2026-12-01T04:00:00Z"
        ),
        "schedule 'night': unknown parameter 'Sise' (did you mean 'Size'?)",
        "schedule 'night': parameter 'Data' has no default and is not set; give it a default",
        (
            "event trigger 'created': parameter 'Size': '$.detail[' is not supported; expected a "
            "path such as $.detail.object.key"
        ),
        "event trigger 'created': parameter 'Stage' is 'test', expected one of 'dev', 'prod'",
    ]


def test_names_and_patterns() -> None:
    data = {"Data": "x"}
    found = findings(
        Schedule("one", DAILY, parameters=data),
        EventTrigger("one", {"source": "aws.s3"}, data),
        EventTrigger("two", {}, data),
    )
    assert [code for _, code, _ in found] == [
        "duplicate-schedule",
        "event-pattern",
        "event-pattern",
    ]
    assert found[0][2] == "2 schedules or event triggers are named 'one'"
    assert found[1][2].startswith("event trigger 'one': pattern: ")


def test_names_that_eventbridge_does_not_allow() -> None:
    ((severity, code, message),) = findings(Schedule("each day", DAILY, parameters={"Data": "x"}))
    assert (severity, code) == ("warning", "schedule-name")
    assert message.startswith("invalid name 'each day' of a schedule or event trigger; ")


def test_right_schedules_have_no_findings() -> None:
    found = findings(
        Schedule("night", DAILY, parameters={"Data": SCHEDULED_TIME, "Size": "2"}),
        Schedule("cron", "unix(0 4 1 * MON)", parameters={"Data": "x"}),
        EventTrigger("created", {"source": ["aws.s3"]}, {"Data": "$.detail.object.key"}),
        EventTrigger("message", {}, {"Data": "$.body"}, queue="https://sqs/q"),
    )
    assert found == []


@pytest.mark.parametrize(
    ("to", "document", "number"),
    [("airflow", None, 3), ("prefect", None, 3), ("sagemaker", "cloudformation", 2)],
)
def test_translate_rejects_a_required_parameter_that_is_not_set(
    to: str, document: str | None, number: int
) -> None:
    source = pipeline(Schedule("night", DAILY), Schedule("noon", "cron(0 12 * * *)"))
    with pytest.raises(ScheduleError) as error:
        sagebridge.translate(source, to, document=document)
    assert str(error.value).splitlines()[0] == (
        "nightly: schedule 'night': parameter 'Data' has no default and is not set; "
        "give it a default"
    )
    assert len(error.value.problems) == number


def test_a_definition_without_schedules_is_translated() -> None:
    assert sagebridge.translate(pipeline(Schedule("night", DAILY)), "sagemaker").text


def test_parameters_of_an_unknown_pipeline_are_not_checked() -> None:
    alone = Pipeline("nightly", schedules=[Schedule("night", DAILY, parameters={"Any": "x"})])
    assert not [one for one in sagebridge.validate(alone) if one.code != "no-steps"]


TEMPLATE = """
Parameters: {Age: {Type: Number}}
Resources:
  Nightly:
    Type: AWS::SageMaker::Pipeline
    Properties:
      PipelineName: nightly
      RoleArn: arn:aws:iam::111122223333:role/x
      PipelineDefinition:
        PipelineDefinitionBody: |
          {"Version": "2020-12-01", "Parameters": [{"Name": "Size", "Type": "Integer"}], "Steps": [
          {"Name": "Stop", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}]}
  Night:
    Type: AWS::Scheduler::Schedule
    Properties:
      Name: night
      ScheduleExpression: cron(0 4 * * *)
      FlexibleTimeWindow: {Mode: "OFF"}
      Target:
        Arn: !GetAtt Nightly.Arn
        RoleArn: arn:aws:iam::111122223333:role/x
        SageMakerPipelineParameters:
          PipelineParameterList: [{Name: Size, Value: big}]
  Noon:
    Type: AWS::Scheduler::Schedule
    Properties:
      Name: noon
      ScheduleExpression: !Sub "rate(${Age} minutes)"
      FlexibleTimeWindow: {Mode: "OFF"}
      Target:
        Arn: !GetAtt Nightly.Arn
        RoleArn: arn:aws:iam::111122223333:role/x
        SageMakerPipelineParameters:
          PipelineParameterList: [{Name: Size, Value: "7"}]
"""


def test_template_has_the_lines_of_its_schedules(tmp_path: Path) -> None:
    file = tmp_path / "stack.yaml"
    file.write_text(TEMPLATE)
    found = [(one.line, one.code, one.message) for one in sagebridge.validate(str(file))]
    assert found == [
        (
            16,
            "schedule-expression",
            (
                "schedule 'night': cron(0 4 * * *) has 5 fields, expected minute, hour, day of "
                "month, month, weekday and year; write cron(0 4 * * ? *)"
            ),
        ),
        (
            16,
            "schedule-parameter",
            "schedule 'night': parameter 'Size' is 'big', expected an Integer",
        ),
    ]
