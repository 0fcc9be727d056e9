"""Names of one engine that carried code may use on the other one.

``sagebridge_operators.prefect.airflow_names`` offers Airflow's names in flows, and
``sagebridge_operators.airflow.prefect_names`` Prefect's names in DAGs. Both offer exactly the names
of these tables. The first module of a table that has a name is the one that is written for it.
"""

from __future__ import annotations

from collections.abc import Mapping

AIRFLOW, PREFECT = "airflow", "prefect"
OFFERING_MODULES: Mapping[str, str] = {
    AIRFLOW: "sagebridge_operators.prefect.airflow_names",
    PREFECT: "sagebridge_operators.airflow.prefect_names",
}
"""By the engine whose names are offered: the module that offers them on the other engine."""

_EXCEPTIONS = frozenset(
    (
        "AirflowException",
        "AirflowFailException",
        "AirflowNotFoundException",
        "AirflowRescheduleException",
        "AirflowRuntimeError",
        "AirflowSensorTimeout",
        "AirflowSkipException",
        "AirflowTaskTimeout",
        "XComNotFound",
    )
)
_SDK = frozenset(
    (
        "Asset",
        "AssetAlias",
        "BaseBranchOperator",
        "BaseHook",
        "BaseOperator",
        "BaseSensorOperator",
        "Connection",
        "Context",
        "DagRunState",
        "Metadata",
        "PokeReturnValue",
        "TaskInstance",
        "TaskInstanceState",
        "TriggerRule",
        "Variable",
        "get_current_context",
        "timezone",
    )
)
_AMAZON = "airflow.providers.amazon.aws.hooks"
_STANDARD = "airflow.providers.standard"
_ARTIFACTS = frozenset(
    (
        *(
            f"{verb}_{kind}_artifact"
            for verb in ("create", "acreate")
            for kind in ("image", "link", "markdown", "progress", "table")
        ),
        "update_progress_artifact",
        "aupdate_progress_artifact",
    )
)
_PREFECT = frozenset(
    (
        "State",
        "allow_failure",
        "flow",
        "get_run_logger",
        "tags",
        "task",
        "unmapped",
    )
)

