"""The findings of ``validate``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem in a definition.

    ``pointer`` is a JSON pointer (RFC 6901) into the definition; ``line`` and ``column`` count from
    1. The column is that of the value, or of its key in an object.
    """

    code: str
    severity: Literal["error", "warning"]
    pointer: str
    line: int
    message: str
    column: int = 1

    def __str__(self) -> str:
        """``12: error: step A: … [unknown-step] /Steps/0/…``, the format of compilers."""
        line = f"{self.line}: {self.severity}: {self.message} [{self.code}] {self.pointer}"
        return line.rstrip()

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
