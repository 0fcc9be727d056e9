"""How long Airflow takes to parse the abalone DAG, beside two that do not use sagebridge.

As Airflow's dag processor does it: Airflow is imported once, then each file is parsed and its DAG
serialized in a process forked for it. The three files take turns; the ratios are of medians of one
run. Then a folder of 200 copies of each file, every one with a DAG id of its own, parsed whole.
"""

from __future__ import annotations

import os
import re
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
COPIES = 200
CEILING = 1.5
"""How much longer than the provider's a folder of ours may take."""


def main() -> int:
    """Prints a table of medians and ratios."""
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(
            AIRFLOW_HOME=home, AIRFLOW__CORE__LOAD_EXAMPLES="False", AIRFLOW__CORE__DAGS_FOLDER=home
        )
        import airflow.sdk  # noqa: F401
        from airflow.serialization.serialized_objects import DagSerialization  # noqa: F401

        times = take_turns(FILES, ROUNDS, dags=1)
        print(f"parse and serialize one DAG of 8 tasks, median of {ROUNDS} forks, this run")
        report(times)
        folders = {name: copies(path, Path(home) / path.stem) for name, path in FILES.items()}
        times = take_turns(folders, 3, dags=COPIES)
        print(f"parse and serialize a folder of {COPIES} such files, median of 3 forks")
        report(times)
    return int(times["sagebridge"] > CEILING * times["Amazon provider"])


def take_turns(paths: dict[str, Path], rounds: int, dags: int) -> dict[str, float]:
    """The median seconds for each path; a first round warms up and does not count."""
    times: dict[str, list[float]] = {name: [] for name in paths}
    for round_ in range(rounds + 1):
        for name, path in paths.items():
            seconds = in_fork(path, dags)
            if round_:
                times[name].append(seconds)
    return {name: statistics.median(values) for name, values in times.items()}


def report(medians: dict[str, float]) -> None:
    for name, median in medians.items():
        print(
            f"  {name:<22}{median * 1000:8.1f} ms"
            f"{median / medians['eight EmptyOperators']:8.2f} x empty"
            f"{median / medians['Amazon provider']:8.2f} x provider"
        )


def copies(file: Path, folder: Path) -> Path:
    """A folder of copies of a DAG file, each with a DAG id of its own."""
    folder.mkdir()
    text = file.read_text()
    for number in range(COPIES):
        copy = re.sub(r'(dag_id="\w+)"', rf'\g<1>_{number}"', text, count=1)
        (folder / f"dag_{number}.py").write_text(copy)
    return folder


def in_fork(path: Path, dags: int) -> float:
    """Seconds that a forked process takes for a file or folder with that many DAGs."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        seconds = parse(path, dags)
        os.write(write, repr(seconds).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    if not text:
        sys.exit(f"{path} did not parse")
    return float(text)


def parse(path: Path, dags: int) -> float:
    """Seconds for reading a file or folder into a DagBag and serializing its DAGs."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization

    start = time.perf_counter()
    bag = DagBag(dag_folder=str(path))
    if bag.import_errors or len(bag.dags) != dags:
        os.write(2, f"{path}: {bag.import_errors or list(bag.dags)}\n".encode())
        os._exit(1)
    for dag in bag.dags.values():
        DagSerialization.to_dict(dag)
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
