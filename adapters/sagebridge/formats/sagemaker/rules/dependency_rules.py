"""Rules for dependencies: DependsOn, cycles, and steps that need both branches of a Condition."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from sagebridge.formats.sagemaker.rules.definition import (
    BODY,
    BRANCHES,
    Branch,
    Definition,
    LocatedStep,
    Problem,
    label,
    wrong_option,
    wrong_type,
)
from sagebridge.formats.sagemaker.rules.known_keys import unknown_keys
from sagebridge.model.dependencies import ANY, COMPLETED, FAILED, STOPPED, TRIGGERS
from sagebridge.model.display import did_you_mean, shown

if TYPE_CHECKING:
    import networkx as nx

_DATA, _DEPENDS_ON, _BRANCH, _BODY = "a reference", "DependsOn", "the branch", "the body"
_SOURCE = "the steps that it cleans up"


class Edge(NamedTuple):
    """``target`` depends on ``source``; ``pointer`` is where the definition states it."""

    source: str
    target: str
    reason: str
    pointer: str
    trigger: str = COMPLETED


def check_dependencies(definition: Definition) -> Iterator[Problem]:
    yield from _check_depends_on(definition)
    import networkx as nx

    edges = list(_edges(definition))
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(definition.by_name)
    graph.add_edges_from((edge.source, edge.target) for edge in edges)
    yield from _cycles(graph, edges)
    yield from _check_triggers(definition, edges)
    graph.remove_edges_from(list(nx.selfloop_edges(graph)))
    if nx.is_directed_acyclic_graph(graph):
        yield from _never_run(definition, list(nx.topological_sort(graph)), edges)


def _check_depends_on(definition: Definition) -> Iterator[Problem]:
    for step in definition.steps:
        names = step.raw.get("DependsOn", [])
        if not isinstance(names, list):
            what = f"DependsOn of step {step.label}"
            yield wrong_option(step.at("DependsOn"), what, "an array of step names", names)
            continue
        for position, item in enumerate(names):
            pointer = step.at("DependsOn", position)
            name = _name(item)
            if name is not item:
                yield from _check_object(step, item, position)
            if not isinstance(name, str):
                what = f"DependsOn of step {step.label}"
                also = ", or an object whose Step is one" if isinstance(item, dict) else ""
                yield wrong_type(pointer, what, f"a step name{also}", name)
            elif name not in definition.by_name:
                hint = did_you_mean(name, definition.by_name)
                message = f"step {step.label}: unknown step {shown(name)} in DependsOn{hint}"
                yield Problem("unknown-step", pointer, message)
            elif definition.by_name[name].type == "Fail":
                message = (
                    f"step {step.label}: DependsOn names the Fail step {shown(name)}, and no step "
                    "can run after a Fail step"
                )
                yield Problem("depends-on-fail-step", pointer, message)


def _check_object(step: LocatedStep, item: dict[str, Any], position: int) -> Iterator[Problem]:
    """Checks an item with Step and Trigger."""
    what = f"dependency of step {step.label} on {shown(item['Step'])}"
    yield from unknown_keys(item, ("Step", "Trigger"), step.at("DependsOn", position), what)
    trigger, pointer = item.get("Trigger", COMPLETED), step.at("DependsOn", position, "Trigger")
    if not isinstance(trigger, str):
        yield wrong_type(pointer, f"Trigger of the {what}", "a string", trigger)
    elif trigger not in TRIGGERS:
        hint = did_you_mean(trigger, TRIGGERS) or f"; expected one of {', '.join(TRIGGERS)}"
        message = f"{what} has the unknown Trigger {shown(trigger)}{hint}"
        yield Problem("dependency-trigger", pointer, message, "warning")


def _check_triggers(definition: Definition, edges: Sequence[Edge]) -> Iterator[Problem]:
    """Steps that need two outcomes of one step."""
    needed: dict[tuple[str, str], list[Edge]] = defaultdict(list)
    for edge in edges:
        needed[edge.source, edge.target].append(edge)
    for (source, target), several in needed.items():
        given = [edge for edge in several if edge.reason == _DEPENDS_ON]
        names = list(dict.fromkeys(edge.trigger for edge in given))
        label = definition.by_name[target].label
        if len(names) > 1:
            message = (
                f"step {label} depends on {shown(source)} with the conflicting triggers "
                f"{' and '.join(names)}; keep one of them"
            )
            yield Problem("conflicting-triggers", given[1].pointer, message)
        reason = next((one.reason for one in several if one.reason != _DEPENDS_ON), None)
        if reason is not None and names and names[0] in (FAILED, STOPPED):
            message = (
                f"step {label} never runs: it depends on {shown(source)} with Trigger {names[0]}, "
                f"but {reason} needs the success of {shown(source)}"
            )
            yield Problem("never-runs", given[0].pointer, message, "warning")


def _name(item: object) -> Any:
    """The step that an item of DependsOn names: the item itself, or its key Step."""
    if isinstance(item, dict) and isinstance(item.get("Step"), str):
        return item["Step"]
    return item


def _edges(definition: Definition) -> Iterator[Edge]:
    """Every dependency between two steps. If two steps have one name, only the first counts."""
    known = definition.by_name
    for step in known.values():
        if step.branches:
            pointer, side = step.branches[-1]
            outer = definition.by_pointer[pointer]
            if known.get(outer.name) is outer:
                yield Edge(outer.name, step.name, _BODY if side == BODY else _BRANCH, "")
        names = step.raw.get("DependsOn")
        for position, item in enumerate(names if isinstance(names, list) else ()):
            name = _name(item)
            if isinstance(name, str) and name in known:
                trigger = item.get("Trigger") if isinstance(item, dict) else COMPLETED
                known_trigger = trigger if trigger in TRIGGERS else COMPLETED
                waits = definition.waiting(step, known[name]).name
                pointer = step.at("DependsOn", position)
                yield Edge(name, waits, _DEPENDS_ON, pointer, known_trigger)
        given = [_name(item) for item in names] if isinstance(names, list) else []
        for pointer, name in step.sources:
            if name in known and name not in given:
                waits = definition.waiting(step, known[name]).name
                yield Edge(name, waits, _SOURCE, pointer)
        for pointer, get in step.references:
            if get.step in known:
                waiting = definition.waiting(step, known[get.name])
                yield Edge(get.name, waiting.name, _DATA, pointer)


def _cycles(graph: nx.DiGraph[str], edges: Sequence[Edge]) -> Iterator[Problem]:
    """Each step that depends on itself, and the shortest cycle of each group of cycles."""
    import networkx as nx

    for edge in edges:
        if edge.source == edge.target:
            message = f"step {label(edge.source)} depends on itself through {edge.reason}"
            yield Problem("dependency-cycle", edge.pointer, message)
    order = {name: position for position, name in enumerate(graph)}
    by_ends: dict[tuple[str, str], list[Edge]] = defaultdict(list)
    for edge in edges:
        by_ends[edge.source, edge.target].append(edge)
    for group in nx.strongly_connected_components(graph):
        if len(group) == 1:
            continue
        start = min(group, key=lambda name: order[name])
        inside = graph.subgraph(group)
        paths = (nx.shortest_path(inside, next_, start) for next_ in inside[start])
        cycle = [start, *min((path for path in paths if len(path) > 1), key=len)]
        links = [
            max(by_ends[ends], key=lambda edge: edge.pointer != "") for ends in pairwise(cycle)
        ]
        written = next(link for link in (links[-1], *links) if link.pointer)
        reasons = sorted({link.reason for link in links})
        yield Problem(
            "dependency-cycle",
            written.pointer,
            f"dependency cycle {' -> '.join(label(name) for name in cycle)} "
            f"(through {' and '.join(reasons)})",
        )


def _never_run(
    definition: Definition, order: Sequence[str], edges: Sequence[Edge]
) -> Iterator[Problem]:
    """Steps that need both branches of one Condition; of each chain of them, only the first."""
    incoming: dict[str, list[Edge]] = defaultdict(list)
    for edge in edges:
        if edge.trigger != ANY:
            incoming[edge.target].append(edge)
    needs: dict[str, set[Branch]] = {}
    for name in order:
        step = definition.by_name[name]
        needs[name] = {branch for branch in step.branches if branch.side in BRANCHES}
        for edge in incoming[name]:
            clash = next((b for b in needs.get(edge.source, ()) if _other(b) in needs[name]), None)
            settled = any(_other(b) in needs[edge.source] for b in needs[edge.source])
            if clash is not None and not settled:
                condition = definition.name_of(clash.condition)
                yield Problem(
                    "never-runs",
                    edge.pointer,
                    f"step {step.label} never runs: it needs {_other(clash).side} of {condition}, "
                    f"but depends on {shown(edge.source)}, which needs {clash.side}",
                    "warning",
                )
                needs[name] |= needs[edge.source]
                break
            needs[name] |= needs[edge.source]


def _other(branch: Branch) -> Branch:
    return Branch(branch.condition, BRANCHES[1 - BRANCHES.index(branch.side)])
