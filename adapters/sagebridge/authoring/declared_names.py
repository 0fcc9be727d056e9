"""Checks of names that a DAG or flow file uses before or after it declares them.

Python accepts any string as the name of a step or parameter, so a typo is only found once all steps
are declared.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from sagebridge.model.display import did_you_mean
from sagebridge.model.pipeline import Step, step_references
from sagebridge.model.step_types import STEP_TYPES
from sagebridge.model.values import ABSENT


def find_faults(
    steps: Iterable[Step], names: Collection[str], parameters: Collection[str]
) -> list[str]:
    """Unknown steps and parameters, and missing arguments, one line each.

    Args:
        steps: the steps to check.
        names: the names of all steps that they may refer to.
        parameters: the names of all parameters.
    """
    found = (fault for step in steps for fault in _faults(step, names, parameters))
    return list(dict.fromkeys(found))


def _faults(step: Step, names: Collection[str], parameters: Collection[str]) -> Iterator[str]:
    label = f"step {step.name!r}"
    row = STEP_TYPES.get(step.type)
    if row is not None and not row.required and step.arguments is ABSENT:
        yield f"{label}: missing `arguments`"
    for name in step.dependencies:
        if name not in names:
            yield f"{label}: unknown step {name!r} in depends_on{did_you_mean(name, names)}"
    for reference in step_references(step):
        name = reference.name
        if reference.root == "Steps" and name not in names:
            yield f"{label}: reference to unknown step {name!r}{did_you_mean(name, names)}"
        elif reference.root == "Parameters" and name not in parameters:
            yield f"{label}: unknown parameter {name!r}{suggestion(name, parameters)}"


def unknown_arguments(
    function: str, given: Iterable[str], known: Collection[str], more: Collection[str] = ()
) -> str | None:
    """The message for keyword arguments that a function does not have; None if it has all.

    ``more`` are arguments that have been taken from ``given`` before.
    """
    unknown = [name for name in given if name not in known]
    if not unknown:
        return None
    listed = ", ".join(f"{name!r}{did_you_mean(name, (*known, *more))}" for name in unknown)
    return f"{function} has no argument {listed}"


def suggestion(name: str, known: Collection[str]) -> str:
    """The similar name, otherwise the list of known names, as the tail of a message."""
    there = f"; expected one of {', '.join(known)}" if known else " (there are none)"
    return did_you_mean(name, known) or there
