"""Small pipelines with triggers, and how they end: the same for both engines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sagebridge import ended, failed, stopped
from sagebridge.model.dependencies import Dependency
from sagebridge.model.expressions import properties_of
from sagebridge.model.pipeline import Step
from tests.fakes import Plan
from tests.shapes import FALSE, TRUE, branch, model, training


@dataclass(frozen=True, slots=True)
class TriggerCase:
    """``ends`` are the outcomes of jobs that do not succeed; ``states`` those of the other steps.

    A step that is in neither succeeds.
    """

    steps: tuple[Step, ...]
    ends: Mapping[str, str]
    status: str
    states: Mapping[str, str] = field(default_factory=dict)

    @property
    def plans(self) -> dict[str, Plan]:
        return {f"-{name}-": Plan(("InProgress", end)) for name, end in self.ends.items()}

    @property
    def expected(self) -> dict[str, str]:
        """The state of each step."""
        names = [one.name for step in self.steps for one in (step, *step.inner)]
        return dict.fromkeys(names, "Succeeded") | {**self.ends, **self.states}


def after(name: str, *items: str | Dependency) -> Step:
    return training(name, depends_on=items)


def uses(name: str, source: str, *items: str | Dependency) -> Step:
    job = properties_of(source).TrainingJobName
    containers = [{"Image": "image", "Environment": {"JOB": job}}]
    return replace(model(name, Containers=containers), depends_on=items)


A, B, C = training("One"), after("Two", "One"), after("Three", "Two")
CASES: Mapping[str, TriggerCase] = {
    "handler": TriggerCase(
        (A, B, after("Alert", failed("One"))),
        {"One": "Failed"},
        "CompletedWithFailures",
        {"Two": "NotRun"},
    ),
    "handler-not-needed": TriggerCase(
        (A, B, after("Alert", failed("One")), after("Last", "Alert")),
        {},
        "Succeeded",
        {"Alert": "Skipped", "Last": "Skipped"},
    ),
    "handler-of-a-chain": TriggerCase(
        (A, B, C, after("Alert", failed("Three"))),
        {"One": "Failed"},
        "CompletedWithFailures",
        {"Two": "NotRun", "Three": "NotRun"},
    ),
    "final-step": TriggerCase(
        (A, B, after("Final", ended("Two"))),
        {"One": "Failed"},
        "CompletedWithFailures",
        {"Two": "NotRun"},
    ),
    "final-step-after-success": TriggerCase((A, B, after("Final", ended("Two"))), {}, "Succeeded"),
    "mixed": TriggerCase(
        (
            A,
            B,
            after("Rescue", "One", failed("Two")),
            after("Final", ended("Rescue"), failed("Two")),
        ),
        {"Two": "Failed"},
        "CompletedWithFailures",
    ),
    "mixed-without-failure": TriggerCase(
        (A, B, after("Rescue", "One", failed("Two")), after("Final", ended("Rescue"))),
        {},
        "Succeeded",
        {"Rescue": "Skipped"},
    ),
    "mixed-not-run": TriggerCase(
        (A, B, after("Rescue", "One", failed("Two"))),
        {"One": "Failed"},
        "Failed",
        {"Two": "NotRun", "Rescue": "NotRun"},
    ),
    "stopped": TriggerCase(
        (
            A,
            after("Resume", stopped("One")),
            after("Alert", failed("One")),
            after("Final", ended("One")),
        ),
        {"One": "Stopped"},
        "Stopped",
        {"Alert": "Skipped"},
    ),
    "not-stopped": TriggerCase(
        (A, after("Resume", stopped("One"))), {"One": "Failed"}, "Failed", {"Resume": "Skipped"}
    ),
    "branch-taken": TriggerCase(
        (A, branch("Gate", TRUE, after("Inner", failed("One")))),
        {"One": "Failed"},
        "CompletedWithFailures",
    ),
    "branch-not-taken": TriggerCase(
        (A, branch("Gate", FALSE, after("Inner", ended("One"))), after("Final", ended("Inner"))),
        {"One": "Failed"},
        "Failed",
        {"Inner": "Skipped"},
    ),
    "reference": TriggerCase(
        (
            training("Base"),
            A,
            uses("User", "Base", ended("One")),
            uses("Never", "One", ended("One")),
        ),
        {"One": "Failed"},
        "CompletedWithFailures",
        {"Never": "NotRun"},
    ),
}
