"""Flows generated for a pipeline, and existing flow files."""

from __future__ import annotations

from pathlib import Path

import sagebridge
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import Parallelism, Pipeline
from sagebridge_operators.launch.prefect_flow import Flow
from tests.shapes import fail

OWN = """
from prefect import flow
from sagebridge_operators.prefect import begin, fail, finish

@flow
def first():
    fail("A", error_message="no")
    return finish()

@flow(name="The second")
def second(in_put: str, count: int = 1):
    begin(definition={"Parameters": {"in_put": {"Name": "in-put"}}})
    fail("B", error_message="no")
    return finish()
"""


def test_parameters_map_to_arguments() -> None:
    parameters = (Parameter("in-put", "String"), Parameter("validate", "Integer", 1))
    flow = Flow.generated(Pipeline(steps=(fail("A"),), name="a/b", parameters=parameters))

    assert flow.name == "a_b"
    assert f"def {flow.entry}(" in flow.text
    assert flow.given({"in-put": "x", "validate": 2}) == {"in_put": "x", "validate_2": 2}


def test_parallelism_limit_is_kept() -> None:
    flow = Flow.generated(Pipeline(steps=(fail("A"),), name="p", parallelism=Parallelism(2)))

    assert "task_runner=ThreadPoolTaskRunner(max_workers=2)" in flow.text


def test_select_one_flow_of_file(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(OWN)
    source = f"{file}#The second"

    flow = Flow.of_file(source, sagebridge.read(source).pipeline)

    assert (flow.name, flow.entry, flow.file, flow.text) == ("The second", "second", file, "")
    assert flow.given({"in-put": "x", "count": 2}) == {"in_put": "x", "count": 2}
