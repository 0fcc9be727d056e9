"""Airflow's names, for code that was written for Airflow and runs in a flow.

``sagebridge translate`` replaces the imports of such code by imports from here. The list of these
names is ``model/engine_names.py`` of sagebridge.
"""

from sagebridge_operators.prefect.airflow_names.aws_hooks import (
    AwsBaseHook,
    AwsGenericHook,
    DynamoDBHook,
    LambdaHook,
    SecretsManagerHook,
    SnsHook,
    SqsHook,
)
from sagebridge_operators.prefect.airflow_names.context import (
    Asset,
    AssetAlias,
    Context,
    DagRun,
    DagRunState,
    Metadata,
    PokeReturnValue,
    RuntimeTaskInstanceProtocol,
    State,
    TaskInstance,
    TaskInstanceState,
    TriggerRule,
    WeekDay,
    get_current_context,
)
from sagebridge_operators.prefect.airflow_names.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowRescheduleException,
    AirflowRuntimeError,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    XComNotFound,
)
from sagebridge_operators.prefect.airflow_names.macros import (
    ds_add,
    ds_format,
    timezone,
    timezone_datetime,
    timezone_parse,
    utc,
    utcnow,
)
from sagebridge_operators.prefect.airflow_names.operators import (
    BaseBranchOperator,
    BaseOperator,
    BaseSensorOperator,
)
from sagebridge_operators.prefect.airflow_names.s3_hook import S3Hook
from sagebridge_operators.prefect.airflow_names.stores import (
    BaseHook,
    Connection,
    LoggingMixin,
    Variable,
    mask_secret,
)

__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowRescheduleException",
    "AirflowRuntimeError",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "Asset",
    "AssetAlias",
    "AwsBaseHook",
    "AwsGenericHook",
    "BaseBranchOperator",
    "BaseHook",
    "BaseOperator",
    "BaseSensorOperator",
    "Connection",
    "Context",
    "DagRun",
    "DagRunState",
    "DynamoDBHook",
    "LambdaHook",
    "LoggingMixin",
    "Metadata",
    "PokeReturnValue",
    "RuntimeTaskInstanceProtocol",
    "S3Hook",
    "SecretsManagerHook",
    "SnsHook",
    "SqsHook",
    "State",
    "TaskInstance",
    "TaskInstanceState",
    "TriggerRule",
    "Variable",
    "WeekDay",
    "XComNotFound",
    "ds_add",
    "ds_format",
    "get_current_context",
    "mask_secret",
    "timezone",
    "timezone_datetime",
    "timezone_parse",
    "utc",
    "utcnow",
]
