"""Mermaid flowcharts, which GitHub and GitLab render in Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from sagebridge.drawing.diagram import Diagram, Node
from sagebridge.model.display import printable

_SHAPES = {
    "step": ('["', '"]'),
    "condition": ('{{"', '"}}'),
    "fail": ('(["', '"])'),
    "loop": ('[["', '"]]'),
}
_CLASSES = {
    "condition": "fill:#fff8e1,stroke:#b28704",
    "fail": "fill:#fdecea,stroke:#b3261e",
    "loop": "fill:#e8f5e9,stroke:#2e7d32",
    "loss": "stroke:#d84315,stroke-width:3px",
}
_SPECIAL = frozenset('"#<>&`;{}[]()|\\')


def mermaid(diagram: Diagram) -> str:
    return "\n".join(("flowchart TB", *(f"    {line}" for line in _lines(diagram)))) + "\n"


def _lines(diagram: Diagram) -> Iterator[str]:
    for position, node in enumerate(diagram.nodes):
        opening, closing = _SHAPES[node.kind]
        yield f"n{position}{opening}{_label(node)}{closing}"
    for edge in diagram.edges:
        arrow = "-.->" if edge.line == "depends_on" else "-->"
        label = f"|{edge.label}|" if edge.label else ""
        yield f"n{edge.source} {arrow}{label} n{edge.target}"
    for name, style in _CLASSES.items():
        of_class = [
            f"n{position}"
            for position, node in enumerate(diagram.nodes)
            if (node.marks if name == "loss" else node.kind == name)
        ]
        if of_class:
            yield f"classDef {name} {style}"
            yield f"class {','.join(of_class)} {name}"


def _label(node: Node) -> str:
    lines = [node.name, node.type, *(f"⚠ {mark}" for mark in node.marks)]
    return "<br/>".join(map(_text, lines))


def _text(text: str) -> str:
    """Escape a string for Mermaid: characters of its syntax become character codes."""
    return "".join(f"#{ord(char)};" if char in _SPECIAL else char for char in printable(text))
