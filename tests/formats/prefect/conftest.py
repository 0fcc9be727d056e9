"""Skip the tracing tests in environments without Prefect."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore = (
    []
    if find_spec("prefect")
    else [
        "test_constructs.py",
        "test_import_inputs.py",
        "test_run_time_values.py",
        "test_tracer.py",
    ]
)
