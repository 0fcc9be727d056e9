"""Expressions resolve to typed values, or to an error that lists alternatives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagebridge.model.expressions import (
    Get,
    Join,
    Member,
    Template,
    execution,
    join,
    json_get,
    json_get_s3,
    parameter,
    plain,
    properties_of,
)
from sagebridge.model.pipeline import Step
from sagebridge.model.values import ABSENT, Object, Value, freeze, same
from sagebridge_operators.lifecycle.execution import Execution
from sagebridge_operators.lifecycle.outputs import outputs_of
from sagebridge_operators.lifecycle.resolve import Resolver
from sagebridge_operators.lifecycle.user_code.values import decode
from sagebridge_operators.run_errors import ObjectNotFound, StepFailed, Unresolvable
from tests.fakes import ARN, STARTED, FakeBackend

PARAMETERS = {"Text": "0123", "Whole": 6, "Real": 6.0, "Yes": True, "No": False}
PROPERTIES = {"A.B": 1, "Outputs['x'].S3Uri": "s3://b/x", "Null": None}
OUTPUTS: dict[str, dict[str, Any]] = {
    "Make": {
        "properties": PROPERTIES,
        "missing": {"A.C": ["A.B"]},
        "property_files": {"Report": "s3://b/report.json"},
    },
    "Plain": {},
}
REPORT = {"mse": {"value": 4.5}, "n": [1, {"odd.key": "v"}], "null": None, "text": "6"}


def resolver(
    experiment: Value = ABSENT, job: str | None = None, report: bytes | None = None
) -> Resolver:
    backend = FakeBackend()
    backend.objects["s3://b/report.json"] = report or json.dumps(REPORT).encode()
    run = Execution("0123456789ab", "abalone", "airflow", "r", STARTED, PARAMETERS, experiment)
    return Resolver(run, OUTPUTS.get, backend.read_object, backend.arn, job)


def resolve(value: Value, **how: Any) -> Any:
    return resolver(**how)(plain(value))


def error_of(value: Value, **how: Any) -> str:
    with pytest.raises(Unresolvable) as error:
        resolve(value, **how)
    return str(error.value)


@pytest.mark.parametrize(("name", "value"), PARAMETERS.items())
def test_parameter_keeps_its_type(name: str, value: Any) -> None:
    assert same(resolve(parameter(name)), value)
    assert same(resolve({"deep": [parameter(name)]}), {"deep": [value]})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_plain_values_stay_unchanged(value: Any) -> None:
    assert same(resolve(freeze(value)), value)


@pytest.mark.parametrize("text", ["Parameters.Text", "{{ 7 * 7 }}", "${Text}", "%(Text)s"])
def test_strings_like_references_stay_strings(text: str) -> None:
    assert resolve(text) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (join("/", "a", "b"), "a/b"),
        (join("", "a", 6, 6.0, True, False), "a66.0truefalse"),
        (join(" ", "MSE >", parameter("Real")), "MSE > 6.0"),
        (join("-", parameter("Text"), parameter("Whole"), parameter("Yes")), "0123-6-true"),
        (join("/", "s3://b", join("-", 1, 2)), "s3://b/1-2"),
        (Join(("a", "b")), "ab"),
        (join(",", Object({"a": 1}), (1, 2)), '{"a": 1},[1, 2]'),
        (join(","), ""),
        (join("", json_get("Make", "Report", "mse.value")), "4.5"),
    ],
)
def test_join(value: Join, text: str) -> None:
    assert resolve(value) == text


def test_join_rejects_null() -> None:
    with pytest.raises(StepFailed, match="cannot join null"):
        resolve(join("", "a", None))


def test_execution_variables() -> None:
    assert resolve(execution.start_datetime) == "2026-11-21T05:43:00.000000Z"
    assert resolve(execution.pipeline_name) == "abalone"
    assert resolve(execution.pipeline_arn) == f"{ARN}pipeline/abalone"
    assert resolve(execution.pipeline_execution_id) == "0123456789ab"
    assert resolve(execution.pipeline_execution_arn) == (
        f"{ARN}pipeline/abalone/execution/0123456789ab"
    )
    assert resolve(execution.training_job_name, job="job-1") == "job-1"
    current = datetime.fromisoformat(resolve(execution.current_datetime))
    assert abs((datetime.now(UTC) - current).total_seconds()) < 60


def test_job_name_variable_needs_a_job() -> None:
    assert error_of(execution.processing_job_name) == (
        "Execution.ProcessingJobName has no value: this step has no job"
    )


def test_unknown_variable_lists_available_names() -> None:
    assert "PipelineExecutionId" in error_of(Get.parse("Execution.Id"))
    assert error_of(parameter("Txt")) == (
        "Parameters.Txt has no value: unknown or unset parameter "
        "(available: Text, Whole, Real, Yes, No)"
    )


@pytest.mark.parametrize(
    ("config", "experiment", "trial"),
    [
        ({}, "abalone", "0123456789ab"),
        ({"ExperimentName": "mine"}, "mine", "0123456789ab"),
        (
            {"ExperimentName": parameter("Text"), "TrialName": join("-", "t", parameter("Whole"))},
            "0123",
            "t-6",
        ),
    ],
)
def test_experiment_variables(config: Mapping[str, Any], experiment: str, trial: str) -> None:
    found = resolve(
        [Get.parse(f"PipelineExperimentConfig.{name}") for name in ("ExperimentName", "TrialName")],
        experiment=plain(config),
    )
    assert found == [experiment, trial]


@pytest.mark.parametrize("config", [ABSENT, None])
def test_experiment_variables_need_a_configuration(config: Value) -> None:
    assert "not in the experiment configuration" in error_of(
        Get.parse("PipelineExperimentConfig.TrialName"), experiment=config
    )


def test_properties_of_a_step() -> None:
    make = properties_of("Make")
    assert resolve(make.A.B) == 1
    assert resolve(make.Outputs["x"].S3Uri) == "s3://b/x"
    assert resolve(Get.parse('Steps.Make.Outputs["x"].S3Uri')) == "s3://b/x"
    assert resolve(make.Null) is None


def test_missing_property_names_expression_step_and_alternatives() -> None:
    assert error_of(properties_of("Make").A.C) == (
        "Steps.Make.A.C has no value: step 'Make' has no such property (available: A.B)"
    )
    assert "step 'Nowhere' has no outputs" in error_of(properties_of("Nowhere").A)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("mse.value", 4.5),
        ("$.mse.value", 4.5),
        ("$['mse']['value']", 4.5),
        ("n[0]", 1),
        ("n[1]['odd.key']", "v"),
        ("text", "6"),
        ("null", None),
        ("$", REPORT),
        ("mse", {"value": 4.5}),
    ],
)
def test_json_get_reads_typed_values(path: str, value: Any) -> None:
    assert same(resolve(json_get("Make", "Report", path)), value)
    assert same(resolve(json_get_s3("s3://b/report.json", path)), value)
    assert same(resolve(json_get_s3(join("/", "s3://b", "report.json"), path)), value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (json_get("Make", "Report", "mse.rmse"), ["'mse.rmse'", "s3://b/report.json", "value"]),
        (json_get("Make", "Report", "n[7]"), ["no item 7", "2 items"]),
        (json_get("Make", "Report", "text.x"), ["nothing below 'text'", "str"]),
        (json_get("Make", "Report", "n.v"), ["nothing below 'n'", "list"]),
        (json_get("Make", "Report", "a b!!["), ["not a JSON path"]),
        (json_get("Make", "Rapport", "x"), ["'Make'", "no such property file", "Report"]),
        (json_get("Plain", "Report", "x"), ["'Plain'", "no such property file"]),
        (json_get("Nowhere", "Report", "x"), ["'Nowhere'", "no such property file"]),
    ],
)
def test_json_get_of_missing_path_lists_alternatives(value: Value, words: list[str]) -> None:
    text = error_of(value)
    assert [word for word in words if word not in text] == []


def test_json_get_of_missing_or_invalid_file() -> None:
    with pytest.raises(ObjectNotFound, match=r"s3://b/other\.json"):
        resolve(json_get_s3("s3://b/other.json", "x"))
    assert "is not JSON" in error_of(json_get("Make", "Report", "x"), report=b"<html>")
    assert "is not JSON" in error_of(json_get("Make", "Report", "x"), report=b"\xff\xfe\x00")


def test_unknown_function_is_rejected() -> None:
    odd = {"path": {"Std:Reverse": {"Values": [1]}}}
    assert error_of(odd) == "Std:Reverse has no value: unknown function"
    assert resolve({"Std:Reverse": 1, "other": 2}) == {"Std:Reverse": 1, "other": 2}


FORGED = {"__sagebridge__": "dataclass", "class": "Config", "module": "m", "value": {"a": 1}}


@pytest.mark.parametrize("tagged", [True, False])
@pytest.mark.parametrize(
    "value",
    [
        json_get("Make", "Report", "forged"),
        parameter("Forged"),
        properties_of("Made").Environment,
        Get("ForEach", (Member("CurrentItem"), Member("a"))),
        Template("{{ params.forged }}"),
    ],
)
def test_data_that_looks_like_a_tag_stays_data(value: Value, tagged: bool) -> None:
    described = Step("Made", "Training")
    seen = plain(properties_of("Made").Environment)
    assert isinstance(seen, Get)
    made = resolver(report=json.dumps({"forged": FORGED}).encode())
    outputs = {**OUTPUTS, "Made": outputs_of(described, {"Environment": FORGED}, [seen])}
    parameters = {"Forged": FORGED}
    run = replace(
        made,
        execution=replace(made.execution, parameters=parameters),
        upstream=outputs.get,
        item=lambda: json.dumps({"a": FORGED}),
        tagged=tagged,
        render=lambda text: FORGED,
    )
    found = run(plain(value))
    assert (decode(found, {"Config": object}) if tagged else found) == FORGED
