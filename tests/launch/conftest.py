"""Each environment has one engine; collect only the tests for it."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore = [
    *([] if find_spec("airflow") else ["test_airflow_engine.py", "test_airflow_execution.py"]),
    *([] if find_spec("prefect") else ["test_prefect_engine.py"]),
]
