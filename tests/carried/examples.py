"""Runs DAGs and flows that others wrote and their translations, and counts equal tasks.

By default, these are the example DAGs that Airflow and its providers install.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagebridge import registry
from tests.carried.outcomes import ENVIRONMENTS, OTHER, Desk, RunError
from tests.carried.scenarios import Scenario

_DATE = "2026-10-05T06:00:00+00:00"
"""After the start dates of all examples: a DAG run has no tasks that start later."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the comparison of one DAG or flow found.

    Attributes:
        word: same, differs or cannot run.
        equal: how many tasks did the same.
        reported: how many of the others have a loss.
        tasks: how many tasks ran.
        lines: the differences, or why the original cannot run.
    """

    name: str
    word: str
    equal: int = 0
    reported: int = 0
    tasks: int = 0
    lines: tuple[str, ...] = ()


def installed() -> Iterator[Path]:
    """The example DAGs of the Airflow environment."""
    packages = ENVIRONMENTS["airflow"].parent.parent.glob("lib/python*/site-packages/airflow")
    for package in packages:
        for folder in sorted(package.rglob("example_dags")):
            yield from sorted(folder.glob("*.py"))


def files_in(given: Path) -> Iterator[Path]:
    yield from sorted(given.rglob("*.py")) if given.is_dir() else (given,)


def verdicts(desk: Desk, file: Path) -> Iterator[Verdict]:
    """One per DAG or flow of a file; none for a file without any."""
    try:
        engine = registry.detect(str(file)).name
    except registry.NoOrchestrator:
        return
    if engine not in OTHER:
        return
    if "airflow" in desk.programs:  # assets of another file may have the same names
        desk.stop("airflow")
    try:
        _, parts = desk.translate(engine, file, None)
    except RunError as error:
        if not re.search("has no (DAG|flow)", str(error)):
            yield Verdict(file.name, "cannot run", lines=(_reason(error),))
        return
    for name in parts["names"]:
        yield _verdict(desk, engine, file, name)


def _verdict(desk: Desk, engine: str, file: Path, name: str) -> Verdict:
    shown, scenario = f"{file.name}#{name}", Scenario(name=name, date=_DATE)
    date = desk.date(scenario)
    try:
        original = desk.run(engine, file, scenario, name=name, date=date)
    except RunError as error:
        return Verdict(shown, "cannot run", lines=(_reason(error),))
    ran = [task for task, runs in original.tasks.items() if any(map(_has_run, runs))]
    try:
        written, parts = desk.translate(engine, file, name)
        translated = desk.run(OTHER[engine], written, scenario, name=None, date=date)
        found = list(translated.differences(original, parts))
        if found:  # the time of day, for example, differs between two runs of the original, too
            again = desk.run(engine, file, scenario, name=name, date=desk.date(scenario))
            vary = [task for task, runs in original.tasks.items() if runs != again.tasks.get(task)]
            parts["without_result"] += vary
            found = list(translated.differences(original, parts))
    except RunError as error:
        return Verdict(shown, "differs", 0, 0, len(ran), (_reason(error),))
    unequal = [task for task in ran if any(line.startswith(f"{task}: ") for line in found)]
    equal = len(ran) - len(unequal)
    if not found:
        return Verdict(shown, "same", equal, 0, len(ran))
    messages = (
        f"step {step}: {one['message']}"
        for step, runs in translated.steps.items()
        for one in runs
        if one.get("message")
    )
    losses = [loss for loss in parts["losses"] if ": info: " not in loss]
    reported = sum(any(task.rpartition(".")[2] in loss for loss in losses) for task in unequal)
    return Verdict(shown, "differs", equal, reported, len(ran), (*found, *messages, *losses))


def _has_run(run: Mapping[str, Any]) -> bool:
    """Whether a task ran or was skipped: after a failure, tasks do neither."""
    return bool(run["state"] != "not run")


def _reason(error: RunError) -> str:
    """The last line of a traceback, or that a program did not answer."""
    lines = str(error).strip().splitlines()
    return lines[0][:80] if lines[0].startswith("no answer") else lines[-1]
