"""The visitor and rebuilder for value trees, and unused names."""

from __future__ import annotations

from itertools import islice
from typing import Any

from sagebridge.model.conditions import UnknownCondition, equals, is_in, not_, or_
from sagebridge.model.display import free_name, numbered
from sagebridge.model.expressions import Get, JsonGet, get, join, json_get, json_get_s3, parameter
from sagebridge.model.values import freeze, same
from sagebridge.model.visit import located, nodes, rebuild

A, B, C = (parameter(name) for name in "ABC")
FILE = get("Steps.Eval.PropertyFiles.F")
TREE = freeze({"a/b": [A, join("-", "x", B)], "c": json_get("Eval", "F", C), "d": None})
CONDITION = or_(not_(equals(A, 1)), is_in(B, [C, "x"]), UnknownCondition(freeze({"x": A})))


def gets(value: Any) -> list[Get]:
    return [node for node in nodes(value) if isinstance(node, Get)]


def swapped(node: Any) -> Any:
    return parameter("Z") if isinstance(node, Get) and node.name == "A" else node


def test_nodes_come_in_document_order() -> None:
    assert gets(TREE) == [A, B, C, FILE]
    assert gets(CONDITION) == [A, B, C, A]
    assert gets(json_get_s3(A, B)) == [B, A]
    assert list(nodes("text")) == ["text"]


def test_pruned_nodes_are_visited_without_their_parts() -> None:
    pruned = nodes(TREE, lambda node: isinstance(node, JsonGet))
    found = [node for node in pruned if isinstance(node, Get | JsonGet)]
    assert found == [A, B, TREE["c"]]


def test_pointers_end_at_expressions() -> None:
    found = [(pointer, node) for pointer, node in located(TREE, "") if isinstance(node, Get)]
    assert found == [("/a~1b/0", A), ("/a~1b/1", B), ("/c", C), ("/c", FILE)]


def test_rebuild_replaces_nodes_at_any_depth() -> None:
    assert gets(rebuild(TREE, swapped)) == [parameter("Z"), B, C, FILE]
    assert gets(rebuild(CONDITION, swapped)) == [parameter("Z"), B, C, parameter("Z")]


def test_rebuild_does_not_visit_replacements() -> None:
    grown = rebuild(freeze([1]), lambda node: freeze([1, 1]) if node == 1 else node)
    assert same(grown, freeze([[1, 1]]))


def test_rebuild_freezes_and_keeps_other_objects() -> None:
    odd = object()
    assert same(rebuild({"a": [1, 1.0, True]}, lambda node: node), freeze({"a": [1, 1.0, True]}))
    assert rebuild([odd], lambda node: node) == (odd,)


def test_free_names_are_numbered_from_two() -> None:
    assert free_name("a", ()) == "a"
    assert free_name("a", {"a", "a_2"}) == "a_3"
    assert free_name("abc", {"abc"}, "ab", "-") == "ab-2"
    assert list(islice(numbered("", ""), 3)) == ["", "_2", "_3"]
