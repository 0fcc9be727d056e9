"""Every name of the pinned SDK and botocore is known, or listed as unknown with a reason."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import botocore
import pytest

from sagebridge.model.step_types import STEP_TYPES, UNPUBLISHED
from tools.news import METADATA, known, read_names, unknown

FOUND = read_names(Path(botocore.__file__).parent.parent)


def test_every_name_is_known() -> None:
    assert unknown(FOUND, known()) == []


def test_lists_hold_what_they_should() -> None:
    """An empty list would prove nothing."""
    counts = {kind: len(names) for kind, names in FOUND.items()}
    assert counts == {
        "condition": 8,
        "exception type": 5,
        "execution variable": 8,
        "function": 2,
        METADATA: 28,
        "parameter type": 4,
        "step type": 22,
        "trigger": 4,
    }


def test_unpublished_types_have_members_and_no_type() -> None:
    assert UNPUBLISHED.keys() == FOUND[METADATA] - {row.metadata for row in STEP_TYPES.values()}
    assert all(UNPUBLISHED.values())


@pytest.mark.parametrize("removed", STEP_TYPES)
def test_removed_row_is_reported(removed: str) -> None:
    rest = {name: row for name, row in STEP_TYPES.items() if name != removed}
    row = STEP_TYPES[removed]
    reported = set(unknown(FOUND, known(rest)))
    assert {f"step type {removed}", f"{METADATA} {row.metadata}"} <= reported


def test_new_names_of_a_release_are_reported(tmp_path: Path) -> None:
    workflow = tmp_path / "sagemaker" / "mlops" / "workflow"
    workflow.mkdir(parents=True)
    workflow.joinpath("steps.py").write_text(
        "class StepTypeEnum(Enum):\n"
        "    TRAINING = 'Training'\n"
        "    QUANTUM = 'Quantum'\n"
        "def to_request(self):\n"
        "    return {'Std:Sum': {'Values': self.values}}\n"
    )
    model = tmp_path / "botocore" / "data" / "sagemaker" / "2017-07-24" / "service-2.json.gz"
    model.parent.mkdir(parents=True)
    members: dict[str, object] = {"TrainingJob": {}, "QuantumJob": {}}
    shapes = {"shapes": {"PipelineExecutionStepMetadata": {"members": members}}}
    model.write_bytes(gzip.compress(json.dumps(shapes).encode()))
    assert unknown(read_names(tmp_path), known()) == [
        "step type Quantum",
        "function Std:Sum",
        "metadata member QuantumJob",
    ]
