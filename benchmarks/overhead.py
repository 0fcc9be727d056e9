"""How long a sagebridge task takes, compared with a task of the same engine that does nothing.

A private engine runs one DAG or flow whose tasks run one after the other: first the empty ones,
then Model steps on the local backend. A Model step resolves its arguments, creates and describes
its model, and records all of it like every step, but has no job to wait for. The time of a task is
that from the end of the previous task to its own end, so the engine's scheduling counts. Figures
are medians. Prints a Markdown table of one row.

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

EMPTY, STEP = "empty", "step"
MODEL = {
    "PrimaryContainer": {
        "Image": "111122223333.dkr.ecr.eu-west-1.amazonaws.com/model:1",
        "ModelDataUrl": "s3://sagebridge-bench/model.tar.gz",
    }
}
DAG = """
from airflow.sdk import DAG, BaseOperator, chain
from sagebridge_operators.airflow import ModelOperator


class EmptyTask(BaseOperator):
    def execute(self, context):
        return None


with DAG(dag_id="overhead", schedule=None):
    chain(
        *(EmptyTask(task_id=f"empty{{n}}") for n in range({rounds})),
        *(ModelOperator(task_id=f"step{{n}}", arguments={model!r}) for n in range({rounds})),
    )
"""
Times = dict[str, list[float]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        workdir = Workdir("local", home, home, str(home / "executions"))
        version, times = ENGINES[options.engine](workdir, options.rounds)
    empty, step = (statistics.median(times[kind]) * 1000 for kind in (EMPTY, STEP))
    print("| engine | a task that does nothing | a Model step |", "|---|---|---|", sep="\n")
    print(f"| {version} | {empty:,.0f} ms | {step:,.0f} ms: {step / empty:.1f} x |")
    return 0


def on_airflow(workdir: Workdir, rounds: int) -> tuple[str, Times]:
    from sagebridge_operators.launch.airflow_engine import PrivateAirflow
    from sagebridge_operators.launch.engine_versions import version_of

    class Bench(PrivateAirflow):
        def prepare(self) -> None:
            super().prepare()
            file = self.home / "dags" / f"{self.dag_id}.py"
            file.write_text(DAG.format(rounds=rounds, model=MODEL))

    airflow = Bench(
        workdir.home / "airflow",
        Pipeline(steps=(), name="overhead"),
        dag_id="overhead",
        run_id="one",
        execution="none",
        parallelism=2,
        variables=workdir.variables(),
    )
    with airflow:
        airflow.trigger({})
        while airflow.api.run_state("overhead", "one") not in ("success", "failed"):
            time.sleep(0.5)
        tasks = airflow.api.task_instances("overhead", "one")
    ended = {
        name: datetime.fromisoformat(task["end_date"]).timestamp()
        for (name, _), task in tasks.items()
        if task["state"] == "success"
    }
    return f"Airflow {version_of('airflow')}", by_kind(ended, rounds)


def on_prefect(workdir: Workdir, rounds: int) -> tuple[str, Times]:
    from sagebridge_operators.launch.engine_versions import version_of
    from sagebridge_operators.launch.prefect_engine import PrefectServer

    with PrefectServer(workdir.home / "prefect" / "one", variables=workdir.variables()) as server:
        os.environ.update(server.environment(), PREFECT_LOGGING_LEVEL="WARNING")
        return f"Prefect {version_of('prefect')}", by_kind(run_flow(rounds), rounds)


def run_flow(rounds: int) -> dict[str, float]:
    """Run a flow, and return when each of its tasks ended, in seconds."""
    from prefect import flow, task
    from prefect.client.orchestration import get_client

    from sagebridge_operators.prefect import finish, model

    @task(task_run_name="empty{number}")
    def empty(number: int) -> None:
        del number

    @flow
    def overhead() -> Any:
        for number in range(rounds):
            empty.submit(number).wait()
        for number in range(rounds):
            before = [f"step{number - 1}"] if number else []
            model(f"step{number}", arguments=MODEL, depends_on=before)
        return finish()

    overhead()
    with get_client(sync_client=True) as client:
        # Prefect sends the states of task runs to its server in the background.
        while True:
            runs = client.read_task_runs(limit=200)
            if sum(run.end_time is not None for run in runs) >= 2 * rounds:
                return {run.name: run.end_time.timestamp() for run in runs}
            time.sleep(0.2)


def by_kind(ended: dict[str, float], rounds: int) -> Times:
    """The seconds of each task by kind, without the first of each kind."""
    times: Times = {}
    for kind in (EMPTY, STEP):
        ends = [ended[f"{kind}{number}"] for number in range(rounds)]
        times[kind] = [end - before for before, end in pairwise(ends)]
    return times


ENGINES: dict[str, Callable[[Workdir, int], tuple[str, Times]]] = {
    "airflow": on_airflow,
    "prefect": on_prefect,
}

if __name__ == "__main__":
    sys.exit(main())
