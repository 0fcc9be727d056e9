"""One faulty AWS for all cases, emptied for each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faulty_aws.server import FaultyAws
from tests.standard.world import World, patch_time


@pytest.fixture(scope="session")
def server() -> Iterator[FaultyAws]:
    with FaultyAws() as aws:
        yield aws


@pytest.fixture
def world(server: FaultyAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    for name in [name for name in os.environ if name.startswith(("AWS_", "SAGEBRIDGE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("SAGEBRIDGE_RECORDS", str(tmp_path / "executions"))
    server.reset()
    return World(server, patch_time(monkeypatch))
