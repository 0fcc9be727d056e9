"""References are tokenized, and builders create the expressions of a definition."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagebridge.authoring.expression_json import read_value, write_value
from sagebridge.model.expressions import (
    Get,
    Index,
    Join,
    JsonGet,
    Key,
    Member,
    execution,
    join,
    json_get,
    json_get_s3,
    parameter,
    parse_path,
    plain,
    properties_of,
    references,
)
from sagebridge.model.values import ABSENT
from tests.strategies import canonical, expressions, json_values, paths


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Parameters.InputData", (Member("InputData"),)),
        (
            "Steps.A-1.Outputs['x'].S3Uri",
            (Member("A-1"), Member("Outputs"), Key("x"), Member("S3Uri")),
        ),
        ("Steps.A.Tags['a.b:c[0]']", (Member("A"), Member("Tags"), Key("a.b:c[0]"))),
        ('Steps.A.Tags["it\'s"]', (Member("A"), Member("Tags"), Key("it's"))),
        ("Steps.A.Args[12]", (Member("A"), Member("Args"), Index(12))),
        ("Steps['A b'].X", (Key("A b"), Member("X"))),
    ],
)
def test_path_is_tokenized(text: str, tokens: Any) -> None:
    root = text.partition(".")[0].partition("[")[0]
    assert parse_path(text) == (root, tokens)
    get = Get.parse(text)
    assert get is not None
    assert (get.tokens, get.text, get.spelling) == (tokens, text, None)


@pytest.mark.parametrize(
    "text",
    ["", "Steps", "Steps.", "Steps.A.", "Steps.A..b", "Steps.A[", "Steps.A['x]", "Steps.A[x]",
     "Steps.A[-1]", "Steps.A b", "Nothing.A", "steps.A", "s3://bucket/Steps.A"],
)  # fmt: skip
def test_invalid_path_is_not_a_reference(text: str) -> None:
    assert Get.parse(text) is None


def test_unusual_spelling_is_kept_and_compares_unequal() -> None:
    double, single = Get.parse('Steps.A.O["x"]'), Get.parse("Steps.A.O['x']")
    assert double is not None
    assert single is not None
    assert double.tokens == single.tokens
    assert (double.text, single.text) == ('Steps.A.O["x"]', "Steps.A.O['x']")
    assert double != single


@given(paths())
def test_reference_round_trips(text: str) -> None:
    get = Get.parse(text)
    assert get is None or get.text == text


@given(expressions() | json_values())
def test_values_round_trip(raw: Any) -> None:
    assert canonical(write_value(read_value(raw))) == canonical(raw)


def test_string_like_a_reference_stays_a_string() -> None:
    assert read_value("Parameters.X") == "Parameters.X"
    assert not list(references(read_value({"Get": "Parameters.X", "Other": 1})))


def test_builders_write_the_same_as_the_sdk() -> None:
    train = properties_of("Train")
    value = plain(
        {
            "Uri": train.ModelArtifacts.S3ModelArtifacts,
            "Output": properties_of("Prep").ProcessingOutputConfig.Outputs["train"].S3Output.S3Uri,
            "Best": properties_of("Tune").TrainingJobSummaries[0].TrainingJobName,
            "Path": join("/", "s3://b", execution.pipeline_execution_id, parameter("Prefix")),
            "Mse": json_get("Eval", "Report", "mse.value"),
            "Far": json_get_s3(join("", train.OutputDataConfig.S3OutputPath, "/x"), "a[0]"),
        }
    )
    assert write_value(value) == {
        "Uri": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"},
        "Output": {"Get": "Steps.Prep.ProcessingOutputConfig.Outputs['train'].S3Output.S3Uri"},
        "Best": {"Get": "Steps.Tune.TrainingJobSummaries[0].TrainingJobName"},
        "Path": {
            "Std:Join": {
                "On": "/",
                "Values": [
                    "s3://b",
                    {"Get": "Execution.PipelineExecutionId"},
                    {"Get": "Parameters.Prefix"},
                ],
            }
        },
        "Mse": {
            "Std:JsonGet": {
                "PropertyFile": {"Get": "Steps.Eval.PropertyFiles.Report"},
                "Path": "mse.value",
            }
        },
        "Far": {
            "Std:JsonGet": {
                "S3Uri": {
                    "Std:Join": {
                        "On": "",
                        "Values": [{"Get": "Steps.Train.OutputDataConfig.S3OutputPath"}, "/x"],
                    }
                },
                "Path": "a[0]",
            }
        },
    }
    assert [get.step for get in references(value) if get.step] == [
        "Train", "Prep", "Tune", "Eval", "Train",
    ]  # fmt: skip


@pytest.mark.parametrize("use", [str, bool, list, "{}".format])
def test_property_rejects_use_as_a_value(use: Any) -> None:
    with pytest.raises(TypeError, match="only known at run time"):
        use(properties_of("A").ModelName)


@given(st.sampled_from((ABSENT, "", "/")))
def test_join_without_on_round_trips(on: Any) -> None:
    written = write_value(Join(("a",), on))
    assert ("On" in written["Std:Join"]) == (on is not ABSENT)
    assert read_value(written) == Join(("a",), on)


def test_property_file_of_a_reference() -> None:
    get = Get.parse("Steps.Eval.PropertyFiles['My.Report']")
    assert get is not None
    assert get.property_file == "My.Report"
    assert read_value({"Std:JsonGet": {"PropertyFile": {"Get": get.text}, "Path": "a"}}) == JsonGet(
        "a", get
    )
