"""The outputs of a step: only referenced properties, found by name in AWS's lists."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagebridge.model.conditions import equals
from sagebridge.model.expressions import Get, Properties, join, json_get, plain, properties_of
from sagebridge.model.pipeline import ConditionStep, Step
from sagebridge.model.step_settings import PropertyFile
from sagebridge_operators.lifecycle.outputs import (
    LIMIT,
    check_size,
    json_safe,
    outputs_of,
    property_of,
    references_to,
)
from sagebridge_operators.run_errors import OutputsTooLarge

MAKE = properties_of("Make")
URI = "s3://bucket/train"
DESCRIPTION: dict[str, Any] = {
    "ProcessingJobName": "job-1",
    "CreationTime": datetime(2026, 11, 21, 5, 43, tzinfo=UTC),
    "Environment": {"SECRET": "hunter2", "LEVEL": "1"},
    "ProcessingOutputConfig": {
        "Outputs": [
            {"OutputName": "train", "S3Output": {"S3Uri": URI}},
            {"OutputName": "odd.name:v1", "S3Output": {"S3Uri": "s3://bucket/odd/"}},
        ]
    },
    "ProcessingInputs": [{"InputName": "code", "S3Input": {"S3Uri": "s3://bucket/code"}}],
    "FinalMetricDataList": [{"MetricName": "validation:rmse", "Value": 2.1}],
    "InputDataConfig": [{"ChannelName": "train", "ContentType": "text/csv"}],
    "Tags": [{"Key": "team", "Value": "x"}],
    "Unheard": [{"Label": "a", "V": 1}, {"Label": "b", "V": 2}],
    "Config": {"a.b": {"c": True}, "Args": ["x", "y"]},
}


def outputs(*expressions: Any, files: tuple[PropertyFile, ...] = ()) -> dict[str, Any]:
    step = Step("Make", "Processing", property_files=files)
    reader = Step("Use", "Training", arguments=plain({"All": list(expressions)}))
    return outputs_of(step, DESCRIPTION, references_to("Make", (step, reader)))


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (MAKE.ProcessingJobName, "job-1"),
        (MAKE.ProcessingOutputConfig.Outputs["train"].S3Output.S3Uri, URI),
        (MAKE.ProcessingOutputConfig.Outputs[0].S3Output.S3Uri, URI),
        (MAKE.ProcessingOutputConfig.Outputs["odd.name:v1"].S3Output.S3Uri, "s3://bucket/odd/"),
        (MAKE.ProcessingInputs["code"].S3Input.S3Uri, "s3://bucket/code"),
        (MAKE.FinalMetricDataList["validation:rmse"].Value, 2.1),
        (MAKE.InputDataConfig["train"].ContentType, "text/csv"),
        (MAKE.Tags["team"].Value, "x"),
        (MAKE.Unheard["b"].V, 2),
        (MAKE.Config["a.b"].c, True),
        (MAKE.Config.Args[1], "y"),
        (MAKE.CreationTime, "2026-11-21T05:43:00+00:00"),
        (MAKE.Environment["LEVEL"], "1"),
        (MAKE.Config, {"a.b": {"c": True}, "Args": ["x", "y"]}),
    ],
    ids=lambda item: plain(item).text if isinstance(item, Properties) else "",
)
def test_outputs_contain_only_referenced_properties(expression: Any, value: Any) -> None:
    found = outputs(expression)
    assert list(found) == ["properties"]
    assert list(found["properties"].values()) == [value]
    json.dumps(found)


def test_reference_without_a_path_is_the_whole_answer() -> None:
    whole = Get("Steps", MAKE.ProcessingJobName._get.tokens[:1])
    outputs = outputs_of(Step("Make", "Processing"), DESCRIPTION, [whole])
    assert property_of(whole, outputs) == json_safe(DESCRIPTION)


def test_both_quotings_of_a_key_are_one_property() -> None:
    text = 'Steps.Make.ProcessingOutputConfig.Outputs["train"].S3Output.S3Uri'
    found = outputs(Get.parse(text), Get.parse(text.replace('"', "'")))
    assert list(found["properties"].values()) == [URI]


def test_environment_is_an_output_only_if_referenced() -> None:
    assert "hunter2" not in json.dumps(outputs(MAKE.Config, MAKE.Environment["LEVEL"]))
    assert outputs() == {}


@pytest.mark.parametrize(
    ("expression", "there"),
    [
        (MAKE.Nothing, list(DESCRIPTION)),
        (MAKE.ProcessingOutputConfig.Outputs["test"], ["train", "odd.name:v1"]),
        (MAKE.Config.Args[2], ["2 items"]),
        (MAKE.ProcessingJobName.Deeper, ["str"]),
        (MAKE.Unheard["c"], ["2 items"]),
    ],
    ids=lambda item: plain(item).text if isinstance(item, Properties) else "",
)
def test_missing_property_lists_available_names(expression: Any, there: list[str]) -> None:
    (names,) = outputs(expression)["missing"].values()
    assert names == there


def test_references_are_found_in_all_steps() -> None:
    make = Step("Make", "Processing", property_files=(PropertyFile("F", "train", "f.json"),))
    inner = Step("In", "Model", arguments=plain({"X": join("/", MAKE.B, "x")}))
    check = ConditionStep("If", "Condition", conditions=(equals(MAKE.A, 1),), if_steps=(inner,))
    other = Step("Other", "Model", arguments=plain([json_get("Make", "F", "x"), MAKE.A]))
    found = references_to("Make", (make, check, other))
    assert [reference.text for reference in found] == ["Steps.Make.A", "Steps.Make.B"]


@pytest.mark.parametrize("path", ["report.json", "/report.json"])
def test_property_file_uri_is_below_its_output(path: str) -> None:
    files = (PropertyFile("A", "train", path), PropertyFile("B", "odd.name:v1", path))
    assert outputs(files=files) == {
        "property_files": {"A": f"{URI}/report.json", "B": "s3://bucket/odd/report.json"}
    }


def test_property_file_of_missing_output_is_left_out() -> None:
    assert outputs(files=(PropertyFile("A", "nowhere", "a.json"),)) == {}


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.datetimes(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    max_leaves=10,
)


@given(ANY)
def test_boto3_responses_become_json(value: Any) -> None:
    safe = json_safe(value)
    assert json.loads(json.dumps(safe)) == safe


def test_naive_time_is_utc() -> None:
    assert json_safe(datetime(2026, 1, 2)) == "2026-01-02T00:00:00+00:00"  # noqa: DTZ001 - a time without zone is the case


def test_large_outputs_are_rejected_with_advice() -> None:
    check_size("Make", {"a": "x" * (LIMIT - 9)})
    with pytest.raises(OutputsTooLarge, match=r"'Make'.*49153 bytes.*limit of 49152.*S3 URI"):
        check_size("Make", {"a": "x" * (LIMIT - 8)})
