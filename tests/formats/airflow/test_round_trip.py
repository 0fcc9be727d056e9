"""Write every definition as a DAG file and read it back with the real importer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import sagebridge
from sagebridge.authoring.definition_writer import definition as to_json
from sagebridge.formats.airflow.reader import read_files
from tests.conftest import HERE, find_corpus
from tests.strategies import canonical

pytestmark = pytest.mark.airflow


def test_definitions_survive_the_round_trip(tmp_path: Path) -> None:
    folders = dict.fromkeys((find_corpus()[0], HERE / "definitions"))
    definitions = [file for folder in folders for file in sorted(folder.glob("*.json"))]
    files = []
    for number, definition in enumerate(definitions):
        files.append(tmp_path / f"{number}.py")
        files[-1].write_text(sagebridge.write(sagebridge.read(definition).pipeline, "airflow").text)
    for definition, outcome in zip(definitions, read_files(files), strict=True):
        assert not isinstance(outcome, Exception), outcome
        (dag,) = outcome
        expected = json.loads(definition.read_text())
        assert canonical(to_json(dag.pipeline)) == canonical(expected), definition.name
        assert dag.losses == (), definition.name
