"""Compiles the pipelines on version 3 of the SDK to ``tests/definitions``.

``.venvs/sagemaker-3/bin/python tests/sagemaker/compile.py [NAME...]`` writes ``sdk3-NAME.json``.
"""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable, Iterator
from inspect import isfunction
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
DEFINITIONS = _HERE.parent / "definitions"
FILES = tuple(_HERE / "pipelines" / f"{name}.py" for name in ("v3", "v3_each", "v3_types"))


def pipelines() -> Iterator[tuple[str, Callable[[], Any]]]:
    """The name of each definition, and the function that builds its pipeline."""
    sys.path.insert(0, str(FILES[0].parent))
    try:
        for file in FILES:
            found = runpy.run_path(str(file))
            for name, build in found.items():
                if _builds_pipeline(build, file):
                    yield name, build
    finally:
        sys.path.remove(str(FILES[0].parent))


def _builds_pipeline(value: Any, file: Path) -> bool:
    """Whether a value is a function of a file without arguments that returns a pipeline."""
    return (
        isfunction(value)
        and value.__code__.co_filename == str(file)
        and value.__annotations__ == {"return": "Pipeline"}
    )


def path_of(name: str) -> Path:
    return DEFINITIONS / f"sdk3-{name.replace('_', '-')}.json"


def main(wanted: list[str]) -> None:
    for name, build in pipelines():
        if not wanted or name in wanted:
            definition = json.loads(build().definition())
            path_of(name).write_text(json.dumps(definition, indent=2) + "\n")
            print("written", path_of(name).name)


if __name__ == "__main__":
    main(sys.argv[1:])
