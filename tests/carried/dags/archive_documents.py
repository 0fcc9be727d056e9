"""Move the day's documents to the archive with operators of the Amazon provider."""

from datetime import datetime

from airflow.providers.amazon.aws.operators.s3 import (
    S3CopyObjectOperator,
    S3CreateBucketOperator,
    S3CreateObjectOperator,
    S3DeleteObjectsOperator,
    S3ListOperator,
)
from airflow.providers.amazon.aws.operators.sns import SnsPublishOperator
from airflow.providers.amazon.aws.operators.sqs import SqsPublishOperator
from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor
from airflow.sdk import DAG, task

INBOX, ARCHIVE = "documents", "documents-archive"
DAY = "{{ ds }}"
QUEUE = "{{ var.value.indexer_queue }}"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:archive"

with DAG("archive_documents", schedule="@daily", start_date=datetime(2025, 1, 1), catchup=False):
    bucket = S3CreateBucketOperator(task_id="bucket", bucket_name=ARCHIVE, region_name="eu-west-1")
    arrived = S3KeySensor(
        task_id="arrived", bucket_key=f"s3://{INBOX}/{DAY}/index.json", poke_interval=1, timeout=20
    )
    listed = S3ListOperator(task_id="listed", bucket=INBOX, prefix=f"{DAY}/")
    copy = S3CopyObjectOperator(
        task_id="copy",
        source_bucket_key=f"s3://{INBOX}/{DAY}/index.json",
        dest_bucket_key=f"s3://{ARCHIVE}/{DAY}.json",
    )
    note = S3CreateObjectOperator(
        task_id="note",
        s3_bucket=ARCHIVE,
        s3_key=f"{DAY}.txt",
        data="{{ ti.xcom_pull(task_ids='listed') | length }} documents",
    )
    clean = S3DeleteObjectsOperator(task_id="clean", bucket=INBOX, keys=[f"{DAY}/index.json"])

    @task
    def message(found: list[str], ds: str) -> str:
        return f"{ds}: {', '.join(sorted(found))}"

    text = message(listed.output)
    queue = SqsPublishOperator(
        task_id="queue",
        sqs_queue=QUEUE,
        message_content=text,
        message_attributes={"day": {"DataType": "String", "StringValue": DAY}},
    )
    publish = SnsPublishOperator(
        task_id="publish",
        target_arn=TOPIC,
        subject=f"archive {DAY}",
        message="archived {{ ti.xcom_pull(task_ids='listed') | join(' and ') }}",
        trigger_rule="all_done",
    )

    [bucket, arrived] >> listed >> copy >> note >> clean >> publish
    text >> queue >> publish
