"""Skip the tests of hand-written flows without Prefect; with it, import Prefect once for all."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import pytest

from sagebridge.formats.python.import_caller import FileImporter

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
_import = FileImporter._import


@pytest.fixture(scope="session")
def warm_importer() -> Iterator[tuple[IO[str], IO[str]]]:
    """The pipes of a process that has imported Prefect."""
    script = str(Path(__file__).with_name("warm_importer.py"))
    command = [sys.executable, script]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdin, process.stdout
        process.stdin.close()


@pytest.fixture(autouse=True)
def _warm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flow files are imported by this process, except in tests marked ``cold``."""

    def warm(self: FileImporter, files: Sequence[str], limit: float) -> Iterator[dict[str, Any]]:
        if "prefect" not in self.module or request.node.get_closest_marker("cold"):
            yield from _import(self, files, limit)
            return
        asks, answers = request.getfixturevalue("warm_importer")
        for file in files:
            path = str(Path(file).resolve())
            print(json.dumps({"file": path, "limit": limit}), file=asks, flush=True)
            answer = json.loads(answers.readline())
            if "bug" in answer:
                raise RuntimeError(answer["bug"])
            yield answer

    monkeypatch.setattr(FileImporter, "_import", warm)
