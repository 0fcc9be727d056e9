"""The items of DependsOn: the name of a step, or a step with the outcome that it must have.

SDK 3.26 introduced triggers (``StepDependency`` and ``TriggerCondition`` in
sagemaker.mlops.workflow.step_dependency).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sagebridge.model.converters import convert
from sagebridge.model.display import shown
from sagebridge.model.expressions import HasProperties, Properties, RunTimeExpression
from sagebridge.model.values import ABSENT, EMPTY, Object, Strict, Value, freeze

COMPLETED, FAILED, STOPPED, ANY = "Completed", "Failed", "Stopped", "Any"
TRIGGERS = (COMPLETED, FAILED, STOPPED, ANY)


@dataclass(frozen=True, slots=True, eq=False)
class Dependency(Strict):
    """An item of DependsOn that is an object: ``{"Step": "A", "Trigger": "Failed"}``.

    Args:
        step: the name of the other step.
        trigger: the outcome of that step after which this one runs; ABSENT means Completed. An
            unknown trigger is kept.
        extra: every other key.
    """

    step: str
    trigger: Value = ABSENT
    extra: Object = EMPTY

    if TYPE_CHECKING:

        def __init__(
            self, step: str, trigger: Value = ABSENT, extra: Mapping[str, Value] = EMPTY
        ) -> None: ...

    def __post_init__(self) -> None:
        convert(self, "dependency")

    @property
    def is_known(self) -> bool:
        return self.trigger is ABSENT or self.trigger in TRIGGERS

    @property
    def is_helper(self) -> bool:
        """Whether :func:`failed`, :func:`stopped` or :func:`ended` returns it."""
        return not self.extra and self.trigger in HELPERS

    def written(self) -> Object:
        """The object in a definition."""
        trigger = {} if self.trigger is ABSENT else {"Trigger": self.trigger}
        return Object({"Step": self.step, **trigger, **self.extra})


def with_trigger(step: str, trigger: str) -> str | Dependency:
    """The item of ``depends_on``: a plain name for Completed."""
    return step if trigger == COMPLETED else Dependency(step, trigger)


def failed(step: str | HasProperties) -> Dependency:
    """For ``depends_on``: run after ``step`` has failed, or could not run after a failure."""
    return Dependency(_name(step), FAILED)


def stopped(step: str | HasProperties) -> Dependency:
    """For ``depends_on``: run after ``step`` was stopped."""
    return Dependency(_name(step), STOPPED)


def ended(step: str | HasProperties) -> Dependency:
    """For ``depends_on``: run after ``step`` has ended in any way, or cannot run any more."""
    return Dependency(_name(step), ANY)


HELPERS = MappingProxyType({FAILED: "failed", STOPPED: "stopped", ANY: "ended"})
"""The function that writes each trigger in Python; a plain step means Completed."""


def read_dependency(raw: Mapping[str, Any]) -> Dependency:
    """The dependency of an object with a key Step; its value is a string."""
    others = {key: freeze(value) for key, value in raw.items() if key not in ("Step", "Trigger")}
    return Dependency(raw["Step"], freeze(raw.get("Trigger", ABSENT)), Object(others))


def dependency(given: Any) -> str | Dependency:
    """Converts an item of ``depends_on``. Raises TypeError."""
    if isinstance(given, str | Dependency):
        return given
    if isinstance(given, Mapping) and isinstance(given.get("Step"), str):
        return read_dependency(given)
    return _name(given)


def _name(given: Any) -> str:
    if isinstance(given, str):
        return given
    properties = (
        None if isinstance(given, RunTimeExpression) else getattr(given, "properties", None)
    )
    if isinstance(properties, Properties):
        return properties._get.name
    raise TypeError(f"expected a step or a step name, got {shown(given)}")
