"""Operators of the Amazon provider whose calls depend on more than which arguments are given."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from sagebridge.formats.airflow.provider.aws_table import Given, Row
from sagebridge.formats.airflow.provider.provider_task import UnreadableTask
from sagebridge.formats.airflow.task_values import is_template

_RUN_TIME = "only known at run time"
_S3_URI = re.compile(r"s3[an]?://(?P<bucket>(?:\{\{.*?\}\}|[^/{}])+)(?:/(?P<key>.*))?", re.DOTALL)
"""The bucket may have templates."""
_NO_ACL = "no-acl"
"""Of S3CopyObjectOperator: ``NO_ACL`` in the provider's ``hooks/s3.py``."""


def given(operator: Any) -> dict[str, Any]:
    """The arguments that an operator was created with."""
    # Private in Airflow: airflow/sdk/bases/operator.py, BaseOperatorMeta.
    return dict(getattr(operator, "_BaseOperator__init_kwargs", {}))


def text_of(data: bytes) -> str:
    """Bytes as text. Raises UnreadableTask."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise UnreadableTask("its data is not text") from None


def _glue_job(operator: Any, row: Row) -> Row:
    """The job is created or updated first, as ``initialize_job`` in ``hooks/glue.py``."""
    location = operator.script_location
    if isinstance(location, str) and location and not location.startswith("s3://"):
        raise UnreadableTask("its script_location is a local file, which only Airflow uploads")
    kwargs = operator.create_job_kwargs or {}
    if not isinstance(kwargs, Mapping):
        raise UnreadableTask("its create_job_kwargs are only known at run time")
    role: Any = ":iam_role_arn"
    before: list[dict[str, Any]] = []
    if not operator.iam_role_arn:
        if not operator.iam_role_name:
            return row  # the job exists
        request = {"RoleName": ":iam_role_name"}
        before.append({"service": "iam", "operation": "GetRole", "request": request})
        role = "$.before[0].Role.Arn"
    logs = f"s3://{operator.s3_bucket}/logs/glue-logs/{operator.job_name}"
    config: dict[str, Any] = {
        "Name": ":job_name",
        "Description": ":job_desc",
        "Role": role,
        "ExecutionProperty": {"MaxConcurrentRuns": ":concurrent_run_limit"},
        "Command": {"Name": "glueetl", "ScriptLocation": ":script_location"},
        "MaxRetries": ":retry_limit",
        "MaxCapacity": ":num_of_dpus",
        "LogUri": Given(logs if operator.s3_bucket else None),
        "**": ":create_job_kwargs",
    }
    if {"NumberOfWorkers", "WorkerType", "MaxCapacity"} & kwargs.keys():
        del config["MaxCapacity"]
    elif not operator.num_of_dpus:
        config["MaxCapacity"] = 10  # the default of GlueJobHook
    exists = ["AlreadyExistsException", "IdempotentParameterMismatchException"]
    before.append({"operation": "CreateJob", "request": config, "ignore": exists})
    if operator.update_config:
        update = {name: value for name, value in config.items() if name != "Name"}
        changed = {"JobName": ":job_name", "JobUpdate": {**update, "Tags": None}}
        before.append({"operation": "UpdateJob", "request": changed})
    return replace(row, before=tuple(before))


def _redshift_data(operator: Any, row: Row) -> Row:
    if operator.return_sql_result:
        raise UnreadableTask("its return_sql_result needs one call for each statement")
    if not isinstance(operator.sql, list):
        return row
    request = {name: value for name, value in row.request.items() if name != "Sql"}
    return replace(
        row, call="redshift-data:BatchExecuteStatement", request={**request, "Sqls": ":sql"}
    )


def _emr_cluster(operator: Any, row: Row) -> Row:
    """``wait_policy`` decides the state to wait for: ``hooks/emr.py`` and ``waiters/emr.json``."""
    assert row.wait is not None
    policy = str(getattr(operator.wait_policy, "value", operator.wait_policy) or "")
    steps = policy == "wait_for_steps_completion"
    success = ["TERMINATED"] if steps else ["WAITING", "RUNNING", "TERMINATED"]
    return replace(row, wait={**row.wait, "success": success})


def _place(bucket: Any, key: Any, what: str) -> tuple[Any, Any]:
    """Bucket and key, as ``get_s3_bucket_key`` in ``hooks/s3.py``."""
    if bucket is not None:
        return bucket, key
    uri = _S3_URI.fullmatch(key) if isinstance(key, str) else None
    if uri is None:
        unknown = not isinstance(key, str) or is_template(key)
        raise UnreadableTask(f"its {what} is {_RUN_TIME if unknown else 'not an S3 URI'}")
    return uri["bucket"], uri["key"] or ""


def _copy(operator: Any, row: Row) -> Row:
    """CopyObject, as ``copy_object`` in ``hooks/s3.py``."""
    bucket, key = _place(operator.dest_bucket_name, operator.dest_bucket_key, "dest_bucket_key")
    source = _place(operator.source_bucket_name, operator.source_bucket_key, "source_bucket_key")
    acl = operator.acl_policy or "private"
    request = {
        "Bucket": Given(bucket),
        "Key": Given(key),
        "CopySource": {
            "Bucket": Given(source[0]),
            "Key": Given(source[1]),
            "VersionId": ":source_version_id",
        },
        "ACL": Given(None if acl == _NO_ACL else acl),
        "MetadataDirective": ":meta_data_directive",
        "SSEKMSKeyId": ":kms_key_id",
        "ServerSideEncryption": ":kms_encryption_type",
    }
    return replace(row, request=request)


def _create_object(operator: Any, row: Row) -> Row:
    """PutObject, as ``load_string`` and ``load_bytes`` in ``hooks/s3.py``."""
    if operator.compression:
        raise UnreadableTask("its compression is done by Airflow")
    if operator.encoding not in (None, "utf-8", "utf8"):
        raise UnreadableTask("its encoding is not UTF-8")
    bucket, key = _place(operator.s3_bucket, operator.s3_key, "s3_key")
    request = {
        "Bucket": Given(bucket),
        "Key": Given(key),
        "Body": ":data",
        "IfNoneMatch": Given(None if operator.replace else "*"),  # else it must not exist
        "ServerSideEncryption": Given("AES256" if operator.encrypt else None),
        "ACL": ":acl_policy",
    }
    return replace(row, request=request)


def _delete_objects(operator: Any, row: Row) -> Row:
    """DeleteObjects for keys, or for the keys with a prefix."""
    if operator.from_datetime is not None or operator.to_datetime is not None:
        raise UnreadableTask("its from_datetime and to_datetime select by time of change")
    if operator.prefix is not None:
        listed = {"operation": "ListObjectsV2", "request": row.before[0]["request"]}
        objects: Any = "$.before[0].Contents[].{Key: Key} || `[]`"
        request = {"Bucket": ":bucket", "Delete": {"Objects": objects}}
        return replace(row, before=(listed,), request=request)
    keys = [operator.keys] if isinstance(operator.keys, str) else operator.keys
    if not isinstance(keys, list | tuple):
        raise UnreadableTask("its keys are only known at run time")
    objects = [{"Key": Given(one)} for one in keys]
    return replace(row, before=(), request={"Bucket": ":bucket", "Delete": {"Objects": objects}})


def _read_object(operator: Any, row: Row) -> Row:
    bucket, key = _place(operator.s3_bucket, operator.s3_key, "s3_key")
    return replace(row, request={"Bucket": Given(bucket), "Key": Given(key)})


def _list(operator: Any, row: Row) -> Row:
    if operator.apply_wildcard:
        raise UnreadableTask("its apply_wildcard filters the keys in Airflow")
    return row


def _key_sensor(operator: Any, row: Row) -> Row:
    """HeadObject of each key; wildcards, regular expressions and functions need several."""
    if operator.wildcard_match or operator.use_regex or operator.check_fn is not None:
        raise UnreadableTask("its wildcard_match, use_regex or check_fn looks at listed keys")
    keys = [operator.bucket_key] if isinstance(operator.bucket_key, str) else operator.bucket_key
    if not isinstance(keys, list | tuple) or len(keys) != 1:
        raise UnreadableTask("its bucket_key is not one key")
    assert row.wait is not None
    bucket, key = _place(operator.bucket_name, keys[0], "bucket_key")
    return replace(row, wait={**row.wait, "request": {"Bucket": Given(bucket), "Key": Given(key)}})


def _put_tags(operator: Any, row: Row) -> Row:
    tags = operator.tag_set
    found = [{"Key": key, "Value": tags[key]} for key in tags] if isinstance(tags, dict) else tags
    found = [*(found or ())]
    if operator.key and operator.value:
        found.append({"Key": operator.key, "Value": operator.value})
    return replace(row, request={"Bucket": ":bucket_name", "Tagging": {"TagSet": Given(found)}})


def _delete_bucket(operator: Any, row: Row) -> Row:
    if operator.force_delete:
        raise UnreadableTask("its force_delete empties the bucket first")
    return row


def _crawl(operator: Any, row: Row) -> Row:
    if row.before and not {"Role", "Targets"} <= operator.config.keys():
        row = replace(row, before=row.before[1:])  # CreateCrawler needs both, so it exists
    if operator.fail_on_already_running:
        return row
    running = ["CrawlerRunningException"]
    before = tuple({**one, "ignore": [*one.get("ignore", ()), *running]} for one in row.before)
    return replace(row, before=before, ignore=tuple(running))


def _database(operator: Any, row: Row) -> Row:
    """The calls for a cluster have the same members with other names."""
    kind = str(getattr(operator.db_type, "value", operator.db_type))
    if is_template(kind):
        raise UnreadableTask("its db_type is only known at run time")
    if kind != "cluster":
        return row
    names = ("DBInstanceStatus", "Status"), ("DBInstance", "DBCluster")
    text = json.dumps(asdict(row))
    for old, new in (*names, ("DBSnapshot", "DBClusterSnapshot")):
        text = text.replace(old, new)
    return Row(**json.loads(text))


def _create_database(operator: Any, row: Row) -> Row:
    return replace(row, ignore=()) if operator.if_exists == "fail" else row


def _rule_set(operator: Any, row: Row) -> Row:
    return replace(row, call="glue:UpdateDataQualityRuleset") if operator.update_rule_set else row


def _run_command(operator: Any, row: Row) -> Row:
    """Without that option, a failed command is a success (is_aws_level_failure in hooks/ssm.py)."""
    assert row.wait is not None
    if operator.fail_on_nonzero_exit:
        return row
    failure = [one for one in row.wait["failure"] if one != "Failed"]
    return replace(row, wait={**row.wait, "success": ["Success", "Failed"], "failure": failure})


def _stop_application(operator: Any, row: Row) -> Row:
    if operator.force_stop:
        raise UnreadableTask("its force_stop cancels the jobs of the application first")
    return row


def _state_machine(operator: Any, row: Row) -> Row:
    if operator.is_redrive_execution:
        raise UnreadableTask("its is_redrive_execution restarts an execution")
    return row


_OF_DATABASES = (
    *("RdsStartDbOperator", "RdsStopDbOperator", "RdsCreateDbSnapshotOperator"),
    *("RdsCopyDbSnapshotOperator", "RdsDeleteDbSnapshotOperator"),
    *("RdsDbSensor", "RdsSnapshotExistenceSensor"),
)
_CRAWLS = ("GlueCrawlerOperator", "GlueCrawlerRunOperator")
_LEFT_RUNNING = frozenset(
    (
        *_CRAWLS,
        *("EmrServerlessCreateApplicationOperator", "EmrStartNotebookExecutionOperator"),
        *("GlueDataBrewStartJobOperator", "GlueDataQualityRuleRecommendationRunOperator"),
        *("GlueJobOperator", "RdsStartExportTaskOperator", "SageMakerStartPipelineOperator"),
        *("SsmRunCommandOperator", "StepFunctionStartExecutionOperator"),
    )
)
"""Operators that do not stop by default what they started, if their task is killed."""
_ON_KILL = {"GlueJobOperator": "stop_job_run_on_kill", "RedshiftDataOperator": "cancel_on_kill"}


def stops(operator: Any, name: str) -> bool | None:
    """Whether a killed task stops its job; None if Airflow lets it run by default."""
    option = _ON_KILL.get(name, "")
    if (chosen := given(operator).get(option)) is not None:
        return bool(chosen)
    return None if name in _LEFT_RUNNING else True


CHANGES: Mapping[str, Callable[[Any, Row], Row]] = {
    **dict.fromkeys(_CRAWLS, _crawl),
    **dict.fromkeys(_OF_DATABASES, _database),
    **dict.fromkeys(("SsmRunCommandOperator", "SsmRunCommandCompletedSensor"), _run_command),
    "EmrServerlessDeleteApplicationOperator": _stop_application,
    "EmrServerlessStopApplicationOperator": _stop_application,
    "GlueCatalogCreateDatabaseOperator": _create_database,
    "GlueDataQualityOperator": _rule_set,
    "S3DeleteBucketOperator": _delete_bucket,
    "S3PutBucketTaggingOperator": _put_tags,
    "S3CopyObjectOperator": _copy,
    "S3CreateObjectOperator": _create_object,
    "S3DeleteObjectsOperator": _delete_objects,
    "S3KeySensor": _key_sensor,
    "S3ListOperator": _list,
    "S3ReadObjectOperator": _read_object,
    "EmrCreateJobFlowOperator": _emr_cluster,
    "GlueJobOperator": _glue_job,
    "RedshiftDataOperator": _redshift_data,
    "StepFunctionStartExecutionOperator": _state_machine,
}
_SOURCE = ("source_bucket_key", "source_bucket_name", "source_version_id")
READS: Mapping[str, tuple[str, ...]] = {
    "S3CopyObjectOperator": (
        *("dest_bucket_key", "dest_bucket_name", *_SOURCE, "acl_policy"),
        *("meta_data_directive", "kms_key_id", "kms_encryption_type"),
    ),
    "S3CreateObjectOperator": (
        *("s3_bucket", "s3_key", "data", "replace", "encrypt", "acl_policy", "encoding"),
        "compression",
    ),
    **dict.fromkeys(_CRAWLS, ("fail_on_already_running",)),
    "S3DeleteObjectsOperator": ("bucket", "keys", "prefix", "from_datetime", "to_datetime"),
    "S3KeySensor": (
        *("bucket_key", "bucket_name", "wildcard_match", "use_regex", "metadata_keys"),
        "check_fn",
    ),
    "S3ListOperator": ("apply_wildcard",),
    "S3DeleteBucketOperator": ("force_delete",),
    "S3PutBucketTaggingOperator": ("bucket_name", "tag_set", "key", "value"),
    "S3ReadObjectOperator": ("s3_bucket", "s3_key"),
    "EmrCreateJobFlowOperator": ("wait_policy",),
    "GlueJobOperator": (
        *("script_location", "create_job_kwargs", "iam_role_arn", "iam_role_name", "s3_bucket"),
        *("job_desc", "concurrent_run_limit", "retry_limit", "num_of_dpus", "update_config"),
        "replace_script_file",
    ),
    "RedshiftDataOperator": ("return_sql_result",),
    "StepFunctionStartExecutionOperator": ("is_redrive_execution",),
}
