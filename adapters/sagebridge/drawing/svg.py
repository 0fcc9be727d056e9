"""SVG with its own layout, so that Graphviz is not required."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from xml.sax.saxutils import escape

from rich.cells import cell_len

from sagebridge.drawing.diagram import Diagram, Edge, Node
from sagebridge.drawing.layered import Layout, layered
from sagebridge.model.display import printable

_LINE, _PAD, _MARGIN, _GAP, _BETWEEN = 16.0, 12.0, 24.0, 28.0, 52.0
_CHAR = 8.3
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1b1b1f; text-anchor: middle }
.name { font-weight: 600 }
.type { fill: #5f6368; font-size: 12px }
.mark { fill: #c43e00; font-size: 12px; font-weight: 600 }
.title { font-size: 15px; font-weight: 600; text-anchor: start }
.legend { fill: #5f6368; font-size: 11px; text-anchor: start }
.box { fill: #eef4fb; stroke: #5b7fa6 }
.condition { fill: #fff8e1; stroke: #b28704 }
.loop { fill: #e8f5e9; stroke: #2e7d32 }
.fail { fill: #fdecea; stroke: #b3261e }
.loss { stroke: #d84315; stroke-width: 3 }
.edge { fill: none; stroke: #70757a; stroke-width: 1.4; marker-end: url(#arrow) }
.depends_on { stroke-dasharray: 5 4 }
.if { stroke: #2e7d32 }
.else { stroke: #b3261e }
.each { stroke: #2e7d32; stroke-width: 2.6 }
.label { font-size: 11px; paint-order: stroke; stroke: #ffffff; stroke-width: 4px }
"""
MARKER = (
    '<marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto-start-reverse"><path d="M0,0 L8,4 L0,8 z" fill="#70757a"/></marker>'
)
LEGEND = "solid: a value; dashed: DependsOn; green: if; red: else"


def svg(diagram: Diagram) -> str:
    """A picture as a file."""
    return "\n".join(_Picture(diagram).file()) + "\n"


def inline_svg(diagram: Diagram) -> str:
    """A picture in a page, which has the styles, :data:`MARKER`, the title and the legend."""
    return "".join(_Picture(replace(diagram, title="")).inline(diagram.title))


@dataclass(frozen=True, slots=True)
class _Box:
    """The box of a node; ``x`` is its centre, ``y`` its top."""

    node: Node
    x: float
    y: float
    width: float
    height: float

    @property
    def bottom(self) -> float:
        return self.y + self.height


