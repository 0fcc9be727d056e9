"""The log file of a local job, read while the job writes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sagebridge_operators.backends.local.job_api import has_ended
from sagebridge_operators.lifecycle.backend import LINES


@dataclass(slots=True)
class LocalLog:
    """The log of one job; ``position`` is a number of bytes."""

    home: Path
    kind: str
    job: str
    position: int = 0

    def read(self, limit: int = LINES) -> list[str]:
        """The complete lines since the last call; a file has no limit.

        An incomplete last line is returned only after the job has ended.
        """
        final = has_ended(self.home, self.kind, self.job)
        try:
            with (self.home / "jobs" / self.kind / self.job / "log").open("rb") as log:
                log.seek(self.position)
                written = log.read()
        except FileNotFoundError:
            return []
        if not final:
            written = written[: written.rfind(b"\n") + 1]
        self.position += len(written)
        return written.decode(errors="replace").splitlines()
