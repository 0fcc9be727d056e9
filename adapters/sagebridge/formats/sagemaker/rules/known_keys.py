"""The keys that the objects of a definition can have, and the step types that use them."""

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
FOR_EACH = frozenset(("IterableItems", "MaxConcurrency", "Selector", "ForEachBody"))
SELECTOR = ("Pick", "Field")
BRANCHING = frozenset(("Conditions", "IfSteps", "ElseSteps"))

EVERY_STEP = frozenset(("Name", "Type", "Arguments", "DependsOn", "DisplayName", "Description"))


def _some_steps() -> Iterator[tuple[str, str]]:
    for row in STEP_TYPES.values():
        for key in (*row.takes, *row.members.values()):
            if key not in row.ignored:
                yield key, row.name


SOME_STEPS: Mapping[str, frozenset[str]] = {
    key: frozenset(type_ for one, type_ in _some_steps() if one == key) for key, _ in _some_steps()
}
"""For each other key, the step types on which it has an effect."""


def unknown_keys(
    raw: Mapping[str, Any], known: Collection[str], pointer: str, what: str
) -> Iterator[Problem]:
    """A warning for each unknown key. Translations keep it unchanged."""
    for name in raw:
        if name not in known:
            yield Problem(
                "unknown-member",
                f"{pointer}/{escape(name)}",
                f"{what}: unknown key {shown(name)}{did_you_mean(name, known)}",
                "warning",
            )
