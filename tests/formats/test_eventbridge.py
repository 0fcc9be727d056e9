"""Schedules and event triggers in documents of EventBridge."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sagebridge
from sagebridge import ABSENT, EventTrigger, Schedule
from sagebridge.errors import SourceError
from sagebridge.model.event_triggers import sqs_message
from sagebridge.model.values import Object, Value
from tests.formats.eventbridge_samples import (
    ACCOUNT,
    ALL,
    ARN,
    BY_RULE,
    FROM_QUEUE,
    KEYS,
    NEW_DATA,
    NIGHTLY,
    QUEUE,
    ROLE,
    document,
    pipeline,
)


def test_document_comes_back() -> None:
    meant = pipeline(*ALL)
    written = sagebridge.write(meant, "sagemaker", document="eventbridge")
    assert written.losses == ()
    found, losses = sagebridge.read(written.text)
    assert (found.name, found.steps, losses) == ("nightly", (), ())
    merged = sagebridge.with_schedules(pipeline(), found)
    assert (merged.schedules, merged.event_triggers) == (meant.schedules, meant.event_triggers)


def test_aws_accepts_a_document() -> None:
    boto3 = pytest.importorskip("boto3")
    moto = pytest.importorskip("moto")
    requests = document(*ALL)
    with moto.mock_aws():
        options = {"region_name": "eu-west-1"}
        scheduler, events = (boto3.client(name, **options) for name in ("scheduler", "events"))
        pipes = boto3.client("pipes", **options)
        scheduler.create_schedule_group(Name="train")
        for request in requests["CreateSchedule"]:
            scheduler.create_schedule(**request)
        for request in requests["PutRule"]:
            events.put_rule(**request)
        for request in requests["PutTargets"]:
            assert events.put_targets(**request)["FailedEntryCount"] == 0
        for request in requests["CreatePipe"]:
            pipes.create_pipe(**request)
        there = scheduler.get_schedule(Name="night", GroupName="train")
    found, losses = sagebridge.read(there)
    (schedule,) = sagebridge.with_schedules(pipeline(), found).schedules
    assert (schedule.expression, schedule.parameters) == (NIGHTLY.expression, NIGHTLY.parameters)
    assert schedule.extra["Target"] == NIGHTLY.extra["Target"]
    assert [one.code for one in losses] == ["beside-definition"]


def test_definition_and_request_lose_schedules() -> None:
    for name in ("definition", "create-pipeline"):
        losses = sagebridge.write(pipeline(*ALL), "sagemaker", document=name).losses
        found = [one for one in losses if one.code == "schedule"]
        assert [one.severity for one in found] == ["dropped"] * 4
        assert all("--as cloudformation or --as eventbridge" in one.advice for one in found)
        assert "'night' (cron(15 10 ? * 6L 2026-2030))" in found[0].what


@pytest.mark.parametrize(
    ("starter", "severity", "what"),
    [
        (Schedule("s", "unix(0 4 1 * MON)"), "dropped", "EventBridge has no unix(0 4 1 * MON)"),
        (Schedule("s", "rate(90 seconds)"), "dropped", "EventBridge has no rate(90 seconds)"),
        (Schedule("s", "rrule(FREQ=DAILY)"), "dropped", "EventBridge has no rrule(FREQ=DAILY)"),
        (Schedule("a b", "rate(1 day)"), "changed", "does not allow the name 'a b'"),
        (
            replace(NEW_DATA, parameters=Object({"Input": "s3://<$.detail.bucket.name>/x"})),
            "dropped",
            "cannot put paths into a string ('Input')",
        ),
        (replace(NEW_DATA, queue=QUEUE), "info", "starts the pipeline itself"),
        (replace(NEW_DATA, parameters=Object({"a_b": "x"})), "changed", "'a_b'"),
        (sqs_message("q", "http://localhost:5000/q"), "dropped", "is not one of AWS"),
        (replace(BY_RULE, timezone="Asia/Tokyo"), "info", "rules have no time zone"),
    ],
    ids=lambda value: getattr(value, "name", None) or "",
)
def test_losses_of_writing(starter: Any, severity: str, what: str) -> None:
    extra = {**starter.extra, "Target": KEYS["Target"], "Pipe": {"RoleArn": ROLE}}
    if isinstance(starter, Schedule) or starter.pattern:
        del extra["Pipe"]
    starter = replace(starter, extra=extra)
    (loss,) = sagebridge.write(pipeline(starter), "sagemaker", document="eventbridge").losses
    assert (loss.code, loss.severity) == ("schedule", severity)
    assert loss.place in ("/Schedules/0", "/EventTriggers/0")
    assert what in loss.what


@pytest.mark.parametrize(
    ("expression", "written"),
    [
        ("unix(0 4 * * 1-5)", "cron(0 4 ? * MON-FRI *)"),
        ("unix(0 4 L * *)", "cron(0 4 L * ? *)"),
        ("rate(120 seconds)", "rate(2 minutes)"),
        ("rate(60 seconds)", "rate(1 minute)"),
    ],
)
def test_expressions_of_engines_are_translated(expression: str, written: str) -> None:
    (request,) = document(Schedule("s", expression))["CreateSchedule"]
    assert request["ScheduleExpression"] == written


def test_unknown_role_and_region_are_losses() -> None:
    made = replace(pipeline(Schedule("s", "rate(1 day)")), role_arn=ABSENT)
    text, losses = sagebridge.write(made, "sagemaker", document="eventbridge")
    assert "${AWS::Region}:${AWS::AccountId}:pipeline/nightly" in text
    assert [(one.code, one.severity) for one in losses] == [
        ("schedule", "info"),
        ("role-missing", "info"),
    ]
    found, losses = sagebridge.read(text)
    assert (found.schedules, losses) == ((Schedule("s", "rate(1 day)"),), ())
    of_role = document(Schedule("s", "rate(1 day)"))["CreateSchedule"][0]["Target"]["Arn"]
    assert of_role == "arn:aws:sagemaker:${AWS::Region}:111122223333:pipeline/nightly"


def test_renamed_pipeline_is_the_target() -> None:
    made = replace(pipeline(NIGHTLY), name="other")
    text = sagebridge.write(made, "sagemaker", document="eventbridge").text
    assert json.loads(text)["CreateSchedule"][0]["Target"]["Arn"] == f"{ACCOUNT}pipeline/other"


class TestReading:
    def test_single_requests_and_lists(self) -> None:
        requests = document(*ALL)
        rule = {**requests["PutRule"][0], "Targets": requests["PutTargets"][0]["Targets"]}
        for source in (
            requests["CreateSchedule"][0],
            rule,
            requests["CreatePipe"][0],
            requests["CreateSchedule"],
        ):
            found = sagebridge.read(source).pipeline
            assert found.name == "nightly"
            assert len(found.schedules) + len(found.event_triggers) == 1

    def test_several_pipelines(self, tmp_path: Path) -> None:
        requests = document(NIGHTLY)["CreateSchedule"]
        other = json.loads(json.dumps(requests[0]).replace("pipeline/nightly", "pipeline/weekly"))
        file = tmp_path / "s.json"
        file.write_text(json.dumps({"CreateSchedule": [*requests, {**other, "Name": "w"}]}))
        with pytest.raises(SourceError, match="several pipelines: nightly, weekly; add #NAME"):
            sagebridge.read(file)
        assert [one.name for one in sagebridge.read(f"{file}#weekly").pipeline.schedules] == ["w"]
        with pytest.raises(SourceError, match="no schedule, rule or pipe starts the pipeline 'x'"):
            sagebridge.read(f"{file}#x")

    def test_other_targets_are_losses(self) -> None:
        requests = document(NEW_DATA)
        requests["PutTargets"][0]["Targets"].append({"Id": "2", "Arn": "arn:aws:lambda:x"})
        found, (loss,) = sagebridge.read(requests)
        assert len(found.event_triggers) == 1
        assert (loss.severity, "arn:aws:lambda:x" in loss.what) == ("info", True)

    def test_queue_of_a_rule_is_that_of_its_trigger(self) -> None:
        requests = document(NEW_DATA)
        queue = {"Id": "2", "Arn": "arn:aws:sqs:eu-west-1:111122223333:data"}
        requests["PutTargets"][0]["Targets"].append(queue)
        found, losses = sagebridge.read(requests)
        assert ([one.queue for one in found.event_triggers], losses) == ([QUEUE], ())

    def test_wrong_requests_are_reported_at_once(self) -> None:
        deep = '{"a": ' * 500 + "[1]" + "}" * 500
        requests = {
            "CreateSchedule": [{"Name": "a", "Target": {"Arn": ARN}}],
            "PutRule": [
                {"Name": "b", "EventPattern": "{", "Targets": [{"Arn": ARN}]},
                {"Name": "c", "Targets": [{"Arn": ARN}]},
                {"Name": "d", "EventPattern": deep, "Targets": [{"Arn": ARN}]},
            ],
        }
        with pytest.raises(SourceError) as error:
            sagebridge.read(requests)
        assert "/PutRule/2: EventPattern is nested too deeply (limit: 100" in str(error.value)
        assert "/CreateSchedule/0: ScheduleExpression: expected a string" in str(error.value)
        assert "/PutRule/0: EventPattern is not JSON" in str(error.value)
        assert "/PutRule/1: rule 'c' has neither" in str(error.value)

    def test_values_of_other_types_are_kept(self) -> None:
        request = document(NIGHTLY)["CreateSchedule"][0]
        request["FlexibleTimeWindow"] = {"Mode": "SOMETIMES"}
        request["Target"]["SageMakerPipelineParameters"] = {"PipelineParameterList": "x"}
        request["State"] = "ON"
        found = sagebridge.read(request).pipeline
        assert not found.schedules[0].enabled
        again = sagebridge.write(found, "sagemaker", document="eventbridge").text
        assert json.loads(again)["CreateSchedule"] == [request]

    def test_malformed_parts_are_carried_or_reported(self) -> None:
        requests = document(*ALL)
        requests["PutTargets"][0]["Targets"] = True
        requests["PutTargets"][1]["Targets"][0]["RoleArn"] = {"a": 1}
        found = sagebridge.with_schedules(pipeline(), sagebridge.read(requests).pipeline)
        assert len(found.schedules) + len(found.event_triggers) == 3
        for name in ("eventbridge", "cloudformation"):
            text = sagebridge.write(found, "sagemaker", document=name).text
            assert '"RoleArn":{"a":1}' in "".join(text.split())

    @pytest.mark.parametrize(
        ("given", "enabled", "written"),
        [
            ("ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS", True, None),
            ("ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS", False, "DISABLED"),
            ("${State}", False, None),
            ("${State}", True, "ENABLED"),
        ],
    )
    def test_states_that_changed_are_written(
        self, given: str, enabled: bool, written: str | None
    ) -> None:
        requests = document(NEW_DATA)
        requests["PutRule"][0]["State"] = given
        (trigger,) = sagebridge.read(requests).pipeline.event_triggers
        assert trigger.enabled is given.startswith("ENABLED")
        again = document(replace(trigger, enabled=enabled))["PutRule"][0]["State"]
        assert again == (written or given)

    def test_times_of_responses(self) -> None:
        request = {**document(NIGHTLY)["CreateSchedule"][0], "StartDate": 1764547200}
        request["EndDate"] = "2027-01-01T00:00:00"
        (found,) = sagebridge.read(request).pipeline.schedules
        assert (found.start, found.end) == ("2025-12-01T00:00:00Z", "2027-01-01T00:00:00Z")

    def test_rule_with_expression_and_pattern_stays_one_rule(self) -> None:
        rule = {"Name": "both", "ScheduleExpression": "rate(1 day)", "EventPattern": '{"a": [1]}'}
        source = {**rule, "State": "ENABLED", "Targets": [{"Arn": ARN, "RoleArn": ROLE}]}
        found = sagebridge.read(source).pipeline
        assert len({found.schedules[0].name, found.event_triggers[0].name}) == 2
        text = sagebridge.write(found, "sagemaker", document="eventbridge").text
        (again,) = json.loads(text)["PutRule"]
        assert {key: again[key] for key in rule} == rule
        assert len(json.loads(text)["PutTargets"]) == 1

    def test_pipe_that_filters_events_is_about_the_event(self) -> None:
        pattern = {"body": {"source": ["aws.s3"], "detail": {"bucket": {"name": ["b"]}}}}
        pipe = document(FROM_QUEUE)["CreatePipe"][0]
        pipe["SourceParameters"]["FilterCriteria"] = {"Filters": [{"Pattern": json.dumps(pattern)}]}
        parameters = pipe["TargetParameters"]["SageMakerPipelineParameters"]
        parameters["PipelineParameterList"][0]["Value"] = "$.body.detail.object.key"
        found = sagebridge.read(pipe).pipeline
        (trigger,) = found.event_triggers
        assert trigger.pattern == pattern["body"]
        assert trigger.parameters == {"Input": "$.detail.object.key"}
        text = sagebridge.write(found, "sagemaker", document="eventbridge").text
        assert json.loads(text)["CreatePipe"] == [pipe]

    def test_enrichment_of_a_pipe_is_a_loss(self) -> None:
        pipe = {**document(FROM_QUEUE)["CreatePipe"][0], "Enrichment": "arn:aws:lambda:x"}
        (loss,) = sagebridge.read(pipe).losses
        assert (loss.severity, "Enrichment" in loss.what) == ("changed", True)

    def test_folders_and_validate(self, tmp_path: Path) -> None:
        file = tmp_path / "s.json"
        file.write_text(json.dumps(document(*ALL)))
        (finding,) = sagebridge.validate(file)
        assert (finding.code, finding.severity) == ("no-steps", "warning")
        from sagebridge.registry import skip_reason

        assert "--schedules" in skip_reason(file)


names = st.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8", exclude_characters="$<"), max_size=8)
keys = st.dictionaries(st.sampled_from(["GroupName", "KmsKeyArn"]), texts)
values: st.SearchStrategy[dict[str, Value]] = st.fixed_dictionaries(
    {},
    optional={
        "Count": st.integers(-9, 9),
        "Fast": st.booleans(),
        "Rate": st.floats(-9, 9),
        "Input": texts,
        "Day": st.just("<aws.scheduler.scheduled-time>"),
    },
)
paths: st.SearchStrategy[dict[str, Value]] = st.fixed_dictionaries(
    {}, optional={"Count": st.just("$.body.count"), "Fast": st.booleans(), "Input": texts}
)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    by_rule = draw(st.booleans())
    extra: dict[str, Any] = {"Rule": {}} if by_rule else draw(keys)
    expressions = ["rate(5 minutes)", "cron(0 4 LW * ? *)"]
    expressions += [] if by_rule else ["at(2026-12-01T10:00:00)"]
    start: Any = ABSENT if by_rule else draw(st.sampled_from([ABSENT, "2026-01-01T00:00:00Z"]))
    window: Any = ABSENT if by_rule else draw(st.sampled_from([ABSENT, 1, 1440]))
    age = draw(st.one_of(st.just(ABSENT), st.integers(60, 86400)))
    return Schedule(
        draw(names),
        draw(st.sampled_from(expressions)),
        timezone="UTC" if by_rule else draw(st.sampled_from(["UTC", "Asia/Tokyo"])),
        start=start,
        enabled=draw(st.booleans()),
        parameters=draw(values),
        flexible_minutes=window,
        max_age_seconds=age,
        description=draw(st.one_of(st.just(ABSENT), texts)),
        extra={**extra, "Target": {"RoleArn": ROLE}},
    )


@st.composite
def triggers(draw: st.DrawFn) -> EventTrigger:
    pattern: Any = draw(st.sampled_from([{}, {"source": ["aws.s3"]}, {"body": {"kind": ["a"]}}]))
    if draw(st.booleans()) or not pattern:
        extra: dict[str, Any] = {"Pipe": {"RoleArn": ROLE}}
        queue: Any = QUEUE
    else:
        extra, queue = {"Target": {"RoleArn": ROLE}}, ABSENT
    return EventTrigger(draw(names), pattern, draw(paths), queue, draw(st.booleans()), extra=extra)


@settings(max_examples=60)
@given(
    st.lists(st.one_of(schedules(), triggers()), unique_by=lambda one: one.name, max_size=4),
    st.sampled_from(["eventbridge", "cloudformation"]),
)
def test_any_schedules_come_back(items: list[Schedule | EventTrigger], document: str) -> None:
    text = sagebridge.write(pipeline(*items), "sagemaker", document=document).text
    if not items and document == "eventbridge":
        return
    found = sagebridge.with_schedules(pipeline(), sagebridge.read(text).pipeline)
    back: list[Schedule | EventTrigger] = [*found.schedules, *found.event_triggers]
    assert {one.name: without_arn(one) for one in back} == {
        one.name: without_arn(one) for one in items
    }


def without_arn(one: Any) -> Any:
    """Without the ARN of the pipeline, which a document has and the model need not have."""
    target = one.extra.get("Target", Object()).without("Arn")
    return replace(one, extra={**one.extra, "Target": target})
