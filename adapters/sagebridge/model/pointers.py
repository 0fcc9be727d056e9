"""JSON pointers (RFC 6901) in a definition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sagebridge.model.pipeline import ConditionStep, Step


def step_pointers(steps: Sequence[Step], parent: str = "/Steps") -> Iterator[tuple[str, Step]]:
    """Every step with its JSON pointer in the definition."""
    for position, step in enumerate(steps):
        here = f"{parent}/{position}"
        yield here, step
        if isinstance(step, ConditionStep):
            yield from step_pointers(step.if_steps or (), f"{here}/Arguments/IfSteps")
            yield from step_pointers(step.else_steps or (), f"{here}/Arguments/ElseSteps")
