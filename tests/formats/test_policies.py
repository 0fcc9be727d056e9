"""What the rules find in parameters, retry policies and cache settings."""

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
                "default of Integer parameter N is the string 'three'",
            ),
            (
                {"Type": "Integer", "DefaultValue": 3.5},
                "parameter-default",
                "/DefaultValue",
                "default of Integer parameter N is the number 3.5",
            ),
            (
                {"DefaultValue": 3},
                "parameter-default",
                "/DefaultValue",
                "default of String parameter N is the number 3",
            ),
            (
                {"DefaultValue": None},
                "parameter-default",
                "/DefaultValue",
                "default of String parameter N is null",
            ),
            (
                {"DefaultValue": "c", "EnumValues": ["a", "b"]},
                "parameter-default",
                "/DefaultValue",
                (
                    "default of String parameter N is the string 'c', which is not among its "
                    "EnumValues"
                ),
            ),
            (
                {"Type": "Date"},
                "parameter-type",
                "/Type",
                (
                    "unknown Type of parameter N: the string 'Date' "
                    "(String, Integer, Float or Boolean expected)"
                ),
            ),
            (
                {"EnumValues": ["a", 1]},
                "parameter-enum",
                "/EnumValues/1",
                "String parameter N allows the number 1 among its EnumValues",
            ),
            (
                {"EnumValues": "a"},
                "wrong-type",
                "/EnumValues",
                "EnumValues of parameter N is the string 'a' (an array expected)",
            ),
        ],
    )
    def test_errors(self, parameter: Any, code: str, place: str, message: str) -> None:
        found = findings(step("A"), Parameters=[{"Name": "N", **parameter}])
        assert only(found) == ("error", code, f"/Parameters/0{place}", message)

    def test_two_of_one_name(self) -> None:
        found = findings(step("A"), Parameters=[{"Name": "E"}, {"Name": "E", "Type": "Integer"}])
        message = "parameter name 'E' defined twice"
        assert only(found) == ("error", "duplicate-parameter", "/Parameters/1/Name", message)

    def test_a_number_in_quotes_is_no_number(self) -> None:
        found = findings(
            step("A"), Parameters=[{"Name": "N", "Type": "Integer", "DefaultValue": "3"}]
        )
        message = "default of Integer parameter N is the string '3'; write it without quotes"
        assert only(found) == ("error", "parameter-default", "/Parameters/0/DefaultValue", message)

    def test_no_array(self) -> None:
        found = findings(step("A"), Parameters={"N": 1})
        assert codes(found) == [("wrong-type", "/Parameters")]


class TestPolicies:
    @pytest.mark.parametrize(
        ("policy", "place", "message"),
        [
            (
                {"MaxAttempts": 3, "ExpireAfterMin": 10},
                "",
                "retry policy of step A has both MaxAttempts and ExpireAfterMin",
            ),
            (
                {"MaxAttempts": 21},
                "/MaxAttempts",
                (
                    "MaxAttempts of retry policy of step A is the number 21 "
                    "(a whole number from 0 to 20 expected)"
                ),
            ),
            (
                {"MaxAttempts": 1.5},
                "/MaxAttempts",
                (
                    "MaxAttempts of retry policy of step A is the number 1.5 "
                    "(a whole number from 0 to 20 expected)"
                ),
            ),
            (
                {"IntervalSeconds": 43201},
                "/IntervalSeconds",
                (
                    "IntervalSeconds of retry policy of step A is the number 43201 "
                    "(from 0 to 43200 expected)"
                ),
            ),
            (
                {"BackoffRate": "2"},
                "/BackoffRate",
                (
                    "BackoffRate of retry policy of step A is the string '2' "
                    "(a number from 0 expected)"
                ),
            ),
            (
                {"ExceptionType": ["Step.THROTTLE"]},
                "/ExceptionType/0",
                (
                    "retry policy of step A names an unknown ExceptionType: "
                    "the string 'Step.THROTTLE' (did you mean 'Step.THROTTLING'?)"
                ),
            ),
            (
                {"ExceptionType": []},
                "/ExceptionType",
                (
                    "retry policy of step A has an array as ExceptionType "
                    "(an array such as ['Step.THROTTLING'] expected)"
                ),
            ),
        ],
    )
    def test_retries(self, policy: Any, place: str, message: str) -> None:
        policies = [{"ExceptionType": ["Step.THROTTLING"], **policy}]
        found = findings(step("A", "Training", RetryPolicies=policies))
        assert only(found) == ("error", "retry-policy", f"/Steps/0/RetryPolicies/0{place}", message)

    def test_limits_themselves_are_allowed(self) -> None:
        policies = [
            {"ExceptionType": ["Step.THROTTLING"], "MaxAttempts": 20, "IntervalSeconds": 43200},
            {"ExceptionType": "Step.SERVICE_FAULT", "ExpireAfterMin": 14400, "BackoffRate": 1.5},
            {"ExceptionType": ["SageMaker.CAPACITY_ERROR"], "MaxAttempts": 0},
        ]
        assert findings(step("A", "Training", RetryPolicies=policies)) == ()

    def test_what_a_model_never_meets(self) -> None:
        policies = [{"ExceptionType": ["SageMaker.CAPACITY_ERROR"]}]
        found = findings(step("A", "Model", RetryPolicies=policies))
        assert only(found)[:2] == ("warning", "retry-policy")

    @pytest.mark.parametrize(
        "text", ["30d", "1d", "T12H", "T16m", "p30d", "30dT5h", "PT1H", "P1Y2M3W4DT5H6M7.5S"]
    )
    def test_durations_that_real_definitions_use(self, text: str) -> None:
        cache = {"Enabled": True, "ExpireAfter": text}
        assert findings(step("A", "Training", CacheConfig=cache)) == ()

    @pytest.mark.parametrize("value", ["30 days", "", "P", "T", "PT", "1", "1H", "d30", "-1d", 30])
    def test_what_is_no_duration(self, value: Any) -> None:
        found = findings(step("A", "Training", CacheConfig={"Enabled": True, "ExpireAfter": value}))
        severity, code, pointer, message = only(found)
        assert (severity, code) == ("error", "cache-expiry")
        assert pointer == "/Steps/0/CacheConfig/ExpireAfter"
        assert "of step A is no duration" in message

    def test_cache_without_a_word(self) -> None:
        found = findings(step("A", "Training", CacheConfig={"enabled": True}))
        assert codes(found) == [
            ("missing-member", "/Steps/0/CacheConfig"),
            ("unknown-member", "/Steps/0/CacheConfig/enabled"),
        ]
