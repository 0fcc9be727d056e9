"""Results of user code that JSON cannot express: kept in records, restored for later steps."""

from __future__ import annotations

import enum
import json
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from sagebridge_operators.lifecycle.user_code import values
from sagebridge_operators.run_errors import StepFailed


class Colour(enum.StrEnum):
    RED = "red"


class Rights(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


@dataclass(frozen=True)
class Order:
    number: int
    due: date
    lines: list[tuple[str, Decimal]] = field(default_factory=list)


class Point(NamedTuple):
    x: float
    y: float


class Shop:
    @dataclass
    class Till:
        cash: Decimal


def kept(value: Any, names: dict[str, Any] | None = None) -> Any:
    """The value after it went through a record."""
    stored = json.loads(json.dumps(values.encode("Train", value), allow_nan=False))
    return values.decode(stored, globals() if names is None else names)


@pytest.mark.parametrize(
    "value",
    [
        {"rows": [1, 2.5, None, True], "text": "ä"},
        (1, (2, 3)),
        {1: "a", (2, "b"): "c"},
        {"__sagebridge__": "date", "value": "2025-01-01"},
        {"x", "y"},
        frozenset((1, 2)),
        date(2025, 1, 31),
        datetime(2025, 1, 31, 12, tzinfo=UTC),
        datetime(2025, 1, 31, 12, tzinfo=timezone(timedelta(hours=2))),
        datetime(2025, 7, 1, 12, tzinfo=ZoneInfo("Europe/Amsterdam")),
        datetime(2025, 1, 31, 12),  # noqa: DTZ001
        time(12, 30),
        timedelta(days=1, microseconds=3),
        Decimal("1.10"),
        Path("a/b"),
        UUID(int=7),
        b"\x00\xff",
        2 + 3j,
        range(1, 9, 2),
        Colour.RED,
        Rights.READ | Rights.WRITE,
        Order(7, date(2025, 2, 1), [("a", Decimal("2.50"))]),
        [Order(1, date(2025, 1, 1))],
        Point(1.0, 2.0),
        Counter({"a": 2, 3: 1}),
        Shop.Till(Decimal(3)),
        float("inf"),
    ],
)
def test_value_survives_the_record(value: Any) -> None:
    found = kept(value)
    assert found == value
    assert type(found) is type(value)


def test_json_stays_as_it_is() -> None:
    value = {"a": [1, {"b": None}], "c": "2025-01-01"}
    assert values.encode("Train", OrderedDict(value)) == value


def test_zone_survives() -> None:
    moment = kept(datetime(2025, 7, 1, 12, tzinfo=ZoneInfo("Europe/Amsterdam")))
    assert str(moment.tzinfo) == "Europe/Amsterdam"


def test_model_of_pydantic_survives() -> None:
    pydantic = pytest.importorskip("pydantic")
    row = pydantic.create_model("Row", day=(date, ...), name=(str, "x"))
    found = kept(row(day=date(2025, 1, 1)), {"Row": row})
    assert found == row(day=date(2025, 1, 1))


def test_tables_survive() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {
            "n": [1, 2, 3],
            "x": [0.5, None, 1.5],
            "s": ["a", None, "c"],
            "at": pd.to_datetime(["2025-01-01", None, "2025-01-03"], utc=True),
            "c": pd.Categorical(["u", "v", "u"]),
        },
        index=pd.Index([10, 20, 30], name="id"),
    )
    pd.testing.assert_frame_equal(kept(frame), frame)
    grouped = frame.groupby(["c", "s"], observed=True)["n"].sum()
    pd.testing.assert_series_equal(
        kept(grouped), grouped, check_index_type=False, check_categorical=False
    )
    assert kept({"total": frame["n"].sum(), "none": pd.NaT}) == {"total": 6, "none": None}
    assert kept(frame[["n", "x"]].to_numpy())[0].tolist() == [1.0, 0.5]


def test_class_is_found_only_in_the_receiving_module() -> None:
    order = Order(1, date(2025, 1, 1))
    with pytest.raises(StepFailed, match=r"is a Order of .*test_user_values, .* import it there"):
        kept(order, {"__name__": "dags.orders"})
    with pytest.raises(StepFailed, match="does not have"):
        kept(order, {"Order": Path})
    assert kept(order, {"Bestelling": Order}) == order


def test_class_of_an_imported_module_is_found() -> None:
    import sys

    order = Order(1, date(2025, 1, 1))
    assert kept(order, {"models": sys.modules[__name__]}) == order


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (lambda: None, r"return_value is a function"),
        ({"a": [object()]}, r"return_value\['a'\]\[0\] is a object"),
        (iter(()), "return_value is a tuple_iterator"),
    ],
)
def test_other_values_are_refused(value: Any, problem: str) -> None:
    with pytest.raises(StepFailed, match=f"'Train' returned a value .*{problem}; return JSON"):
        values.encode("Train", value)


def test_endless_value_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(StepFailed, match="contains itself"):
        values.encode("Train", value)


def test_jobs_get_plain_values() -> None:
    given = {
        "day": date(2025, 1, 31),
        "at": datetime(2025, 1, 31, 12, tzinfo=UTC),
        "sum": [Decimal("1.50"), Decimal(2)],
        "path": Path("a/b"),
        "order": Order(1, date(2025, 1, 1), [("a", Decimal(1))]),
        "colour": Colour.RED,
        "pair": (1, 2),
        "half": timedelta(seconds=1.5),
        "by": {1: "x"},
    }
    assert values.untagged(values.encode("Train", given)) == {
        "day": "2025-01-31",
        "at": "2025-01-31T12:00:00+00:00",
        "sum": [1.5, 2],
        "path": "a/b",
        "order": {"number": 1, "due": "2025-01-01", "lines": [["a", 1]]},
        "colour": "red",
        "pair": [1, 2],
        "half": 1.5,
        "by": {"1": "x"},
    }


def test_text_of_a_value_is_that_of_python() -> None:
    texts = [
        values.printable(values.encode("Train", one)) for one in (date(2025, 1, 31), Path("a"), 3)
    ]
    assert texts == ["2025-01-31", "a", 3]
