"""What a task costs: the engine's own time for one that does nothing, beside a step of ours.

A private engine runs one DAG or flow whose tasks wait for each other: first those that do nothing,
then ours. Ours is a Model step on the local backend: it resolves, names, creates, describes,
hands on and records like every step, and has no job to wait for. A task's time is from the end of
the task before it to its own end, so the engine's scheduling counts; figures are medians.

    python benchmarks/overhead.py airflow     # or prefect, each in its own environment
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.launch.workdir import Workdir

BARE, OURS = "does nothing", "a Model step"
MODEL = {
    "PrimaryContainer": {
        "Image": "111122223333.dkr.ecr.eu-west-1.amazonaws.com/ours:1",
        "ModelDataUrl": "s3://sagebridge-bench/model.tar.gz",
    }
}
DAG = """
from airflow.sdk import DAG, BaseOperator, chain
from sagebridge_operators.airflow import ModelOperator


class Nothing(BaseOperator):
    def execute(self, context):
        return None


with DAG(dag_id="overhead", schedule=None):
    chain(
        *(Nothing(task_id=f"bare{{number}}") for number in range({rounds})),
        *(ModelOperator(task_id=f"ours{{n}}", arguments={model!r}) for n in range({rounds})),
    )
"""
Times = dict[str, list[float]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("--rounds", type=int, default=20)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        place = Workdir("local", home, home, str(home / "executions"))
        version, times = ENGINES[asked.engine](place, asked.rounds)
    bare, ours = (statistics.median(times[name]) for name in (BARE, OURS))
    print(f"{version}, median of {asked.rounds} tasks of each kind in one run")
    print(f"{BARE:<14}{bare * 1000:>8.0f} ms")
    print(f"{OURS:<14}{ours * 1000:>8.0f} ms  {ours / bare:.2f} x")
    return 0


def on_airflow(place: Workdir, rounds: int) -> tuple[str, Times]:
    from sagebridge_operators.launch.airflow_engine import PrivateAirflow
    from sagebridge_operators.launch.engine_versions import version_of

    class Bench(PrivateAirflow):
        def prepare(self) -> None:
            super().prepare()
            file = self.home / "dags" / f"{self.dag_id}.py"
            file.write_text(DAG.format(rounds=rounds, model=MODEL))

    airflow = Bench(
        place.home / "airflow",
        Pipeline(steps=(), name="overhead"),
        dag_id="overhead",
        run_id="one",
        execution="none",
        parallelism=2,
        variables=place.variables(),
    )
    with airflow:
        airflow.trigger({})
        while airflow.api.run_state("overhead", "one") not in ("success", "failed"):
            time.sleep(0.5)
        tasks = airflow.api.task_instances("overhead", "one")
    ended = {
        name: datetime.fromisoformat(task["end_date"]).timestamp()
        for name, task in tasks.items()
        if task["state"] == "success"
    }
    return f"Airflow {version_of('airflow')}", by_kind(ended, rounds)


def on_prefect(place: Workdir, rounds: int) -> tuple[str, Times]:
    from sagebridge_operators.launch.engine_versions import version_of
    from sagebridge_operators.launch.prefect_engine import PrefectServer

    with PrefectServer(place.home / "prefect" / "one", variables=place.variables()) as server:
        os.environ.update(server.environment(), PREFECT_LOGGING_LEVEL="WARNING")
        return f"Prefect {version_of('prefect')}", by_kind(run_flow(rounds), rounds)


def run_flow(rounds: int) -> dict[str, float]:
    """When each task of a flow ended, in seconds."""
    from prefect import flow, task
    from prefect.client.orchestration import get_client

    from sagebridge_operators.prefect import finish, model

    @task(task_run_name="bare{number}")
    def bare(number: int) -> None:
        del number

    @flow
    def overhead() -> Any:
        for number in range(rounds):
            bare.submit(number).wait()
        for number in range(rounds):
            before = [f"ours{number - 1}"] if number else []
            model(f"ours{number}", arguments=MODEL, depends_on=before)
        return finish()

    overhead()
    with get_client(sync_client=True) as client:
        # The server learns of task runs bit by bit.
        while True:
            runs = client.read_task_runs(limit=200)
            if sum(run.end_time is not None for run in runs) >= 2 * rounds:
                return {run.name: run.end_time.timestamp() for run in runs}
            time.sleep(0.2)


def by_kind(ended: dict[str, float], rounds: int) -> Times:
    """The times of the tasks of each kind but the first, which has none of its kind before it."""
    times: Times = {}
    for kind, name in ((BARE, "bare"), (OURS, "ours")):
        ends = [ended[f"{name}{number}"] for number in range(rounds)]
        times[kind] = [end - before for before, end in pairwise(ends)]
    return times


ENGINES: dict[str, Callable[[Workdir, int], tuple[str, Times]]] = {
    "airflow": on_airflow,
    "prefect": on_prefect,
}

if __name__ == "__main__":
    sys.exit(main())
