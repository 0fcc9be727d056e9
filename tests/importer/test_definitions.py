"""Definitions in the DAGs folder of Airflow 3.4, which imports files that are not Python."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.managed.commands import EXAMPLE, airflow, new_home, pairs

pytestmark = [pytest.mark.airflow, pytest.mark.importer]

IMPORTER = "sagebridge_operators.airflow.dag_importer.DefinitionImporter"
BROKEN = """{"Version": "2020-12-01",
 "Steps": [
   {"Name": "A", "Type": "Fail", "Arguments": {"ErrorMessage": "x"}, "DependsOn": ["B"]},
   {"Name": "C", "Type": "Train", "Arguments": {}}
 ]}
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """An Airflow whose DAG processor has read the DAGs folder once."""
    home = new_home(tmp_path_factory.mktemp("airflow"))
    dags = Path(home["AIRFLOW_HOME"], "dags")
    shutil.copy(EXAMPLE / "definition.json", dags / "ages.json")
    (dags / "broken.json").write_text(BROKEN)
    (dags / "cut.json").write_text(BROKEN[:40])
    (dags / "settings.json").write_text('{"Steps": 3}')
    importer = {"classpath": IMPORTER, "kwargs": {"dag_args": {"tags": ["nightly"]}}}
    home["AIRFLOW__DAG_PROCESSOR__DAG_IMPORTER_CONFIGS"] = json.dumps([importer])
    airflow(home, "db", "migrate")
    airflow(home, "dag-processor", "--num-runs", "1")
    return home


def test_definition_is_a_dag(environment: Mapping[str, str]) -> None:
    assert pairs(environment, "select dag_id, bundle_name from dag") == [("ages", "dags-folder")]

    ((_, data),) = pairs(environment, "select dag_id, data from serialized_dag")
    assert "AbaloneTrain  " in json.loads(data)["dag"]["doc_md"]

    airflow(environment, "dags", "test", "ages")

    ended = dict(pairs(environment, "select task_id, state from task_instance"))
    assert ended.pop("AbaloneMSEFail") == "skipped"
    assert len(ended) == 7
    assert set(ended.values()) == {"success"}


def test_findings_are_import_errors_at_line_and_column(environment: Mapping[str, str]) -> None:
    errors = dict(pairs(environment, "select filename, stacktrace from import_error"))
    assert {
        name: [line.partition(" [")[0] for line in text.splitlines()]
        for name, text in errors.items()
    } == {
        "broken.json": [
            "3:84: step A: unknown step 'B' in DependsOn",
            "4:18: step C: unknown Type 'Train' (did you mean 'Training'?)",
        ],
        "cut.json": ["2:12: not JSON: the document is cut off in /Steps"],
    }
