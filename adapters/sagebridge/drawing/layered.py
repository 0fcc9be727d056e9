"""A layered layout of a directed graph, from top to bottom, with few crossings.

The method of Sugiyama, Tagawa and Toda (1981): longest-path layers, a dummy node in each layer that
an edge crosses, barycenter sweeps against crossings, and positions by least squares.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

SWEEPS = 12
_DUMMY_WIDTH = 8.0


@dataclass(slots=True)
class Layout:
    """The centre x and layer of each node, and for each edge its x in each layer."""

    x: list[float]
    layer: list[int]
    paths: list[list[tuple[int, float]]]


def layered(widths: Sequence[float], edges: Sequence[tuple[int, int]], gap: float) -> Layout:
    """Lay out nodes of the given widths. Edges that close a cycle point upwards."""
    forward = _without_cycles(len(widths), edges)
    layer = _layers(len(widths), forward)
    graph = _Layers(list(widths), list(layer))
    chains = [graph.chain(source, target) for source, target in forward]
    graph.order()
    x = graph.positions(gap)
    paths = [[(graph.layer[node], x[node]) for node in chain] for chain in chains]
    for position, (edge, drawn) in enumerate(zip(edges, forward, strict=True)):
        if edge != drawn:
            paths[position].reverse()
    return Layout(x[: len(widths)], layer, paths)


def _without_cycles(number: int, edges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The edges, with the back edges of a depth-first search reversed."""
    out: list[list[int]] = [[] for _ in range(number)]
    for source, target in edges:
        out[source].append(target)
    state = [0] * number
    back: set[tuple[int, int]] = set()
    for root in range(number):
        stack = [(root, iter(out[root]))] if not state[root] else []
        state[root] = state[root] or 1
        while stack:
            node, targets = stack[-1]
            target = next(targets, -1)
            if target < 0:
                state[node] = 2
                stack.pop()
            elif state[target] == 1:
                back.add((node, target))
            elif state[target] == 0:
                state[target] = 1
                stack.append((target, iter(out[target])))
    return [(b, a) if (a, b) in back else (a, b) for a, b in edges]


def _layers(number: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    out: list[list[int]] = [[] for _ in range(number)]
    waiting = [0] * number
    for source, target in edges:
        if source != target:
            out[source].append(target)
            waiting[target] += 1
    layer = [0] * number
    ready = [node for node in range(number) if not waiting[node]]
    for node in ready:
        for target in out[node]:
            layer[target] = max(layer[target], layer[node] + 1)
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    return layer


class _Layers:
    """The nodes and dummies of each layer, and their order."""

    def __init__(self, widths: list[float], layer: list[int]) -> None:
        self.widths, self.layer = widths, layer
        self.real = len(widths)
        self.up: list[list[int]] = [[] for _ in widths]
        self.down: list[list[int]] = [[] for _ in widths]
        self.rows: list[list[int]] = []

    def chain(self, source: int, target: int) -> list[int]:
        """The nodes of an edge, with a new dummy in each layer between its ends."""
        nodes = [source]
        for layer in range(self.layer[source] + 1, self.layer[target]):
            nodes.append(len(self.widths))
            self.widths.append(_DUMMY_WIDTH)
            self.layer.append(layer)
            self.up.append([])
            self.down.append([])
        nodes.append(target)
        for above, below in pairwise(nodes):
            if above != below:
                self.down[above].append(below)
                self.up[below].append(above)
        return nodes

    def order(self) -> None:
        rows: list[list[int]] = [[] for _ in range(max(self.layer, default=-1) + 1)]
        for node, layer in enumerate(self.layer):
            rows[layer].append(node)
        best, fewest = [list(row) for row in rows], self._crossings(rows)
        for sweep in range(SWEEPS):
            downwards = sweep % 2 == 0
            neighbours = self.up if downwards else self.down
            for above, row in _pairs(rows, downwards):
                place = {node: position for position, node in enumerate(above)}
                own = {node: position for position, node in enumerate(row)}
                row.sort(key=lambda node: _mean(neighbours[node], place, own[node]))
            crossings = self._crossings(rows)
            if crossings < fewest:
                best, fewest = [list(row) for row in rows], crossings
        self.rows = best

    def _crossings(self, rows: list[list[int]]) -> int:
        total = 0
        for above, below in pairwise(rows):
            place = {node: position for position, node in enumerate(below)}
            seen: list[int] = []
            for node in above:
                ends = sorted(place[target] for target in self.down[node])
                total += sum(len(seen) - bisect_left(seen, end + 1) for end in ends)
                for end in ends:
                    insort(seen, end)
        return total

    def positions(self, gap: float) -> list[float]:
        x = [0.0] * len(self.widths)
        for row in self.rows:
            at = 0.0
            for node in row:
                x[node] = at + self.widths[node] / 2
                at += self.widths[node] + gap
            for node in row:
                x[node] -= (at - gap) / 2
        for sweep in range(SWEEPS):
            downwards = sweep % 2 == 0
            for _, row in _pairs(self.rows, downwards):
                wanted, weights = [], []
                for node in row:
                    near = self.up[node] if downwards else self.down[node]
                    both = near or self.up[node] + self.down[node]
                    wanted.append(sum(x[one] for one in both) / len(both) if both else x[node])
                    weights.append(8.0 if node >= self.real else 1.0)
                halves = [self.widths[node] / 2 for node in row]
                for node, value in zip(row, _apart(wanted, weights, halves, gap), strict=True):
                    x[node] = value
        left = min((x[node] - self.widths[node] / 2 for node in range(len(x))), default=0.0)
        return [value - left for value in x]


def _pairs(rows: list[list[int]], downwards: bool) -> list[tuple[list[int], list[int]]]:
    """Pairs of a fixed layer and the adjacent layer to arrange."""
    ordered = rows if downwards else rows[::-1]
    return list(pairwise(ordered))


def _mean(nodes: Sequence[int], place: dict[int, int], otherwise: float) -> float:
    return sum(place[node] for node in nodes) / len(nodes) if nodes else otherwise


def _apart(
    wanted: Sequence[float], weights: Sequence[float], halves: Sequence[float], gap: float
) -> list[float]:
    """The positions nearest to those wanted (least squares) that keep order and distance.

    Uses pool adjacent violators: after subtracting the space before each node, positions only have
    to be non-decreasing.
    """
    room, offsets = 0.0, []
    for position, half in enumerate(halves):
        room += half + (halves[position - 1] + gap if position else 0.0)
        offsets.append(room)
    blocks: list[list[float]] = []  # value, weight, number of nodes
    for value, weight, offset in zip(wanted, weights, offsets, strict=True):
        blocks.append([value - offset, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            last, before = blocks.pop(), blocks.pop()
            total = last[1] + before[1]
            mean = (last[0] * last[1] + before[0] * before[1]) / total
            blocks.append([mean, total, last[2] + before[2]])
    values = [value for value, _, members in blocks for _ in range(int(members))]
    return [value + offset for value, offset in zip(values, offsets, strict=True)]