class _Picture:
    def __init__(self, diagram: Diagram) -> None:
        self.diagram = diagram
        widths = [_width(node) for node in diagram.nodes]
        ends = [(edge.source, edge.target) for edge in diagram.edges]
        self.layout: Layout = layered(widths, ends, _GAP)
        self.tops, self.heights = self._rows()
        self.boxes = [
            _Box(
                node,
                self.layout.x[position] + _MARGIN,
                self.tops[layer] + (self.heights[layer] - _height(node)) / 2,
                widths[position],
                _height(node),
            )
            for position, (node, layer) in enumerate(
                zip(diagram.nodes, self.layout.layer, strict=True)
            )
        ]

    def _rows(self) -> tuple[list[float], list[float]]:
        """Top and height of each layer."""
        heights = [0.0] * (max(self.layout.layer, default=-1) + 1)
        for node, layer in zip(self.diagram.nodes, self.layout.layer, strict=True):
            heights[layer] = max(heights[layer], _height(node))
        tops, at = [], _MARGIN + (28.0 if self.diagram.title else 0.0)
        for height in heights:
            tops.append(at)
            at += height + _BETWEEN
        return tops, heights

    def file(self) -> Iterator[str]:
        texts = max(cell_len(self.diagram.title) * 9, cell_len(LEGEND) * 6)
        width, height = max(self.width, texts + 2 * _MARGIN), self.height + 20
        yield _opening(width, height)
        yield f"<title>{_text(self.diagram.title)}</title>"
        yield f"<style>{_STYLE}</style>"
        yield f"<defs>{MARKER}</defs>"
        yield '<rect width="100%" height="100%" fill="#ffffff"/>'
        if self.diagram.title:
            x, y = _MARGIN, _MARGIN + 8
            yield f'<text class="title" x="{x}" y="{y}">{_text(self.diagram.title)}</text>'
        yield from self._content()
        yield f'<text class="legend" x="{_MARGIN}" y="{height - 12:.0f}">{LEGEND}</text>'
        yield "</svg>"

    def inline(self, name: str) -> Iterator[str]:
        yield _opening(self.width, self.height)
        nodes = (f"{one.name}: {', '.join((one.type, *one.marks))}" for one in self.diagram.nodes)
        yield f"<title>Steps of {_text(name or 'the pipeline')}</title>"
        yield f"<desc>{_text('; '.join(nodes))}</desc>"
        yield from self._content()
        yield "</svg>"

    @property
    def width(self) -> float:
        return max((box.x + box.width / 2 for box in self.boxes), default=0.0) + _MARGIN

    @property
    def height(self) -> float:
        return max((box.bottom for box in self.boxes), default=_MARGIN) + _MARGIN

    def _content(self) -> Iterator[str]:
        yield from self._edges()
        for box in self.boxes:
            yield from _box_lines(box)

    def _edges(self) -> Iterator[str]:
        starts, ends = self._ports(start=True), self._ports(start=False)
        labels: list[str] = []
        for position, edge in enumerate(self.diagram.edges):
            points = self._points(position, edge, starts[position], ends[position])
            yield f'<path class="edge {edge.line}" d="{_curve(points)}"/>'
            if edge.label:
                x, y = points[0]
                toward = points[1][0]
                labels.append(
                    f'<text class="label" x="{x + (toward - x) * 0.35:.1f}" y="{y + 22:.1f}">'
                    f"{edge.label}</text>"
                )
        yield from labels

    def _ports(self, *, start: bool) -> dict[int, float]:
        """The x of each edge at its box. Edges are spread in the order of their other ends."""
        at: dict[int, list[int]] = defaultdict(list)
        for position, edge in enumerate(self.diagram.edges):
            at[edge.source if start else edge.target].append(position)
        ports: dict[int, float] = {}
        for node, positions in at.items():
            box = self.boxes[node]
            positions.sort(key=lambda one: self.layout.paths[one][1 if start else -2][1])
            step = min(22.0, box.width * 0.6 / len(positions))
            for place, position in enumerate(positions):
                ports[position] = box.x + (place - (len(positions) - 1) / 2) * step
        return ports

    def _points(
        self, position: int, edge: Edge, start: float, end: float
    ) -> list[tuple[float, float]]:
        """The points of an edge: its ports, and top and bottom of each layer between them."""
        source, target = self.boxes[edge.source], self.boxes[edge.target]
        downwards = self.layout.layer[edge.source] <= self.layout.layer[edge.target]
        points = [(start, source.bottom if downwards else source.y)]
        for layer, x in self.layout.paths[position][1:-1]:
            sides = (self.tops[layer], self.tops[layer] + self.heights[layer])
            points += [(x + _MARGIN, y) for y in (sides if downwards else sides[::-1])]
        points.append((end, target.y if downwards else target.bottom))
        return points


def _opening(width: float, height: float) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img">'
    )


def _curve(points: Sequence[tuple[float, float]]) -> str:
    path = f"M{points[0][0]:.1f},{points[0][1]:.1f}"
    for (x1, y1), (x2, y2) in pairwise(points):
        middle = (y1 + y2) / 2
        path += f" C{x1:.1f},{middle:.1f} {x2:.1f},{middle:.1f} {x2:.1f},{y2:.1f}"
    return path


def _texts(node: Node) -> list[tuple[str, str]]:
    """Class and text of each line in a node's box."""
    marks = [("mark", f"⚠ {mark}") for mark in node.marks]
    return [("name", node.name), ("type", node.type), *marks]


def _width(node: Node) -> float:
    widest = max(cell_len(text) for _, text in _texts(node))
    return max(90.0, widest * _CHAR + 2 * _PAD + (20.0 if node.kind == "condition" else 0.0))


def _height(node: Node) -> float:
    return len(_texts(node)) * _LINE + _PAD * 1.2


def _box_lines(box: _Box) -> Iterator[str]:
    left, right = box.x - box.width / 2, box.x + box.width / 2
    middle = box.y + box.height / 2
    kind = "box" if box.node.kind == "step" else box.node.kind
    style = f"{kind} loss" if box.node.marks else kind
    if box.node.kind == "condition":
        corners = (
            (left, middle),
            (left + 14, box.y),
            (right - 14, box.y),
            (right, middle),
            (right - 14, box.bottom),
            (left + 14, box.bottom),
        )
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
        yield f'<polygon class="{style}" points="{points}"/>'
    else:
        yield (
            f'<rect class="{style}" x="{left:.1f}" y="{box.y:.1f}" rx="6" '
            f'width="{box.width:.1f}" height="{box.height:.1f}"/>'
        )
    for number, (name, text) in enumerate(_texts(box.node)):
        y = box.y + _PAD * 0.6 + (number + 0.75) * _LINE
        yield f'<text class="{name}" x="{box.x:.1f}" y="{y:.1f}">{_text(text)}</text>'


def _text(text: str) -> str:
    return escape(printable(text))
