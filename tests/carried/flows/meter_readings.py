"""Check the readings of energy meters and write bills for households."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum

import boto3
from prefect import flow, get_run_logger, task
from prefect.variables import Variable
from pydantic import BaseModel, Field

BUCKET = "meters"


class Kind(str, Enum):
    POWER = "power"
    GAS = "gas"


class Tariff(BaseModel):
    """Prices for one kind of energy."""

    kind: Kind = Kind.POWER
    price: Decimal = Decimal("0.30")
    base: int = Field(5, ge=0)


class Reading(BaseModel):
    household: str
    day: date
    value: int


@task
def load_readings(kind: Kind, day: date) -> list[Reading]:
    """The readings of the day."""
    key = f"{kind.value}/{day:%Y/%m}/{day.isoformat()}.json"
    body = boto3.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read()
    return [Reading(day=day, **one) for one in json.loads(body)]


@task
def implausible(readings: list[Reading], most: int) -> set[str]:
    return {one.household for one in readings if not 0 <= one.value <= most}


@task
def usual(day: date) -> date:
    """The same day of the week before."""
    return day - timedelta(days=7)


@task
def bill(readings: list[Reading], skip: set[str], tariff: Tariff) -> dict[str, Decimal]:
    return {
        one.household: tariff.base + one.value * tariff.price
        for one in readings
        if one.household not in skip
    }


@task
def write_bills(bills: dict[str, Decimal], compared: date) -> str:
    prefix = Variable.get("bill_prefix", default="bills")
    lines = [f"{name},{amount:.2f}" for name, amount in sorted(bills.items())]
    key = f"{prefix}/{compared.isoformat()}.csv"
    boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body="\n".join(lines).encode())
    return key


@task
def report_gap(households: set[str]) -> int:
    get_run_logger().warning("check the meters of %s", sorted(households))
    return len(households)


@flow(name="meter-readings")
def meter_readings(day: date = date(2025, 3, 10), most: int = 900) -> dict | None:
    """Bills of one day for power and gas."""
    written = {}
    for kind in Kind:
        tariff = Tariff(kind=kind, price=Decimal("0.10") if kind is Kind.GAS else Decimal("0.30"))
        readings = load_readings(kind, day)
        gaps = implausible(readings, most)
        if gaps:
            report_gap(gaps)
        if kind is Kind.POWER:
            bills = bill(readings, gaps, tariff)
            written[kind.value] = write_bills(bills, usual(day))
    return written


if __name__ == "__main__":
    meter_readings()
