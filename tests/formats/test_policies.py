"""Findings for parameters, retry policies and caching."""

from __future__ import annotations

from typing import Any

import pytest

from tests.definition import codes, findings, only, step


class TestParameters:
    @pytest.mark.parametrize(
        ("parameter", "code", "place", "message"),
        [
            (
                {"Type": "Integer", "DefaultValue": "three"},
                "parameter-default",
                "/DefaultValue",
                "parameter N: DefaultValue: expected an Integer, got 'three'",
            ),
            (
                {"Type": "Integer", "DefaultValue": 3.5},
                "parameter-default",
                "/DefaultValue",
                "parameter N: DefaultValue: expected an Integer, got 3.5",
            ),
            (
                {"DefaultValue": 3},
                "parameter-default",
                "/DefaultValue",
                "parameter N: DefaultValue: expected a String, got 3",
            ),
            (
                {"DefaultValue": None},
                "parameter-default",
                "/DefaultValue",
                "parameter N: DefaultValue: expected a String, got null",
            ),
            (
                {"DefaultValue": "c", "EnumValues": ["a", "b"]},
                "parameter-default",
                "/DefaultValue",
                ("parameter N: DefaultValue 'c' is not one of EnumValues"),
            ),
            (
                {"Type": "Date"},
                "parameter-type",
                "/Type",
                ("parameter N: unknown Type 'Date'; expected String, Integer, Float or Boolean"),
            ),
            (
                {"EnumValues": ["a", 1]},
                "parameter-enum",
                "/EnumValues/1",
                "parameter N: EnumValues: expected a String, got 1",
            ),
            (
                {"EnumValues": "a"},
                "wrong-type",
                "/EnumValues",
                "EnumValues of parameter N: expected an array, got 'a'",
            ),
        ],
    )
    def test_errors(self, parameter: Any, code: str, place: str, message: str) -> None:
        found = findings(step("A"), Parameters=[{"Name": "N", **parameter}])
        assert only(found) == ("error", code, f"/Parameters/0{place}", message)

    def test_duplicate_parameter_name(self) -> None:
        found = findings(step("A"), Parameters=[{"Name": "E"}, {"Name": "E", "Type": "Integer"}])
        message = "two parameters are named 'E'"
        assert only(found) == ("error", "duplicate-parameter", "/Parameters/1/Name", message)

    def test_number_in_quotes_is_an_error(self) -> None:
        found = findings(
            step("A"), Parameters=[{"Name": "N", "Type": "Integer", "DefaultValue": "3"}]
        )
        message = "parameter N: DefaultValue: expected an Integer, got '3'; write it without quotes"
        assert only(found) == ("error", "parameter-default", "/Parameters/0/DefaultValue", message)

    def test_parameters_must_be_an_array(self) -> None:
        found = findings(step("A"), Parameters={"N": 1})
        assert codes(found) == [("wrong-type", "/Parameters")]


class TestPolicies:
    @pytest.mark.parametrize(
        ("policy", "place", "message"),
        [
            (
                {"MaxAttempts": 3, "ExpireAfterMin": 10},
                "",
                "retry policy of step A: expected either MaxAttempts or ExpireAfterMin, got both",
            ),
            (
                {"MaxAttempts": 21},
                "/MaxAttempts",
                ("retry policy of step A: MaxAttempts expects an integer from 0 to 20, got 21"),
            ),
            (
                {"MaxAttempts": 1.5},
                "/MaxAttempts",
                ("retry policy of step A: MaxAttempts expects an integer from 0 to 20, got 1.5"),
            ),
            (
                {"IntervalSeconds": 43201},
                "/IntervalSeconds",
                (
                    "retry policy of step A: IntervalSeconds expects a number from 0 to 43200, "
                    "got 43201"
                ),
            ),
            (
                {"BackoffRate": "2"},
                "/BackoffRate",
                ("retry policy of step A: BackoffRate expects a number from 0, got '2'"),
            ),
            (
                {"ExceptionType": ["Step.THROTTLE"]},
                "/ExceptionType/0",
                (
                    "retry policy of step A: unknown ExceptionType 'Step.THROTTLE' (did you "
                    "mean 'Step.THROTTLING'?)"
                ),
            ),
            (
                {"ExceptionType": []},
                "/ExceptionType",
                (
                    "retry policy of step A: ExceptionType expects an array such as "
                    "['Step.THROTTLING'], got an empty array"
                ),
            ),
        ],
    )
    def test_retries(self, policy: Any, place: str, message: str) -> None:
        policies = [{"ExceptionType": ["Step.THROTTLING"], **policy}]
        found = findings(step("A", "Training", RetryPolicies=policies))
        assert only(found) == ("error", "retry-policy", f"/Steps/0/RetryPolicies/0{place}", message)

    def test_limits_are_inclusive(self) -> None:
        policies = [
            {"ExceptionType": ["Step.THROTTLING"], "MaxAttempts": 20, "IntervalSeconds": 43200},
            {"ExceptionType": "Step.SERVICE_FAULT", "ExpireAfterMin": 14400, "BackoffRate": 1.5},
            {"ExceptionType": ["SageMaker.CAPACITY_ERROR"], "MaxAttempts": 0},
        ]
        assert findings(step("A", "Training", RetryPolicies=policies)) == ()

    def test_job_exceptions_have_no_effect_on_a_model_step(self) -> None:
        policies = [{"ExceptionType": ["SageMaker.CAPACITY_ERROR"]}]
        found = findings(step("A", "Model", RetryPolicies=policies))
        assert only(found)[:2] == ("warning", "retry-policy")

    @pytest.mark.parametrize(
        "text", ["30d", "1d", "T12H", "T16m", "p30d", "30dT5h", "PT1H", "P1Y2M3W4DT5H6M7.5S"]
    )
    def test_valid_durations(self, text: str) -> None:
        cache = {"Enabled": True, "ExpireAfter": text}
        assert findings(step("A", "Training", CacheConfig=cache)) == ()

    @pytest.mark.parametrize("value", ["30 days", "", "P", "T", "PT", "1", "1H", "d30", "-1d", 30])
    def test_invalid_durations(self, value: Any) -> None:
        found = findings(step("A", "Training", CacheConfig={"Enabled": True, "ExpireAfter": value}))
        severity, code, pointer, message = only(found)
        assert (severity, code) == ("error", "cache-expiry")
        assert pointer == "/Steps/0/CacheConfig/ExpireAfter"
        assert "of step A: ExpireAfter expects a duration" in message

    def test_empty_cache_config(self) -> None:
        found = findings(step("A", "Training", CacheConfig={"enabled": True}))
        assert codes(found) == [
            ("missing-member", "/Steps/0/CacheConfig"),
            ("unknown-member", "/Steps/0/CacheConfig/enabled"),
        ]
