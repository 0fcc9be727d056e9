"""Parameter values are converted, or rejected with a message that names the expected type."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagebridge.errors import ParameterError
from sagebridge.model.parameters import Parameter, coerce, coerce_one
from tests.strategies import SCALARS

VALID: list[tuple[str, Any, Any]] = [
    ("String", "x", "x"),
    ("String", "", ""),
    ("String", "0123", "0123"),
    ("Integer", 3, 3),
    ("Integer", "3", 3),
    ("Integer", "-3", -3),
    ("Integer", " 3 ", 3),
    ("Integer", 10**30, 10**30),
    ("Integer", 3.0, 3),
    ("Integer", -0.0, 0),
    ("Integer", "3.0", 3),
    ("Integer", "+3.", 3),
    ("Float", 6.5, 6.5),
    ("Float", "6.5", 6.5),
    ("Float", 6, 6.0),
    ("Float", "1e-3", 0.001),
    ("Boolean", True, True),
    ("Boolean", "True", True),
    ("Boolean", "false", False),
    ("Boolean", "FALSE", False),
]
INVALID: list[tuple[str, Any, str]] = [
    ("String", 3, "a String"),
    ("String", None, "a String"),
    ("String", True, "a String"),
    ("String", "a\0", "a String of Unicode characters other than NUL"),
    ("String", "\ud800", "a String of Unicode characters other than NUL"),
    ("Integer", "three", "an Integer"),
    ("Integer", "", "an Integer"),
    ("Integer", "3.5", "an Integer"),
    ("Integer", ".0", "an Integer"),
    ("Integer", "1_000", "an Integer"),
    ("Integer", "٣", "an Integer"),
    ("Integer", 3.5, "an Integer"),
    ("Integer", float("inf"), "an Integer"),
    ("Integer", float("nan"), "an Integer"),
    ("Integer", True, "an Integer"),
    ("Integer", "9" * 5000, "an Integer"),
    ("Integer", None, "an Integer"),
    ("Float", "six", "a Float"),
    ("Float", "1_0.5", "a Float"),
    ("Float", "nan", "a Float"),
    ("Float", "inf", "a Float"),
    ("Float", "1e999", "a finite Float"),
    ("Float", 10**400, "a finite Float"),
    ("Float", False, "a Float"),
    ("Boolean", "yes", "a Boolean (true or false)"),
    ("Boolean", 1, "a Boolean (true or false)"),
    ("Boolean", "", "a Boolean (true or false)"),
    ("Date", "2026-11-01", "one of the types String, Integer, Float, Boolean"),
]


@pytest.mark.parametrize(("declared", "given", "expected"), VALID)
def test_value_is_converted_to_the_declared_type(declared: str, given: Any, expected: Any) -> None:
    value = coerce([Parameter("P", declared)], {"P": given})["P"]
    assert (type(value), value) == (type(expected), expected)


@pytest.mark.parametrize(("declared", "given", "expected"), INVALID)
def test_value_of_another_type_is_rejected(declared: str, given: Any, expected: str) -> None:
    with pytest.raises(ParameterError) as raised:
        coerce([Parameter("P", declared)], {"P": given})
    assert str(raised.value).startswith("parameter 'P' is ")
    assert expected in str(raised.value)
    assert len(str(raised.value)) < 200
    assert raised.value.exit_code == 2


def test_default_type_is_string() -> None:
    assert coerce([Parameter("P")], {"P": "1"}) == {"P": "1"}


def test_defaults_fill_in_for_missing_values() -> None:
    parameters = [Parameter("A", "Integer", 1), Parameter("B", "Float", 2), Parameter("C")]
    assert coerce(parameters, {"C": "c", "A": "7"}) == {"A": 7, "B": 2.0, "C": "c"}


def test_value_outside_enum_values_is_rejected() -> None:
    mode = Parameter("Mode", "String", "dev", ("dev", "prod"))
    assert coerce([mode], {}) == {"Mode": "dev"}
    assert coerce([mode], {"Mode": "prod"}) == {"Mode": "prod"}
    with pytest.raises(ParameterError, match="'Mode' is 'test', expected one of 'dev', 'prod'"):
        coerce([mode], {"Mode": "test"})


def test_enum_values_compare_as_numbers() -> None:
    assert coerce([Parameter("N", "Float", 1.0, (1, 2))], {}) == {"N": 1.0}


def test_all_problems_are_reported_together() -> None:
    parameters = [Parameter("InputData", "String"), Parameter("Count", "Integer", 1)]
    with pytest.raises(ParameterError) as raised:
        coerce(parameters, {"Count": "many", "InputDate": "x", "Other": 1})
    assert raised.value.problems == (
        "unknown parameter 'InputDate' (did you mean 'InputData'?)",
        "unknown parameter 'Other' (the pipeline has InputData, Count)",
        "parameter 'InputData' has no default and was not given",
        "parameter 'Count' is 'many', expected an Integer",
    )


def test_unknown_parameter_of_a_pipeline_without_parameters() -> None:
    with pytest.raises(ParameterError, match="unknown parameter 'X' \\(the pipeline has none\\)"):
        coerce([], {"X": 1})


@given(st.sampled_from(("String", "Integer", "Float", "Boolean")), SCALARS)
def test_conversion_is_idempotent(declared: str, value: Any) -> None:
    parameter = Parameter("P", declared)
    try:
        once = coerce_one(parameter, value)
    except ValueError:
        return
    twice = coerce_one(parameter, once)
    assert (type(twice), twice) == (type(once), once)
    assert type(once) is {"String": str, "Integer": int, "Float": float, "Boolean": bool}[declared]
