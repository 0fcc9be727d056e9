"""Schedules, rules and pipes in CloudFormation templates."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import sagebridge
from sagebridge import Schedule
from sagebridge.errors import SourceError
from sagebridge.model.values import Value
from tests.formats.eventbridge_samples import (
    ACCOUNT,
    ALL,
    ARN,
    BY_RULE,
    FROM_QUEUE,
    NEW_DATA,
    NIGHTLY,
    ROLE,
    pipeline,
)


def template(**resources: Any) -> dict[str, Any]:
    body = sagebridge.write(pipeline(), "sagemaker").text
    properties = {
        "PipelineName": "nightly",
        "RoleArn": ROLE,
        "PipelineDefinition": {"PipelineDefinitionBody": body},
    }
    own = {"Type": "AWS::SageMaker::Pipeline", "Properties": properties}
    return {"Resources": {"Nightly": own, **resources}}


def scheduled(arn: Any, **properties: Any) -> dict[str, Any]:
    target = {"Arn": arn, "RoleArn": ROLE}
    given = {"ScheduleExpression": "rate(1 day)", "Target": target, **properties}
    return {"Type": "AWS::Scheduler::Schedule", "Properties": given}


def test_template_comes_back() -> None:
    written = sagebridge.write(pipeline(*ALL), "sagemaker", document="cloudformation")
    assert [(one.code, one.severity) for one in written.losses] == [
        ("beside-definition", "dropped"),  # ActionAfterCompletion
    ]
    found, losses = sagebridge.read(written.text)
    assert losses == ()
    assert found == pipeline()

    def plain(one: Any) -> Any:
        """Without the account, which is that of the stack, and what a template cannot have."""
        target = one.extra.get("Target", {}).without("Arn")
        extra = one.extra.without("ActionAfterCompletion", "Target")
        return replace(one, extra={**extra, **({"Target": target} if target else {})})

    in_utc = replace(NIGHTLY, end="2027-11-30T23:00:00Z")
    assert found.schedules == tuple(map(plain, (in_utc, BY_RULE)))
    assert found.event_triggers == tuple(map(plain, (NEW_DATA, FROM_QUEUE)))


def test_template_refers_to_its_pipeline() -> None:
    text = sagebridge.write(pipeline(*ALL), "sagemaker", document="cloudformation").text
    resources = json.loads(text)["Resources"]
    kinds = [one["Type"].rpartition(":")[2] for one in resources.values()]
    assert kinds == ["Pipeline", "Schedule", "Rule", "Rule", "Pipe"]
    assert text.count(":pipeline/${Nightly}") == 4
    assert ACCOUNT not in text


def test_cloudformation_accepts_a_template() -> None:
    text = sagebridge.write(pipeline(*ALL), "sagemaker", document="cloudformation").text
    api = pytest.importorskip("cfnlint.api")
    config = pytest.importorskip("cfnlint.config").ManualArgs(regions=["eu-west-1"])
    assert [str(one) for one in api.lint(text, config=config)] == []
    wrong = text.replace('"PipelineParameterList"', '"Parameters"')
    assert api.lint(wrong, config=config) != []


class TestTemplates:
    @pytest.mark.parametrize(
        "arn",
        [
            ARN,
            {"Fn::Sub": "arn:${AWS::Partition}:sagemaker:${AWS::Region}:1:pipeline/${Nightly}"},
            {"Fn::Sub": "arn:aws:sagemaker:${AWS::Region}:${AWS::AccountId}:pipeline/nightly"},
            {
                "Fn::Join": [
                    "",
                    ["arn:", {"Ref": "P"}, ":sagemaker:eu:1:pipeline/", {"Ref": "Nightly"}],
                ]
            },
            {"Fn::GetAtt": ["Nightly", "Arn"]},
        ],
    )
    def test_target_is_the_pipeline(self, arn: Any) -> None:
        found, losses = sagebridge.read(template(Daily=scheduled(arn)))
        assert [(one.name, one.expression) for one in found.schedules] == [("Daily", "rate(1 day)")]
        assert losses == ()

    @pytest.mark.parametrize(
        "arn",
        [f"{ACCOUNT}pipeline/other", {"Ref": "Other"}, {"Fn::GetAtt": ["Weekly", "Arn"]}],
    )
    def test_other_targets_stay_in_the_template(self, arn: Any) -> None:
        found, losses = sagebridge.read(template(Daily=scheduled(arn)))
        assert found.schedules == ()
        assert [one.code for one in losses] == ["template-rest"]

    def test_functions_stay_strings(self) -> None:
        name = {"Fn::Sub": "${Env}-daily"}
        one = scheduled(
            ARN, Name=name, ScheduleExpression={"Ref": "When"}, Description={"Ref": "D"}
        )
        source = {**template(Daily=one), "Parameters": {"When": {"Default": "rate(2 days)"}}}
        found, losses = sagebridge.read(source)
        (schedule,) = found.schedules
        assert (schedule.name, schedule.expression) == ("Daily", "rate(2 days)")
        assert schedule.extra["Name"] == "${Env}-daily"
        assert schedule.description == "${D}"
        assert [one.code for one in losses] == ["schedule", *["template-function"] * 2]
        assert "its default 'rate(2 days)' is used" in losses[0].what
        text = sagebridge.write(found, "sagemaker", document="eventbridge").text
        assert "${Env}-daily" in text
        del source["Parameters"]
        assert sagebridge.read(source).pipeline.schedules[0].expression == "${When}"

    @pytest.mark.parametrize(
        ("given", "default", "enabled"),
        [
            ("DISABLED", None, False),
            ({"Ref": "State"}, "ENABLED", True),
            ({"Ref": "State"}, "DISABLED", False),
            ({"Fn::If": ["IsProduction", "ENABLED", "DISABLED"]}, None, False),
        ],
    )
    def test_state(self, given: Any, default: Value, enabled: bool) -> None:
        source = template(Daily=scheduled(ARN, State=given))
        if default:
            source["Parameters"] = {"State": {"Type": "String", "Default": default}}
        found, losses = sagebridge.read(source)
        assert found.schedules[0].enabled is enabled
        assert ("schedule", "changed") in [
            (one.code, one.severity) for one in losses
        ] or isinstance(given, str)

    def test_condition_is_a_loss(self) -> None:
        one = {**scheduled(ARN), "Condition": "IsProduction", "DependsOn": "Nightly"}
        _, losses = sagebridge.read(template(Daily=one))
        assert [(loss.code, loss.severity) for loss in losses] == [
            ("schedule", "changed"),
            ("template-rest", "info"),
        ]

    def test_parameters_have_their_types(self) -> None:
        items = [{"Name": "Count", "Value": "3"}, {"Name": "Fast", "Value": "maybe"}]
        one = scheduled(ARN)
        one["Properties"]["Target"]["SageMakerPipelineParameters"] = {
            "PipelineParameterList": items
        }
        (schedule,) = sagebridge.read(template(Daily=one)).pipeline.schedules
        assert schedule.parameters == {"Count": 3, "Fast": "maybe"}

    def test_yaml(self, tmp_path: Path) -> None:
        file = tmp_path / "t.yaml"
        file.write_text(YAML)
        found, losses = sagebridge.read(file)
        assert found.schedules == (
            Schedule(
                "Nightly1",
                "cron(0 4 * * ? *)",
                flexible_minutes=15,
                extra={"Target": {"RoleArn": "${Role.Arn}"}},
            ),
        )
        assert found.event_triggers[0].pattern == {"source": ["aws.s3"], "detail": {"a": [1]}}
        assert {one.code for one in losses} == {"template-function", "template-rest"}

    def test_template_without_its_pipeline(self, tmp_path: Path) -> None:
        source = template(Daily=scheduled(ARN), Other=scheduled("arn:aws:lambda:x"))
        del source["Resources"]["Nightly"]
        found = sagebridge.read(source).pipeline
        assert (found.name, found.steps) == ("nightly", ())
        assert [one.name for one in found.schedules] == ["Daily"]
        source["Resources"]["Weekly"] = scheduled(f"{ACCOUNT}pipeline/weekly")
        file = tmp_path / "t.json"
        file.write_text(json.dumps(source))
        with pytest.raises(SourceError, match="several pipelines: nightly, weekly"):
            sagebridge.read(file)
        assert sagebridge.read(f"{file}#weekly").pipeline.schedules[0].name == "Weekly"


YAML = """\
Resources:
  Role: {Type: "AWS::IAM::Role"}
  P:
    Type: AWS::SageMaker::Pipeline
    Properties:
      PipelineName: nightly
      PipelineDefinition:
        PipelineDefinitionBody: '{"Version": "2020-12-01", "Steps": []}'
  Nightly1:
    Type: AWS::Scheduler::Schedule
    Properties:
      ScheduleExpression: cron(0 4 * * ? *)
      FlexibleTimeWindow: {Mode: FLEXIBLE, MaximumWindowInMinutes: "15"}
      Target:
        Arn: !Sub arn:aws:sagemaker:${AWS::Region}:${AWS::AccountId}:pipeline/${P}
        RoleArn: !GetAtt Role.Arn
  New:
    Type: AWS::Events::Rule
    Properties:
      EventPattern: {source: [aws.s3], detail: {a: [1]}}
      Targets:
      - Id: x
        Arn: !Sub arn:aws:sagemaker:${AWS::Region}:${AWS::AccountId}:pipeline/${P}
"""
