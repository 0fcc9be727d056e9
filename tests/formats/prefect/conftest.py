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

from sagebridge.formats.prefect.tracer import trace
from sagebridge.formats.python.import_caller import FileImporter
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Pipeline
from tests.formats.prefect.traced_flows import ENGINE, ENGINE_WORDS, IMPORTS, TASKS, TraceFlow

collect_ignore = (
    []
    if find_spec("prefect")
    else [
        "test_constructs.py",
        "test_import_inputs.py",
        "test_pipeline_flow.py",
        "test_printed_output.py",
        "test_run_time_values.py",
        "test_traced_statements.py",
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


@pytest.fixture
def traced(tmp_path: Path) -> TraceFlow:
    """Trace a flow with this body and these arguments."""

    def traces(
        body: str, arguments: str = "x: str", before: str = ""
    ) -> tuple[Pipeline, tuple[Loss, ...]]:
        file = tmp_path / "flow.py"
        lines = "".join(f"    {line}\n" for line in body.splitlines())
        engine = ENGINE if any(word in body for word in ENGINE_WORDS) else ""
        word = "async def" if "async " in body else "def"
        file.write_text(f"{IMPORTS}{engine}{TASKS}{before}@flow\n{word} f({arguments}):\n{lines}")
        return trace(file)[-1]

    return traces
