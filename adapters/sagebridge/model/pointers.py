"""JSON pointers (RFC 6901) in a definition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Pipeline, Step


def step_pointers(steps: Sequence[Step], parent: str = "/Steps") -> Iterator[tuple[str, Step]]:
    """Every step with its JSON pointer in the definition."""
    for position, step in enumerate(steps):
        here = f"{parent}/{position}"
        yield here, step
        for name, key in step.inner_fields.items():
            yield from step_pointers(getattr(step, name) or (), f"{here}/Arguments/{key}")


def losses_by_step(pipeline: Pipeline, losses: Iterable[Loss]) -> dict[str, tuple[Loss, ...]]:
    """The losses of each step, by its name; those of the pipeline as a whole are below ``""``.

    A loss belongs to the step that it names, otherwise to the innermost step at its pointer.
    """
    pointers = dict(step_pointers(pipeline.steps))
    names = {step.name for step in pointers.values()}
    found: dict[str, tuple[Loss, ...]] = {}
    for loss in losses:
        place = loss.place
        while place and place not in pointers:
            place = place.rpartition("/")[0]
        at_place = pointers[place].name if place else ""
        name = loss.step if loss.step in names else at_place
        found[name] = (*found.get(name, ()), loss)
    return found
