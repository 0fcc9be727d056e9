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
from sagebridge_operators.steps.condition import all_hold, holds

TRUE, FALSE = equals(1, 1), equals(1, 2)
ORDERS: tuple[ComparisonType, ...] = (
    "GreaterThan",
    "GreaterThanOrEqualTo",
    "LessThan",
    "LessThanOrEqualTo",
)


def decided(condition: Condition, **parameters: Any) -> bool:
    def resolve(value: Any) -> Any:
        return parameters[value.name] if hasattr(value, "name") else value

    return holds(condition, resolve)


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


def test_all_conditions_must_hold() -> None:
    assert all_hold((), lambda value: value)
    assert all_hold((TRUE, TRUE), lambda value: value)
    assert not all_hold((TRUE, FALSE), lambda value: value)


def test_unknown_condition_fails_and_is_shown() -> None:
    with pytest.raises(NotRunnable, match="Between"):
        decided(UnknownCondition({"Type": "Between"}))


@given(st.integers() | st.floats(allow_nan=False), st.integers() | st.floats(allow_nan=False))
def test_number_comparison_is_a_total_order(left: float, right: float) -> None:
    less, equal = decided(less_than(left, right)), decided(equals(left, right))
    assert [less, equal, decided(greater_than(left, right))].count(True) == 1
    assert decided(not_(less_than(left, right))) is decided(greater_than_or_equal_to(left, right))
