"""The names of one engine that carried code may use on the other one."""

from __future__ import annotations

import pytest

from sagebridge.model.engine_names import (
    OFFERED_NAMES,
    engine_of,
    offered_name,
    offered_names,
    original_name,
)


@pytest.mark.parametrize("engine", OFFERED_NAMES)
def test_each_offered_name_leads_back_to_the_same_name(engine: str) -> None:
    for offered in offered_names(engine):
        original = original_name(engine, offered)
        assert original is not None
        assert engine_of(original[0]) == engine
        assert offered_name(*original) == offered


def test_two_names_of_two_modules_stay_apart() -> None:
    assert offered_name("prefect.concurrency.sync", "concurrency") == "concurrency"
    assert offered_name("prefect.concurrency.asyncio", "concurrency") == "async_concurrency"
    assert original_name("prefect", "async_concurrency") == (
        "prefect.concurrency.asyncio",
        "concurrency",
    )


def test_unknown_names_are_not_offered() -> None:
    assert offered_name("airflow.sdk", "DAG") is None
    assert offered_name("airflow.models", "Pool") is None
    assert offered_name("os", "Variable") is None
