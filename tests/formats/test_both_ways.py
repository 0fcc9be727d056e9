"""Hundreds of drawn pipelines through DAG files and flow files.

Each file is written twice, checked by ruff, and read by the real readers: DAG files are imported in
a subprocess, flow files are read from their source.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

import sagebridge
from sagebridge.authoring.definition_writer import definition as to_json
from sagebridge.authoring.definition_writer import write_envelope
from sagebridge.authoring.json_document import MAX_DEPTH
from sagebridge.formats.airflow.reader import read_files
from sagebridge.formats.prefect import reader as prefect_reader
from sagebridge.model.pipeline import Pipeline
from tests import pipelines
from tests.definition import equals, gate
from tests.strategies import canonical

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(600)]
COUNT = 300
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def drawn() -> list[Pipeline]:
    """The same pipelines in every run with the same sources, whose constants Hypothesis uses.

    The first one has conditions four deep, which few draws have.
    """
    steps: list[dict[str, Any]] = []
    for name in ("Fourth", "Third", "Second", "First"):
        steps = [gate(equals(1, 1), name=name, then=steps)]
    definition = json.dumps({"Version": "2020-12-01", "Steps": steps})
    found: list[dict[str, Any]] = [{"PipelineName": "Deep", "PipelineDefinition": definition}]

    @settings(
        max_examples=COUNT,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(pipelines.requests())
    def draw(request: dict[str, Any]) -> None:
        found.append(request)

    draw()
    return [sagebridge.read(request).pipeline for request in found]


@pytest.fixture(scope="module")
def airflow_files(drawn: list[Pipeline], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return written(drawn, "airflow", tmp_path_factory.mktemp("airflow"))


@pytest.fixture(scope="module")
def prefect_files(drawn: list[Pipeline], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return written(drawn, "prefect", tmp_path_factory.mktemp("prefect"))


@pytest.fixture(scope="module")
def airflow_readings(airflow_files: list[Path]) -> list[Pipeline]:
    found = []
    for outcome in read_files(airflow_files):
        assert not isinstance(outcome, Exception), outcome
        (dag,) = outcome
        assert dag.losses == ()
        found.append(dag.pipeline)
    return found


def written(drawn: list[Pipeline], target: str, folder: Path) -> list[Path]:
    files = [folder / f"f{number}.py" for number in range(len(drawn))]
    for pipeline, file in zip(drawn, files, strict=True):
        file.write_text(sagebridge.write(pipeline, target).text, encoding="utf-8")
    return files


def read_flows(files: list[Path]) -> Iterator[Pipeline]:
    for file in files:
        pipeline, losses = prefect_reader.read(file)
        assert losses == (), file
        yield pipeline


def everything(pipeline: Pipeline) -> str:
    """The definition and the fields of its request."""
    return canonical([to_json(pipeline), write_envelope(pipeline)])


def check_same(found: list[Pipeline], drawn: list[Pipeline]) -> None:
    for number, (back, pipeline) in enumerate(zip(found, drawn, strict=True)):
        assert everything(back) == everything(pipeline), f"{number}: {everything(pipeline)}"


@pytest.fixture
def never_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    def trace(path: Path) -> Any:
        raise AssertionError(f"{path} was traced, which executes it")

    monkeypatch.setattr(prefect_reader, "trace_flows", trace)


def test_drawn_pipelines_have_every_construct(drawn: list[Pipeline]) -> None:
    """Without these constructs the other tests would prove nothing."""
    text = json.dumps([to_json(pipeline) for pipeline in drawn])
    assert [word for word in WORDS if f'"{word}"' not in text] == []
    assert max(map(depth, (to_json(pipeline)["Steps"] for pipeline in drawn))) == 4


WORDS = (
    *("Processing", "Training", "Tuning", "AutoML", "Model", "RegisterModel", "Transform"),
    *("Condition", "Fail", "Lambda", "Callback", "ClarifyCheck", "QualityCheck", "EMR"),
    *("EMRServerless", "Endpoint", "EndpointConfig", "InferenceComponent", "Athena"),
    *("Equals", "GreaterThan", "GreaterThanOrEqualTo", "LessThan", "LessThanOrEqualTo"),
    *("NotEquals", "In", "NotIn", "Not", "Or", "Std:Join", "Std:JsonGet", "PropertyFile"),
    *("DependsOn", "Trigger", "CacheConfig", "RetryPolicies", "PropertyFiles", "OutputParameters"),
    *("DisplayName", "Description", "EnumValues", "DefaultValue", "MlflowConfig", "Odd"),
)


def depth(steps: Any) -> int:
    """The nesting depth of Condition steps."""
    found = [0]
    for step in steps if isinstance(steps, list) else ():
        arguments = step.get("Arguments")
        if step["Type"] == "Condition" and isinstance(arguments, dict):
            branches = (arguments.get("IfSteps"), arguments.get("ElseSteps"))
            found.append(1 + max(map(depth, branches)))
    return max(found)


def test_round_trip_through_a_dag_file(
    drawn: list[Pipeline], airflow_readings: list[Pipeline]
) -> None:
    check_same(airflow_readings, drawn)


@pytest.mark.usefixtures("never_traced")
def test_round_trip_through_a_flow_file(drawn: list[Pipeline], prefect_files: list[Path]) -> None:
    check_same(list(read_flows(prefect_files)), drawn)


@pytest.mark.usefixtures("never_traced")
def test_round_trip_through_both(
    drawn: list[Pipeline],
    airflow_readings: list[Pipeline],
    prefect_files: list[Path],
    tmp_path: Path,
) -> None:
    """A flow file written from a DAG file is the one written from the definition.

    Only the first line differs: it names the source.
    """
    files = written(airflow_readings, "prefect", tmp_path)
    for there, direct in zip(files, prefect_files, strict=True):
        (_, _, by_way), (_, _, straight) = (
            one.read_bytes().partition(b'"""\n') for one in (there, direct)
        )
        assert by_way == straight
        assert b"finish()" in straight
    check_same(list(read_flows(files)), drawn)


