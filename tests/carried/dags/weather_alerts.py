"""Read the stations' temperatures and warn about frost or heat, or note a quiet day."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta

import boto3
from airflow.sdk import Variable, dag, task, task_group

log = logging.getLogger(__name__)

BUCKET = "weather"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:weather"


def read_json(key: str) -> dict[str, float]:
    """One object of the bucket."""
    return json.loads(boto3.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read())


def write_json(key: str, value: object) -> str:
    boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=json.dumps(value).encode())
    return f"s3://{BUCKET}/{key}"


@dag(
    schedule="0 6 * * *",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args={"retries": 1, "retry_delay": timedelta(seconds=1)},
    params={"always_warn": False},
    tags=["weather"],
)
def weather_alerts():
    @task
    def read(ds: str) -> dict[str, float]:
        """Lowest temperature of each station."""
        return read_json(f"{ds}/stations.json")

    @task(multiple_outputs=True)
    def extremes(stations: dict[str, float]) -> dict[str, float]:
        limit = float(Variable.get("frost_limit", default=0))
        return {
            "coldest": min(stations.values()),
            "warmest": max(stations.values()),
            "limit": limit,
        }

    @task.branch
    def choose(coldest: float, warmest: float, limit: float, params: dict) -> list[str] | str:
        """The warnings that the day needs."""
        wanted = []
        if coldest < limit or params["always_warn"]:
            wanted.append("warn.frost")
        if warmest > 30 or params["always_warn"]:
            wanted.append("warn.heat")
        return wanted or "quiet"

    @task_group
    def warn(coldest, warmest):
        @task
        def frost(value: float) -> str:
            text = f"frost: {value:g} degrees"
            boto3.client("sns").publish(TopicArn=TOPIC, Subject="frost", Message=text)
            return text

        @task
        def heat(value: float) -> str:
            return f"heat: {value:g} degrees"

        frost(coldest)
        heat(warmest)

    @task
    def quiet() -> None:
        log.info("nothing to warn about")

    @task(trigger_rule="none_failed_min_one_success")
    def file(stations: dict[str, float], ds: str, ti=None) -> str:
        """Keep the day's warnings with the readings."""
        texts = ti.xcom_pull(task_ids=["warn.frost", "warn.heat"])
        warnings = [text for text in texts if text]
        return write_json(f"{ds}/warnings.json", {"stations": stations, "warnings": warnings})

    stations = read()
    found = extremes(stations)
    picked = choose(found["coldest"], found["warmest"], found["limit"])
    warnings = warn(found["coldest"], found["warmest"])
    nothing = quiet()
    picked >> [warnings, nothing] >> file(stations)


weather_alerts()
