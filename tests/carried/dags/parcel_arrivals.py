"""Wait for the carriers' files of the day and count parcels; carriers that are late are skipped."""

from datetime import datetime, timedelta

import boto3
from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor
from airflow.providers.standard.operators.python import PythonOperator, ShortCircuitOperator
from airflow.providers.standard.sensors.date_time import DateTimeSensor
from airflow.providers.standard.sensors.python import PythonSensor
from airflow.sdk import DAG, PokeReturnValue, task

BUCKET = "parcels"


def keys(prefix: str) -> list[str]:
    answer = boto3.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return [item["Key"] for item in answer.get("Contents", [])]


def has_files(prefix: str, least: int = 1) -> bool:
    return len(keys(prefix)) >= least


def count_lines(prefix: str, carrier: str) -> int:
    """Parcels in all files of a carrier."""
    s3 = boto3.client("s3")
    bodies = (s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys(prefix))
    total = sum(len(body.splitlines()) for body in bodies)
    print(f"{carrier}: {total} parcels")
    return total


with DAG(
    dag_id="parcel_arrivals",
    schedule=None,
    start_date=datetime(2025, 1, 1),
    default_args={"execution_timeout": timedelta(minutes=5)},
):
    not_before = DateTimeSensor(task_id="not_before", target_time="{{ logical_date }}")
    manifest = S3KeySensor(
        task_id="manifest",
        bucket_name=BUCKET,
        bucket_key="{{ ds }}/manifest.txt",
        poke_interval=1,
        timeout=20,
    )
    fast = PythonSensor(
        task_id="fast_arrived",
        python_callable=has_files,
        op_kwargs={"prefix": "{{ ds }}/fast/", "least": 2},
        poke_interval=1,
        timeout=20,
    )
    late = PythonSensor(
        task_id="late_arrived",
        python_callable=has_files,
        op_args=["{{ ds }}/late/"],
        poke_interval=0.2,
        timeout=0.5,
        soft_fail=True,
    )
    count_fast = PythonOperator(
        task_id="count_fast",
        python_callable=count_lines,
        op_args=["{{ ds }}/fast/"],
        op_kwargs={"carrier": "fast"},
    )
    count_late = PythonOperator(
        task_id="count_late",
        python_callable=count_lines,
        op_args=["{{ ds }}/late/", "late"],
    )

    @task.sensor(poke_interval=1, timeout=20)
    def first_key(ds: str | None = None) -> PokeReturnValue:
        """The first file of the day."""
        found = keys(f"{ds}/")
        return PokeReturnValue(is_done=bool(found), xcom_value=found[0] if found else None)

    enough = ShortCircuitOperator(
        task_id="enough",
        python_callable=lambda total: int(total) > 100,
        op_args=["{{ ti.xcom_pull(task_ids='count_fast') }}"],
    )

    @task
    def big_day(key: str) -> str:
        return f"a big day since {key}"

    @task(trigger_rule="all_done")
    def close(ds: str, ti) -> int:
        """Sum what has arrived, late carriers or not."""
        totals = ti.xcom_pull(task_ids=["count_fast", "count_late"])
        total = sum(one for one in totals if one)
        body = f"{ds} {total}"
        boto3.client("s3").put_object(Bucket=BUCKET, Key=f"{ds}/total.txt", Body=body.encode())
        return total

    not_before >> manifest >> [fast, late]
    first = first_key()
    manifest >> first
    fast >> count_fast >> enough >> big_day(first)
    late >> count_late
    [count_fast, count_late] >> close()
