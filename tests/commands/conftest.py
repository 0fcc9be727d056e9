"""Definition files for commands run in the test process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write(folder: Path, name: str, *steps: dict[str, Any], **members: Any) -> Path:
    """Write a definition file."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"Version": "2020-12-01", "Steps": list(steps), **members}))
    return path
