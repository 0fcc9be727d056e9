"""The truth table of every condition, and the values that it rejects."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagebridge.model.conditions import (
    Comparison,
    ComparisonType,
    Condition,
    UnknownCondition,
    equals,
    greater_than,
    greater_than_or_equal_to,
    is_in,
    less_than,
    less_than_or_equal_to,
    not_,
    or_,
)
from sagebridge.model.expressions import parameter
from sagebridge_operators.run_errors import IncomparableValues, NotRunnable, StepFailed
from sagebridge_operators.steps.condition import Operand, Result, evaluate, evaluate_all

TRUE, FALSE = equals(1, 1), equals(1, 2)
ORDERS: tuple[ComparisonType, ...] = (
    "GreaterThan",
    "GreaterThanOrEqualTo",
    "LessThan",
    "LessThanOrEqualTo",
)


def literal(value: Any) -> Operand:
    return Operand(value)


def decided(condition: Condition, **parameters: Any) -> bool | None:
    def find(value: Any) -> Operand:
        if hasattr(value, "name"):
            return Operand(parameters[value.name], f"parameter {value.name}")
        return Operand(value)

    return evaluate(condition, find).holds


@pytest.mark.parametrize(
    ("left", "right", "equal", "greater"),
    [
        (1, 1, True, False),
        (1, 1.0, True, False),
        (6, 5.9, False, True),
        (5.9, 6, False, False),
        (-0.0, 0, True, False),
        (2**60 + 1, 2**60, False, True),
        ("a", "a", True, False),
        ("b", "a", False, True),
        ("10", "9", False, False),
        ("", "a", False, False),
        ("0123", "123", False, False),
    ],
)
def test_comparisons_of_one_type(left: Any, right: Any, equal: bool, greater: bool) -> None:
    assert decided(equals(left, right)) is equal
    assert decided(greater_than(left, right)) is greater
    assert decided(greater_than_or_equal_to(left, right)) is (equal or greater)
    assert decided(less_than(left, right)) is (not equal and not greater)
    assert decided(less_than_or_equal_to(left, right)) is (not greater)


@pytest.mark.parametrize(("left", "right"), [(True, True), (True, False), (False, False)])
def test_booleans_have_no_order(left: bool, right: bool) -> None:
    assert decided(equals(left, right)) is (left is right)
    assert decided(is_in(left, [right])) is (left is right)
    for order in ORDERS:
        with pytest.raises(IncomparableValues, match=f"{left} \\(Boolean\\)"):
            decided(Comparison(order, left, right))


@pytest.mark.parametrize(
    ("left", "right", "words"),
    [
        ("1", 1, ("'1' (String)", "1 (Integer)")),
        (1.5, "1.5", ("1.5 (Float)", "'1.5' (String)")),
        (True, 1, ("True (Boolean)", "1 (Integer)")),
        ("true", True, ("'true' (String)", "True (Boolean)")),
        (None, 1, ("a missing value", "1 (Integer)")),
        (1, None, ("1 (Integer)", "a missing value")),
        (None, None, ("a missing value", "a missing value")),
        ({"a": 1}, 1, ("{'a': 1} (dict)", "1 (Integer)")),
        ([1], [1], ("[1] (list)", "[1] (list)")),
    ],
)
@pytest.mark.parametrize("type_", ["Equals", *ORDERS])
def test_error_names_both_incomparable_values(
    type_: Any, left: Any, right: Any, words: tuple[str, str]
) -> None:
    with pytest.raises(StepFailed) as failed:
        decided(Comparison(type_, left, right))
    text = str(failed.value)
    assert type_ in text
    assert text.index(words[0]) <= text.rindex(words[1])


def test_in() -> None:
    assert decided(is_in("b", ["a", "b"]))
    assert not decided(is_in("c", ["a", "b"]))
    assert decided(is_in(2, [1, 2.0]))
    assert not decided(is_in("a", []))
    assert decided(is_in(parameter("P"), [parameter("Q")]), P="x", Q="x")
    with pytest.raises(IncomparableValues, match=r"'1' \(String\) with 1 \(Integer\)"):
        decided(is_in("1", [1]))


def test_not_or_and_nesting() -> None:
    assert decided(not_(FALSE))
    assert decided(or_(FALSE, TRUE))
    assert not decided(or_(FALSE, FALSE))
    assert not decided(or_())
    assert decided(not_(or_(FALSE, not_(TRUE))))
    assert decided(or_(FALSE, not_(is_in("a", ["b"]))))


def outcomes(*conditions: Condition) -> list[bool | None]:
    return [result.holds for result in evaluate_all(conditions, literal)]


def test_every_condition_has_a_result() -> None:
    assert outcomes() == []
    assert outcomes(TRUE, FALSE, TRUE) == [True, False, True]
    with pytest.raises(IncomparableValues):
        outcomes(TRUE, equals("a", 1))


def test_condition_that_is_not_needed_cannot_fail_the_step() -> None:
    wrong = equals("a", 1)
    assert outcomes(FALSE, wrong, TRUE) == [False, None, True]
    (result,) = evaluate_all((or_(TRUE, wrong, FALSE),), literal)
    assert [part.holds for part in result.parts] == [True, None, False]
    assert "cannot compare 'a' (String) with 1 (Integer)" in result.parts[1].as_json()["problem"]
    with pytest.raises(IncomparableValues):
        outcomes(or_(FALSE, wrong))


def test_result_lists_the_values_of_nested_conditions() -> None:
    values = {"rmse": Operand(2.5, "rmse in s3://b/e.json"), "limit": Operand(2, "parameter limit")}

    def find(value: Any) -> Operand:
        return values[value] if value in values else Operand(value)

    (result,) = evaluate_all(
        (or_(not_(greater_than("rmse", "limit")), is_in("x", ["y", "x", "z"])),), find
    )
    assert list(result.lines()) == [
        "[True] or",
        "  [False] not",
        "    [True] 2.5 (rmse in s3://b/e.json) > 2 (parameter limit)",
        "  [True] 'x' in ['y', 'x']",
    ]
    right = {"value": 2, "source": "parameter limit"}
    compared: dict[str, Any] = {
        "type": "GreaterThan",
        "left": {"value": 2.5, "source": "rmse in s3://b/e.json"},
        "right": right,
        "holds": True,
    }
    assert result.as_json()["conditions"] == [
        {"type": "Not", "conditions": [compared], "holds": False},
        {
            "type": "In",
            "query": {"value": "x"},
            "values": [{"value": "y"}, {"value": "x"}],
            "holds": True,
        },
    ]


def test_long_sources_have_their_own_lines() -> None:
    long = Operand("x", f"rmse in s3://{'b' * 90}/e.json")
    result = Result(equals("a", "b"), False, (long, Operand("y", "parameter P")))
    inside = Result(not_(equals("a", "b")), True, parts=(result,))
    assert list(inside.lines("  ")) == [
        "  [True] not",
        "    [False] 'x' == 'y'",
        f"        'x': {long.source}",
        "        'y': parameter P",
    ]


def test_secret_and_missing_values() -> None:
    secret = Operand("hunter2", "Environment['KEY'] of step Train", secret=True)
    result = Result(TRUE, True, (secret, Operand("x" * 300)))
    shown = repr([*result.lines(), result.as_json()])
    assert "hunter2" not in shown
    assert "'***'" in shown
    assert "x" * 199 + "…" in shown
    with pytest.raises(IncomparableValues) as failed:
        evaluate(equals("a", "b"), lambda value: secret if value == "a" else Operand(1))
    assert str(failed.value) == (
        "condition Equals cannot compare *** (String) from Environment['KEY'] of step Train "
        "with 1 (Integer)"
    )
    missing = Operand(None, problem="Steps.A.B has no value: no key 'B'")
    with pytest.raises(IncomparableValues, match=r"a missing value \(Steps\.A\.B has no value"):
        evaluate(equals("a", 1), lambda value: missing if value == "a" else Operand(value))


def test_unknown_condition_fails_and_is_shown() -> None:
    with pytest.raises(NotRunnable, match="Between"):
        decided(UnknownCondition({"Type": "Between"}))


@given(st.integers() | st.floats(allow_nan=False), st.integers() | st.floats(allow_nan=False))
def test_number_comparison_is_a_total_order(left: float, right: float) -> None:
    less, equal = decided(less_than(left, right)), decided(equals(left, right))
    assert [less, equal, decided(greater_than(left, right))].count(True) == 1
    assert decided(not_(less_than(left, right))) is decided(greater_than_or_equal_to(left, right))
