"""Runs the *.md files in this folder.

Each section is a test case. A fence with a file name (```json bad.json) writes that file. A
```console fence has a command after ``$``, its output, and its exit code after ``=>`` if not 0.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

FENCE = re.compile(r"^```(?P<info>.+)\n(?P<body>(?:.*\n)*?)```$", re.MULTILINE)


def sections() -> Iterator[tuple[str, str]]:
    for file in sorted(Path(__file__).parent.glob("*.md")):
        for section in file.read_text().split("\n## ")[1:]:
            yield f"{file.stem}: {section.partition(chr(10))[0]}", section


def run(command: str, folder: Path) -> str:
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONUTF8": "1",
    }
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    code = f"=> {done.returncode}\n" if done.returncode else ""
    return f"$ {command}\n{done.stdout}{code}".replace(str(folder), "FOLDER")


@pytest.mark.parametrize("section", [pytest.param(body, id=name) for name, body in sections()])
def test_section(section: str, tmp_path: Path) -> None:
    ran = 0
    for fence in FENCE.finditer(section):
        if fence["info"] == "console":
            command = fence["body"].partition("\n")[0].removeprefix("$ ")
            assert run(command, tmp_path) == fence["body"]
            ran += 1
        else:
            file = tmp_path / fence["info"].split()[1]
            file.parent.mkdir(exist_ok=True)
            file.write_text(fence["body"])
    assert ran, "the section has no console fence"
