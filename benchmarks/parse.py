"""How long Airflow takes to parse the abalone DAG, beside two that do not use sagebridge.

As Airflow's dag processor does it: Airflow is imported once, then each file is parsed and its DAG
serialized in a process forked for it. The three files take turns; the ratios are of medians of one
run.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILES = {
    "sagebridge": ROOT / "dags" / "abalone.py",
    "Amazon provider": ROOT / "benchmarks" / "dags" / "provider.py",
    "eight EmptyOperators": ROOT / "benchmarks" / "dags" / "empty.py",
}
ROUNDS = 15


def main() -> int:
    """Prints a table of medians and ratios."""
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(
            AIRFLOW_HOME=home, AIRFLOW__CORE__LOAD_EXAMPLES="False", AIRFLOW__CORE__DAGS_FOLDER=home
        )
        import airflow.sdk  # noqa: F401
        from airflow.serialization.serialized_objects import DagSerialization  # noqa: F401

        times: dict[str, list[float]] = {name: [] for name in FILES}
        for round_ in range(ROUNDS + 1):
            for name, path in FILES.items():
                seconds = in_fork(path)
                if round_:
                    times[name].append(seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"parse and serialize one DAG of 8 tasks, median of {ROUNDS} forks, this run")
    for name, median in medians.items():
        print(
            f"  {name:<22}{median * 1000:8.1f} ms"
            f"{median / medians['eight EmptyOperators']:8.2f} x empty"
            f"{median / medians['Amazon provider']:8.2f} x provider"
        )
    return 0


def in_fork(path: Path) -> float:
    """Seconds that a forked process takes for one file."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        seconds = parse(path)
        os.write(write, repr(seconds).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    if not text:
        sys.exit(f"{path} did not parse")
    return float(text)


def parse(path: Path) -> float:
    """Seconds for reading the file into a DagBag and serializing its one DAG."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization

    start = time.perf_counter()
    bag = DagBag(dag_folder=str(path))
    if bag.import_errors or len(bag.dags) != 1:
        os.write(2, f"{path}: {bag.import_errors or list(bag.dags)}\n".encode())
        os._exit(1)
    for dag in bag.dags.values():
        DagSerialization.to_dict(dag)
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
