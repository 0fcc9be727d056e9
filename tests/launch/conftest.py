"""Tests of an engine need it; an environment has one."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore = [
    *([] if find_spec("airflow") else ["test_airflow.py", "test_execution.py"]),
    *([] if find_spec("prefect") else ["test_prefect.py"]),
]
