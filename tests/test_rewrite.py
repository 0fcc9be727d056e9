"""--map replaces strings in values, but not in names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import sagebridge
from sagebridge.environment_mapping import Stage, rewrite

DEFINITION: dict[str, Any] = {
    "Version": "2020-12-01",
    "Parameters": [{"Name": "dev", "Type": "String", "DefaultValue": "dev", "EnumValues": ["dev"]}],
    "Steps": [
        {
            "Name": "dev",
            "Type": "Processing",
            "Arguments": {
                "dev": ["dev", {"Std:Join": {"On": "dev", "Values": ["s3://dev", 1]}}],
                "ProcessingOutputConfig": {"Outputs": [{"OutputName": "dev", "S3Uri": "dev"}]},
                "of": {"Get": "Parameters.dev"},
            },
            "DependsOn": ["devel"],
            "Description": "dev",
            "PropertyFiles": [
                {"PropertyFileName": "dev", "OutputName": "dev", "FilePath": "dev.json"}
            ],
        },
        {
            "Name": "devel",
            "Type": "Condition",
            "Arguments": {
                "Conditions": [
                    {"Type": "Equals", "LeftValue": {"Get": "Parameters.dev"}, "RightValue": "dev"},
                    {"Type": "Or", "Conditions": [{"Type": "dev", "x": "dev"}]},
                ],
                "IfSteps": [
                    {
                        "Name": "dev2",
                        "Type": "Lambda",
                        "FunctionArn": "dev",
                        "Arguments": {
                            "x": {"Std:JsonGet": {"S3Uri": "s3://dev/r.json", "Path": "dev"}}
                        },
                    }
                ],
            },
        },
    ],
}


def mapped(source: Any, **mapping: str) -> Any:
    pipeline, _ = rewrite(sagebridge.read(source).pipeline, mapping)
    return json.loads(sagebridge.write(pipeline, "sagemaker").text)


def test_values_are_mapped_and_names_are_not() -> None:
    found = mapped(DEFINITION, dev="prod")
    assert found["Parameters"] == [
        {"Name": "dev", "Type": "String", "DefaultValue": "prod", "EnumValues": ["prod"]}
    ]
    process, gate = found["Steps"]
    assert process == {
        "Name": "dev",
        "Type": "Processing",
        "Arguments": {
            "dev": ["prod", {"Std:Join": {"On": "dev", "Values": ["s3://prod", 1]}}],
            "ProcessingOutputConfig": {"Outputs": [{"OutputName": "dev", "S3Uri": "prod"}]},
            "of": {"Get": "Parameters.dev"},
        },
        "DependsOn": ["devel"],
        "Description": "prod",
        "PropertyFiles": [{"PropertyFileName": "dev", "OutputName": "dev", "FilePath": "dev.json"}],
    }
    equals, either = gate["Arguments"]["Conditions"]
    assert equals["RightValue"] == "prod"
    assert either["Conditions"][0]["x"] == "prod"
    (inner,) = gate["Arguments"]["IfSteps"]
    assert (inner["Name"], inner["FunctionArn"]) == ("dev2", "prod")
    assert inner["Arguments"]["x"]["Std:JsonGet"] == {"S3Uri": "s3://prod/r.json", "Path": "dev"}


def test_create_pipeline_fields_are_mapped() -> None:
    source = {
        "PipelineName": "dev",
        "RoleArn": "arn:dev",
        "Tags": [{"Key": "stage", "Value": "dev"}],
        "PipelineDefinition": json.dumps(DEFINITION),
    }
    pipeline, _ = rewrite(sagebridge.read(source).pipeline, {"dev": "prod"})
    assert (pipeline.name, pipeline.role_arn) == ("dev", "arn:prod")
    assert pipeline.tags[0]["Value"] == "prod"


def test_longest_match_wins_and_nothing_is_replaced_twice() -> None:
    source = {"Steps": [{"Name": "A", "Type": "Lambda", "FunctionArn": "a ab b", "Arguments": {}}]}
    assert mapped(source, a="b", ab="x", b="a")["Steps"][0]["FunctionArn"] == "b x a"


def test_unused_mappings_are_returned() -> None:
    pipeline = sagebridge.read(DEFINITION).pipeline
    assert rewrite(pipeline, {"prod": "x", "dev": "y", ".*": "z"})[1] == ("prod", ".*")
    assert rewrite(pipeline, {}) == (pipeline, ())


def test_check_type_is_not_mapped() -> None:
    check = {"Name": "Q", "Type": "QualityCheck", "CheckType": "DATA_QUALITY", "Arguments": {}}
    found = mapped({"Version": "2020-12-01", "Steps": [check]}, DATA="x")
    assert found["Steps"] == [check]


def test_kinds_of_a_stage_file_match_only_their_values(tmp_path: Path) -> None:
    account, bucket, image, role = "111122223333", "data", "1.dkr.ecr.x.amazonaws.com/i", "dev"
    file = tmp_path / "prod.json"
    changes = {
        "accounts": {account: "444455556666"},
        "buckets": {bucket: "B"},
        "images": {image: "I"},
        "roles": {role: "R"},
    }
    file.write_text(json.dumps(changes))
    values = {
        f"arn:aws:iam::{account}:role/x": "arn:aws:iam::444455556666:role/x",
        f"1{account}": f"1{account}",
        "data": "B",
        "data/x": "B/x",
        "s3://data/data/x": "s3://B/data/x",
        "--in s3://data --out s3://data-2/": "--in s3://B --out s3://data-2/",
        "arn:aws:s3:::data/*": "arn:aws:s3:::B/*",
        "https://data.s3.x.amazonaws.com/data": "https://B.s3.x.amazonaws.com/data",
        "s3://data.set/x": "s3://data.set/x",
        "data for tests": "data for tests",
        image: "I",
        f"{image}:1": "I:1",
        f"{image}-2": f"{image}-2",
        f"arn:aws:iam::{account}:role/dev": "arn:aws:iam::444455556666:role/R",
        "arn:aws:iam::1:role/service-role/dev": "arn:aws:iam::1:role/service-role/R",
        "role/dev": "role/dev",
    }
    steps = [{"Name": "A", "Type": "Lambda", "FunctionArn": "f", "Arguments": {"v": list(values)}}]
    pipeline = sagebridge.read({"Version": "2020-12-01", "Steps": steps}).pipeline
    changed, used = Stage.parse([str(file)]).apply(pipeline)
    arguments: Any = changed.steps[0].arguments
    assert dict(zip(values, arguments["v"], strict=True)) == values
    assert len(used) == 4


def test_stage_file_switches_schedules_and_sets_defaults(tmp_path: Path) -> None:
    file = tmp_path / "prod.yaml"
    file.write_text(
        "schedules: {'*': off, nightly: on}\nevent_triggers: off\nparameters: {Size: '7', Sise: 1}"
    )
    pipeline = sagebridge.Pipeline(
        parameters=[sagebridge.Parameter("Size", "Integer")],
        schedules=[
            sagebridge.Schedule("nightly", "rate(1 day)", enabled=False),
            sagebridge.Schedule("hourly", "rate(1 hour)"),
        ],
        event_triggers=[sagebridge.EventTrigger("created", {"source": ["aws.s3"]})],
    )
    stage = Stage.parse([str(file)])
    changed, used = stage.apply(pipeline)
    assert [one.enabled for one in changed.schedules] == [True, False]
    assert [one.enabled for one in changed.event_triggers] == [False]
    assert changed.declared[0].default == 7
    assert stage.unused(used) == ["--map parameters 'Sise'"]


def test_variables_of_a_template_are_replaced_in_times() -> None:
    schedule = sagebridge.Schedule("often", "rate(${Age} minutes)", "${Zone}")
    pipeline = sagebridge.Pipeline(schedules=[schedule])
    changed, unused = rewrite(pipeline, {"${Age}": "5", "${Zone}": "Asia/Tokyo"})
    assert changed.schedules == (sagebridge.Schedule("often", "rate(5 minutes)", "Asia/Tokyo"),)
    assert unused == ()


def test_schedules_keep_their_times_and_names() -> None:
    schedule = sagebridge.Schedule("dev", "rate(1 day)", parameters={"dev": "s3://dev/1 day"})
    pipeline = sagebridge.Pipeline(schedules=[schedule])
    changed, _ = rewrite(pipeline, {"dev": "prod", "1 day": "2 days", "UTC": "Asia/Tokyo"})
    assert changed.schedules == (
        sagebridge.Schedule("dev", "rate(1 day)", parameters={"dev": "s3://prod/2 days"}),
    )