def test_files_are_deterministic(
    drawn: list[Pipeline], airflow_files: list[Path], prefect_files: list[Path], tmp_path: Path
) -> None:
    for target, first in (("airflow", airflow_files), ("prefect", prefect_files)):
        folder = tmp_path / target
        folder.mkdir()
        for again, file in zip(written(drawn, target, folder), first, strict=True):
            assert again.read_bytes() == file.read_bytes()


@pytest.mark.parametrize("target", ["airflow", "prefect"])
def test_deepest_and_longest_values_come_back(target: str, tmp_path: Path) -> None:
    levels = MAX_DEPTH - 2
    raw: dict[str, Any] = {
        "Version": "2020-12-01",
        "Odd": json.loads("[" * levels + "]" * levels),
        "Steps": [
            {"Name": "A", "Type": "Training", "Arguments": {}},
            {"Name": "B", "Type": "Model", "Arguments": {"x": {"Get": "Steps.A" + ".b" * 2000}}},
        ],
    }
    file = tmp_path / "deep.py"
    file.write_text(sagebridge.write(sagebridge.read(raw).pipeline, target).text)
    assert canonical(to_json(sagebridge.read(file).pipeline)) == canonical(raw)


def test_ruff_accepts_the_files(airflow_files: list[Path], prefect_files: list[Path]) -> None:
    """With many rules, and with its defaults, inside and outside of the checkout."""
    ruff = [sys.executable, "-m", "ruff"]
    many = [
        "--isolated",
        "--select=E,F,W,I,B,UP,C4,PIE,RUF,SIM",
        "--ignore=E501,RUF001",
        "--target-version=py311",
    ]
    for folder in (airflow_files[0].parent, prefect_files[0].parent):
        for words, where in (
            (["check", *many], folder),
            (["check"], folder),
            (["check"], ROOT),
            (["format", "--check", "-q"], folder),
            (["format", "--check", "-q"], ROOT),
        ):
            subprocess.run([*ruff, *words, "--no-cache", folder], cwd=where, check=True)
