"""What a translation could not carry: a named value with its place, never a silence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Literal

Severity = Literal["info", "changed", "dropped"]
"""``info``: said in another way or made anew, so nothing is missing; ``changed``: it means another
thing in the target, or cannot run there; ``dropped``: the target does not have it at all."""

CODES = MappingProxyType(
    {
        "beside-definition": "what AWS keeps beside a definition has no place in it",
        "dependency-trigger": "a dependency that waits for another end than success",
        "duplicate-member": "a member written twice in one object; the last one counts",
        "pipeline-name": "a name that the target does not take",
        "role-missing": "a request or template without the role that SageMaker asks for",
        "template-function": "a function or variable of CloudFormation, kept as text",
        "template-rest": "what a CloudFormation template has beside the pipeline",
        "unknown-condition": "a condition that sagebridge keeps but cannot ask",
        "unknown-step-type": "a step type that sagebridge keeps but cannot run",
    }
)
"""Every code of a loss, and what it means. Codes are stable: scripts may look for them."""


@dataclass(frozen=True, slots=True)
class Loss:
    """``place`` is a JSON pointer or ``file:line`` in the source; ``advice`` says what to do."""

    code: str
    severity: Severity
    place: str
    what: str
    target: str
    advice: str = ""

    def __str__(self) -> str:
        place = f"{self.place}: " if self.place else ""
        text = f"{place}{self.severity}: {self.what} [{self.code}]"
        return f"{text}; {self.advice}" if self.advice else text

    def as_json(self) -> dict[str, str]:
        return asdict(self)


def counted(losses: Iterable[Loss]) -> tuple[Loss, ...]:
    """The losses that a person has to look at: all but those of severity ``info``."""
    return tuple(loss for loss in losses if loss.severity != "info")
