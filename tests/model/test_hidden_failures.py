"""Steps whose failure does not reach any last step."""

from __future__ import annotations

import pytest

import sagebridge
from sagebridge.model.graph import hidden_failures


def step(name: str, *after: object) -> dict[str, object]:
    return {"Name": name, "Type": "Lambda", "Arguments": {}, "DependsOn": list(after)}


def on(name: str, trigger: str) -> object:
    return {"Step": name, "Trigger": trigger}


def gate(name: str, if_steps: list[object], else_steps: list[object], *after: str) -> object:
    arguments = {"Conditions": [], "IfSteps": if_steps, "ElseSteps": else_steps}
    return {"Name": name, "Type": "Condition", "Arguments": arguments, "DependsOn": list(after)}


@pytest.mark.parametrize(
    ("steps", "hidden"),
    [
        ([step("A"), step("B", "A")], ()),
        ([gate("G", [step("X")], [step("Y")])], ()),
        ([step("A"), gate("G", [step("X", "A")], [], "A")], ()),
        ([step("B"), gate("G", [step("X", "B")], [])], ("B",)),
        ([step("B"), gate("G", [step("X", "B")], []), step("Last", "B")], ()),
        ([step("A"), gate("G", [step("X"), step("Y", "X")], [], "A")], ()),
        ([gate("G", [step("X")], [step("Y", "X")])], ("X",)),
        ([step("B"), gate("G", [gate("H", [step("X")], [], "B")], [])], ("B",)),
        # A last step that runs anyway hides the failures before it.
        ([step("A"), step("B", "A"), step("Z", on("B", "Any"))], ("A", "B")),
        ([step("A"), step("B", "A"), step("Z", on("A", "Failed"))], ()),
        ([step("A"), step("Z", on("A", "Completed"))], ()),
        # X may be skipped because H is, before A has failed.
        ([step("A"), step("B"), step("H", on("B", "Failed")), step("X", "A", "H")], ("A", "B")),
        ([step("A"), step("B"), step("H", on("B", "Any")), step("X", "A", "H")], ("B",)),
    ],
)
def test_hidden_failures(steps: list[object], hidden: tuple[str, ...]) -> None:
    pipeline = sagebridge.read({"Version": "2020-12-01", "Steps": steps}).pipeline
    assert hidden_failures(pipeline) == hidden
