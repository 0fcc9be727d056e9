"""The test pipelines on version 3 of the SageMaker SDK."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

import sagebridge
from tests.sagemaker.compile import path_of, pipelines
from tests.sagemaker.quiet import check_quiet

HERE = Path(__file__).parent


def test_pipelines_compile_to_the_committed_definitions() -> None:
    for name, build in pipelines():
        compiled = json.loads(build().definition())
        assert compiled == json.loads(path_of(name).read_text()), name


@pytest.mark.parametrize("name", ["mixed", "serverless"])
def test_sdk_pipeline_equals_its_definition(name: str) -> None:
    pipeline, losses = sagebridge.read(f"{HERE / 'pipelines' / 'v3.py'}:{name}")
    committed = path_of(name)
    assert pipeline == sagebridge.read(committed, name=name).pipeline
    assert losses == ()
    text = sagebridge.write(pipeline, "sagemaker").text
    assert json.loads(text) == json.loads(committed.read_text())


def test_pipeline_object_is_a_source() -> None:
    made = runpy.run_path(str(HERE / "pipelines" / "v3.py"))["mixed"]
    sdk_pipeline = made() if callable(made) else made
    pipeline, losses = sagebridge.read(sdk_pipeline)
    assert pipeline == sagebridge.read(sdk_pipeline.definition()).pipeline
    assert pipeline.name == sdk_pipeline.name
    assert losses == ()


def test_sdk_is_quiet_when_a_command_reads_its_pipeline(tmp_path: Path) -> None:
    check_quiet(tmp_path, "mlops.workflow", "mlops.workflow.pipeline")
