"""Pictures show every step and edge, and escape everything from the definition."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sagebridge
from sagebridge.drawing.diagram import Diagram, Edge, Node, diagram, marks
from sagebridge.drawing.dot import dot
from sagebridge.drawing.layered import layered
from sagebridge.drawing.mermaid import mermaid
from sagebridge.drawing.svg import svg
from sagebridge.model.graph import graph
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import walk
from tests.strategies import TEXT

SVG = "{http://www.w3.org/2000/svg}"
ABALONE = Path(__file__).parent.parent / "pipelines" / "abalone" / "definition.json"


def texts(picture: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(picture).iter(f"{SVG}text")]


def test_every_step_is_in_every_picture(definition: Path) -> None:
    pipeline = sagebridge.read(definition).pipeline
    names = {step.name for step in walk(pipeline)}
    drawn = diagram(pipeline, {})
    assert {node.name for node in drawn.nodes} == names
    assert names <= set(texts(svg(drawn)))
    assert all(name in mermaid(drawn) and name in dot(drawn) for name in names)
    assert svg(drawn) == svg(diagram(pipeline, {}))


def test_edges_are_those_of_the_graph(definition: Path) -> None:
    pipeline = sagebridge.read(definition).pipeline
    drawn = diagram(pipeline, {})
    expected = graph(pipeline)
    for edge in drawn.edges:
        ends = drawn.nodes[edge.source].name, drawn.nodes[edge.target].name
        assert expected.has_edge(*ends)
    shown = {(drawn.nodes[e.source].name, drawn.nodes[e.target].name) for e in drawn.edges}
    omitted = set(expected.edges) - shown
    assert all(expected.edges[edge]["reasons"] <= {"branch", "body"} for edge in omitted)


def test_edges_show_their_triggers() -> None:
    file = Path(__file__).parent / "definitions" / "dependency-triggers.json"
    drawn = diagram(sagebridge.read(file).pipeline, {})
    shown = {(drawn.nodes[e.source].name, drawn.nodes[e.target].name): e.label for e in drawn.edges}

    assert shown["Second", "Rescue"] == "Failed"
    assert shown["First", "Rescue"] == shown["First", "Spelled"] == ""
    assert {"Failed", "Stopped", "Any"} <= set(texts(svg(drawn)))
    assert "-.->|Stopped|" in mermaid(drawn)
    assert 'style=dashed, label="Any"' in dot(drawn)


def test_edges_of_the_abalone_pipeline() -> None:
    drawn = diagram(sagebridge.read(ABALONE).pipeline, {})
    lines = {(drawn.nodes[e.source].name, drawn.nodes[e.target].name): e.line for e in drawn.edges}
    assert lines["AbaloneMSECond", "AbaloneMSEFail"] == "else"
    assert lines["AbaloneMSECond", "AbaloneCreateModel"] == "if"
    assert ("AbaloneMSECond", "AbaloneTransform") not in lines
    assert lines["AbaloneProcess", "AbaloneTrain"] == "data"


def test_losses_are_marked_at_their_innermost_step() -> None:
    gate = {
        "Name": "Gate",
        "Type": "Condition",
        "Arguments": {"Conditions": [], "IfSteps": [{"Name": "In", "Type": "X", "Arguments": {}}]},
    }
    pipeline = sagebridge.read({"Steps": [gate]}).pipeline

    def loss(place: str) -> Loss:
        return Loss("c", "changed", place, "w", "airflow")

    inner, outer = (
        loss("/Steps/0/Arguments/IfSteps/0/Type"),
        loss("/Steps/0/Arguments/Conditions/0"),
    )
    found = marks(pipeline, [inner, outer, loss("/Parameters/0"), loss("dag.py:3"), loss("")])
    assert found == {"In": (inner,), "Gate": (outer,)}
    assert "⚠ c" in texts(svg(diagram(pipeline, found)))


@given(TEXT, TEXT)
@settings(deadline=None)
def test_names_are_escaped_in_every_picture(name: str, type_: str) -> None:
    nodes = (Node(name, type_, "step", ("code",)), Node("B", "Fail", "fail"))
    drawn = Diagram(name, nodes, (Edge(0, 1, "if"),))
    assert len(texts(svg(drawn))) == 2 + 3 + 2 + (name != "")
    assert len(mermaid(drawn).splitlines()) == 8
    labels = re.findall(r'"((?:[^"\\]|\\.)*)"', dot(drawn))
    assert "B\\nFail" in labels


def edges_of(number: int) -> st.SearchStrategy[list[tuple[int, int]]]:
    ends = st.integers(0, number - 1)
    return st.lists(st.tuples(ends, ends), max_size=3 * number, unique=True)


@given(st.integers(1, 12).flatmap(lambda number: st.tuples(st.just(number), edges_of(number))))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_layout_of_any_graph(drawn: tuple[int, list[tuple[int, int]]]) -> None:
    """Boxes do not overlap; edges connect their nodes; in an acyclic graph they point down."""
    number, edges = drawn
    widths = [40.0 + 10 * node for node in range(number)]
    layout = layered(widths, edges, 20)
    for layer in set(layout.layer):
        row = sorted(
            (layout.x[node], widths[node]) for node in range(number) if layout.layer[node] == layer
        )
        for (left, width), (right, other) in itertools.pairwise(row):
            assert right - left >= (width + other) / 2 + 20 - 1e-6
    for (source, target), path in zip(edges, layout.paths, strict=True):
        assert path[0] == (layout.layer[source], layout.x[source])
        assert path[-1] == (layout.layer[target], layout.x[target])
        if source < target and all(a < b for a, b in edges):
            assert layout.layer[source] < layout.layer[target]


def test_layout_avoids_crossings() -> None:
    layout = layered([50.0] * 6, [(0, 5), (1, 4), (2, 3)], 20)
    above, below = layout.x[:3], layout.x[3:][::-1]
    assert sorted(range(3), key=above.__getitem__) == sorted(range(3), key=below.__getitem__)


@pytest.mark.parametrize("draw", [svg, mermaid, dot])
def test_pipeline_without_steps_is_drawn(draw: object) -> None:
    assert callable(draw)
    assert draw(Diagram("", (), ()))
