"""What a Condition step reports: the values, their sources, and the steps that it skips."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from sagebridge.model.conditions import equals, is_in, less_than
from sagebridge.model.expressions import (
    execution,
    get,
    join,
    json_get,
    json_get_s3,
    parameter,
    plain,
    properties_of,
)
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step
from sagebridge.model.values import Value
from sagebridge_operators.run_errors import IncomparableValues
from tests.attempts import outputs_of
from tests.fakes import FakeBackend
from tests.lifecycle.conftest import Find, Make

REPORT = "s3://b/evaluation.json"
UPSTREAM = {
    "Eval": {"property_files": {"Report": REPORT}},
    "Train": {
        "properties": {
            "ModelArtifacts.S3ModelArtifacts": "s3://b/m",
            "Environment['KEY']": "hunter2",
        }
    },
}


def check(*conditions: Any, **more: Any) -> ConditionStep:
    return ConditionStep("Check", "Condition", conditions=conditions, **more)


@pytest.mark.parametrize(
    ("value", "found", "source"),
    [
        (parameter("Rate"), 0.2, "parameter Rate"),
        (
            properties_of("Train").ModelArtifacts.S3ModelArtifacts,
            "s3://b/m",
            "ModelArtifacts.S3ModelArtifacts of step Train",
        ),
        (
            json_get("Eval", "Report", "metrics.mse[0]"),
            4.5,
            f"metrics.mse[0] in {REPORT}, property file Report of step Eval",
        ),
        (json_get_s3(join("/", "s3://b", "evaluation.json"), "ok"), True, f"ok in {REPORT}"),
        (execution.pipeline_execution_id, "0123456789ab", "Execution.PipelineExecutionId"),
        (join("-", "x", parameter("Rate"), parameter("Rate")), "x-0.2-0.2", "parameter Rate"),
        (
            join("-", parameter("Rate"), get("Execution.PipelineName")),
            "0.2-abalone",
            "parameter Rate, Execution.PipelineName",
        ),
    ],
)
def test_report_contains_the_value_and_its_source(
    value: Value, found: Any, source: str, make: Make, backend: FakeBackend, record: Find
) -> None:
    backend.objects[REPORT] = b'{"metrics": {"mse": [4.5]}, "ok": true}'
    outputs = make(check(equals(plain(value), found)), UPSTREAM).run()
    (compared,) = outputs["conditions"]
    assert compared["left"] == {"value": found, "source": source}
    assert compared["right"] == {"value": found}
    assert compared["holds"] is outputs["outcome"] is True
    assert outputs_of(record("Check")) == outputs


def test_environment_values_are_masked(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    shown: list[Any] = []
    key = properties_of("Train").Environment["KEY"]
    conditions = [equals(key, "x"), is_in(join("", "a", key), ["b", parameter("Rate")])]
    outputs = make(check(*conditions), UPSTREAM, on_request=shown.append).run()
    assert "Environment['KEY'] of step Train" in caplog.text
    assert outputs["conditions"][0]["left"]["value"] == "***"
    with pytest.raises(IncomparableValues, match=r"\*\*\* \(String\) from Environment") as failed:
        make(check(equals(key, 1)), UPSTREAM, generation=1).run()
    for text in (caplog.text, repr(outputs), repr(shown), str(failed.value)):
        assert "hunter2" not in text


def test_missing_value_fails_with_both_values(
    make: Make, backend: FakeBackend, record: Find
) -> None:
    backend.objects[REPORT] = b'{"mae": 1}'
    with pytest.raises(IncomparableValues) as failed:
        make(check(less_than(json_get("Eval", "Report", "mse"), parameter("Rate"))), UPSTREAM).run()
    assert str(failed.value) == (
        "condition LessThan cannot compare a missing value "
        f"(Std:JsonGet of 'mse' in {REPORT} has no value: no key 'mse' (available: mae)) "
        "with 0.2 (Float) from parameter Rate"
    )
    assert record("Check").reason == str(failed.value)


def test_report_names_the_steps_that_run_and_are_skipped(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    shown: list[Any] = []
    inner = ConditionStep("Inner", "Condition", if_steps=(Step("Deep", "Fail"),))
    step = check(
        equals(parameter("Rate"), 0.3), if_steps=(inner,), else_steps=(Step("No", "Fail"),)
    )
    later = Step("Later", "Fail", depends_on=("Deep",))
    unrelated = Step("Unrelated", "Fail")
    pipeline = Pipeline(steps=(step, later, unrelated))
    outputs = make(step, pipeline=pipeline, on_request=shown.append).run()
    assert outputs["runs"] == ["No"]
    assert outputs["skipped"] == ["Inner", "Deep", "Later"]
    assert shown == [outputs]
    assert caplog.messages[-1].splitlines() == [
        "condition Check: False",
        "  [False] 0.2 (parameter Rate) == 0.3",
        "  runs (else branch): No",
        "  skipped: Inner, Deep, Later",
    ]


def test_names_in_a_definition_add_no_lines_to_the_log(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    steps = (Step("a\n[2026-11-27] fake line", "Fail"),)
    make(check(equals("x\ny", "\x1b[2J"), if_steps=steps)).run()
    assert caplog.messages[-1].splitlines() == [
        "condition Check: False",
        "  [False] 'x\\ny' == '\\x1b[2J'",
        "  runs (else branch): no step",
        "  skipped: a\\n[2026-11-27] fake line",
    ]


def test_large_report_keeps_the_outcomes(make: Make) -> None:
    conditions = [is_in("x", [str(number) * 50 for number in range(9)]) for _ in range(300)]
    steps = tuple(Step(f"{number:03}" * 20, "Fail") for number in range(900))
    outputs = make(check(*conditions, if_steps=steps)).run()
    assert outputs["conditions"][49] == {"type": "In", "holds": False}
    assert outputs["skipped"][-1] == "and 850 more"
    assert len(json.dumps(outputs)) < 16_000
