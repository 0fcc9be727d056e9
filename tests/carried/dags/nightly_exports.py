"""Export tables at night: a shell command, retries, callbacks, and cleanup whatever happens."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

import boto3
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, Param, chain, get_current_context, task

log = logging.getLogger(__name__)

BUCKET = "exports"
TABLES = ("orders", "returns")


def put(key: str, text: str) -> str:
    boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=text.encode())
    return key


def note_failure(context) -> None:
    """Leave a mark for the operators on duty."""
    ti = context["ti"]
    put(f"failures/{ti.task_id}.txt", f"{ti.dag_id}.{ti.task_id} on {context['ds']}")


def note_success(context) -> None:
    put("callbacks/done.txt", context["ti"].task_id)


def export(table: str, day: str, limit: int, **context) -> dict[str, object]:
    """Write a table; the second table needs two tries."""
    tries = context["ti"].try_number
    if table == "returns" and tries < 2:
        raise TimeoutError(f"{table} is locked")
    rows = [f"{table}-{number}" for number in range(int(limit))]
    context["ti"].xcom_push(key="rows", value=len(rows))
    return {"key": put(f"{day}/{table}.csv", "\n".join(rows)), "tries": tries}


with DAG(
    dag_id="nightly_exports",
    schedule="15 1 * * *",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args={
        "retries": 1,
        "retry_delay": timedelta(seconds=0),
        "on_failure_callback": note_failure,
    },
    params={"limit": Param(3, type="integer", minimum=1), "broken": False},
    doc_md=__doc__,
) as dag:
    begin = EmptyOperator(task_id="begin")
    exports = [
        PythonOperator(
            task_id=f"export_{table}",
            python_callable=export,
            op_args=[table],
            op_kwargs={"day": "{{ ds }}", "limit": "{{ params.limit }}"},
        )
        for table in TABLES
    ]
    report = BashOperator(
        task_id="report",
        bash_command="echo $GREETING {{ ds_nodash }}-{{ macros.ds_add(ds, 1) }}",
        env={"GREETING": "exported {{ ti.xcom_pull(task_ids='export_orders', key='rows') }}"},
        append_env=True,
        on_success_callback=note_success,
    )

    @task(retries=0)
    def check(line: str) -> str:
        context = get_current_context()
        if context["params"]["broken"]:
            raise ValueError(f"not right: {line}")
        return line.upper()

    @task(trigger_rule="all_done")
    def cleanup(ds: str) -> list[str]:
        """Remove temporary objects, also after a failure."""
        bucket = boto3.resource("s3").Bucket(BUCKET)
        names = [one.key for one in bucket.objects.filter(Prefix="tmp/")]
        bucket.objects.filter(Prefix="tmp/").delete()
        return sorted(names)

    @task(trigger_rule="one_failed", retries=0)
    def alarm() -> str:
        return put("alarm.txt", "an export failed")

    checked = check(report.output)
    chain(begin, exports, report)
    checked >> alarm()
    checked >> cleanup()
