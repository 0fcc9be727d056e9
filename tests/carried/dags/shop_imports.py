"""Import the files of each shop, by operators that are made in loops from classes and lambdas."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta

import boto3
from airflow import DAG
from airflow.operators.bash import BashOperator
from airflow.operators.empty import EmptyOperator
from airflow.operators.python import PythonOperator
from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor
from airflow.providers.amazon.aws.sensors.sqs import SqsSensor
from airflow.sdk import task

BUCKET = "shops"
SHOPS = {"north": 1, "south": 2}


class Shop:
    """A shop whose lines are in the bucket."""

    def __init__(self, name: str, *, factor: int = 1) -> None:
        self.name = name
        self._factor = factor

    def read(self, ds: str, ti=None, **_) -> int:
        s3 = boto3.client("s3")
        found = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{ds}/{self.name}-")
        lines = [line for item in found["Contents"] for line in self._lines(s3, item["Key"])]
        ti.xcom_push(key="lines", value=lines)
        return len(lines) * self._factor

    @staticmethod
    def _lines(s3, key: str) -> list[dict[str, str]]:
        body = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode()
        return list(csv.DictReader(io.StringIO(body)))


def note_failure(context) -> None:
    name = type(context["exception"]).__name__
    key = f"failures/{context['ti'].task_id}.txt"
    boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=name.encode())


def write(name, amount, **context):
    key = f"out/{context['ds']}/{name}-{context['ti'].map_index}.txt"
    boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=str(amount).encode())
    return key


def check(amounts) -> None:
    if min(amounts) < 3:
        raise LookupError(f"a shop has only {min(amounts)}")


with DAG(
    "shop_imports",
    schedule="0 5 * * *",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args={"retries": 1, "retry_delay": timedelta(minutes=1)},
) as dag:
    files = S3KeySensor(
        task_id="files",
        bucket_key=[f"s3://{BUCKET}/{{{{ ds }}}}/{name}-*.csv" for name in SHOPS],
        wildcard_match=True,
        poke_interval=1,
    )
    request = SqsSensor(
        task_id="request",
        sqs_queue="{{ var.value.shop_queue }}",
        wait_time_seconds=0,
        poke_interval=1,
    )
    reads, totals = [], []
    for name, factor in SHOPS.items():
        read = PythonOperator(
            task_id=f"read_{name}", python_callable=Shop(name, factor=factor).read
        )
        total = PythonOperator(
            task_id=f"total_{name}",
            python_callable=lambda ti, name=name: sum(
                float(line["amount"]) for line in ti.xcom_pull(task_ids=f"read_{name}", key="lines")
            ),
        )
        [files, request] >> read >> total
        reads.append(read)
        totals.append(total)

    @task
    def names(ti=None) -> list[str]:
        wanted = ti.xcom_pull(task_ids="request", key="messages")[0]["Body"]
        return [name for name in SHOPS if name in wanted]

    @task
    def amounts(values: list[float]) -> list[float]:
        return values

    @task
    def second(ti=None) -> str:
        return ti.xcom_pull(task_ids="write", map_indexes=1)

    found, listed = names(), amounts([one.output for one in totals])
    request >> found
    arguments = found.zip(listed).map(
        lambda pair: {"op_kwargs": dict(zip(("name", "amount"), pair, strict=True))}
    )
    written = PythonOperator.partial(task_id="write", python_callable=write).expand_kwargs(
        arguments
    )
    written >> second()
    checked = PythonOperator(
        task_id="check",
        python_callable=check,
        op_args=[listed],
        on_failure_callback=note_failure,
        retries=0,
    )
    again = BashOperator(
        task_id="again",
        bash_command="test {{ ti.try_number }} -gt 1 && echo try {{ ti.try_number }}",
    )
    [checked, again] >> EmptyOperator(task_id="end", trigger_rule="all_done")
