"""Graphviz DOT."""

from __future__ import annotations

from collections.abc import Iterator

from sagebridge.drawing.diagram import Diagram, Node
from sagebridge.model.display import printable

_SHAPES = {
    "step": 'shape=box, style="rounded,filled", fillcolor="#eef4fb"',
    "condition": 'shape=hexagon, style=filled, fillcolor="#fff8e1"',
    "fail": 'shape=box, style="rounded,filled", fillcolor="#fdecea"',
    "loop": 'shape=box, style=filled, peripheries=2, fillcolor="#e8f5e9"',
}
_DASHED = "style=dashed"


def dot(diagram: Diagram) -> str:
    lines = "\n".join(f"    {line}" for line in _lines(diagram))
    return f'digraph "{_escaped(diagram.title)}" {{\n{lines}\n}}\n'


def _lines(diagram: Diagram) -> Iterator[str]:
    yield 'node [fontname="sans-serif", fontsize=11]'
    yield 'edge [fontname="sans-serif", fontsize=10]'
    for position, node in enumerate(diagram.nodes):
        loss = ', color="#d84315", penwidth=3' if node.marks else ""
        yield f"n{position} [label={_label(node)}, {_SHAPES[node.kind]}{loss}]"
    for edge in diagram.edges:
        look = [_DASHED] if edge.line == "depends_on" else []
        look += [f'label="{edge.label}"'] if edge.label else []
        yield f"n{edge.source} -> n{edge.target}" + (f" [{', '.join(look)}]" if look else "")


def _label(node: Node) -> str:
    lines = (node.name, node.type, *(f"⚠ {mark}" for mark in node.marks))
    text = "\\n".join(map(_escaped, lines))
    return f'"{text}"'


def _escaped(text: str) -> str:
    return printable(text).replace("\\", "\\\\").replace('"', '\\"')
