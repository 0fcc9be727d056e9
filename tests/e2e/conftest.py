"""A folder that all runs share, as in real use."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

if not find_spec("airflow"):
    pytest.importorskip("prefect")
pytest.importorskip("xgboost")

from tests.e2e.desk import ENGINE, Desk

HERE = Path(__file__).parent

collect_ignore = (
    ["test_prefect.py"]
    if find_spec("airflow")
    else ["test_airflow.py", "test_airflow_stops.py", "test_same.py"]
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(getattr(pytest.mark, ENGINE))
            item.add_marker(pytest.mark.timeout(500))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("a user's ü")


@pytest.fixture(scope="module")
def desk(home: Path) -> Iterator[Desk]:
    """The shared folder; commands started in it are ended with the module."""
    desk = Desk(home)
    yield desk
    for running in desk.started:
        running.end()
