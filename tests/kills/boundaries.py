"""Kills a worker at each boundary of a step: ``python -m tests.kills.boundaries [TYPE ...]``.

After each kill another worker continues, once with the same records and once with empty ones, as on
another machine. Each time there must be exactly one job and a successful step.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from sagebridge_operators.steps import JOB_TYPES
from tests.faulty_aws.server import FaultyAws

KILLED = -9


def run(aws: FaultyAws, folder: Path, type_: str, die_at: int) -> int:
    """Runs one worker; returns its exit code."""
    command = [sys.executable, "-m", "tests.kills.worker", str(folder), type_, str(die_at)]
    environment = {**os.environ, **aws.environment("AKIAWORKER")}
    return subprocess.run(command, env=environment, check=False).returncode


def faults(aws: FaultyAws, type_: str, die_at: int, *, same: bool) -> list[str] | None:
    """The problems after one kill; None if the worker passed all boundaries."""
    aws.reset()
    aws.create_bucket("bucket")
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        if (code := run(aws, Path(first), type_, die_at)) != KILLED:
            return None if code == 0 else [f"the first worker ended with {code}"]
        code = run(aws, Path(first if same else second), type_, 0)
    operation = "".join(word.title() for word in JOB_TYPES[type_].create.split("_"))
    made = {one.name for one in aws.requests(operation) if one.done}
    found = [] if code == 0 else [f"the second worker ended with {code}"]
    return found if len(made) == 1 else [*found, f"{len(made)} jobs: {sorted(made)}"]


def kills(
    types: Sequence[str], positions: Sequence[int] = ()
) -> Iterator[tuple[str, int, bool, list[str]]]:
    """Yields type, boundary, whether the records were the same, and problems of each kill."""
    with FaultyAws() as aws:
        for type_, same in itertools.product(types, (True, False)):
            for die_at in positions or itertools.count(1):
                found = faults(aws, type_, die_at, same=same)
                if found is None:
                    break
                yield type_, die_at, same, found
                if found:  # later boundaries would fail the same way
                    break


def main(types: Sequence[str]) -> int:
    """The exit code: 1 if any kill left no job, two jobs, or a failed step."""
    total = wrong = 0
    for type_, die_at, same, found in kills(types or sorted(JOB_TYPES)):
        total += 1
        wrong += bool(found)
        for text in found:
            print(f"{type_} killed at {die_at} ({'same' if same else 'new'} records): {text}")
    print(f"{total} kills, {wrong} wrong")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
