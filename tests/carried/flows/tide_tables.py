"""Tide tables for a harbour: parameters of every type that JSON can express."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Literal
from uuid import UUID

from prefect import flow, task
from pydantic import BaseModel, Field


class Detail(Enum):
    HOURLY = "hourly"
    DAILY = "daily"


class Gauge(BaseModel):
    since: date
    offset: float = 0.5


class Station(BaseModel):
    """A station and its gauge."""

    name: str = "pier"
    gauge: Gauge = Gauge(since=date(2025, 1, 1))
    detail: Detail = Detail.DAILY
    readings: int = Field(24, ge=1)
    least: int | None = None


@dataclass
class Window:
    days: int = 3
    marks: tuple[str, ...] = ("high", "low")


@task
def seen(**given) -> dict:
    """The type and text of each value."""
    return {key: [type(value).__name__, str(value)] for key, value in given.items()}


@task
def days_of(first: date, window: Window) -> list[date]:
    return [first + timedelta(days=number) for number in range(window.days)]


@task
def write_table(day: date, folder: Path, marks: set[str]) -> str:
    return str(folder / f"{day:%Y-%m-%d}-{'-'.join(sorted(marks))}")


@task
def warn(name: str) -> str:
    return f"{name} reads often"


@flow(name="tide-tables")
def tide_tables(
    first: date,
    at: datetime = datetime(2025, 3, 10, 6, tzinfo=UTC),
    local: datetime = datetime(2025, 3, 10, 6),
    low: time = time(6, 30),
    pause: timedelta = timedelta(hours=12, minutes=25),
    folder: Path = Path("tables/in"),
    fee: Decimal = Decimal("0.30"),
    key: UUID = UUID("12345678-1234-5678-1234-567812345678"),  # noqa: B008
    until: date | None = None,
    marks: set[str] = {"low", "high"},
    pair: tuple[int, str] = (1, "pier"),
    many: tuple[str, ...] = ("x", "y"),
    closed: list[date] = [date(2025, 1, 2)],
    detail: Detail | None = None,
    unit: Literal["m", "ft"] | None = None,
    depths: list[int] = [4, 7],
    counts: dict[str, int] | None = None,
    nested: dict[str, list[str]] = {"a": ["b"]},
    station: Station = Station(),  # noqa: B008
    window: Window = Window(),  # noqa: B008
    note=None,
) -> list[str]:
    seen(first=first, at=at, local=local, low=low, pause=pause, folder=folder, fee=fee, key=key)
    seen(until=until, pair=pair, many=many, closed=closed, detail=detail, unit=unit)
    seen(depths=depths, counts=counts, nested=nested, station=station, window=window, note=note)
    seen(gauge=station.gauge, name=station.name, detail=station.detail, marks=window.marks)
    if station.readings > 12:
        warn(station.name)
    if station.gauge.offset > 0.4:
        seen(text=f"{first} {station.name} {window.days}", iso=first.isoformat())
    if until is None:
        seen(open=True)
    for day in closed:
        seen(closed=day)
    days = days_of(first, window)
    return [write_table(day, folder, marks) for day in days]


if __name__ == "__main__":
    tide_tables(first=date(2025, 3, 10))
