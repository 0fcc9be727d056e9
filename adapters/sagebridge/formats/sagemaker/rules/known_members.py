"""Which members the objects of a definition have, and which step types take them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sagebridge.formats.sagemaker.rules.definition import Problem
from sagebridge.model.display import did_you_mean, shown
from sagebridge.model.step_types import STEP_TYPES
from sagebridge.model.visit import escape

DEFINITION = frozenset(
    ("Version", "Metadata", "Parameters", "PipelineExperimentConfig", "MlflowConfig", "Steps")
)
CONFIGS: Mapping[str, tuple[str, ...]] = {
    "PipelineExperimentConfig": ("ExperimentName", "TrialName"),
    "MlflowConfig": ("MlflowResourceArn", "MlflowExperimentName"),
}
PARAMETER = frozenset(("Name", "Type", "DefaultValue", "EnumValues", "Description"))
RETRY_POLICY = frozenset(
    ("ExceptionType", "IntervalSeconds", "BackoffRate", "MaxAttempts", "ExpireAfterMin")
)
CACHE = frozenset(("Enabled", "ExpireAfter"))
PROPERTY_FILE = frozenset(("PropertyFileName", "OutputName", "FilePath"))
OUTPUT_PARAMETER = frozenset(("OutputName", "OutputType"))
BRANCHING = frozenset(("Conditions", "IfSteps", "ElseSteps"))

EVERY_STEP = frozenset(("Name", "Type", "Arguments", "DependsOn", "DisplayName", "Description"))


def _some_steps() -> Iterator[tuple[str, str]]:
    for row in STEP_TYPES.values():
        for member in (*row.takes, *row.members.values()):
            if member not in row.ignored:
                yield member, row.name


SOME_STEPS: Mapping[str, frozenset[str]] = {
    member: frozenset(type_ for one, type_ in _some_steps() if one == member)
    for member, _ in _some_steps()
}
"""The step types on which each of the other members has an effect."""


def unknown_members(
    raw: Mapping[str, Any], known: Collection[str], pointer: str, what: str
) -> Iterator[Problem]:
    """A warning for each member that the object has no word for; translations keep it."""
    for name in raw:
        if name not in known:
            yield Problem(
                "unknown-member",
                f"{pointer}/{escape(name)}",
                f"{what} has no member {shown(name)}{did_you_mean(name, known)}",
                "warning",
            )
