"""Names of Airflow 1.10 and 2 that Airflow 3 has elsewhere: modules, classes and arguments.

ruff has rules for the same names: AIR301 (removed), AIR302 (moved to a provider).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

_Any = TypeVar("_Any", bound=Callable[..., Any])
_OWN = __name__
_AWS = "airflow.providers.amazon.aws"
_HTTP = "airflow.providers.http"
_SQL = "airflow.providers.common.sql"
_STANDARD = "airflow.providers.standard"
_KUBERNETES = "airflow.providers.cncf.kubernetes.operators.pod"

MODULES: Mapping[str, str] = {
    "airflow.contrib.hooks.aws_athena_hook": f"{_AWS}.hooks.athena",
    "airflow.contrib.hooks.aws_dynamodb_hook": f"{_AWS}.hooks.dynamodb",
    "airflow.contrib.hooks.aws_firehose_hook": f"{_AWS}.hooks.firehose",
    "airflow.contrib.hooks.aws_glue_catalog_hook": f"{_AWS}.hooks.glue_catalog",
    "airflow.contrib.hooks.aws_hook": f"{_AWS}.hooks.base_aws",
    "airflow.contrib.hooks.aws_lambda_hook": f"{_AWS}.hooks.lambda_function",
    "airflow.contrib.hooks.aws_logs_hook": f"{_AWS}.hooks.logs",
    "airflow.contrib.hooks.aws_sns_hook": f"{_AWS}.hooks.sns",
    "airflow.contrib.hooks.aws_sqs_hook": f"{_AWS}.hooks.sqs",
    "airflow.contrib.hooks.emr_hook": f"{_AWS}.hooks.emr",
    "airflow.contrib.hooks.fs_hook": f"{_STANDARD}.hooks.filesystem",
    "airflow.contrib.hooks.redshift_hook": f"{_AWS}.hooks.redshift_cluster",
    "airflow.contrib.hooks.sagemaker_hook": f"{_AWS}.hooks.sagemaker",
    "airflow.contrib.operators.aws_athena_operator": f"{_AWS}.operators.athena",
    "airflow.contrib.operators.aws_sqs_publish_operator": f"{_AWS}.operators.sqs",
    "airflow.contrib.operators.awsbatch_operator": f"{_AWS}.operators.batch",
    "airflow.contrib.operators.dynamodb_to_s3": f"{_AWS}.transfers.dynamodb_to_s3",
    "airflow.contrib.operators.ecs_operator": f"{_AWS}.operators.ecs",
    "airflow.contrib.operators.emr_add_steps_operator": f"{_AWS}.operators.emr",
    "airflow.contrib.operators.emr_create_job_flow_operator": f"{_AWS}.operators.emr",
    "airflow.contrib.operators.emr_terminate_job_flow_operator": f"{_AWS}.operators.emr",
    "airflow.contrib.operators.s3_copy_object_operator": f"{_AWS}.operators.s3",
    "airflow.contrib.operators.s3_delete_objects_operator": f"{_AWS}.operators.s3",
    "airflow.contrib.operators.s3_list_operator": f"{_AWS}.operators.s3",
    "airflow.contrib.operators.sagemaker_base_operator": f"{_AWS}.operators.sagemaker",
    "airflow.contrib.operators.sagemaker_endpoint_config_operator": f"{_AWS}.operators.sagemaker",
    "airflow.contrib.operators.sagemaker_endpoint_operator": f"{_AWS}.operators.sagemaker",
    "airflow.contrib.operators.sagemaker_model_operator": f"{_AWS}.operators.sagemaker",
    "airflow.contrib.operators.sagemaker_processing_operator": f"{_AWS}.operators.sagemaker",
    "airflow.contrib.operators.sagemaker_training_operator": f"{_AWS}.operators.sagemaker",
    "airflow.contrib.operators.sagemaker_transform_operator": f"{_AWS}.operators.sagemaker",
    "airflow.contrib.operators.sagemaker_tuning_operator": f"{_AWS}.operators.sagemaker",
    "airflow.contrib.operators.sns_publish_operator": f"{_AWS}.operators.sns",
    "airflow.contrib.sensors.aws_athena_sensor": f"{_AWS}.sensors.athena",
    "airflow.contrib.sensors.aws_glue_catalog_partition_sensor": (
        f"{_AWS}.sensors.glue_catalog_partition"
    ),
    "airflow.contrib.sensors.aws_redshift_cluster_sensor": f"{_AWS}.sensors.redshift_cluster",
    "airflow.contrib.sensors.aws_sqs_sensor": f"{_AWS}.sensors.sqs",
    "airflow.contrib.sensors.bash_sensor": f"{_STANDARD}.sensors.bash",
    "airflow.contrib.sensors.emr_base_sensor": f"{_AWS}.sensors.emr",
    "airflow.contrib.sensors.emr_job_flow_sensor": f"{_AWS}.sensors.emr",
    "airflow.contrib.sensors.emr_step_sensor": f"{_AWS}.sensors.emr",
    "airflow.contrib.sensors.file_sensor": f"{_STANDARD}.sensors.filesystem",
    "airflow.contrib.sensors.python_sensor": f"{_STANDARD}.sensors.python",
    "airflow.contrib.sensors.sagemaker_base_sensor": f"{_AWS}.sensors.sagemaker",
    "airflow.contrib.sensors.sagemaker_endpoint_sensor": f"{_AWS}.sensors.sagemaker",
    "airflow.contrib.sensors.sagemaker_training_sensor": f"{_AWS}.sensors.sagemaker",
    "airflow.contrib.sensors.sagemaker_transform_sensor": f"{_AWS}.sensors.sagemaker",
    "airflow.contrib.sensors.sagemaker_tuning_sensor": f"{_AWS}.sensors.sagemaker",
    "airflow.contrib.sensors.weekday_sensor": f"{_STANDARD}.sensors.weekday",
    "airflow.hooks.S3_hook": f"{_AWS}.hooks.s3",
    "airflow.hooks.base_hook": "airflow.sdk.bases.hook",
    "airflow.hooks.dbapi": f"{_SQL}.hooks.sql",
    "airflow.hooks.dbapi_hook": f"{_SQL}.hooks.sql",
    "airflow.hooks.http_hook": f"{_HTTP}.hooks.http",
    "airflow.operators.bash_operator": f"{_STANDARD}.operators.bash",
    "airflow.operators.branch_operator": f"{_STANDARD}.operators.branch",
    "airflow.operators.check_operator": f"{_SQL}.operators.sql",
    "airflow.operators.dagrun_operator": f"{_STANDARD}.operators.trigger_dagrun",
    "airflow.operators.dummy": f"{_STANDARD}.operators.empty",
    "airflow.operators.dummy_operator": f"{_STANDARD}.operators.empty",
    "airflow.operators.email_operator": "airflow.providers.smtp.operators.smtp",
    "airflow.operators.http_operator": f"{_HTTP}.operators.http",
    "airflow.operators.latest_only_operator": f"{_STANDARD}.operators.latest_only",
    "airflow.operators.python_operator": f"{_STANDARD}.operators.python",
    "airflow.operators.redshift_to_s3_operator": f"{_AWS}.transfers.redshift_to_s3",
    "airflow.operators.s3_file_transform_operator": f"{_AWS}.operators.s3",
    "airflow.operators.s3_to_redshift_operator": f"{_AWS}.transfers.s3_to_redshift",
    "airflow.operators.sql": f"{_SQL}.operators.sql",
    "airflow.operators.sql_branch_operator": f"{_SQL}.operators.sql",
    "airflow.sensors.base_sensor_operator": "airflow.sdk.bases.sensor",
    "airflow.sensors.bash_sensor": f"{_STANDARD}.sensors.bash",
    "airflow.sensors.date_time_sensor": f"{_STANDARD}.sensors.date_time",
    "airflow.sensors.external_task_sensor": f"{_STANDARD}.sensors.external_task",
    "airflow.sensors.http_sensor": f"{_HTTP}.sensors.http",
    "airflow.sensors.python_sensor": f"{_STANDARD}.sensors.python",
    "airflow.sensors.s3_key_sensor": f"{_AWS}.sensors.s3",
    "airflow.sensors.sql": f"{_SQL}.sensors.sql",
    "airflow.sensors.sql_sensor": f"{_SQL}.sensors.sql",
    "airflow.sensors.time_delta_sensor": f"{_STANDARD}.sensors.time_delta",
    "airflow.sensors.weekday_sensor": f"{_STANDARD}.sensors.weekday",
    "airflow.utils.weekday": f"{_STANDARD}.utils.weekday",
    # Providers that only their users have: what is missing is the package.
    "airflow.contrib.hooks.sftp_hook": "airflow.providers.sftp.hooks.sftp",
    "airflow.contrib.hooks.slack_webhook_hook": "airflow.providers.slack.hooks.slack_webhook",
    "airflow.contrib.hooks.snowflake_hook": "airflow.providers.snowflake.hooks.snowflake",
    "airflow.contrib.hooks.ssh_hook": "airflow.providers.ssh.hooks.ssh",
    "airflow.contrib.operators.bigquery_operator": (
        "airflow.providers.google.cloud.operators.bigquery"
    ),
    "airflow.contrib.operators.databricks_operator": (
        "airflow.providers.databricks.operators.databricks"
    ),
    "airflow.contrib.operators.kubernetes_pod_operator": _KUBERNETES,
    "airflow.contrib.operators.sftp_operator": "airflow.providers.sftp.operators.sftp",
    "airflow.contrib.operators.slack_webhook_operator": (
        "airflow.providers.slack.operators.slack_webhook"
    ),
    "airflow.contrib.operators.spark_submit_operator": (
        "airflow.providers.apache.spark.operators.spark_submit"
    ),
    "airflow.contrib.operators.ssh_operator": "airflow.providers.ssh.operators.ssh",
    "airflow.hooks.hive_hooks": "airflow.providers.apache.hive.hooks.hive",
    "airflow.hooks.mysql_hook": "airflow.providers.mysql.hooks.mysql",
    "airflow.hooks.postgres_hook": "airflow.providers.postgres.hooks.postgres",
    "airflow.hooks.slack_hook": "airflow.providers.slack.hooks.slack",
    "airflow.hooks.sqlite_hook": "airflow.providers.sqlite.hooks.sqlite",
    "airflow.operators.docker_operator": "airflow.providers.docker.operators.docker",
    "airflow.operators.hive_operator": "airflow.providers.apache.hive.operators.hive",
    "airflow.operators.papermill_operator": "airflow.providers.papermill.operators.papermill",
    "airflow.operators.slack_operator": "airflow.providers.slack.operators.slack",
    "airflow.providers.cncf.kubernetes.operators.kubernetes_pod": _KUBERNETES,
    f"{_AWS}.operators.aws_lambda": f"{_AWS}.operators.lambda_function",
    f"{_AWS}.operators.step_function_start_execution": f"{_AWS}.operators.step_function",
    **{
        f"airflow.operators.{name}_operator": f"{_SQL}.operators.sql"
        for name in ("jdbc", "mssql", "mysql", "postgres", "sqlite")
    },
    **{
        f"{_AWS}.operators.{old}": f"{_AWS}.operators.{new}"
        for new, all_old in {
            "emr": "emr_add_steps emr_containers emr_create_job_flow emr_terminate_job_flow",
            "s3": "s3_bucket s3_copy_object s3_delete_objects s3_file_transform s3_list",
            "sagemaker": (
                "sagemaker_base sagemaker_endpoint sagemaker_endpoint_config sagemaker_model "
                "sagemaker_processing sagemaker_training sagemaker_transform sagemaker_tuning"
            ),
        }.items()
        for old in all_old.split()
    },
    **{
        f"{_AWS}.sensors.{old}": f"{_AWS}.sensors.{new}"
        for new, all_old in {
            "emr": "emr_base emr_containers emr_job_flow emr_step",
            "s3": "s3_key",
            "sagemaker": (
                "sagemaker_base sagemaker_endpoint sagemaker_training sagemaker_transform "
                "sagemaker_tuning"
            ),
        }.items()
        for old in all_old.split()
    },
}
"""Modules whose names are all in one module of Airflow 3, apart from those of RENAMED."""

RENAMED: Mapping[str, str] = {
    "AWSAthenaHook": "AthenaHook",
    "AWSAthenaOperator": "AthenaOperator",
    "AWSBatchOperator": "BatchOperator",
    "AwsBatchOperator": "BatchOperator",
    "AwsDynamoDBHook": "DynamoDBHook",
    "AwsFirehoseHook": "FirehoseHook",
    "AwsGlueCatalogHook": "GlueCatalogHook",
    "AwsGlueCatalogPartitionSensor": "GlueCatalogPartitionSensor",
    "AwsGlueCrawlerOperator": "GlueCrawlerOperator",
    "AwsGlueJobOperator": "GlueJobOperator",
    "AwsHook": "AwsBaseHook",
    "AwsLambdaHook": "LambdaHook",
    "AwsLambdaInvokeFunctionOperator": "LambdaInvokeFunctionOperator",
    "AwsRedshiftClusterSensor": "RedshiftClusterSensor",
    "AwsSnsHook": "SnsHook",
    "AwsSqsHook": "SqsHook",
    "BranchSqlOperator": "BranchSQLOperator",
    "CheckOperator": "SQLCheckOperator",
    "DummyOperator": "EmptyOperator",
    "ECSOperator": "EcsRunTaskOperator",
    "EcsOperator": "EcsRunTaskOperator",
    "IntervalCheckOperator": "SQLIntervalCheckOperator",
    "RedshiftToS3Transfer": "RedshiftToS3Operator",
    "S3ToRedshiftTransfer": "S3ToRedshiftOperator",
    "SimpleHttpOperator": "HttpOperator",
    "ThresholdCheckOperator": "SQLThresholdCheckOperator",
    "ValueCheckOperator": "SQLValueCheckOperator",
    **dict.fromkeys(
        ("JdbcOperator", "MsSqlOperator", "MySqlOperator", "PostgresOperator", "SqliteOperator"),
        "SQLExecuteQueryOperator",
    ),
    "SQSHook": "SqsHook",
    "SQSPublishOperator": "SqsPublishOperator",
    "SQSSensor": "SqsSensor",
}
"""Classes that have another name, in the modules of MODULES and of providers."""

NAMES: Mapping[str, str] = {
    "airflow.datasets.Dataset": "airflow.sdk.Asset",
    "airflow.datasets.DatasetAlias": "airflow.sdk.AssetAlias",
    "airflow.datasets.DatasetAll": "airflow.sdk.AssetAll",
    "airflow.datasets.DatasetAny": "airflow.sdk.AssetAny",
    "airflow.datasets.metadata.Metadata": "airflow.sdk.Metadata",
    "airflow.models.mappedoperator.MappedOperator": (
        "airflow.sdk.definitions.mappedoperator.MappedOperator"
    ),
    "airflow.operators.python.task": "airflow.sdk.task",
    "airflow.sensors.S3KeySensor": f"{_AWS}.sensors.s3.S3KeySensor",
    "airflow.timetables.simple.DatasetTriggeredTimetable": (
        "airflow.timetables.simple.AssetTriggeredTimetable"
    ),
    "airflow.timetables.datasets.DatasetOrTimeSchedule": (
        "airflow.timetables.assets.AssetOrTimeSchedule"
    ),
    "airflow.utils.dag_parsing_context.get_parsing_context": "airflow.sdk.get_parsing_context",
    "airflow.utils.dates.days_ago": "sagebridge.formats.airflow.dates.days_ago",
    "airflow.utils.db.create_session": "airflow.utils.session.create_session",
    "airflow.utils.decorators.apply_defaults": f"{_OWN}.apply_defaults",
    "airflow.utils.file.TemporaryDirectory": "tempfile.TemporaryDirectory",
    "airflow.utils.helpers.chain": "airflow.sdk.chain",
    "airflow.utils.helpers.cross_downstream": "airflow.sdk.cross_downstream",
    "airflow.utils.log.secrets_masker.mask_secret": "airflow.sdk.log.mask_secret",
    # Packages of Airflow 1 that had the classes of all their modules.
    **{
        f"airflow.operators.{name}": f"{_STANDARD}.operators.{module}.{name}"
        for module, names in {
            "bash": "BashOperator",
            "python": "BranchPythonOperator PythonOperator ShortCircuitOperator",
            "latest_only": "LatestOnlyOperator",
            "trigger_dagrun": "TriggerDagRunOperator",
        }.items()
        for name in names.split()
    },
    "airflow.operators.DummyOperator": f"{_STANDARD}.operators.empty.EmptyOperator",
    "airflow.operators.sensors.ExternalTaskSensor": (
        f"{_STANDARD}.sensors.external_task.ExternalTaskSensor"
    ),
    "airflow.operators.sensors.S3KeySensor": f"{_AWS}.sensors.s3.S3KeySensor",
    "airflow.operators.sensors.TimeDeltaSensor": f"{_STANDARD}.sensors.time_delta.TimeDeltaSensor",
}
"""Single names that are in other modules."""

DAG_ARGUMENTS: Mapping[str, str] = {
    "concurrency": "max_active_tasks",
    "default_view": "",
    "fail_stop": "fail_fast",
    "full_filepath": "",
    "orientation": "",
    "schedule_interval": "schedule",
    "timetable": "schedule",
}
"""Arguments of a DAG that have another name; empty if they have no effect on a run."""

POSITIONAL = ("description", "schedule", "start_date", "end_date")
"""The arguments of a DAG after its id, which Airflow 3 takes only by name."""

TASK_ARGUMENTS: Mapping[str, str] = {
    "execution_date": "logical_date",
    "provide_context": "",
    "task_concurrency": "max_active_tis_per_dag",
    "use_task_execution_date": "use_task_logical_date",
    "use_task_execution_day": "use_task_logical_date",
    "xcom_push": "do_xcom_push",
}
"""As DAG_ARGUMENTS, for operators that do not have an argument of this name."""

TRIGGER_RULES: Mapping[str, str] = {
    "dummy": "always",
    "none_failed_or_skipped": "none_failed_min_one_success",
}


def new_name(module: str, name: str) -> tuple[str, str] | None:
    """Module and name in Airflow 3; None if it has the name where Airflow 2 has it.

    The name may be that of a module.
    """
    if found := NAMES.get(f"{module}.{name}") or MODULES.get(f"{module}.{name}"):
        new, _, renamed = found.rpartition(".")
        return new, renamed
    renamed = RENAMED.get(name, name)
    if module in MODULES:
        return MODULES[module], renamed
    if renamed != name and module.startswith("airflow.providers."):
        return module, renamed
    return None


def apply_defaults(function: _Any) -> _Any:
    """``function``: operators of Airflow 2 and later need no decorator for ``default_args``."""
    return function
