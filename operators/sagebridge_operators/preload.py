"""Loads what tasks need into the processes that fork them, and gives Airflow 2 an ``airflow.sdk``.

Airflow runs a task in a process forked from its scheduler (LocalExecutor) or from a Celery worker,
and parses a DAG file in one forked from its DAG processor. What such a process has imported before
its first fork costs the forked ones neither time nor memory.

Airflow imports the entry points ``airflow.policy`` in each of its processes, at their start
(load_policy_plugins in airflow/settings.py): in Airflow 2 while ``airflow`` itself is imported, and
so before any DAG file. Airflow is not loaded completely then, so this module imports nothing of
it, and the imports wait for the first fork.
"""

from __future__ import annotations

import linecache
import logging
import os
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from types import ModuleType
from typing import Any

_FORKING = (("scheduler",), ("dag-processor",), ("celery", "worker"))
"""The commands of ``airflow`` whose processes fork tasks or parse DAG files."""
_SDK = "airflow.sdk"


def forks(arguments: Sequence[str]) -> bool:
    """Whether a command line of ``airflow``, without the program, is of a process that forks."""
    return any(tuple(arguments[: len(command)]) == command for command in _FORKING)


@cache
def load() -> None:
    """Imports the modules and reads the service models, once per process.

    An error is logged: the task that needs the module reports it.
    """
    try:
        # ruff: noqa: F401 - imported for sys.modules
        import airflow.providers.amazon.aws.hooks.base_aws
        import networkx as nx

        import sagebridge_operators.backends.local.client
        from sagebridge_operators.airflow import dag_builder, task_log, task_runtime
        from sagebridge_operators.backends import service_models

        service_models.preload()
    except Exception as error:  # noqa: BLE001 - an error must not keep the process from forking
        logging.getLogger(__name__).warning("could not load what tasks need: %s", error)


class Airflow2Sdk(ModuleType):
    """``airflow.sdk`` for Airflow 2: those of its names that Airflow 2 has in other modules.

    Only files that contain ``sagebridge_operators`` can import its names. Others, which may try
    ``airflow.sdk`` first and catch the ImportError, get the same names as without sagebridge.
    """

    def __getattr__(self, name: str) -> Any:
        caller = sys._getframe(1)
        lines = linecache.getlines(caller.f_code.co_filename, caller.f_globals)
        if any("sagebridge_operators" in line for line in lines):
            from sagebridge_operators.airflow import _compat

            return _compat.from_sdk(name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


def provide_sdk() -> None:
    """Adds ``airflow.sdk`` to Airflow 2, so that the same DAG files run there."""
    if version("apache-airflow").startswith("2."):
        sys.modules.setdefault(_SDK, Airflow2Sdk(_SDK))


provide_sdk()
if forks(sys.argv[1:]):
    os.register_at_fork(before=load)