OFFERED_NAMES: Mapping[str, Mapping[str, frozenset[str]]] = {
    AIRFLOW: {
        "airflow.sdk": _SDK,
        "airflow.sdk.exceptions": _EXCEPTIONS,
        "airflow.exceptions": _EXCEPTIONS,
        "airflow": frozenset(("AirflowException",)),
        "airflow.hooks.base": frozenset(("BaseHook",)),
        "airflow.hooks.base_hook": frozenset(("BaseHook",)),
        "airflow.macros": frozenset(("ds_add", "ds_format")),
        "airflow.models": frozenset(
            ("BaseOperator", "Connection", "DagRun", "TaskInstance", "Variable")
        ),
        "airflow.models.baseoperator": frozenset(("BaseOperator",)),
        "airflow.models.connection": frozenset(("Connection",)),
        "airflow.models.dagrun": frozenset(("DagRun",)),
        "airflow.models.taskinstance": frozenset(("TaskInstance",)),
        "airflow.models.variable": frozenset(("Variable",)),
        "airflow.operators.branch": frozenset(("BaseBranchOperator",)),
        "airflow.operators.python": frozenset(("get_current_context",)),
        f"{_AMAZON}.base_aws": frozenset(("AwsBaseHook", "AwsGenericHook")),
        f"{_AMAZON}.dynamodb": frozenset(("DynamoDBHook",)),
        f"{_AMAZON}.lambda_function": frozenset(("LambdaHook",)),
        f"{_AMAZON}.s3": frozenset(("S3Hook",)),
        f"{_AMAZON}.secrets_manager": frozenset(("SecretsManagerHook",)),
        f"{_AMAZON}.sns": frozenset(("SnsHook",)),
        f"{_AMAZON}.sqs": frozenset(("SqsHook",)),
        "airflow.providers.common.compat.sdk": _SDK | _EXCEPTIONS,
        f"{_STANDARD}.operators.branch": frozenset(("BaseBranchOperator",)),
        f"{_STANDARD}.operators.python": frozenset(("get_current_context",)),
        f"{_STANDARD}.utils.weekday": frozenset(("WeekDay",)),
        "airflow.sdk.bases.hook": frozenset(("BaseHook",)),
        "airflow.sdk.bases.operator": frozenset(("BaseOperator",)),
        "airflow.sdk.bases.sensor": frozenset(("BaseSensorOperator", "PokeReturnValue")),
        "airflow.sdk.definitions.asset": frozenset(("Asset", "AssetAlias")),
        "airflow.sdk.definitions.connection": frozenset(("Connection",)),
        "airflow.sdk.definitions.context": frozenset(("Context", "get_current_context")),
        "airflow.sdk.definitions.variable": frozenset(("Variable",)),
        "airflow.sdk.execution_time.macros": frozenset(("ds_add", "ds_format")),
        "airflow.sdk.log": frozenset(("mask_secret",)),
        "airflow.sdk.timezone": frozenset(("datetime", "parse", "utc", "utcnow")),
        "airflow.sdk.types": frozenset(("RuntimeTaskInstanceProtocol", "TaskInstance")),
        "airflow.sensors.base": frozenset(("BaseSensorOperator", "PokeReturnValue")),
        "airflow.utils": frozenset(("timezone",)),
        "airflow.utils.context": frozenset(("Context",)),
        "airflow.utils.log.logging_mixin": frozenset(("LoggingMixin",)),
        "airflow.utils.state": frozenset(("DagRunState", "State", "TaskInstanceState")),
        "airflow.utils.timezone": frozenset(("datetime", "parse", "utc", "utcnow")),
        "airflow.utils.trigger_rule": frozenset(("TriggerRule",)),
    },
    PREFECT: {
        "prefect": _PREFECT | {"runtime"},
        "prefect.artifacts": _ARTIFACTS,
        "prefect.blocks.core": frozenset(("Block",)),
        "prefect.blocks.notifications": frozenset(("MicrosoftTeamsWebhook", "SlackWebhook")),
        "prefect.blocks.system": frozenset(("JSON", "Secret", "String")),
        "prefect.client.schemas": frozenset(("State", "StateType")),
        "prefect.client.schemas.objects": frozenset(("State", "StateType")),
        "prefect.cache_policies": frozenset(
            (
                "CachePolicy",
                "DEFAULT",
                "FLOW_PARAMETERS",
                "INPUTS",
                "NONE",
                "NO_CACHE",
                "RUN_ID",
                "TASK_SOURCE",
            )
        ),
        "prefect.concurrency.asyncio": frozenset(("concurrency", "rate_limit")),
        "prefect.concurrency.sync": frozenset(("concurrency", "rate_limit")),
        "prefect.context": frozenset(
            ("FlowRunContext", "TaskRunContext", "get_run_context", "tags")
        ),
        "prefect.deployments": frozenset(("arun_deployment", "run_deployment")),
        "prefect.events": frozenset(("emit_event",)),
        "prefect.exceptions": frozenset(
            ("FailedRun", "MissingContextError", "ObjectNotFound", "UpstreamTaskError")
        ),
        "prefect.flows": frozenset(("Flow", "flow")),
        "prefect.futures": frozenset(
            ("PrefectFuture", "PrefectFutureList", "as_completed", "wait")
        ),
        "prefect.logging": frozenset(("get_logger", "get_run_logger")),
        "prefect.logging.loggers": frozenset(("get_logger", "get_run_logger")),
        "prefect.runtime": frozenset(("deployment", "flow_run", "task_run")),
        "prefect.states": frozenset(
            ("Cancelled", "Completed", "Crashed", "Failed", "Running", "State", "StateType")
        ),
        "prefect.task_runners": frozenset(
            ("ConcurrentTaskRunner", "ProcessPoolTaskRunner", "ThreadPoolTaskRunner")
        ),
        "prefect.tasks": frozenset(("Task", "exponential_backoff", "task", "task_input_hash")),
        "prefect.utilities.annotations": frozenset(("allow_failure", "quote", "unmapped")),
        "prefect.variables": frozenset(("Variable",)),
        "prefect_aws": frozenset(("AwsCredentials", "S3Bucket")),
        "prefect_aws.credentials": frozenset(("AwsCredentials",)),
        "prefect_aws.s3": frozenset(("S3Bucket",)),
    },
}
"""By engine and original module: the names that the other engine has, too."""

_RENAMED: Mapping[tuple[str, str], str] = {
    ("airflow.sdk.timezone", "datetime"): "timezone_datetime",
    ("airflow.sdk.timezone", "parse"): "timezone_parse",
    ("airflow.utils.timezone", "datetime"): "timezone_datetime",
    ("airflow.utils.timezone", "parse"): "timezone_parse",
    ("prefect.concurrency.asyncio", "concurrency"): "async_concurrency",
    ("prefect.concurrency.asyncio", "rate_limit"): "async_rate_limit",
}
"""Names that are offered under another one, because two modules have the name."""


def engine_of(module: str) -> str:
    """The engine that a module belongs to; empty for other modules."""
    package = module.partition(".")[0]
    return PREFECT if package == "prefect_aws" else package if package in OFFERED_NAMES else ""


def offered_name(module: str, name: str) -> str | None:
    """The name under which the other engine has a name of an engine's module, if it has it."""
    table = OFFERED_NAMES.get(engine_of(module), {})
    return _RENAMED.get((module, name), name) if name in table.get(module, ()) else None


def offered_names(engine: str) -> frozenset[str]:
    """All names that the offering module of an engine has."""
    return frozenset(
        _RENAMED.get((module, name), name)
        for module, names in OFFERED_NAMES[engine].items()
        for name in names
    )


def original_name(engine: str, offered: str) -> tuple[str, str] | None:
    """The first module that has the name, and the name there."""
    for module, names in OFFERED_NAMES[engine].items():
        for name in sorted(names):
            if _RENAMED.get((module, name), name) == offered:
                return module, name
    return None
