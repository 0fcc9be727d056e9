"""The example and test pipelines on version 2 of the SageMaker SDK."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import sagebridge
from tests.sagemaker.quiet import check_quiet

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ABALONE = ROOT / "pipelines" / "abalone"
PIPELINES = HERE / "pipelines" / "v2.py"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **_: object) -> None:
        raise AssertionError(f"compiling reached for the network: {arguments}")

    # The SDK looks for the machine's credentials, for a session that is not used here.
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def check(script: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script), "--check"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_abalone_definition_is_fresh() -> None:
    result = check(ABALONE / "pipeline.py")
    assert result.returncode == 0, result.stderr


def test_abalone_compiles_the_same_in_any_environment(tmp_path: Path) -> None:
    defaults = tmp_path / "config.yaml"
    defaults.write_text(
        "SchemaVersion: '1.0'\n"
        "SageMaker:\n  TrainingJob:\n    EnableNetworkIsolation: true\n"
        "  ProcessingJob:\n    RoleArn: arn:aws:iam::999999999999:role/elsewhere\n"
    )
    result = check(
        ABALONE / "pipeline.py",
        SAGEMAKER_USER_CONFIG_OVERRIDE=str(defaults),
        AWS_DEFAULT_REGION="ap-south-1",
        AWS_ACCESS_KEY_ID="other",
        AWS_SECRET_ACCESS_KEY="other",
        HOME=str(tmp_path),
    )
    assert result.returncode == 0, result.stderr


def test_stale_abalone_definition_is_reported(tmp_path: Path) -> None:
    script = Path(shutil.copy(ABALONE / "pipeline.py", tmp_path))
    definition = (ABALONE / "definition.json").read_text()
    (tmp_path / "definition.json").write_text(definition.replace("6.0", "7.0", 1))
    result = check(script)
    assert result.returncode == 1
    assert "definition.json is stale" in result.stderr


def test_abalone_for_another_account_has_no_defaults_left() -> None:
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("abalone_pipeline", ABALONE / "pipeline.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    role = "arn:aws:iam::999999999999:role/mine"
    text = module.get_pipeline(bucket="mine", role=role, region="eu-west-1").definition()
    assert "s3://sagebridge-abalone" not in text
    assert "111122223333" not in text
    assert "us-east-1" not in text
    assert '"s3://mine/data/abalone-dataset.csv"' in text


def test_abalone_module_and_definition_are_one_pipeline() -> None:
    pipeline, losses = sagebridge.read(f"{ABALONE / 'pipeline.py'}:get_pipeline")
    assert pipeline == sagebridge.read(ABALONE / "definition.json", name="abalone").pipeline
    assert pipeline.name == "abalone"
    assert losses == ()


@pytest.mark.parametrize("name", ["conditions", "emr", "outputs", "retries", "tuning"])
def test_sdk_pipeline_equals_its_definition(name: str) -> None:
    pipeline, losses = sagebridge.read(f"{PIPELINES}:{name}")
    committed = HERE.parent / "definitions" / f"sdk2-{name}.json"
    assert pipeline == sagebridge.read(committed, name=name).pipeline
    assert losses == ()
    text = sagebridge.write(pipeline, "sagemaker").text
    assert json.loads(text) == json.loads(committed.read_text())


def test_pipeline_object_is_a_source() -> None:
    made = runpy.run_path(str(HERE / "pipelines" / "v2.py"))["conditions"]
    sdk_pipeline = made() if callable(made) else made
    pipeline, losses = sagebridge.read(sdk_pipeline)
    assert pipeline == sagebridge.read(sdk_pipeline.definition()).pipeline
    assert pipeline.name == sdk_pipeline.name
    assert losses == ()


def test_sdk_is_quiet_when_a_command_reads_its_pipeline(tmp_path: Path) -> None:
    check_quiet(tmp_path, "workflow", "workflow.pipeline")
