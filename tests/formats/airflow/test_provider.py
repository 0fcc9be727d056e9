"""DAGs with operators of the Amazon provider: the definition and the losses of each.

The DAG files are in ``provider/``, the expected results in ``tests/golden/airflow``
(``--update-golden`` rewrites them).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import sagebridge
from sagebridge.formats.airflow.reader import read_files
from sagebridge.formats.python.file_readings import FileReading
from sagebridge.formats.sagemaker.writer import write
from sagebridge.model.code_steps import PythonStep
from sagebridge.model.losses import CODES
from tests.strategies import canonical

pytestmark = pytest.mark.airflow

DAGS = sorted((Path(__file__).parent / "provider").glob("*.py"))
GOLDEN = Path(__file__).parents[2] / "golden" / "airflow"


@pytest.fixture(scope="module")
def readings() -> dict[str, FileReading]:
    found = {}
    for file, outcome in zip(DAGS, read_files(DAGS), strict=True):
        assert not isinstance(outcome, Exception), outcome
        (found[file.stem],) = outcome
    return found


@pytest.mark.parametrize("name", [file.stem for file in DAGS])
def test_definition_and_losses_match_the_golden_file(
    name: str, readings: dict[str, FileReading], request: pytest.FixtureRequest
) -> None:
    reading = readings[name]
    text, more = write(reading.pipeline)
    losses = [*reading.losses, *more]
    found = {
        "definition": json.loads(text),
        "losses": [str(loss).replace(f"{Path(__file__).parent}/provider/", "") for loss in losses],
    }
    golden = GOLDEN / f"{name}.json"
    if request.config.getoption("--update-golden"):
        golden.write_text(json.dumps(found, indent=2) + "\n")
    expected = json.loads(golden.read_text())
    assert canonical(found["definition"]) == canonical(expected["definition"])
    assert found["losses"] == expected["losses"]
    assert {loss.code for loss in losses} <= CODES.keys()


# Requests that AWS rejects: Airflow's operator converts or completes them when it runs.
REJECTED = {
    "lifecycle": {("missing-member", "/Steps/0/Arguments/TrainingJobDefinition")},
    "templates": {("out-of-bounds", "/Steps/1/Arguments/RoleArn")},
}


@pytest.mark.parametrize("name", [file.stem for file in DAGS])
def test_definition_validates(name: str, readings: dict[str, FileReading]) -> None:
    findings = sagebridge.validate(write(readings[name].pipeline)[0])
    errors = {(one.code, one.pointer) for one in findings if one.severity == "error"}
    assert errors == REJECTED.get(name, set())


def test_run_time_values_become_required_parameters(readings: dict[str, FileReading]) -> None:
    pipeline = sagebridge.read(write(readings["templates"].pipeline)[0]).pipeline
    replacing = [one.name for one in pipeline.declared if "In Airflow: " in str(one.description)]
    assert "ds" in replacing
    assert "conn_sagemaker_schema" in replacing
    required = [one.name for one in pipeline.declared if not one.default and one.name in replacing]
    assert required == replacing


def test_code_is_carried_into_another_dag(readings: dict[str, FileReading]) -> None:
    carried = readings["code"].pipeline.step("put")
    assert isinstance(carried, PythonStep)
    names: dict[str, Any] = {}
    exec(carried.function.code, names)
    assert callable(names[carried.function.name])
    again = sagebridge.write(readings["code"].pipeline, "airflow").text
    assert "shutil.copy" in again
