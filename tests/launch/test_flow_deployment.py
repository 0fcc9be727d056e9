"""The flow files that ``deploy`` generates for a stage."""

from __future__ import annotations

from pathlib import Path

import pytest

import sagebridge
from sagebridge import Parameter, Pipeline, Step
from sagebridge.environment_mapping import Stage
from sagebridge.errors import SourceError, UsageError
from sagebridge.terminal.changes import Changes
from sagebridge_operators.launch.flow_deployment import flow_files

STEP = Step("Copy", "Lambda", {"from": "s3://dev/x"}, extra={"FunctionArn": "f"})
PROD = Stage({("buckets", "dev"): "prod", ("parameters", "Size"): 7})


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    file = tmp_path / "nightly.py"
    pipeline = Pipeline("nightly", [STEP], [Parameter("Size", "Integer", 1)])
    file.write_text(sagebridge.write(pipeline, "prefect").text)
    return file


def test_flow_file_of_a_stage(flow: Path, tmp_path: Path) -> None:
    before = flow.read_text()
    changes = Changes(PROD)
    (file,) = flow_files(str(flow), None, None, tmp_path / "prod", changes)
    assert file.text is not None
    assert "s3://prod/x" in file.text
    assert "Size: int = 7" in file.text
    assert changes.stage.unused(changes.used) == []
    assert flow.read_text() == before
    with pytest.raises(SourceError, match="its source; pass another folder with -o"):
        list(flow_files(str(flow), None, None, tmp_path, changes))


def test_schedules_are_for_one_pipeline() -> None:
    with pytest.raises(UsageError, match="--schedules requires a single pipeline"):
        Changes(Stage(), "starts.json").apply_all([Pipeline("a"), Pipeline("b")])
