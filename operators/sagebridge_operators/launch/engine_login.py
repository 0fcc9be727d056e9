"""The login of a private engine."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Login:
    """User and password of a private engine's only user."""

    user: str
    password: str = field(repr=False)

    @classmethod
    def random(cls) -> Self:
        return cls("admin", secrets.token_urlsafe(24))

    @property
    def pair(self) -> str:
        """``user:password``, the form of HTTP basic authentication."""
        return f"{self.user}:{self.password}"

    def write(self, file: Path) -> None:
        """Write ``{"user": "password"}``, readable only by this user: Airflow's passwords file."""
        file.unlink(missing_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            json.dump({self.user: self.password}, stream)
