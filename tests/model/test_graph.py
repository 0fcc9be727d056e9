"""The dependencies of a step, and their reasons."""

from __future__ import annotations

from typing import Any

import pytest

import sagebridge
from sagebridge.model.graph import graph, is_structured
from sagebridge.model.pipeline import Pipeline, Step, walk
from tests.definition import equals, gate, output_of, step, uses


def reasons(*steps: Any) -> dict[tuple[str, str], set[str]]:
    pipeline = sagebridge.read({"Steps": list(steps)}).pipeline
    edges: Any = graph(pipeline).edges(data="reasons")
    return {(source, target): set(why) for source, target, why in edges}


def test_edges_have_their_reasons() -> None:
    assert reasons(
        step("A"),
        step("B", Arguments={"x": output_of("A")}, DependsOn=["A"]),
        {**gate(equals(output_of("B"), "x"), then=[uses(output_of("A"), "C")]), "DependsOn": ["A"]},
        step("D", DependsOn=["Gate"]),
    ) == {
        ("A", "B"): {"data", "depends_on"},
        ("B", "Gate"): {"data"},
        ("A", "Gate"): {"depends_on"},
        ("A", "C"): {"data"},
        ("Gate", "C"): {"branch"},
        ("Gate", "D"): {"depends_on"},
    }


def test_references_outside_arguments_are_dependencies() -> None:
    model = {"Get": "Steps.Model.ModelName"}
    check = step("Check", "ClarifyCheck", CheckType="MODEL_BIAS", ModelName=model)
    assert reasons(step("Model", "Model"), check) == {("Model", "Check"): {"data"}}


def test_references_in_a_branch_are_not_dependencies_of_the_condition() -> None:
    found = reasons(step("A"), gate(then=[gate(name="Inner", other=[uses(output_of("A"), "B")])]))
    assert found == {
        ("Gate", "Inner"): {"branch"},
        ("Inner", "B"): {"branch"},
        ("A", "B"): {"data"},
    }


def test_unknown_dependency_has_no_edge() -> None:
    assert reasons(step("A", DependsOn=["Missing"])) == {}


def test_steps_keep_their_order_and_are_found_in_branches() -> None:
    steps = [step("A"), gate(then=[step("B")], other=[gate(name="C", then=[step("D")])]), step("E")]
    pipeline = sagebridge.read({"Steps": steps}).pipeline
    assert [one.name for one in walk(pipeline)] == ["A", "Gate", "B", "C", "D", "E"]
    assert list(graph(pipeline)) == ["A", "Gate", "B", "C", "D", "E"]
    found = pipeline.step("D")
    assert found is not None
    assert found.type == "Lambda"
    assert pipeline.step("Z") is None


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((), True),
        ((Step("A", "Fail"), Step("B", "Fail", depends_on=("A", "unknown"))), True),
        ((Step("A", "Fail"), Step("A", "Fail")), False),
        ((Step("A", "Fail", depends_on=("A",)),), False),
        ((Step("A", "Fail", depends_on=("B",)), Step("B", "Fail", depends_on=("A",))), False),
    ],
)
def test_structure_needs_own_names_and_no_cycle(steps: tuple[Step, ...], expected: bool) -> None:
    assert is_structured(Pipeline(steps=steps)) is expected
