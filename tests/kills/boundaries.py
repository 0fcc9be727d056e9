"""Kills a worker at each boundary of a step: ``python -m tests.kills.boundaries [CASE ...]``.

A case is a type of job, alone, with a retry policy (``Training+retried``, its first job fails) or
with a cache (``Training+cached``, an earlier execution has run it). After each kill another worker
continues, once with the same records and once with empty ones, as on another machine. Each time
there must be exactly the jobs of one undisturbed run, and a successful step with outputs.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from sagebridge.model.step_types import STEP_TYPES
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.steps import PIPELINE_TYPES
from tests.fakes import operations
from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.server import FaultyAws

KILLED = -9
EXECUTION, EARLIER = "0123456789ab", "ba9876543210"
RETRIED = JobScript(
    name="*-0",
    statuses=("InProgress", "Failed"),
    members={"FailureReason": "InternalServerError: We encountered an internal error."},
)


def cases() -> list[str]:
    """Every type of job, and each way in which a job that can be stopped runs."""
    found = []
    for name, _job_type in sorted(PIPELINE_TYPES.items()):
        row = STEP_TYPES[name]
        ways = ["", *(["+retried"] if "SageMaker.JOB_INTERNAL_ERROR" in row.retried else [])]
        ways += ["+cached"] if row.cached_by else []
        found += [f"{name}{way}" for way in ways]
    return found


def run(aws: FaultyAws, folder: Path, case: str, die_at: int, execution: str = EXECUTION) -> int:
    """Runs one worker; returns its exit code."""
    module = "tests.kills.worker"
    command = [sys.executable, "-m", module, str(folder), case, execution, str(die_at)]
    queue = {"SAGEBRIDGE_RESPONSE_QUEUE": "https://sqs/111122223333/answers"}
    environment = {**os.environ, **aws.environment("AKIAWORKER"), **queue}
    return subprocess.run(command, env=environment, check=False).returncode


def faults(aws: FaultyAws, case: str, die_at: int, *, same: bool) -> list[str] | None:
    """The problems after one kill; None if the worker passed all boundaries."""
    aws.reset()
    aws.create_bucket("bucket")
    type_, _, way = case.partition("+")
    expected = 1
    if way == "retried":
        aws.add_scripts(RETRIED)
        expected = 2
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        if way == "cached":
            if code := run(aws, Path(first), case, 0, EARLIER):
                return [f"the earlier execution ended with {code}"]
            expected = 1 if same else 2  # a cache is part of the records
        if (code := run(aws, Path(first), case, die_at)) != KILLED:
            return None if code == 0 else [f"the first worker ended with {code}"]
        folder = Path(first if same else second)
        code = run(aws, folder, case, 0)
        ended = ExecutionRecords(Folder(folder)).steps(EXECUTION).get("Step")
    found = [] if code == 0 else [f"the second worker ended with {code}"]
    if ended is None or ended.state != "Succeeded" or not ended.outputs:
        found.append(f"the record has {ended}")
    operation = operations(PIPELINE_TYPES[type_].service)[PIPELINE_TYPES[type_].create]
    made = [one.name for one in aws.requests(operation) if one.done]
    repeated = PIPELINE_TYPES[type_].found_by in ("token", "at-least-once")
    if hasattr(PIPELINE_TYPES[type_], "update"):  # all executions make and change one resource
        expected = 1
    if len(set(made)) != expected or (len(made) != expected and not repeated):
        found.append(f"expected {expected} jobs, got {sorted(made)}")
    return found


def kills(
    chosen: Sequence[str], positions: Sequence[int] = ()
) -> Iterator[tuple[str, int, bool, list[str]]]:
    """Yields case, boundary, whether the records were the same, and problems of each kill."""
    with FaultyAws() as aws:
        for case, same in itertools.product(chosen, (True, False)):
            for die_at in positions or itertools.count(1):
                found = faults(aws, case, die_at, same=same)
                if found is None:
                    break
                yield case, die_at, same, found
                if found:  # later boundaries would fail the same way
                    break


def main(chosen: Sequence[str]) -> int:
    """The exit code: 1 if any kill left no job, one job too many, or a failed step."""
    total = wrong = 0
    for case in chosen or cases():
        before = total
        for _, die_at, same, found in kills([case]):
            total += 1
            wrong += bool(found)
            for text in found:
                print(f"{case} killed at {die_at} ({'same' if same else 'new'} records): {text}")
        print(f"{case}: {total - before} kills", flush=True)
    print(f"{total} kills, {wrong} wrong")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
