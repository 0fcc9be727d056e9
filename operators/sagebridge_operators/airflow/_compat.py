"""Names of Airflow that are in different modules from Airflow 2.11 to 3.3.

``airflow.providers.common.compat.sdk`` has most of them too, but only from 1.8 on. Managed services
keep to Airflow's constraints, which are 1.7.0 for Airflow 2.11.0 and 1.7.3 for 3.0.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

# ruff: noqa: PLC0414 - mypy re-exports only names that are imported "as" themselves
if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import DAG as DAG
    from airflow.providers.common.compat.sdk import AirflowException as AirflowException
    from airflow.providers.common.compat.sdk import AirflowFailException as AirflowFailException
    from airflow.providers.common.compat.sdk import AirflowSkipException as AirflowSkipException
    from airflow.providers.common.compat.sdk import BaseHook as BaseHook
    from airflow.providers.common.compat.sdk import BaseOperator as BaseOperator
    from airflow.providers.common.compat.sdk import BaseOperatorLink as BaseOperatorLink
    from airflow.providers.common.compat.sdk import Context as Context
    from airflow.providers.common.compat.sdk import (
        DagRunTriggerException as DagRunTriggerException,
    )
    from airflow.providers.common.compat.sdk import Label as Label
    from airflow.providers.common.compat.sdk import Param as Param
    from airflow.providers.common.compat.sdk import SkipMixin as SkipMixin
    from airflow.providers.common.compat.sdk import TaskGroup as TaskGroup
    from airflow.providers.common.compat.sdk import Variable as Variable
    from airflow.providers.common.compat.sdk import XCom as XCom
    from airflow.providers.common.compat.sdk import XComArg as XComArg
    from airflow.providers.common.compat.sdk import conf as conf
    from airflow.providers.common.compat.sdk import get_parsing_context as get_parsing_context
    from airflow.sdk.definitions._internal.expandinput import (
        DictOfListsExpandInput as DictOfListsExpandInput,
    )
    from airflow.sdk.definitions.taskgroup import MappedTaskGroup as MappedTaskGroup
    from airflow.sdk.exceptions import AirflowRescheduleException as AirflowRescheduleException
    from airflow.sdk.execution_time.context import set_current_context as set_current_context
    from airflow.sdk.log import mask_secret as mask_secret

_EXCEPTIONS = ("airflow.sdk.exceptions", "airflow.exceptions")
_DECORATORS = ("airflow.sdk", "airflow.decorators")
_MODULES = {
    "AirflowException": _EXCEPTIONS,
    "AirflowFailException": _EXCEPTIONS,
    "AirflowRescheduleException": _EXCEPTIONS,
    "AirflowSkipException": _EXCEPTIONS,
    "BaseHook": ("airflow.sdk", "airflow.sdk.bases.hook", "airflow.hooks.base"),
    "BaseOperator": ("airflow.sdk", "airflow.models.baseoperator"),
    "BaseOperatorLink": ("airflow.sdk", "airflow.models.baseoperatorlink"),
    "BaseSensorOperator": ("airflow.sdk", "airflow.sensors.base"),
    "Connection": ("airflow.sdk", "airflow.models.connection"),
    "Context": ("airflow.sdk", "airflow.utils.context"),
    "DAG": ("airflow.sdk", "sagebridge_operators.airflow.airflow2"),
    "DagRunTriggerException": _EXCEPTIONS,
    "DictOfListsExpandInput": (
        "airflow.sdk.definitions._internal.expandinput",
        "airflow.models.expandinput",
    ),
    "Label": ("airflow.sdk", "airflow.utils.edgemodifier"),
    "MappedTaskGroup": ("airflow.sdk.definitions.taskgroup", "airflow.utils.task_group"),
    "Param": ("airflow.sdk", "airflow.models.param"),
    "PokeReturnValue": ("airflow.sdk", "airflow.sensors.base"),
    "SkipMixin": ("airflow.sdk.bases.skipmixin", "airflow.models.skipmixin"),
    "TaskGroup": ("airflow.sdk", "airflow.utils.task_group"),
    "TriggerRule": ("airflow.sdk", "airflow.utils.trigger_rule"),
    "Variable": ("airflow.sdk", "airflow.models.variable"),
    "XCom": ("airflow.sdk.execution_time.xcom", "airflow.models.xcom"),
    "XComArg": ("airflow.sdk", "airflow.models.xcom_arg"),
    "chain": ("airflow.sdk", "airflow.models.baseoperator"),
    "conf": ("airflow.sdk.configuration", "airflow.configuration"),
    "cross_downstream": ("airflow.sdk", "airflow.models.baseoperator"),
    "get_current_context": ("airflow.sdk", "airflow.operators.python"),
    "get_parsing_context": ("airflow.sdk", "airflow.utils.dag_parsing_context"),
    "mask_secret": ("airflow.sdk.log", "airflow.utils.log.secrets_masker"),
    "set_current_context": ("airflow.sdk.execution_time.context", "airflow.models.taskinstance"),
    "setup": _DECORATORS,
    "task": _DECORATORS,
    "task_group": _DECORATORS,
    "teardown": _DECORATORS,
}
"""The modules of each name, newest first."""


def __getattr__(name: str) -> Any:
    for module in _MODULES.get(name, ()):
        try:
            found = globals()[name] = getattr(import_module(module), name)
        except (ImportError, AttributeError):
            continue
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


IS_AIRFLOW_2 = version("apache-airflow").startswith("2.")
"""Whether tasks read Airflow's database, as in Airflow 2."""


def from_sdk(name: str) -> Any:
    """A name of ``airflow.sdk`` in Airflow 2. Raises AttributeError if Airflow 2 has no such."""
    modules = _MODULES.get(name, ())
    if "airflow.sdk" not in modules:
        raise AttributeError(f"Airflow 2 has no {name!r} for airflow.sdk")
    return getattr(import_module(modules[-1]), name)


def check_cycle(dag: Any) -> None:
    """Raises AirflowDagCycleException if the tasks of a DAG wait for each other."""
    if hasattr(dag, "check_cycle"):
        dag.check_cycle()
    else:  # up to Airflow 3.0
        import_module("airflow.utils.dag_cycle_tester").check_cycle(dag)


def skip(operator: Any, context: Any, tasks: Sequence[Any]) -> None:
    """Skips tasks, as SkipMixin.skip of ``operator``, which from Airflow 3 on does not return."""
    if IS_AIRFLOW_2:
        run, ti = context["dag_run"], context["ti"]
        operator.skip(run, run.logical_date, tasks, map_index=ti.map_index)
    else:
        operator.skip(context["ti"], tasks)
