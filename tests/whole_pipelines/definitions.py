"""The definitions that are run: those of the corpus, and those of ``tests/definitions``."""

from __future__ import annotations

import os
from pathlib import Path

import sagebridge
from sagebridge.model.pipeline import Pipeline, walk
from sagebridge.model.step_types import STEP_TYPES

WHOLE = "SAGEBRIDGE_WHOLE_PIPELINES"
"""Environment variable: ``all`` runs every definition on the engines, not only a few."""
MOST = 10
"""How many definitions run on each engine in CI."""
_OWN = Path(__file__).parent.parent / "definitions"


def definitions() -> list[Path]:
    """All files; those of the corpus only if SAGEBRIDGE_CORPUS is set."""
    corpus = os.environ.get("SAGEBRIDGE_CORPUS")
    folders = [*([Path(corpus) / "definitions"] if corpus else []), _OWN]
    return [path for folder in folders for path in sorted(folder.glob("*.json"))]


def pipeline_of(path: Path) -> Pipeline:
    """The pipeline of a file, with the same name on every engine."""
    return sagebridge.read(path, name=path.stem).pipeline


def missing_types(pipeline: Pipeline) -> list[str]:
    """The types of its steps that sagebridge cannot run."""
    return sorted({step.type for step in walk(pipeline)} - runnable_types())


def runnable_types() -> set[str]:
    return {name for name, row in STEP_TYPES.items() if row.runs}


def types_of(path: Path) -> set[str]:
    """The step types of a definition that can run; none if it has others, too."""
    pipeline = pipeline_of(path)
    return set() if missing_types(pipeline) else {step.type for step in walk(pipeline)}


def covering() -> list[Path]:
    """The few of ``tests/definitions`` that together hold every type that can run."""
    types = {path: types_of(path) for path in sorted(_OWN.glob("*.json"))}
    left = set().union(*types.values())
    chosen: list[Path] = []
    while left:
        chosen.append(max(types, key=lambda path: len(types[path] & left)))
        left -= types[chosen[-1]]
    return chosen


def on_engines() -> list[Path]:
    """The definitions that run on the real engines."""
    if os.environ.get(WHOLE) == "all":
        return [path for path in definitions() if types_of(path)]
    return covering()
