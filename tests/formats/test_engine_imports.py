"""Imports of an engine's names in carried code, and their counterparts on the other engine."""

from __future__ import annotations

import ast

import pytest

from sagebridge.formats.python.engine_imports import (
    for_engine,
    original,
    refused_attribute,
    refused_imports,
)

PACKAGE = "sagebridge_operators.airflow"
OFFERED = f"{PACKAGE}.prefect_names"
IMPORTS = {
    "from airflow.sdk import BaseHook, Variable": (
        "from sagebridge_operators.prefect.airflow_names import BaseHook, Variable"
    ),
    "from airflow.models import Variable  # noqa: F401": (
        "from sagebridge_operators.prefect.airflow_names import Variable"
        "  # airflow.models  # noqa: F401"
    ),
    "from prefect.concurrency.asyncio import concurrency": (
        f"from {OFFERED} import async_concurrency as concurrency"
    ),
    "import prefect": f"from {PACKAGE} import prefect_names as prefect",
    "import prefect.concurrency.sync as limits": (
        f"from {PACKAGE} import prefect_names as limits  # prefect.concurrency.sync"
    ),
    "from prefect import get_client": "from prefect import get_client",
    "def f():\n    from prefect.runtime import (\n        flow_run,  # here\n    )\n": (
        f"def f():\n    from {OFFERED} import (\n        flow_run,  # here\n    )\n"
    ),
}


@pytest.mark.parametrize(("own", "there"), IMPORTS.items())
def test_imports_of_an_engine_change_and_come_back(own: str, there: str) -> None:
    engine = "prefect" if "airflow" in own else "airflow"
    assert for_engine(own, engine) == there
    assert original(there) == own
    assert for_engine(own, "airflow" if engine == "prefect" else "prefect") == own
    for node in ast.walk(ast.parse(there)):
        if isinstance(node, ast.ImportFrom) and "get_client" not in own:
            assert not refused_imports(node)


def test_module_in_another_one_is_imported_from_there() -> None:
    there = f"from {OFFERED} import flow_run as run"
    assert for_engine("import prefect.runtime.flow_run as run", "airflow") == there
    assert original(there) == "from prefect.runtime import flow_run as run"


@pytest.mark.parametrize(
    ("module", "name", "why"),
    [
        ("prefect.concurrency.sync", "concurrency", ""),
        ("prefect.runtime.flow_run", "scheduled_start_time", ""),
        # The other engine has only the name async_concurrency.
        ("prefect.concurrency.asyncio", "concurrency", "prefect.concurrency.asyncio, which only"),
        ("prefect", "get_client", "get_client of prefect, which only Prefect has"),
    ],
)
def test_names_used_through_a_module(module: str, name: str, why: str) -> None:
    found = refused_attribute(module, name)
    assert why in found
    assert bool(why) == bool(found)
