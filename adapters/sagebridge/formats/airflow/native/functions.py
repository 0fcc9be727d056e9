"""Functions of native DAG files, for what no operator of the Amazon provider does.

A DAG file that has such a function, unchanged, is read as the step that it was written for.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

_FAIL = '''
def fail(message):
    """Fail the run with a message."""
    raise AirflowFailException(message)
'''
_REGISTER = '''
def register_model(request, connection=None):
    """Register a model version; its group is created first if it does not exist."""
    hook = SageMakerHook(**(connection or {}))
    hook.create_model_package_group(request["ModelPackageGroupName"], "")
    return hook.conn.create_model_package(**request)["ModelPackageArn"]
'''


class NativeFunction(NamedTuple):
    """A function in a native DAG file: its source, and the modules of the names that it needs."""

    text: str
    imports: Mapping[str, str]


FUNCTIONS = {
    "fail": NativeFunction(_FAIL.strip(), {"AirflowFailException": "airflow.sdk.exceptions"}),
    "register_model": NativeFunction(
        _REGISTER.strip(), {"SageMakerHook": "airflow.providers.amazon.aws.hooks.sagemaker"}
    ),
}
_ARGUMENTS = {"fail": "message", "register_model": "request"}


def native_function(task: Any) -> str | None:
    """The function that a task of a PythonOperator calls, if it is one of these, unchanged."""
    name = getattr(called := getattr(task, "python_callable", None), "__name__", "")
    if name not in FUNCTIONS or type(task).__name__ != "PythonOperator" or task.op_args:
        return None
    unchanged = _source(called) == FUNCTIONS[name].text
    return name if unchanged and _ARGUMENTS[name] in task.op_kwargs else None


@cache
def _source(function: Any) -> str:
    try:
        return inspect.getsource(function).strip()
    except OSError:
        return ""
