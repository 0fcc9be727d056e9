"""Price lists of all stores: mapped tasks over lists that are known now or only at run time."""

from __future__ import annotations

import json
from datetime import datetime

import boto3
from airflow.sdk import dag, task, task_group

BUCKET = "stores"
REGIONS = ["north", "south"]
VAT = {"north": 1.21, "south": 1.19}


class Prices:
    """The price lists in the bucket."""

    def __init__(self, bucket: str = BUCKET) -> None:
        self.bucket = bucket
        self.s3 = boto3.client("s3")

    def stores(self, region: str) -> list[str]:
        found = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=f"in/{region}/")
        return [item["Key"] for item in found.get("Contents", [])]

    def read(self, key: str) -> dict[str, float]:
        return json.loads(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def write(self, key: str, prices: dict[str, float]) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=json.dumps(prices).encode())


@dag(schedule=None, start_date=datetime(2025, 1, 1), max_active_tasks=4)
def branch_stores():
    @task
    def stores_of(region: str) -> list[str]:
        return Prices().stores(region)

    @task
    def flatten(lists: list[list[str]]) -> list[dict[str, str]]:
        """One dict of arguments for each store."""
        return [{"key": key, "region": key.split("/")[1]} for keys in lists for key in keys]

    @task(max_active_tis_per_dag=2)
    def with_vat(key: str, region: str, digits: int) -> str:
        prices = Prices()
        gross = {name: round(one * VAT[region], digits) for name, one in prices.read(key).items()}
        target = key.replace("in/", "out/", 1)
        prices.write(target, gross)
        return target

    @task
    def lengths(key: str) -> int:
        return len(Prices().read(key))

    @task
    def total(counts: list[int], note: str) -> dict[str, object]:
        return {"count": sum(counts), "note": note}

    @task_group
    def compare(region: str):
        @task
        def first(region: str) -> str:
            return min(Prices().stores(region))

        @task
        def cheapest(key: str, factor: int = 1) -> float:
            return min(Prices().read(key).values()) * factor

        return cheapest(first(region), factor=100)

    @task
    def lowest(values: list[float]) -> float:
        return min(values)

    arguments = flatten(stores_of.expand(region=REGIONS))
    written = with_vat.partial(digits=2).expand_kwargs(arguments)
    total(lengths.expand(key=written), note="articles")
    lowest(compare.expand(region=REGIONS))


branch_stores()
