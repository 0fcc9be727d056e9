"""One faulty AWS for all cases, emptied for each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.faulty_aws.server import FaultyAws
from tests.standard.world import World, patch_time

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
def world(faulty_aws: FaultyAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    for name in [name for name in os.environ if name.startswith(("AWS_", "SAGEBRIDGE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("SAGEBRIDGE_RECORDS", str(tmp_path / "executions"))
    monkeypatch.setenv("SAGEBRIDGE_RESPONSE_QUEUE", "https://sqs/111122223333/answers")
    faulty_aws.reset()
    return World(faulty_aws, patch_time(monkeypatch))
