"""The faulty AWS of the standard suite, and a world for each test."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.faulty_aws.server import FaultyAws
from tests.whole_pipelines.world import World, opened

_MISSING = [engine for engine in ("airflow", "prefect") if not find_spec(engine)]
collect_ignore = [f"test_{engine}.py" for engine in _MISSING]
if "prefect" not in _MISSING:
    from tests.prefect.conftest import play, records, server

    PREFECT_FIXTURES = (play, records, server)


@pytest.fixture(scope="session")
def faulty_aws() -> Iterator[FaultyAws]:
    with FaultyAws() as aws:
        yield aws


@pytest.fixture
def world(faulty_aws: FaultyAws, tmp_path: Path) -> Iterator[World]:
    with opened(faulty_aws, tmp_path) as world:
        yield world
