"""--map replaces strings in values, but not in names."""

from __future__ import annotations

import json
from typing import Any

import sagebridge
from sagebridge.environment_mapping import rewrite

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
