"""The style check for generated Python files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def check_clean(text: str, folder: Path) -> None:
    """Fail if ruff reports a problem in a generated file, or would format it differently."""
    file = folder / "generated.py"
    file.write_text(text)
    ruff = [sys.executable, "-m", "ruff"]
    options = ["--isolated", "--no-cache"]
    rules = ["--select=E,F,I,B,UP", "--ignore=E501", "--target-version=py311"]
    subprocess.run([*ruff, "check", *options, *rules, file], check=True)
    subprocess.run([*ruff, "format", "--check", *options, file], check=True)
