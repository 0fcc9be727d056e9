"""Kills processes of a running engine: ``python -m tests.kills.engines --on airflow``.

Each run has one Training step, whose job takes seconds on the fake AWS. Its worker, or a service of
the engine, gets SIGKILL at a random moment (``--seed`` repeats them). Then each run must succeed
with one job. If the engine starts no new worker, the run is retried here, and the job of the killed
worker must have been stopped before.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from sagebridge_operators.lifecycle.attempt import Attempt
from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.server import FaultyAws


class Engine(Protocol):
    """An engine with runs of one step.

    ``kinds`` are the processes that can be killed: of one run, or of all of them.
    """

    @property
    def kinds(self) -> Sequence[str]: ...

    @property
    def shared(self) -> frozenset[str]: ...

    def start(self, run: str) -> None:
        """Starts a run and waits until its worker has started."""

    def kill_one(self, kind: str, run: str) -> bool:
        """Kills a process; False if there is none any more."""

    def restart(self, kind: str) -> None:
        """Starts a shared process again."""

    def finish(self, run: str) -> str:
        """Waits until a run has ended, retries it if the engine does not; returns its state."""

    def attempts(self, run: str) -> list[Attempt]: ...


@dataclass(slots=True)
class Result:
    """What was killed, and what went wrong."""

    kills: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def prove(
    engine: Engine, aws: FaultyAws, runs: int, moments: random.Random, *, together: int, job: float
) -> Result:
    """Starts ``together`` runs at a time and kills one process of each, or one of all of them."""
    result = Result()
    names = [f"run-{number}" for number in range(runs)]
    aws.add_scripts(JobScript(seconds=job))
    with ThreadPoolExecutor(together) as pool:
        for first, kind in zip(range(0, runs, together), itertools.cycle(engine.kinds)):
            batch = names[first : first + together]
            list(pool.map(engine.start, batch))
            if kind in engine.shared:
                time.sleep(moments.uniform(0.0, job))
                result.kills[kind] += engine.kill_one(kind, batch[0]) * len(batch)
                engine.restart(kind)
            else:
                waits = [moments.uniform(0.0, job) for _ in batch]
                result.kills[kind] += sum(
                    pool.map(partial(_kill_after, engine, kind), batch, waits)
                )
            for run, state in zip(batch, pool.map(engine.finish, batch), strict=True):
                found = problems(engine, aws, run, state)
                result.problems += [f"{run} ({kind}): {one}" for one in found]
    return result


def _kill_after(engine: Engine, kind: str, run: str, seconds: float) -> bool:
    time.sleep(seconds)
    return engine.kill_one(kind, run)


def problems(engine: Engine, aws: FaultyAws, run: str, state: str) -> list[str]:
    """What is wrong with a run that has ended: state, duplicate, lost or forgotten jobs."""
    attempts = sorted(engine.attempts(run), key=lambda one: one.order)
    if not attempts:
        return [f"it ended {state} without a record"]
    found = [] if state == "Succeeded" else [f"it ended {state}"]
    last = attempts[-1]
    if last.state != "Succeeded" or not last.outputs:
        found.append(f"its step is {last.state} ({last.reason}) with outputs {last.outputs}")
    made = [one.name for one in aws.requests("CreateTrainingJob") if one.done]
    own = [name for name in made if last.execution in name]
    if len(own) != len(set(own)):
        found.append(f"a job was created twice: {own}")
    describe = aws.client("sagemaker").describe_training_job
    states = {name: describe(TrainingJobName=name)["TrainingJobStatus"] for name in own}
    recorded = {part.name for one in attempts for part in one.parts}
    found += [f"job {name} is {states[name]}, in no record" for name in own if name not in recorded]
    *earlier, final = own or [""]
    found += [f"job {one} is {states[one]}" for one in earlier if states[one] != "Stopped"]
    if states.get(final) != "Completed":
        found.append(f"its last job {final} is {states.get(final)}")
    return found


def _engine(
    name: str, folder: Path, aws: FaultyAws, *, deferred: bool
) -> AbstractContextManager[Engine]:
    if name == "airflow":
        from tests.kills.on_airflow import KilledAirflow

        return KilledAirflow(folder, aws, deferred=deferred)
    from tests.kills.on_prefect import KilledPrefect

    return KilledPrefect(folder, aws)


def main(words: Sequence[str] | None = None) -> int:
    """The exit code: 1 after any problem."""
    parser = argparse.ArgumentParser(prog="tests.kills.engines", description=__doc__)
    parser.add_argument("--on", choices=("airflow", "prefect"), required=True)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--deferred", action="store_true", help="defer the steps (Airflow)")
    parser.add_argument("--together", type=int, default=4, help="runs at the same time")
    parser.add_argument("--job", type=float, default=6.0, help="seconds that a job takes")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(words)
    with FaultyAws() as aws, tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        with _engine(given.on, Path(folder), aws, deferred=given.deferred) as engine:
            moments = random.Random(given.seed)
            result = prove(engine, aws, given.runs, moments, together=given.together, job=given.job)
    for one in result.problems:
        print(one)
    kills = ", ".join(f"{count} {kind}" for kind, count in result.kills.items())
    seconds = time.monotonic() - began
    print(f"{given.runs} runs, killed: {kills}; {len(result.problems)} problems, {seconds:.0f} s")
    return int(bool(result.problems))


if __name__ == "__main__":
    sys.exit(main())
