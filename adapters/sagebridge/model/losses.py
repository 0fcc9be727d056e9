"""What a translation could not carry: a named value with its place, never a silence."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Severity = Literal["info", "changed", "dropped"]


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
        text = f"{self.place}: {self.severity}: {self.what} [{self.code}]"
        return f"{text}; {self.advice}" if self.advice else text

    def as_json(self) -> dict[str, str]:
        return asdict(self)
