"""One folder that all runs share, as a user's does, and the pieces of the example in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("airflow")
pytest.importorskip("xgboost")

from tests.e2e.desk import Desk

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.airflow)
            item.add_marker(pytest.mark.timeout(500))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("a user's ü")


@pytest.fixture(scope="module")
def desk(home: Path) -> Iterator[Desk]:
    """Whatever is started at it has ended when the module has."""
    desk = Desk(home)
    yield desk
    for running in desk.started:
        running.end()
