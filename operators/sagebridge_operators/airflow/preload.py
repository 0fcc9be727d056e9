"""Loads what tasks need into the processes that fork them.

Airflow runs a task in a process forked from its scheduler (LocalExecutor) or from a Celery worker,
and parses a DAG file in one forked from its DAG processor. What such a process has imported before
its first fork costs the forked ones neither time nor memory.

Airflow imports the entry points ``airflow.policy`` in each of its processes, at their start
(load_policy_plugins in airflow/settings.py). Airflow is not loaded completely then, so the imports
wait for the first fork.

In Airflow 2, the module also makes ``airflow.sdk`` importable, before any DAG file is read.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from functools import cache

from sagebridge_operators.airflow import _compat

_FORKING = (("scheduler",), ("dag-processor",), ("celery", "worker"))
"""The commands of ``airflow`` whose processes fork tasks or parse DAG files."""


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


_compat.provide_sdk()
if forks(sys.argv[1:]):
    os.register_at_fork(before=load)
